"""Signals and job control reach the program as without zond; and however zond ends, the program goes on."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from system.drive import (
    BUSY,
    PYTHON,
    TIMEOUT,
    ZOND,
    check_readable,
    check_sane,
    end_of,
    functions,
    process_state,
    started,
    tool,
    wait_until,
)


class Terminal:
    """A pseudo-terminal with a program in its foreground."""

    def __init__(self, *command: str | Path) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvp(command[0], [str(word) for word in command])
        self.seen = b""
        self.read = 0  # how much of `seen` was expected already

    def send(self, data: bytes) -> None:
        os.write(self.fd, data)

    def expect(self, what: bytes) -> bytes:
        """Reads until `what` comes; what came before it since the last time."""
        end = time.monotonic() + TIMEOUT
        while (at := self.seen.find(what, self.read)) < 0:
            assert select.select([self.fd], [], [], max(0.0, end - time.monotonic()))[0], (what, self.seen)
            try:
                self.seen += os.read(self.fd, 65536)
            except OSError:  # EIO: everyone has closed it
                raise AssertionError((what, self.seen)) from None
        before = self.seen[self.read : at]
        self.read = at + len(what)
        return before

    def expect_number(self, before: bytes) -> int:
        """The number between `before` and a full stop."""
        self.expect(before)
        return int(self.expect(b"."))

    def end(self) -> int:
        """The exit status as subprocess gives it."""
        while True:
            try:
                if not os.read(self.fd, 65536):
                    break
            except OSError:
                break
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def close(self) -> None:
        os.close(self.fd)


@contextmanager
def terminal(*command: str | Path) -> Iterator[Terminal]:
    opened = Terminal(*command)
    try:
        yield opened
    finally:
        opened.close()


def zond_run(folder: Path, code: str) -> list[str | Path]:
    return [ZOND, "run", "-q", "-o", folder / "run.zond", "--", PYTHON, "-c", code]


# Counts the signals of each number; a line from the terminal or a pipe ends it.
COUNTER = """\
import os, signal, sys
counts = {}
def count(number, _):
    counts[number] = counts.get(number, 0) + 1
for number in (1, 2, 3, 10, 12, 14, 15, 18, 23, 28, 34, 40):
    signal.signal(number, count)
print("zond %d." % os.getppid(), "ready", flush=True)
for line in sys.stdin:
    if line == "end\\n":
        break
    print("counts", sorted(counts.items()), "!", flush=True)
"""

# Waits for interrupts; ends when 0.3 s have passed since the last one.
CATCHER = """\
import time
caught = 0
end = time.monotonic() + 60
while time.monotonic() < end:
    try:
        if not caught:
            print("ready", flush=True)
        while not caught or time.monotonic() < settled:
            sum(range(100))
        break
    except KeyboardInterrupt:
        caught += 1
        settled = time.monotonic() + 0.3
print("caught %d." % caught, flush=True)
raise SystemExit(6)
"""


def test_ctrl_c_is_one_interrupt(tmp_path: Path) -> None:
    with terminal(*zond_run(tmp_path, CATCHER)) as opened:
        opened.expect(b"ready")
        opened.send(b"\x03")
        assert opened.expect_number(b"caught ") == 1
        assert opened.end() == 6
    assert check_readable(tmp_path / "run.zond")["run"]["complete"]


SLEEPER = "import time\nprint('ready', flush=True)\ntime.sleep(60)"


@pytest.mark.parametrize(("key", "number"), [(b"\x03", signal.SIGINT), (b"\x1c", signal.SIGQUIT)])
def test_key_ends_both(tmp_path: Path, key: bytes, number: int) -> None:
    """A program that does not catch it ends by it, and zond the same way, with a whole recording."""
    with terminal(*zond_run(tmp_path, SLEEPER)) as opened:
        opened.expect(b"ready")
        opened.send(key)
        assert opened.end() == -number
    assert check_readable(tmp_path / "run.zond")["run"]["exit"] == {"code": None, "signal": number}


def test_interactive_program(tmp_path: Path) -> None:
    """The terminal's lines go to the program, and the program knows that it is a terminal."""
    code = "import sys; print(sys.stdin.isatty(), 'hello ' + input('name? '), '.')"
    with terminal(*zond_run(tmp_path, code)) as opened:
        opened.expect(b"name? ")
        opened.send(b"Anna\n")
        assert b"True hello Anna" in opened.expect(b" .")
        assert opened.end() == 0


