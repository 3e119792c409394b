"""Drives zond in the system tests: runs it, attaches it, reads its recordings, and checks what must hold always.

Always: zond is not killed by a signal of its own making, does not hang, and a sanitizer in it has nothing to say.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matrix
import pytest
from matrix import Interpreter

ROOT = Path(__file__).resolve().parent.parent.parent
ZOND = os.environ.get("ZOND") or str(ROOT / "build" / "src" / "cli" / "zond")
PYTHON = sys.executable

# A guard against hangs, far above what anything here takes.
TIMEOUT = 100

Report = dict[str, Any]
Word = str | bytes | Path

# What a sanitizer prints, if ZOND is built with one.
COMPLAINTS = ("AddressSanitizer", "LeakSanitizer", "ThreadSanitizer", "runtime error:")

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

# Prints a line, then keeps a CPU busy in `Work.inner`, called from `outer`: lines 6 and 10.
BUSY = """\
import sys, time

class Work:
    def inner(self, end):
        while time.monotonic() < end:
            sum(range(100))
        return end

def outer(seconds):
    return Work().inner(time.monotonic() + seconds)

print("ready", flush=True)
outer(float(sys.argv[1]))
"""

# Computes for argv[1] seconds, and counts the signals that reach it: a byte for each. Those of real time are queued.
COUNTS_SIGNALS = """\
import os, signal, sys, time

reads, writes = os.pipe()
os.set_blocking(reads, False)
os.set_blocking(writes, False)
signal.set_wakeup_fd(writes)
signal.signal(signal.SIGRTMIN, lambda *_: None)
print("ready", flush=True)
count = 0
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    sum(range(10000))
    try:
        count += len(os.read(reads, 4096))
    except BlockingIOError:
        pass
print(count, flush=True)
"""


@dataclass(frozen=True)
class Ran:
    """How a zond ended. `err` holds what zond and the target wrote to standard error."""

    status: int
    out: bytes
    err: str
    recording: Path

    @property
    def target_err(self) -> str:
        """What the target wrote, where zond was told to be quiet: all but the line of where the recording is."""
        lines = self.err.splitlines(keepends=True)
        return "".join(line for line in lines if not line.startswith("zond: recorded in "))


def check_sane(err: str) -> None:
    """Fails on a sanitizer's complaint."""
    assert [line for line in err.splitlines() if any(words in line for words in COMPLAINTS)] == []


def zond(
    *args: Word,
    stdin: bytes | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    through: Sequence[str] = (),
    preexec: Callable[[], None] | None = None,
    pass_fds: Sequence[int] = (),
) -> subprocess.CompletedProcess[bytes]:
    """Runs zond to its end. `through`: a command that starts it."""
    done = subprocess.run(
        [*through, ZOND, *(os.fspath(arg) for arg in args)],
        input=b"" if stdin is None else stdin,
        capture_output=True,
        env=env,
        cwd=cwd,
        timeout=TIMEOUT,
        preexec_fn=preexec,
        pass_fds=pass_fds,
        check=False,
    )
    check_sane(done.stderr.decode(errors="replace"))
    return done


def run(
    folder: Path,
    *command: Word,
    options: Sequence[Word] = (),
    stdin: bytes | None = None,
    env: Mapping[str, str] | None = None,
    through: Sequence[str] = (),
    preexec: Callable[[], None] | None = None,
    pass_fds: Sequence[int] = (),
) -> Ran:
    """`zond run --quiet` of a command, recorded in `folder`."""
    recording = folder / "run.zond"
    words = ["run", "--quiet", "--python", PYTHON, "-o", recording, *options, *command]
    done = zond(*words, stdin=stdin, env=env, through=through, preexec=preexec, pass_fds=pass_fds)
    return Ran(done.returncode, done.stdout, done.stderr.decode(errors="surrogateescape"), recording)


def run_code(folder: Path, code: str, *args: Word, options: Sequence[Word] = (), python: str = PYTHON) -> Ran:
    """`zond run` of a program's text."""
    return run(folder, python, "-c", code, *args, options=[*options, "--"])


def view(recording: Path, *options: Word, verb: str = "report") -> str:
    """A text view."""
    done = zond(verb, *options, recording)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode()


def report(recording: Path, *options: Word) -> Report:
    """`zond report --json`."""
    found: Report = json.loads(view(recording, "--json", *options))
    return found


def check_readable(recording: Path) -> Report:
    """Every view shows the recording, for people and for programs; nothing in them can upset a terminal."""
    for verb in ("report", "calls", "lines"):
        text = view(recording, verb=verb)
        assert [c for c in text if not c.isprintable() and c != "\n"] == []
    found = report(recording)
    for form in ("collapsed", "speedscope"):
        done = zond("export", "--format", form, recording)
        assert done.returncode == 0
        said = done.stderr.decode()
        if found["run"]["complete"]:
            assert said == ""
        else:
            assert re.fullmatch(r"zond export: .* (is incomplete|is damaged).* byte \d+; what .* is taken\n", said)
    json.loads(done.stdout)
    return found


def functions(found: Report) -> dict[str, Any]:
    """Functions by name; for one name twice, the one with more time."""
    ordered = sorted(found["functions"], key=lambda function: float(function["total_wall_s"]))
    return {function["name"]: function for function in ordered}


