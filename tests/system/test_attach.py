"""`zond attach`: what it sees of each interpreter, and what it says when it cannot see."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from system.drive import (
    BUSY,
    PYTHON,
    ZOND,
    attach,
    attached,
    check_busy,
    check_readable,
    every_version,
    functions,
    interpreter_of,
    lines_of,
    needs_root,
    process_state,
    pythons,
    run,
    started,
    tool,
    version_of,
    wait_until,
    zond,
)

NOBODY = 65534


@every_version()
def test_busy_program(tmp_path: Path, version: str) -> None:
    interpreter = interpreter_of(version)
    with started(*interpreter.command("-c", BUSY, "60")) as process:
        found = attached(tmp_path, process.pid)
        assert process_state(process.pid) == ("R", 0)
    check_busy(found, interpreter)
    (seen,) = pythons(found)
    assert seen["pid"] == process.pid
    assert [thread["tid"] for thread in seen["threads"]] == [process.pid]
    assert seen["command"][:2] == [interpreter.path, "-c"]
    if version_of(interpreter) >= (3, 11):
        assert seen["python"].startswith(version.rstrip("t"))
    assert seen["python"].endswith("t") == interpreter.free_threaded


@every_version()
def test_run(tmp_path: Path, version: str) -> None:
    interpreter = interpreter_of(version)
    ran = run(tmp_path, "--", *interpreter.command("-c", BUSY, "0.7"))
    assert (ran.status, ran.out, ran.target_err) == (0, b"ready\n", "")
    check_busy(check_readable(ran.recording), interpreter)


# Waits in each way that a program may wait; the thread's function is named after it.
WAITS = """\
import os, select, socket, subprocess, threading, time
def in_sleep(): time.sleep(60)
def in_lock(): lock.acquire()
def in_read(): os.read(os.pipe()[0], 1)
def in_select(): select.select([], [], [], 60)
def in_accept():
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen(1)
    server.accept()
def in_wait(): subprocess.run(["sleep", "5"], stdout=subprocess.DEVNULL)
lock = threading.Lock()
lock.acquire()
for function in in_sleep, in_lock, in_read, in_select, in_accept, in_wait:
    threading.Thread(target=function, daemon=True).start()
time.sleep(0.3)
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("version", ["3.8", "3.11", "3.12", "3.15", "3.13t"])
def test_waiting_threads(tmp_path: Path, version: str) -> None:
    """They are seen where they wait, and take no CPU time."""
    with started(*interpreter_of(version).command("-c", WAITS)) as process:
        found = attached(tmp_path, process.pid)
    seen = functions(found)
    for name in ("in_sleep", "in_lock", "in_read", "in_select", "in_accept", "in_wait"):
        assert seen[name]["total_wall_s"] > 0.5 * found["run"]["wall_s"], name
        assert seen[name]["total_cpu_s"] < 0.1
    assert lines_of(found, "in_lock") == {3}
    assert lines_of(found, "in_accept") == {10}


# The call of a class becomes one that enters __init__ by itself (3.12+), by a frame that is no function's.
CONSTRUCTOR = """\
import time
class Made:
    def __init__(self, seconds):
        spin(seconds)
def spin(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end: sum(range(50))
def make(seconds):
    return Made(seconds)
for _ in range(2000): make(0)
make(0.7)
"""


@every_version()
def test_inside_a_constructor(tmp_path: Path, version: str) -> None:
    interpreter = interpreter_of(version)
    ran = run(tmp_path, "--", *interpreter.command("-c", CONSTRUCTOR))
    assert ran.status == 0, ran.err
    seen = functions(check_readable(ran.recording))
    name = "Made.__init__" if version_of(interpreter) >= (3, 11) else "__init__"
    for function in ("make", name, "spin"):
        assert seen[function]["total_wall_s"] > 0.6, function
        assert seen[function]["file"] == "<string>"


def test_recording_is_named_after_the_process(tmp_path: Path) -> None:
    with started(PYTHON, "-c", BUSY, "60") as process:
        done = zond("attach", "-q", "-d", "0.3", str(process.pid), cwd=tmp_path)
    (made,) = tmp_path.glob("*.zond")
    assert done.stderr.decode() == f"zond: recorded in {made.name}\n"
    assert made.name == f"{Path(os.path.realpath(PYTHON)).name}-{process.pid}.zond" or made.name.startswith("python")


def test_until_the_program_ends(tmp_path: Path) -> None:
    with started(PYTHON, "-c", BUSY, "1") as process:
        done = zond("attach", "-q", "-o", tmp_path / "run.zond", str(process.pid))
        assert done.returncode == 0
    assert check_readable(tmp_path / "run.zond")["run"]["complete"]


def test_summary_goes_to_standard_output(tmp_path: Path) -> None:
    with started(PYTHON, "-c", BUSY, "60") as process:
        done = zond("attach", "-d", "0.5", "-o", tmp_path / "run.zond", str(process.pid))
    assert (done.returncode, b"Work.inner" in done.stdout) == (0, True)
    assert done.stderr.decode() == f"zond: recorded in {tmp_path / 'run.zond'}\n"