def test_hangup_reaches_the_program(tmp_path: Path) -> None:
    """The terminal's window is closed, and zond is the leader of its session."""
    with terminal(
        *zond_run(tmp_path, f"import os; print('target %d.' % os.getpid(), flush=True)\n{SLEEPER}")
    ) as opened:
        target = opened.expect_number(b"target ")
        opened.expect(b"ready")
    wait_until(lambda: not Path(f"/proc/{target}").exists(), "end of the program")
    assert os.waitstatus_to_exitcode(os.waitpid(opened.pid, 0)[1]) == -signal.SIGHUP
    assert check_readable(tmp_path / "run.zond")["run"]["exit"]["signal"] == signal.SIGHUP


JOB = """\
import os, time
print("zond %d." % os.getppid(), "target %d." % os.getpid(), "ready", flush=True)
open({go!r}).read()
print("the program goes on.", flush=True)
"""


def shell(folder: Path) -> list[str | Path]:
    profile = folder / "profile"
    profile.write_text("PS1='(prompt) '\n")
    return [tool("bash"), "--noprofile", "--rcfile", profile, "-i"]


def quoted(command: list[str | Path]) -> bytes:
    return " ".join("'" + str(word).replace("'", "'\\''") + "'" for word in command).encode() + b"\n"


def state_of(pid: int) -> str:
    return process_state(pid)[0]


# Threads that run are held a thousand times a second, or not at all.
HELD = pytest.mark.parametrize("options", [[], ["--native-rate", "1000"]], ids=["", "held"])


@HELD
@pytest.mark.parametrize("how", ["Ctrl-Z", "signal to the program", "signal to zond"])
def test_stop_and_foreground(tmp_path: Path, how: str, options: list[str | Path]) -> None:
    """The shell learns that the job stopped, both stand still, and `fg` continues both."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    script = tmp_path / "job.py"
    script.write_text(JOB.format(go=str(gate)))
    with terminal(*shell(tmp_path)) as opened:
        opened.expect(b"(prompt) ")
        command = [ZOND, "run", "-q", *options, "--python", PYTHON, "-o", tmp_path / "run.zond", script]
        opened.send(quoted(command))
        zond, target = opened.expect_number(b"zond "), opened.expect_number(b"target ")
        opened.expect(b"ready")
        for _ in range(2):
            if how == "Ctrl-Z":
                opened.send(b"\x1a")
            else:
                os.kill(target if how == "signal to the program" else zond, signal.SIGTSTP)
            opened.expect(b"Stopped")
            wait_until(lambda: state_of(zond) == state_of(target) == "T", "stop of both")
            opened.expect(b"(prompt) ")
            opened.send(b"fg\n")
            wait_until(lambda: "T" not in (state_of(zond), state_of(target)), "continuation of both")
        gate.write_text("")
        opened.expect(b"the program goes on.")
        opened.expect(b"(prompt) ")
        opened.send(b"echo status $?.\n")
        opened.expect(b"?.")
        assert opened.expect_number(b"status ") == 0
        opened.send(b"exit\n")
        opened.end()
    assert check_readable(tmp_path / "run.zond")["run"]["complete"]


@HELD
def test_background_job(tmp_path: Path, options: list[str | Path]) -> None:
    """`bg` continues both without the terminal; reading from it there stops both."""
    script = tmp_path / "job.py"
    script.write_text('import os\nprint("zond %d." % os.getppid(), "ready", flush=True)\nprint("said " + input())\n')
    with terminal(*shell(tmp_path)) as opened:
        opened.expect(b"(prompt) ")
        command = quoted([ZOND, "run", "-q", *options, "--python", PYTHON, "-o", tmp_path / "run.zond", script])
        opened.send(b"set -b\n" + command[:-1] + b" &\n")
        zond = opened.expect_number(b"zond ")
        opened.expect(b"ready")
        opened.expect(b"Stopped")  # the shell has to know before it continues the job
        opened.send(b"fg\n")
        wait_until(lambda: state_of(zond) != "T", "continuation")
        opened.send(b"a word\n")
        opened.expect(b"said a word")
        opened.send(b"exit\n")
        opened.end()
    assert check_readable(tmp_path / "run.zond")["run"]["exit"]["code"] == 0


def test_program_that_declines_to_stop(tmp_path: Path) -> None:
    """Ctrl-Z is the program's to ignore: zond does not stop alone."""
    code = f"import signal; signal.signal(signal.SIGTSTP, signal.SIG_IGN)\n{CATCHER}"
    with terminal(*shell(tmp_path)) as opened:
        opened.expect(b"(prompt) ")
        (tmp_path / "job.py").write_text(code)
        opened.send(quoted([ZOND, "run", "-q", "--python", PYTHON, "-o", tmp_path / "run.zond", tmp_path / "job.py"]))
        opened.expect(b"ready")
        opened.send(b"\x1a\x03")
        before = opened.expect(b"caught ")
        assert b"Stopped" not in before
        opened.expect(b"(prompt) ")
        opened.send(b"exit\n")
        opened.end()


