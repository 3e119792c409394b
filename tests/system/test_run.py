"""`zond run` is as if zond were not there: the same words, bytes, descriptors, settings and end."""

from __future__ import annotations

import json
import os
import pty
import resource
import signal
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from system.drive import PYTHON, TIMEOUT, ZOND, check_readable, report, run, run_code, zond

SAY_ARGS = "import json, sys; print(json.dumps([__name__, sys.argv[1:]]))"

# Words that zond would take for its own, if it took them.
LIKE_OPTIONS = ["-o", "x", "--json", "-q", "--", "-m", "--help", "-c", "a b", ""]


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "say args.py"
    path.write_text(SAY_ARGS)
    return path


LAUNCHES: dict[str, Callable[[Path], list[str | Path]]] = {
    "script": lambda script: [script],
    "script after --": lambda script: ["--", script],
    "module": lambda script: ["-m", "say_args"],
    "code": lambda script: ["-c", SAY_ARGS],
    "command": lambda script: [PYTHON, script],
    "command after --": lambda script: ["--", PYTHON, "-c", SAY_ARGS],
    "command that starts one": lambda script: ["sh", "-c", '"$0" "$@"', PYTHON, script],
}


@pytest.mark.parametrize("launch", LAUNCHES)
@pytest.mark.parametrize("args", [[], ["one"], LIKE_OPTIONS], ids=["no arguments", "one", "like options"])
def test_launch(tmp_path: Path, script: Path, launch: str, args: list[str]) -> None:
    (tmp_path / "say_args.py").write_text(SAY_ARGS)
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    ran = run(tmp_path, *LAUNCHES[launch](script), *args, env=env)
    assert (ran.status, ran.target_err) == (0, "")
    assert json.loads(ran.out) == ["__main__", args]


def test_python_comes_from_path(tmp_path: Path, script: Path) -> None:
    (tmp_path / "python3").symlink_to(PYTHON)
    done = zond("run", "-q", "-o", tmp_path / "run.zond", script, env={"PATH": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert report(tmp_path / "run.zond")["run"]["command"] == ["python3", str(script)]


def test_default_name_of_the_recording(tmp_path: Path, script: Path) -> None:
    done = zond("run", "-q", script, cwd=tmp_path)
    (made,) = tmp_path.glob("*.zond")
    assert done.stderr.decode() == f"zond: recorded in {made.name}\n"
    assert made.name.startswith("say args-")
    assert made.name[len("say args-") : -len(".zond")].isdigit()


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("pass", 0),
        ("raise SystemExit(3)", 3),
        ("raise SystemExit(255)", 255),
        ("raise SystemExit('a word')", 1),
        ("1 / 0", 1),
        ("import os; os._exit(7)", 7),
        ("import os; os.kill(os.getpid(), 9)", -signal.SIGKILL),
        ("import os; os.kill(os.getpid(), 15)", -signal.SIGTERM),
        ("import os; os.kill(os.getpid(), 2)", -signal.SIGINT),
        ("import os, signal; os.kill(os.getpid(), signal.SIGRTMIN)", -signal.SIGRTMIN),
        ("import os; os.abort()", -signal.SIGABRT),
        ("import ctypes; ctypes.string_at(0)", -signal.SIGSEGV),
        ("import os, signal; signal.signal(13, signal.SIG_DFL); os.kill(os.getpid(), 13)", -signal.SIGPIPE),
    ],
)
def test_ends_as_the_command(tmp_path: Path, code: str, status: int) -> None:
    alone = subprocess.run([PYTHON, "-c", code], capture_output=True, check=False)
    ran = run_code(tmp_path, code)
    assert (ran.status, ran.status) == (status, alone.returncode)
    assert (ran.out, ran.target_err) == (alone.stdout, alone.stderr.decode())
    found = check_readable(ran.recording)["run"]
    assert found["exit"] == {"code": status if status >= 0 else None, "signal": -status if status < 0 else None}
    assert found["complete"]


def test_end_does_not_depend_on_zonds_messages(tmp_path: Path) -> None:
    """Whoever read standard error has gone: the status is still the command's."""
    ours, theirs = os.pipe()
    os.close(ours)
    command = [ZOND, "run", "-o", str(tmp_path / "run.zond"), PYTHON, "-c", "raise SystemExit(5)"]
    assert subprocess.run(command, stderr=theirs, check=False, timeout=TIMEOUT).returncode == 5
    os.close(theirs)


MIRROR = """\
import os, sys
sys.stderr.buffer.write(b"\\xff\\x00 to the other side\\n")
while data := os.read(0, 65536):
    sys.stdout.buffer.write(data)
"""