def refusal(folder: Path, pid: int | str, through: list[str] | None = None) -> str:
    """What zond says when it cannot attach; it leaves no file behind."""
    done = zond("attach", "-d", "20", "-o", folder / "attach.zond", str(pid), through=through or [])
    assert (done.returncode, done.stdout) == (125, b""), done.stderr
    assert not (folder / "attach.zond").exists()
    return done.stderr.decode()


def test_no_such_process(tmp_path: Path) -> None:
    with started("true", ready=False) as process:
        process.wait()
    assert refusal(tmp_path, process.pid) == f"zond: there is no process {process.pid}\n"


def test_zombie(tmp_path: Path) -> None:
    pid = os.posix_spawnp("true", ["true"], os.environ)
    wait_until(lambda: process_state(pid)[0] == "Z", "zombie")
    try:
        assert refusal(tmp_path, pid).startswith(f"zond: process {pid} has ended: it is a zombie")
    finally:
        os.waitpid(pid, 0)


def test_no_python(tmp_path: Path) -> None:
    with started("sleep", "60", ready=False) as process:
        wait_until(lambda: Path(f"/proc/{process.pid}/comm").read_text() == "sleep\n", "exec")
        said = refusal(tmp_path, process.pid)
    assert said.startswith(f"zond: process {process.pid} (sleep) runs no Python")


def test_process_that_ends_before_it_starts_a_python(tmp_path: Path) -> None:
    with started("sleep", "0.5", ready=False) as process:
        wait_until(lambda: Path(f"/proc/{process.pid}/comm").read_text() == "sleep\n", "exec")
        assert "runs no Python" in refusal(tmp_path, process.pid)


def test_kernel_thread(tmp_path: Path) -> None:
    if not os.path.exists("/proc/2/comm") or Path("/proc/2/cmdline").read_bytes():
        pytest.skip("no kernel threads are seen here")
    assert "zond: process 2" in refusal(tmp_path, 2)


def test_thread_is_no_process(tmp_path: Path) -> None:
    """A TID is not a PID, and zond knows whose it is."""
    code = "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n" + BUSY
    with started(PYTHON, "-c", code, "60") as process:
        (tid,) = {int(name) for name in os.listdir(f"/proc/{process.pid}/task")} - {process.pid}
        said = refusal(tmp_path, tid)
    assert said == f"zond: {tid} is a thread of process {process.pid}: attach to that\n"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ([], "it needs one PID"),
        (["1", "2"], "it needs one PID"),
        (["python"], "'python' is not a PID"),
        (["0"], "'0' is not a PID"),
        (["-d", "0", "1"], "--duration takes a number above 0"),
        (["--rate", "x", "1"], "--rate takes a number above 0 or 'max', not 'x'"),
        (["99999999999"], "'99999999999' is not a PID"),
        (["12x"], "'12x' is not a PID"),
    ],
    ids=str,
)
def test_wrong_use(args: list[str], says: str) -> None:
    done = zond("attach", *args)
    assert (done.returncode, done.stdout) == (2, b"")
    assert says in done.stderr.decode()


@contextmanager
def reachable_by_others(folder: Path) -> Iterator[Path]:
    """A copy of zond where another user can run it."""
    for parent in [folder, *folder.parents]:
        if parent == Path("/tmp"):
            break
        parent.chmod(parent.stat().st_mode | 0o055)
    copy = folder / "zond"
    copy.write_bytes(Path(ZOND).read_bytes())
    copy.chmod(0o755)
    yield copy