@pytest.mark.parametrize("number", [1, 2, 3, 10, 12, 14, 15, 23, 28, 34, 40])
def test_signal_to_zond_reaches_the_program_once(tmp_path: Path, number: int) -> None:
    command = [str(word) for word in zond_run(tmp_path, COUNTER)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline().endswith(b"ready\n")
        process.send_signal(number)
        said = b"counts [] !\n"
        end = time.monotonic() + TIMEOUT
        while said == b"counts [] !\n" and time.monotonic() < end:
            process.stdin.write(b"say\n")
            process.stdin.flush()
            said = process.stdout.readline()
        time.sleep(0.1)
        process.stdin.write(b"say\nend\n")
        process.stdin.flush()
        assert process.stdout.readline() == said == f"counts [({number}, 1)] !\n".encode()
        _, err = process.communicate(timeout=TIMEOUT)
        check_sane(err.decode())
        assert process.returncode == 0
    assert check_readable(tmp_path / "run.zond")["run"]["exit"]["code"] == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGALRM, signal.SIGRTMIN])
def test_deadly_signal_to_zond_ends_both(tmp_path: Path, number: int) -> None:
    with started(*zond_run(tmp_path, SLEEPER)) as process:
        process.send_signal(number)
        assert end_of(process) == -number
    assert check_readable(tmp_path / "run.zond")["run"]["exit"] == {"code": None, "signal": number}


def test_program_that_ignores_sigterm(tmp_path: Path) -> None:
    """It decides when it ends, and so when zond does."""
    code = "import signal; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); raise SystemExit(input())"
    with started(*zond_run(tmp_path, code)) as process:
        for _ in range(3):
            process.send_signal(signal.SIGTERM)
        process.communicate(b"5\n", timeout=TIMEOUT)
        assert process.returncode == 1
    assert check_readable(tmp_path / "run.zond")["run"]["exit"]["code"] == 1


def test_stop_meant_for_the_program_is_not_zonds(tmp_path: Path) -> None:
    """SIGSTOP goes to the program alone; zond notes that it stands still, and goes on with it."""
    code = "import os\nprint('ready', flush=True)\nprint(os.getpid(), flush=True)\nraise SystemExit(int(input()))"
    with started(*zond_run(tmp_path, code)) as process:
        assert process.stdout is not None
        target = int(process.stdout.readline())
        os.kill(target, signal.SIGSTOP)
        wait_until(lambda: state_of(target) == "T", "stop")
        assert state_of(process.pid) != "T"
        os.kill(target, signal.SIGCONT)
        process.communicate(b"8\n", timeout=TIMEOUT)
        assert process.returncode == 8