def test_streams_are_byte_for_byte(tmp_path: Path) -> None:
    data = os.urandom(3_000_001)
    done = zond("run", "-q", "-o", tmp_path / "run.zond", PYTHON, "-c", MIRROR, stdin=data)
    assert done.returncode == 0
    assert done.stdout == data
    assert done.stderr.startswith(b"\xff\x00 to the other side\nzond: recorded in ")


# Writes to the file argv[1] what a process can know of how it was started.
SETTINGS = """\
import json, os, resource, sys
def link(fd):
    try:
        return [os.readlink("/proc/self/fd/%s" % fd), os.get_inheritable(int(fd))]
    except OSError:
        return None
def first(path):
    try:
        return open(path).read()
    except OSError as error:
        return str(error.errno)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
alike = ("SigQ Umask Uid Gid Groups NoNewPrivs Seccomp Cpus_allowed CapInh CapPrm CapEff CapBnd CapAmb THP_enabled "
         "SigBlk SigIgn SigCgt SigPnd ShdPnd").split()
found = {key: status.get(key, "").strip() for key in alike if key != "SigQ"}
found["descriptors"] = {fd: link(fd) for fd in os.listdir("/proc/self/fd")}
found["descriptors"] = {fd: to for fd, to in found["descriptors"].items() if to}
found["environment"] = dict(os.environ)
found["nice"] = os.getpriority(os.PRIO_PROCESS, 0)
found["scheduler"] = os.sched_getscheduler(0)
found["slack"] = first("/proc/self/timerslack_ns")
found["oom"] = first("/proc/self/oom_score_adj")
found["cwd"] = os.getcwd()
found["limits"] = [resource.getrlimit(i) for i in range(16)]
found["session is the launcher's"] = os.getsid(0) == int(sys.argv[2])
with open(sys.argv[1], "w") as out:
    json.dump(found, out)
"""


def ignore(number: int) -> Callable[[], None]:
    return lambda: void(signal.signal(number, signal.SIG_IGN))


def void(_: object) -> None:
    """Takes a result that is not wanted."""


def close_standard(*numbers: int) -> Callable[[], None]:
    def close() -> None:
        for number in numbers:
            os.close(number)

    return close


SURROUNDINGS: dict[str, Callable[[], None]] = {
    "as usual": lambda: None,
    "blocked SIGUSR1 and SIGINT": lambda: void(
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGINT])
    ),
    "ignored SIGINT": ignore(signal.SIGINT),
    "ignored SIGHUP": ignore(signal.SIGHUP),
    "ignored SIGCHLD": ignore(signal.SIGCHLD),
    "ignored SIGPIPE": ignore(signal.SIGPIPE),
    "default SIGPIPE": lambda: void(signal.signal(signal.SIGPIPE, signal.SIG_DFL)),
    "nice 5": lambda: void(os.nice(5)),
    "umask 077": lambda: void(os.umask(0o077)),
    "few descriptors": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 128)),
    "small stack": lambda: resource.setrlimit(resource.RLIMIT_STACK, (1 << 20, 1 << 20)),
    "core files": lambda: resource.setrlimit(resource.RLIMIT_CORE, (4096, 4096)),
    "one CPU": lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}),
    "no standard input": close_standard(0),
    "no standard streams": close_standard(0, 1, 2),
}


@pytest.mark.parametrize("surrounding", SURROUNDINGS)
def test_settings_are_inherited(tmp_path: Path, surrounding: str) -> None:
    """What a program finds is the same with zond and without."""
    settings = tmp_path / "settings.py"
    settings.write_text(SETTINGS)
    extra = os.open(settings, os.O_RDONLY)
    found: list[dict[str, Any]] = []
    for start in ([], [ZOND, "run", "-q", "-o", str(tmp_path / "run.zond"), "--"]):
        out = tmp_path / f"{len(found)}.json"
        command = [*start, PYTHON, "-S", str(settings), str(out), str(os.getsid(0))]
        with (tmp_path / "out").open("wb") as sink:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                preexec_fn=SURROUNDINGS[surrounding],
                pass_fds=[extra],
                env={**os.environ, "A": "b\nc", "EMPTY": "", "ASAN_OPTIONS": "disable_coredump=0"},
                timeout=TIMEOUT,
                check=False,
            )
        assert done.returncode == 0, (tmp_path / "out").read_text()
        found.append(json.loads(out.read_text()))
    os.close(extra)
    assert found[1] == found[0]
    assert check_readable(tmp_path / "run.zond")["run"]["complete"]


SAY_GROUP = """\
import os
print(os.getsid(0), os.getpgrp(), os.tcgetpgrp(0), os.ttyname(0), os.ttyname(1), os.ttyname(2), os.getppid())
"""