@needs_root
def test_process_of_another_user(tmp_path: Path) -> None:
    setpriv = tool("setpriv")
    other = [setpriv, f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    with reachable_by_others(tmp_path) as copy, started(PYTHON, "-c", BUSY, "60") as process:
        command = [*other, str(copy), "attach", "-o", "/dev/full", str(process.pid)]
        done = subprocess.run(command, capture_output=True, check=False, timeout=60)
        assert process_state(process.pid) == ("R", 0)
    assert (done.returncode, done.stdout) == (125, b"")
    said = done.stderr.decode()
    assert f"process {process.pid} may not be looked into: it belongs to user 0 and you are user {NOBODY}" in said
    assert "Run zond as that user or as root: sudo zond" in said


@needs_root
def test_own_process_of_another_user(tmp_path: Path) -> None:
    """Neither root nor a capability is needed for a process of one's own, but for a ptrace scope."""
    if Path("/proc/sys/kernel/yama/ptrace_scope").exists():
        scope = Path("/proc/sys/kernel/yama/ptrace_scope").read_text().strip()
        if scope != "0":
            pytest.skip(f"kernel.yama.ptrace_scope is {scope}")
    python = "/usr/bin/python3"
    if not os.access(python, os.X_OK):
        pytest.skip(f"no {python} that every user can run")
    other = [tool("setpriv"), f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    tmp_path.chmod(0o777)
    with reachable_by_others(tmp_path) as copy, started(*other, python, "-c", BUSY, "60") as process:
        tmp_path.chmod(0o777)
        recording = tmp_path / "attach.zond"
        command = [*other, str(copy), "attach", "-q", "-d", "1", "-o", str(recording), str(process.pid)]
        done = subprocess.run(command, capture_output=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
    check_busy(check_readable(recording))


@needs_root
def test_without_the_capability(tmp_path: Path) -> None:
    """Root without SYS_PTRACE looks at a root that has more rights: as in a container."""
    setpriv = tool("setpriv")
    with started(PYTHON, "-c", BUSY, "60") as process:
        said = refusal(tmp_path, process.pid, through=[setpriv, "--bounding-set=-sys_ptrace"])
    assert f"process {process.pid} may not be looked into: " in said
    assert "SYS_PTRACE" in said


def test_unreadable_program(tmp_path: Path) -> None:
    """A program that has made itself unreadable, to an ordinary user."""
    PR_SET_DUMPABLE = 4  # noqa: N806
    if os.geteuid() == 0:
        pytest.skip("root may look into every process")
    code = f"import ctypes; ctypes.CDLL(None).prctl({PR_SET_DUMPABLE}, 0)\n{BUSY}"
    with started(PYTHON, "-c", code, "60") as process:
        assert "may not be looked into" in refusal(tmp_path, process.pid)


@pytest.mark.parametrize("output", ["no/folder/x.zond", "."])
def test_unwritable_output(tmp_path: Path, output: str) -> None:
    with started(PYTHON, "-c", BUSY, "60") as process:
        done = zond("attach", "-o", output, str(process.pid), cwd=tmp_path)
        assert process_state(process.pid) == ("R", 0)
    assert done.returncode == 125
    assert f"zond: cannot write {output}: " in done.stderr.decode()
    assert "choose another place with -o FILE" in done.stderr.decode()


def test_another_python(tmp_path: Path) -> None:
    """PyPy is named, and the program is left alone."""
    pypy = tool("pypy3")
    with started(pypy, "-c", BUSY, "60") as process:
        said = refusal(tmp_path, process.pid)
    assert f"process {process.pid} runs another Python than CPython (PyPy?), which zond cannot look into" in said
    done = zond("run", "-o", tmp_path / "run.zond", pypy, "-c", "import time; time.sleep(0.5); raise SystemExit(3)")
    assert done.returncode == 3
    assert "another Python than CPython (PyPy?)" in done.stderr.decode()
    check_readable(tmp_path / "run.zond")


def test_stopped_process(tmp_path: Path) -> None:
    """One that stands still can be looked at, and stands still afterwards."""
    with started(PYTHON, "-c", BUSY, "60") as process:
        process.send_signal(signal.SIGSTOP)
        wait_until(lambda: process_state(process.pid)[0] == "T", "stop")
        found = attached(tmp_path, process.pid, "-d", "0.5")
        assert process_state(process.pid) == ("T", 0)
    assert functions(found)["<module>"]["total_cpu_s"] == pytest.approx(0, abs=0.05)


def test_traced_process(tmp_path: Path) -> None:
    """Someone else traces it, a debugger say: zond needs no such right, and does not disturb."""
    ptrace_seize = 0x4206
    libc = ctypes.CDLL(None, use_errno=True)
    with started(PYTHON, "-c", BUSY, "60") as process:
        if libc.ptrace(ptrace_seize, process.pid, 0, 0) != 0:
            pytest.skip(f"may not trace: {os.strerror(ctypes.get_errno())}")
        found = attached(tmp_path, process.pid)
        assert process_state(process.pid) == ("R", os.getpid())
    check_busy(found)


def test_two_at_once(tmp_path: Path) -> None:
    with started(PYTHON, "-c", BUSY, "60") as process:
        (tmp_path / "other").mkdir()
        command = [ZOND, "attach", "-q", "-d", "1", "-o", str(tmp_path / "other/attach.zond"), str(process.pid)]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as other:
            found = attached(tmp_path, process.pid)
            assert other.wait(timeout=60) == 0
    check_busy(found)
    check_busy(check_readable(tmp_path / "other/attach.zond"))


def test_program_that_execs_while_attached(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(f"{BUSY}\nimport os\nos.execv(sys.executable, [sys.executable, '-c', {BUSY!r}, '60'])\n")
    with started(PYTHON, program, "0.5") as process:
        found = attached(tmp_path, process.pid, "-d", "2")
    assert len([p for p in pythons(found) if p["pid"] == process.pid]) == 2
    check_busy(found)


def test_every_tick_has_its_loss(tmp_path: Path) -> None:
    """A program that cannot be read for a while leaves no hole in silence: samples and losses fill the time."""
    with started(PYTHON, "-c", BUSY, "60") as process:
        found = attached(tmp_path, process.pid, "-d", "1")
    sampling = found["sampling"]
    ticks = sampling["samples"] + sampling["missed"]
    assert ticks > 0.8 * found["run"]["wall_s"] * sampling["rate_hz"]


def test_output_into_a_full_device(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with started(PYTHON, "-c", BUSY, "60") as process:
        ran = attach(tmp_path, process.pid, "-o", "/dev/full")
        assert process_state(process.pid) == ("R", 0)
    assert ran.status in (0, 125)
    assert re.search(r"the recording is incomplete: writing /dev/full stopped: No space left on device", ran.err)