def lines_of(found: Report, function: str) -> set[int]:
    """The lines of a function that were seen."""
    return {line["line"] for line in found["lines"] if line["function"] == function}


def pythons(found: Report) -> list[dict[str, Any]]:
    """The processes in which a Python was seen."""
    return [process for process in found["processes"] if process["python"]]


def state_in(folder: Path) -> tuple[str, int]:
    fields = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
    return fields["State"].split()[0], int(fields["TracerPid"])


def process_state(pid: int) -> tuple[str, int]:
    """The state's letter and who traces it, of a process."""
    return state_in(Path(f"/proc/{pid}"))


def thread_states(pid: int) -> list[tuple[str, int]]:
    """The same of all threads of a process whose threads neither begin nor end."""
    return [state_in(task) for task in Path(f"/proc/{pid}/task").iterdir()]


def check_free(pid: int) -> None:
    """No thread of the process is stopped or traced; what a zond held that was killed goes on soon."""
    wait_until(lambda: all(state in "RSD" and not tracer for state, tracer in thread_states(pid)), "free threads")


def wait_until(true: Callable[[], bool], what: str) -> None:
    """Waits for something that comes for sure; TIMEOUT guards against a hang."""
    end = time.monotonic() + TIMEOUT
    while not true():
        assert time.monotonic() < end, f"no {what} within {TIMEOUT} s"
        time.sleep(0.01)


@contextmanager
def started(
    *command: Word, env: Mapping[str, str] | None = None, ready: bool = True
) -> Iterator[subprocess.Popen[bytes]]:
    """A program that runs meanwhile; it is killed at the end. `ready`: it prints a line when it may be looked at."""
    words = [os.fspath(word) for word in command]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env) as process:
        try:
            if ready:
                assert process.stdout is not None
                assert process.stdout.readline() == b"ready\n"
            yield process
        finally:
            process.kill()


def attach(folder: Path, pid: int, *options: Word, through: Sequence[str] = ()) -> Ran:
    """`zond attach --quiet` for a second, or as `options` say."""
    recording = folder / "attach.zond"
    done = zond("attach", "--quiet", "-d", "1", "-o", recording, *options, str(pid), through=through)
    return Ran(done.returncode, done.stdout, done.stderr.decode(errors="replace"), recording)


def attached(folder: Path, pid: int, *options: Word) -> Report:
    """What an attachment that works has seen."""
    ran = attach(folder, pid, *options)
    assert ran.status == 0, ran.err
    return check_readable(ran.recording)


def check_busy(found: Report, interpreter: Interpreter | None = None) -> None:
    """BUSY was seen: its functions, their lines, and the name of the method as far as the version has it."""
    qualified = interpreter is None or version_of(interpreter) >= (3, 11)
    name = "Work.inner" if qualified else "inner"
    seen = functions(found)
    assert {name, "outer", "<module>"} <= set(seen), sorted(seen)
    lines = lines_of(found, name)
    assert lines <= {4, 5, 6}, lines
    assert lines_of(found, "outer") == {10}
    assert seen[name]["line"] == 4
    assert seen["outer"]["total_wall_s"] > 0.5 * found["run"]["wall_s"]


def version_of(interpreter: Interpreter) -> tuple[int, int]:
    major, minor = interpreter.version.rstrip("t").split(".")
    return int(major), int(minor)


def interpreter_of(version: str) -> Interpreter:
    """The interpreter, or the test is skipped aloud (in CI: failed)."""
    found = matrix.find(version)
    if found is None:
        message = f"no CPython {version}: {matrix.advice(version)}"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return found


def every_version() -> pytest.MarkDecorator:
    """Once for each interpreter of the matrix."""
    return pytest.mark.parametrize("version", matrix.VERSIONS)


def tool(name: str) -> str:
    """The path of a program that a test cannot do without: it is skipped aloud (in CI: failed)."""
    found = shutil.which(name)
    if found is None:
        message = f"no `{name}` here: `./dev test` installs it"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return found


def stolen_s() -> float:
    """CPU time of all processors that the host of this virtual machine took away so far, s (proc(5), stat)."""
    steal = Path("/proc/stat").read_text().split("\n", 1)[0].split()[8]
    return int(steal) / os.sysconf("SC_CLK_TCK")


def end_of(process: subprocess.Popen[bytes]) -> int:
    """Waits for the end."""
    return process.wait(timeout=TIMEOUT)


@contextmanager
def traced(pid: int) -> Iterator[None]:
    """The process has strace for a tracer meanwhile."""
    strace = subprocess.Popen([tool("strace"), "-f", "-qq", "-o", "/dev/null", "-p", str(pid)])
    try:
        wait_until(lambda: process_state(pid)[1] == strace.pid, "tracer")
        yield
    finally:
        strace.terminate()
        strace.wait(timeout=TIMEOUT)


def send_signals(pid: int, seconds: float, *, every: float) -> int:
    """How many signals of real time were sent to COUNTS_SIGNALS, one every so many seconds."""
    sent = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        os.kill(pid, signal.SIGRTMIN)
        sent += 1
        time.sleep(every)
    return sent


def counted_signals(process: subprocess.Popen[bytes]) -> int:
    """What COUNTS_SIGNALS says at its end."""
    assert process.stdout is not None
    count = int(process.stdout.readline())
    assert end_of(process) == 0
    return count