def test_group_and_terminal(tmp_path: Path) -> None:
    """The command is in the terminal's foreground, in the group that zond was started in."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(ZOND, [ZOND, "run", "-q", "-o", str(tmp_path / "run.zond"), PYTHON, "-c", SAY_GROUP])
    said = b""
    while b"recorded in" not in said:
        said += os.read(terminal, 4096)
    assert os.waitpid(pid, 0)[1] == 0
    session, group, foreground, *names, parent = said.decode().splitlines()[0].split()
    assert [int(session), int(group), int(foreground), int(parent)] == [pid] * 4
    assert len(set(names)) == 1
    assert names[0].startswith("/dev/pts/")
    os.close(terminal)


@pytest.mark.parametrize(
    ("command", "status", "says"),
    [
        (["no-such-command-anywhere"], 127, "cannot run no-such-command-anywhere: there is no such command"),
        (["./missing"], 127, "cannot run ./missing: there is no such command or file"),
        (["./not-executable"], 126, "cannot run ./not-executable: Permission denied"),
        (["./folder"], 126, "cannot run ./folder: Permission denied"),
        (["--python", "no-such-python", "script.py"], 127, "cannot run no-such-python: there is no such command"),
    ],
    ids=str,
)
def test_cannot_start(tmp_path: Path, command: list[str], status: int, says: str) -> None:
    (tmp_path / "not-executable").write_text("#!/bin/sh\n")
    (tmp_path / "folder").mkdir()
    done = zond("run", *command, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (status, b"")
    assert done.stderr.decode().startswith(f"zond: {says}")
    assert list(tmp_path.glob("*.zond")) == []


def test_script_without_a_format_is_run_by_a_shell(tmp_path: Path) -> None:
    """As a shell and execvp do it."""
    (tmp_path / "script").write_text("exit 9\n")
    (tmp_path / "script").chmod(0o755)
    done = zond("run", "-q", "./script", cwd=tmp_path)
    assert done.returncode == 9


@pytest.mark.parametrize("kind", ["file", "link"])
def test_failed_start_spares_an_earlier_recording(tmp_path: Path, kind: str) -> None:
    earlier, link = tmp_path / "old.zond", tmp_path / "link"
    earlier.write_bytes(b"an earlier recording")
    link.symlink_to(earlier)
    output = {"file": earlier, "link": link}[kind]
    assert zond("run", "-o", output, "no-such-command-anywhere").returncode == 127
    assert link.is_symlink()
    assert earlier.read_bytes() == b"an earlier recording"


def test_failed_start_spares_a_device(tmp_path: Path) -> None:
    """A device of the test's own: were this to fail, the machine's would be gone."""
    device = tmp_path / "null"
    try:
        os.mknod(device, stat.S_IFCHR | 0o600, os.makedev(1, 3))
        device.write_bytes(b"")
    except PermissionError:
        pytest.skip("making a device needs root, and a file system that allows devices")
    assert zond("run", "-o", device, "no-such-command-anywhere").returncode == 127
    assert device.is_char_device()


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ("no/such/folder/x.zond", "cannot write no/such/folder/x.zond: No such file or directory; choose another"),
        (".", "cannot write .: Is a directory; choose another place with -o FILE"),
        ("name" * 100, "File name too long; choose another place with -o FILE"),
    ],
)
def test_unwritable_output(tmp_path: Path, output: str, says: str) -> None:
    """The command is not even started."""
    done = zond("run", "-o", output, "touch", "started", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (125, b"")
    assert says in done.stderr.decode()
    assert not (tmp_path / "started").exists()


def test_two_recordings_do_not_share_a_file(tmp_path: Path) -> None:
    output = tmp_path / "run.zond"
    inner = [ZOND, "run", "-o", str(output), PYTHON, "-c", "pass"]
    code = f"import subprocess; raise SystemExit(subprocess.run({inner!r}).returncode - 100)"
    ran = run_code(tmp_path, code)
    assert ran.status == 25
    assert f"another zond is writing {output}" in ran.err
    check_readable(output)


def test_no_python_is_said(tmp_path: Path) -> None:
    done = zond("run", "-o", tmp_path / "run.zond", "sleep", "0.1")
    assert done.returncode == 0
    assert "no Python was seen in this command" in done.stderr.decode()
    found = check_readable(tmp_path / "run.zond")
    assert found["functions"] == []
    assert [process["command"] for process in found["processes"]][-1] == ["sleep", "0.1"]


def test_duration_ends_the_recording_not_the_program(tmp_path: Path) -> None:
    code = "import time; time.sleep(1.5); print('done', flush=True); raise SystemExit(4)"
    ran = run_code(tmp_path, code, options=["-d", "0.3"])
    assert (ran.status, ran.out) == (4, b"done\n")
    assert 0.2 < check_readable(ran.recording)["run"]["wall_s"] < 1.4


def test_json_has_standard_output_for_itself(tmp_path: Path) -> None:
    ran = run_code(tmp_path, "print('first', flush=True)", options=["--json"])
    assert json.loads(ran.out)["schema"] == 1
    assert ran.target_err == "first\n"
