"""Start a workload, run a profiler against it, and read clocks: what all the figures need.

Rates of a target are read from its counter file while it runs, so that one process is measured with and without a
profiler in turn: two processes of one program differ by more (memory layout, neighbours) than a good profiler costs.
"""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from matrix import Interpreter

WORKLOADS = Path(__file__).resolve().parent / "workloads"
SLOTS = 256

# How long a target or a profiler gets to reach its steady state, s. The slowest starts in 0.3 s.
SETTLE_S = 0.8

# A command gets so long after its time, for its last samples and its file, s; then it is killed.
GRACE_S = 60


class ProfilerError(Exception):
    """A profiler that failed, with what it said."""


@dataclass(frozen=True)
class Target:
    """A running workload and its iteration counters."""

    process: subprocess.Popen[str]
    counters: memoryview

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self.process.pid

    def iterations(self) -> int:
        """Return the iterations so far, of all its threads."""
        return sum(self.counters)


@contextmanager
def target(interpreter: Interpreter, folder: Path, workload: str, *arguments: str) -> Iterator[Target]:
    """Run a workload that counts, for ever; it is killed at the end."""
    counter = folder / "counter"
    counter.write_bytes(bytes(8 * SLOTS))
    command = interpreter.command(str(WORKLOADS / workload), "inf", *arguments, "--counter", str(counter))
    with counter.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        with memoryview(mapped) as raw, raw.cast("Q") as counters:
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, text=True)
            try:
                time.sleep(SETTLE_S)
                yield Target(process, counters)
            finally:
                process.kill()
                process.wait()


@dataclass(frozen=True)
class Window:
    """What happened between two looks at the clocks."""

    seconds: float
    iterations: int
    profiler_cpu_s: float

    @property
    def rate(self) -> float:
        """Return the target's iterations per second."""
        return self.iterations / self.seconds


def watch(watched: Target, seconds: float, profiler: int | None = None) -> Window:
    """Let `seconds` pass; return what the target did and what CPU time the process `profiler` took."""
    cpu = cpu_time(profiler) if profiler else 0.0
    done, started = watched.iterations(), time.monotonic()
    time.sleep(seconds)
    done, passed = watched.iterations() - done, time.monotonic() - started
    return Window(passed, done, (cpu_time(profiler) - cpu) if profiler else 0.0)


def tree(pid: int) -> list[int]:
    """Return `pid` and its descendants."""
    found = [pid]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found += map(int, children.read_text().split())
            except OSError:
                continue
    return found


def cpu_time(pid: int) -> float:
    """Return the CPU time, s, of the process and its descendants, as the scheduler accounts it (ns)."""
    nanoseconds = 0
    for process in tree(pid):
        for schedstat in Path(f"/proc/{process}/task").glob("*/schedstat"):
            try:
                nanoseconds += int(schedstat.read_text().split()[0])
            except OSError:
                continue
    return nanoseconds / 1e9


def resident_bytes(pid: int) -> int:
    """Return the resident memory of the process and its descendants."""
    pages = sum(int(Path(f"/proc/{process}/statm").read_text().split()[1]) for process in tree(pid))
    return pages * os.sysconf("SC_PAGE_SIZE")


@dataclass
class Session:
    """A profiler at work: the process, and where its words go (a file, so that no pipe can fill up)."""

    process: subprocess.Popen[str]
    log: Path

    def finish(self, remaining_s: float, ends_itself: bool = True, good: Sequence[int] = (0,)) -> str:
        """Wait for its end and return what it said; a failure is an error.

        After `remaining_s` one that does not end by itself gets SIGINT.
        """
        try:
            self.process.wait(remaining_s)
        except subprocess.TimeoutExpired:
            if not ends_itself:
                self.process.send_signal(signal.SIGINT)
        try:
            status = self.process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        said = self.log.read_text(errors="replace")
        if status not in good:
            raise ProfilerError(f"{self.process.args!r} ended with {status}: {said[-2000:]}")
        return said


@contextmanager
def session(command: Sequence[str], log: Path) -> Iterator[Session]:
    """Start a profiler; it is killed if an error leaves it running."""
    with log.open("w") as words:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=words, stderr=words, text=True)
    try:
        yield Session(process, log)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def duration(command: Sequence[str], log: Path) -> float:
    """Return the wall time of a command, s."""
    started = time.monotonic()
    with session(command, log) as running:
        running.finish(0.0)
    return time.monotonic() - started


def middle(values: Sequence[float]) -> float | None:
    """Return the median; None where nothing was measured."""
    return median(values) if values else None
