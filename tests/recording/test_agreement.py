"""Two readers, one in C and one in Python by the document alone, take the same from real recordings.

Thing by thing through dump_recording, and in the sums that a user sees: the JSON and the collapsed stacks.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import matrix
import pytest
from recording import figures, zond_format
from recording.zond_format import Recording
from system.drive import (
    PYTHON,
    ROOT,
    TIMEOUT,
    ZOND,
    Report,
    attach,
    end_of,
    interpreter_of,
    run_code,
    started,
    version_of,
    wait_until,
    zond,
)

DUMP = ROOT / "build" / "tests" / "dump_recording"

THREADS = """\
import gc, threading, time
def spin(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end: sum(range(100))
def collect(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        rings = [[] for _ in range(1000)]
        for ring in rings: ring.append(ring)
        gc.collect()
workers = [threading.Thread(target=spin, args=(0.5,), name="Arbeiter \\u00e4%d" % n) for n in range(2)]
workers.append(threading.Thread(target=collect, args=(0.5,), name="collector"))
workers.append(threading.Thread(target=time.sleep, args=(0.6,), name="\\u0441\\u043e\\u043d"))
for worker in workers: worker.start()
for worker in workers: worker.join()
raise SystemExit(3)
"""

FORK = """\
import os, subprocess, sys, time
def spin(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end: sum(range(100))
def in_child():
    spin(0.4)
    os._exit(7)
child = os.fork()
if child == 0: in_child()
other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(0.3); raise SystemExit(4)", "an  argument"])
spin(0.3)
os.waitpid(child, 0)
other.wait()
os.kill(os.getpid(), 9)
"""

ASYNC = """\
import asyncio
async def leaf(seconds): await asyncio.sleep(seconds)
async def middle(seconds): await leaf(seconds)
async def busy():
    for _ in range(20):
        sum(range(100000))
        await asyncio.sleep(0.01)
async def main(): await asyncio.gather(middle(0.6), middle(0.5), busy())
asyncio.run(main())
"""

# Stacks of many depths, most of them seen once: callers more than 255 steps up.
DEEP = """\
import random, sys, threading, time
sys.setrecursionlimit(5000)
def f(n):
    if n and random.random() < 0.5:
        return g(n - 1)
    return f(n - 1) if n else spin()
def g(n):
    return f(n - 1) if n else spin()
def spin():
    end = time.monotonic() + 0.0005
    while time.monotonic() < end: pass
def all_depths():
    end = time.monotonic() + 0.5
    while time.monotonic() < end: f(random.choice([3, 40, 600]))
threading.stack_size(1 << 27)
thread = threading.Thread(target=all_depths)
thread.start()
thread.join()
"""

NAMES = """\
import time
class \u041a\u043b\u0430\u0441\u0441:
    def \u8a08\u7b97(self, end):
        while time.monotonic() < end: sum(range(100))
def caf\u00e9(end):
    \u041a\u043b\u0430\u0441\u0441().\u8a08\u7b97(end)
exec(compile("def from_afar(end): \\n\\n\\n caf\u00e9(end)", "\u3042/\U0001f40d;x y.py", "exec"))
from_afar(time.monotonic() + 0.4)
(lambda end: caf\u00e9(end))(time.monotonic() + 0.2)
"""

# New stacks all the time.
RESTLESS = """\
import random, sys, time
def f(n):
    return g(n - 1) if n and random.random() < 0.5 else f(n - 1) if n else random.random()
def g(n):
    return f(n - 1) if n else random.random()
print("ready", flush=True)
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end: f(30)
"""

PROGRAMS = {"threads": THREADS, "fork": FORK, "asyncio": ASYNC, "deep": DEEP, "names": NAMES}


def taken(path: Path) -> Recording:
    with path.open("rb") as file:
        return zond_format.read(file)


def by_kind(lines: list[str]) -> dict[str, list[str]]:
    """Lines by their first word, in their order."""
    kinds: dict[str, list[str]] = {}
    for line in lines:
        kinds.setdefault(line.split(maxsplit=1)[0].rstrip(":"), []).append(line)
    return kinds


def check_dump(path: Path, recording: Recording) -> None:
    """Every header, frame, node, process, thread, sample and event is the same to the last number."""
    done = subprocess.run([DUMP, path], capture_output=True, encoding="ascii", timeout=TIMEOUT, check=True)
    theirs, ours = by_kind(done.stdout.splitlines()), by_kind(list(figures.dump(recording)))
    assert theirs.keys() == ours.keys()
    for kind in ours:
        assert theirs[kind] == ours[kind]


def ns(seconds: float) -> int:
    return round(seconds * 1e9)


def check_report(found: Report, recording: Recording) -> None:
    """`zond report --json` has the sums of what was read in Python."""
    header = recording.header
    assert header
    assert found["run"]["command"] == figures.words(header.command)
    assert found["run"]["complete"] == (recording.end == "complete")
    assert found["run"]["attached"] == header.attached
    if recording.ended:
        assert ns(found["run"]["wall_s"]) == recording.ended.time
        assert found["run"]["exit"] == exit_of(recording.ended.code, recording.ended.signal)
    sampling = found["sampling"]
    assert sampling["samples"] == sum(sample.looks for sample in figures.own(recording))
    assert {key: sampling[key] for key in figures.LOSSES} == figures.losses(recording)
    details = dict.fromkeys(figures.text(recording, loss.detail) for loss in recording.losses if loss.detail)
    assert sampling["losses"] == list(details)
    check_processes(found, recording)
    check_tables(found, recording)


def exit_of(code: int | None, by: int) -> dict[str, int | None]:
    return {"code": None if by else code, "signal": by or None}


def check_processes(found: Report, recording: Recording) -> None:
    ends = {event.process: exit_of(event.code, event.signal) for event in recording.exits}
    threads = figures.threads(recording)
    for number, (theirs, process) in enumerate(zip(found["processes"], recording.processes, strict=True)):
        python = figures.text(recording, process.python) if process.python else None
        assert (theirs["pid"], theirs["ppid"], theirs["python"]) == (process.pid, process.parent, python)
        assert theirs["command"] == figures.words(recording.strings[process.command])
        assert theirs["exit"] == ends.get(number, exit_of(None, 0))
        of_theirs = [
            {key: ns(value) if key.endswith("_s") else value for key, value in thread.items()}
            for thread in theirs["threads"]
        ]
        assert of_theirs == threads[number]


TIMES = ("self_wall_s", "total_wall_s", "self_cpu_s", "total_cpu_s")


def rows_of(table: list[dict[str, Any]], *keys: str) -> Counter[tuple[object, ...]]:
    """Rows with any time."""
    rows = [(*(row[key] for key in keys), *(ns(row[key]) for key in TIMES)) for row in table]
    return Counter(row for row in rows if any(row[-len(TIMES) :]))


def check_tables(found: Report, recording: Recording) -> None:
    functions = {row: n for row, n in figures.functions(recording).items() if any(row[-len(TIMES) :])}
    assert rows_of(found["functions"], "name", "file", "line", "kind") == functions
    lines = {row: n for row, n in figures.lines(recording).items() if any(row[-len(TIMES) :])}
    assert rows_of(found["lines"], "file", "line", "function") == lines


def check_collapsed(path: Path, recording: Recording, metric: str) -> None:
    """Each stack of the export weighs what it weighs here, to the microsecond that it is rounded to."""
    done = zond("export", "--format", "collapsed", "--lines", "--metric", metric, path)
    assert done.returncode == 0, done.stderr
    theirs: Counter[str] = Counter()
    rows: Counter[str] = Counter()
    for line in done.stdout.decode(errors="replace").splitlines():
        stack, weight = line.rsplit(" ", 1)
        theirs[stack] += int(weight)
        rows[stack] += 1
    ours = figures.collapsed(recording, figures.METRICS[metric])
    assert [stack for stack in theirs if stack not in ours] == []
    wrong = {s: (theirs[s], ours[s]) for s in ours if abs(theirs[s] * 1000 - ours[s]) > 1000 * max(rows[s], 1)}
    assert wrong == {}
    assert abs(theirs.total() * 1000 - ours.total()) <= 500


def check(path: Path) -> Recording:
    """Both readers, and all views, agree. Returns what was read."""
    recording = taken(path)
    check_dump(path, recording)
    report = zond("report", "--json", path)
    assert report.returncode == 0, report.stderr
    check_report(json.loads(report.stdout), recording)
    for metric in figures.METRICS:
        check_collapsed(path, recording, metric)
    return recording


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("version", matrix.VERSIONS)
def test_readers_agree(tmp_path: Path, version: str, program: str) -> None:
    interpreter = interpreter_of(version)
    ran = run_code(tmp_path, PROGRAMS[program], python=interpreter.path)
    recording = check(ran.recording)
    assert recording.end == "complete", ran.err
    assert recording.samples
    if program == "asyncio" and version_of(interpreter) >= (3, 14):
        assert any(sample.state & zond_format.TASK for sample in recording.samples)


@pytest.mark.parametrize("version", matrix.VERSIONS)
def test_readers_agree_on_what_a_killed_zond_leaves(tmp_path: Path, version: str) -> None:
    """It is cut behind its last chunk; and inside of one, when a byte of that is missing."""
    recording, python = tmp_path / "run.zond", interpreter_of(version).path
    with started(ZOND, "run", "-q", "-o", recording, "--", python, "-c", RESTLESS, "100") as process:
        wait_until(lambda: recording.stat().st_size > 3000, "two chunks")
        process.send_signal(signal.SIGKILL)
        end_of(process)
    whole = check(recording)
    assert (whole.end, whole.offset) == ("cut", recording.stat().st_size)
    assert whole.samples
    os.truncate(recording, recording.stat().st_size - 1)
    less = check(recording)
    assert (less.end, less.offset < whole.offset) == ("cut", True)
    assert [sample[:-1] for sample in less.samples] == [sample[:-1] for sample in whole.samples[: len(less.samples)]]


def test_readers_agree_on_looks_without_a_pause(tmp_path: Path) -> None:
    """The period is 0: no sample's end can be told from its count."""
    recording = check(run_code(tmp_path, RESTLESS, "0.5", options=["-r", "max"]).recording)
    assert recording.header
    assert (recording.header.period, recording.header.attached) == (0, False)


def test_readers_agree_on_an_attachment(tmp_path: Path) -> None:
    with started(PYTHON, "-c", RESTLESS, "100") as process:
        recording = check(attach(tmp_path, process.pid, "-d", "0.5").recording)
    assert recording.header
    assert recording.header.attached
    assert recording.samples
