"""Two readers, one in C and one in Python by the document alone, take the same from real recordings.

Thing by thing through dump_recording, and in the sums that a user sees: the JSON and the collapsed stacks.
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import matrix
import pytest
from recording import zond_format
from recording.compare import check
from system.drive import (
    PYTHON,
    ZOND,
    attach,
    end_of,
    interpreter_of,
    run_code,
    started,
    version_of,
    wait_until,
    zond,
)

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
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.send_signal(signal.SIGKILL)
        end_of(process)
        for child in children:  # goes on without zond
            os.kill(int(child), signal.SIGKILL)
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


def test_readers_agree_on_native_stacks(tmp_path: Path) -> None:
    """Each stop has its pause."""
    recording = check(run_code(tmp_path, RESTLESS, "0.5", options=["--native-rate", "200"]).recording)
    assert 1 in {code.kind for code in recording.codes}
    assert sum(pause.times for pause in recording.pauses) == recording.stats[-1].stops > 10


MEMORY = """\
import os, time
kept = [bytearray(1000000 + n) for n in range(10)]
if os.fork() == 0:
    more = bytearray(3000000)
    os._exit(0)
os.wait()
time.sleep(0.3)
"""


@pytest.mark.parametrize("version", matrix.VERSIONS)
def test_readers_agree_on_memory(tmp_path: Path, version: str) -> None:
    """And the sums of what was read in Python are those of the JSON."""
    path = tmp_path / "mem.zond"
    done = zond("mem", "-q", "-o", path, "--", interpreter_of(version).path, "-c", MEMORY)
    assert done.returncode == 0
    recording = check(path)
    assert len(recording.heaps) == 2
    latest = {(site.heap, site.stack): site for site in recording.heap_sites}
    memory = json.loads(zond("mem", "--json", path).stdout)["memory"]
    assert memory["peak_bytes"] == sum(site.peak for site in latest.values())
    assert memory["allocated_bytes"] == sum(site.allocated for site in latest.values())
    assert memory["allocations"] == sum(site.allocations for site in latest.values())
    assert memory["live_at_exit_bytes"] == sum(site.allocated - site.freed for site in latest.values())
    points = {point.heap: point for point in recording.heap_points}
    assert memory["peak_bytes"] == sum(point.peak for point in points.values())
    assert memory["peak_rss_bytes"] == max(point.resident_peak for point in points.values())


COLLECTIONS = """\
import gc, os, time
def rings():
    for _ in range(20000):
        ring = []
        ring.append(ring)
rings()
gc.collect()
if os.fork() == 0:
    gc.collect(0)
    os._exit(0)
os.wait()
time.sleep(0.3)
"""


@pytest.mark.parametrize("version", matrix.VERSIONS)
@pytest.mark.parametrize("verb", ["gc", "mem"])
def test_readers_agree_on_collections(tmp_path: Path, version: str, verb: str) -> None:
    """And the sums of what was read in Python are those of the JSON."""
    path = tmp_path / "gc.zond"
    done = zond(verb, "-q", "-o", path, "--", interpreter_of(version).path, "-c", COLLECTIONS)
    assert done.returncode == 0
    recording = check(path)
    found = json.loads(zond("gc", "--json", path).stdout)
    assert (found["memory"] is not None) == (verb == "mem")
    assert found["gc"]["programs"] == len({collector.heap for collector in recording.collectors}) == 2
    for row in found["gc"]["collections"]:
        of = [one for one in recording.collections if one.generation == row["generation"]]
        assert row["count"] == len(of)
        assert row["collected"] == sum(one.collected for one in of)
        assert row["uncollectable"] == sum(one.uncollectable for one in of)
        assert row["total_s"] == pytest.approx(sum(one.length for one in of) / 1e9)
        assert row["max_s"] == pytest.approx(max((one.length for one in of), default=0) / 1e9)
    assert found["gc"]["pauses"]["count"] == len(recording.collections)
    assert found["gc"]["pauses"]["total_s"] == pytest.approx(sum(one.length for one in recording.collections) / 1e9)


def test_readers_agree_on_an_attachment(tmp_path: Path) -> None:
    with started(PYTHON, "-c", RESTLESS, "100") as process:
        recording = check(attach(tmp_path, process.pid, "-d", "0.5").recording)
    assert recording.header
    assert recording.header.attached
    assert recording.samples