@contextmanager
def attached_meanwhile(folder: Path, pid: int, *, ignore_hangup: bool = False) -> Iterator[subprocess.Popen[bytes]]:
    """A `zond attach` that has written something of the program already."""
    recording = folder / "attach.zond"
    start = ["nohup"] if ignore_hangup else []
    command = [*start, ZOND, "attach", "-q", "-o", str(recording), str(pid)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as zond:
        wait_for_samples(recording)
        yield zond
        zond.kill()


def wait_for_samples(recording: Path) -> None:
    """Until the recording has more than its beginning."""
    wait_until(lambda: recording.exists() and recording.stat().st_size > 0, "recording")
    size = recording.stat().st_size
    wait_until(lambda: recording.stat().st_size > size + 100, "samples")


def check_untouched(process: subprocess.Popen[bytes]) -> None:
    """It runs, not stopped and not traced."""
    state, tracer = process_state(process.pid)
    assert state in "RS"
    assert tracer == 0
    assert process.poll() is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_an_attachment(tmp_path: Path, number: int) -> None:
    """The recording is whole, and the program goes on."""
    with started(PYTHON, "-c", BUSY, "60") as process, attached_meanwhile(tmp_path, process.pid) as zond:
        zond.send_signal(number)
        _, err = zond.communicate(timeout=TIMEOUT)
        check_sane(err.decode())
        assert zond.returncode == 0
        check_untouched(process)
    found = check_readable(tmp_path / "attach.zond")
    assert found["run"]["complete"]
    assert "outer" in functions(found)


def test_attachment_survives_a_hangup_under_nohup(tmp_path: Path) -> None:
    tool("nohup")
    with (
        started(PYTHON, "-c", BUSY, "60") as process,
        attached_meanwhile(tmp_path, process.pid, ignore_hangup=True) as zond,
    ):
        zond.send_signal(signal.SIGHUP)
        size = (tmp_path / "attach.zond").stat().st_size
        wait_until(lambda: (tmp_path / "attach.zond").stat().st_size > size, "more of the recording")
        zond.send_signal(signal.SIGTERM)
        assert end_of(zond) == 0


def test_ctrl_c_ends_an_attachment(tmp_path: Path) -> None:
    recording = tmp_path / "attach.zond"
    with (
        started(PYTHON, "-c", BUSY, "60") as process,
        terminal(ZOND, "attach", "-q", "-o", recording, str(process.pid)) as opened,
    ):
        wait_for_samples(recording)
        opened.send(b"\x03")
        assert opened.end() == 0
        check_untouched(process)
    assert check_readable(recording)["run"]["complete"]


def test_kill_of_an_attached_zond(tmp_path: Path) -> None:
    """What it had written is a recording, up to the last second; the program goes on."""
    recording = tmp_path / "attach.zond"
    with started(PYTHON, "-c", BUSY, "60") as process:
        began = time.monotonic()
        with attached_meanwhile(tmp_path, process.pid) as zond:
            time.sleep(3)
            zond.kill()
            lasted = time.monotonic() - began
            end_of(zond)
        check_untouched(process)
    found = check_readable(recording)
    assert not found["run"]["complete"]
    assert found["run"]["wall_s"] > lasted - 2
    assert "outer" in functions(found)


def test_kill_of_a_running_zond(tmp_path: Path) -> None:
    """The program that it had started goes on and finishes."""
    done = tmp_path / "done"
    code = f"{BUSY}\nopen({str(done)!r}, 'w').close()"
    code = f"import os\nprint('ready', flush=True)\nprint(os.getpid(), flush=True)\n{code}"
    with started(*zond_run(tmp_path, code), "3") as zond:
        assert zond.stdout is not None
        target = int(zond.stdout.readline())
        time.sleep(2.2)
        zond.kill()
        end_of(zond)
        state, tracer = process_state(target)
        assert state in "RS"
        assert tracer == 0
        wait_until(done.exists, "end of the program")
    found = check_readable(tmp_path / "run.zond")
    assert not found["run"]["complete"]
    assert found["run"]["wall_s"] > 0.9
    assert "outer" in functions(found)


def test_kill_before_the_program_began(tmp_path: Path) -> None:
    """zond waits for a reader of its pipe; without zond, nothing is left over."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    command = [ZOND, "run", "-o", str(gate), "touch", str(tmp_path / "started")]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as zond:
        wait_until(lambda: state_of(zond.pid) == "S", "wait")
        zond.send_signal(signal.SIGTERM)
        assert end_of(zond) == -signal.SIGTERM
    assert not (tmp_path / "started").exists()
