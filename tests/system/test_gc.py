"""`zond gc`: each collection is found as the program itself sees it by gc.callbacks, one by one.

The program listens, too, behind zond: for each collection it keeps what it was told, when, and which line triggered it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from recording import figures
from recording.compare import taken
from recording.zond_format import Collection, Recording
from system.drive import (
    PYTHON,
    Report,
    check_readable,
    every_version,
    interpreter_of,
    run_code,
    tool,
    version_of,
    view,
    zond,
)

# Of the truth a line each: PID, start and end in ns, generation, collected, uncollectable, line that triggered it.
LISTENS = """\
import gc, json, os, sys, threading, time
truth, began = [], 0
def listen(phase, info):
    global began
    if phase == "start":
        began = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        return
    ended = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    frame = sys._getframe(1)
    place = [frame.f_code.co_name, frame.f_lineno]
    truth.append([os.getpid(), began, ended, info["generation"], info["collected"], info["uncollectable"], place])
def write_truth():
    if listen in gc.callbacks: gc.callbacks.remove(listen)
    with open(sys.argv[1], "a") as file:
        for row in truth: file.write(json.dumps(row) + "\\n")
class Ring:
    def __init__(self): self.ring = self
def rings(count):
    for _ in range(count):
        ring = []
        ring.append(ring)
gc.callbacks.append(listen)
"""

ASKS = """\
def asks():
    for generation in (0, 1, 2, 0, 2):
        for _ in range(50): Ring()
        gc.collect(generation)
    gc.collect()
asks()
write_truth()
os._exit(5)
"""

ALLOCATES = """\
kept = [[] for _ in range(50000)]
rings(60000)
write_truth()
os._exit(5)
"""

THREADS = """\
def works(count):
    for _ in range(count):
        rings(2000)
        gc.collect(1)
threads = [threading.Thread(target=works, args=(n,)) for n in (3, 4, 5, 6)]
for thread in threads: thread.start()
for thread in threads: thread.join()
write_truth()
os._exit(5)
"""

FORKS = """\
rings(20000)
gc.collect()
child = os.fork()
if child == 0:
    truth.clear()
    gc.collect(1)
    if os.fork() == 0:
        truth.clear()
        rings(30000)
        write_truth()
        os._exit(0)
    os.wait()
    gc.collect(0)
    write_truth()
    os._exit(0)
os.wait()
gc.collect(2)
write_truth()
os._exit(5)
"""

# In a finalizer, so that the child is in the middle of a collection that its parent began.
FORKS_IN_A_COLLECTION = """\
class Forks(Ring):
    def __del__(self):
        if os.fork() == 0:
            os._exit(0)
        os.wait()
Forks()
gc.collect()
gc.collect(0)
write_truth()
os._exit(5)
"""

PROGRAMS = {
    "asks": ASKS,
    "allocates": ALLOCATES,
    "threads": THREADS,
    "forks": FORKS,
    "forks in a collection": FORKS_IN_A_COLLECTION,
}


@dataclass(frozen=True)
class Ran:
    status: int
    err: str
    recording: Path
    truth: Path

    def found(self) -> Report:
        report: Report = json.loads(view(self.recording, "--json", verb="gc"))
        return report


def record(folder: Path, code: str, *, python: str = PYTHON, verb: str = "gc", options: tuple[str, ...] = ()) -> Ran:
    """`zond gc` of a program that has LISTENS, in a file of its own."""
    program, truth, recording = folder / "program.py", folder / "truth", folder / "gc.zond"
    program.write_text(LISTENS + code)
    done = zond(verb, "--quiet", "-o", recording, *options, "--", python, program, truth)
    return Ran(done.returncode, done.stderr.decode(), recording, truth)


def innermost(recording: Recording, one: Collection) -> list[Any]:
    """The function and the line that triggered it."""
    _, number = recording.heap_nodes[one.stack]
    frame = recording.frames[number]
    name = figures.text(recording, recording.codes[frame.code].name)
    return [name.rpartition(".")[2], frame.line]


def check_truth(ran: Ran) -> int:
    """What the program saw from when it listened on until it stopped, one by one; how many there were."""
    recording = taken(ran.recording)
    assert recording.header
    start = recording.header.started
    rows = [json.loads(line) for line in ran.truth.read_text().splitlines()]
    for pid in {row[0] for row in rows}:
        mine = [row for row in rows if row[0] == pid]
        first, last = mine[0][1], mine[-1][2]
        heaps = {number for number, heap in enumerate(recording.heaps) if heap.pid == pid}
        seen = [one for one in recording.collections if one.heap in heaps]
        # zond's begins before the program hears of it, and has ended before the program hears of that.
        ours = [one for one in seen if first <= start + one.start + one.length <= last]
        assert [[one.generation, one.collected, one.uncollectable] for one in ours] == [row[3:6] for row in mine]
        for one, row in zip(ours, mine, strict=True):
            assert innermost(recording, one) == row[6]
            assert start + one.start <= row[1]
            assert row[1] <= start + one.start + one.length <= row[2]
    return len(rows)


@every_version()
@pytest.mark.parametrize("program", PROGRAMS)
def test_each_collection(program: str, version: str, tmp_path: Path) -> None:
    ran = record(tmp_path, PROGRAMS[program], python=interpreter_of(version).path)
    assert ran.status == 5, ran.err
    # Who asks while another thread collects is passed over.
    assert check_truth(ran) >= {"asks": 6, "threads": 3, "forks": 4}.get(program, 2)
    found = ran.found()
    assert found["gc"]["exact"]
    # The child in the middle of a collection ends at once: whether it is heard of depends on what it does for that.
    assert found["gc"]["programs"] in {"forks": (3,), "forks in a collection": (1, 2)}.get(program, (1,))
    assert found["sampling"]["unrecorded_collections"] == 0
    assert found["memory"] is None
    check_readable(ran.recording)


@every_version()
def test_generations_and_functions_in_the_report(version: str, tmp_path: Path) -> None:
    """Those of the program, on top of those that imports made."""
    ran = record(tmp_path, ASKS, python=interpreter_of(version).path)
    found = ran.found()["gc"]
    assert [row["generation"] for row in found["collections"]] == [0, 1, 2]
    counts = [row["count"] for row in found["collections"]]
    assert [count >= least for count, least in zip(counts, (2, 1, 3), strict=True)] == [True, True, True]
    (asks,) = (row for row in found["functions"] if row["name"] == "asks")
    # Those that were asked for; the list of a generation may be full on its way, too.
    assert asks["count"] >= 6
    # Some may have been found by a collection that came in between.
    assert 0 < asks["collected"] <= sum(row["collected"] for row in found["collections"])
    pauses = found["pauses"]
    assert pauses["count"] == sum(counts) == sum(row["count"] for row in found["functions"])
    assert pauses["count"] == sum(row["count"] for row in found["lines"])
    assert 0 < pauses["p50_s"] <= pauses["p99_s"] <= pauses["max_s"] <= pauses["total_s"]
    assert pauses["total_s"] == pytest.approx(sum(row["total_s"] for row in found["collections"]))
    assert found["share"] == pytest.approx(pauses["total_s"] / found["recorded_s"])


def test_memory_with_collections(tmp_path: Path) -> None:
    """`zond mem` records both, and each view shows its own."""
    ran = record(tmp_path, ALLOCATES, verb="mem")
    assert check_truth(ran) > 10
    found = ran.found()
    assert found["gc"]["exact"]
    assert found["memory"]["allocations"] > 0
    assert "Generations" in view(ran.recording, verb="gc")
    assert "at peak" in view(ran.recording, verb="mem")


def test_collections_without_memory(tmp_path: Path) -> None:
    ran = record(tmp_path, ASKS)
    assert "holds no memory" in view(ran.recording, verb="mem")


@every_version()
def test_program_sees_one_more_entry_and_nothing_else(version: str, tmp_path: Path) -> None:
    code = """\
print(len(gc.callbacks), callable(gc.callbacks[0]), gc.callbacks[-1] is listen)
for arguments in ((), ("start",), ("start", None), (1, 2), ("stop", {}), ("stop", {"collected": "x"}), ("other", {})):
    print(gc.callbacks[0](*arguments))
print(sys.exc_info(), gc.isenabled(), gc.get_threshold() == gc.get_threshold(), threading.active_count())
try:
    raise ValueError("mine")
except ValueError:
    gc.collect()
    print(repr(sys.exc_info()[1]))
gc.callbacks.remove(listen)
sys.stdout.flush()
sys.stderr.write("to stderr\\n")
sys.exit(42)
"""
    ran = record(tmp_path, code, python=interpreter_of(version).path)
    assert ran.status == 42
    assert ran.err.splitlines()[:-1] == [
        "2 True True",
        *["None"] * 7,
        "(None, None, None) True True 1",
        "ValueError('mine')",
        "to stderr",
    ]


@pytest.mark.parametrize(
    "clears",
    [
        "gc.callbacks.clear()",
        "gc.callbacks[:] = [listen]",
        "gc.callbacks.remove(gc.callbacks[0])",
        "del gc.callbacks[0]",
    ],
)
@every_version()
def test_program_that_clears_the_list(version: str, clears: str, tmp_path: Path) -> None:
    """What was seen before stays, nothing is put back, and it is said that more is not known."""
    code = f"""\
def before(): gc.collect()
def after(): gc.collect()
before()
{clears}
left = list(gc.callbacks)
after()
assert gc.callbacks == left and all(entry is listen for entry in left)
os._exit(6)
"""
    ran = record(tmp_path, code, python=interpreter_of(version).path)
    assert ran.status == 6, ran.err
    found = ran.found()
    assert found["sampling"]["unrecorded_collections"] == 1
    names = {row["name"] for row in found["gc"]["functions"]}
    assert "before" in names
    assert "after" not in names
    text = view(ran.recording, verb="gc")
    assert re.search(r"not\s+in\s+gc\.callbacks\s+any\s+more", text), text


@every_version()
def test_child_of_a_program_that_cleared_the_list(version: str, tmp_path: Path) -> None:
    """It has it empty, too, whatever it does."""
    code = """\
gc.callbacks.clear()
if os.fork() == 0:
    kept = [bytearray(100000) for _ in range(100)]
    exec("rings(20000)")
    os._exit(len(gc.callbacks))
os._exit(os.WEXITSTATUS(os.wait()[1]) + 6)
"""
    ran = record(tmp_path, code, python=interpreter_of(version).path)
    assert ran.status == 6, ran.err
    assert ran.found()["sampling"]["unrecorded_collections"] == 2


@pytest.mark.parametrize("replaces", ["gc.callbacks = []", "del gc.callbacks", "del sys.modules['gc']"])
def test_program_that_replaces_the_list(replaces: str, tmp_path: Path) -> None:
    """Python itself goes on with the one that it has."""
    ran = record(tmp_path, f"{replaces}\ndef after(): gc.collect()\nafter()\nos._exit(6)\n")
    assert ran.status == 6, ran.err
    found = ran.found()
    assert "after" in {row["name"] for row in found["gc"]["functions"]}
    assert found["sampling"]["unrecorded_collections"] == 0


ENDS = {
    "os._exit(0)": 0,
    "sys.exit(7)": 7,
    "raise SystemExit(8)": 8,
    "1 / 0": 1,
    "os.kill(os.getpid(), 9)": 128 + 9,
    "os.abort()": 128 + 6,
    "os.execv(sys.executable, [sys.executable, '-c', 'import gc; gc.collect(); raise SystemExit(9)'])": 9,
}


@every_version()
@pytest.mark.parametrize("end", ENDS)
def test_ends(end: str, version: str, tmp_path: Path) -> None:
    """What was collected up to the end is there, and the end is the program's."""
    ran = record(tmp_path, f"def asked(): gc.collect()\nasked()\n{end}\n", python=interpreter_of(version).path)
    assert ran.status == ENDS[end], ran.err
    found = ran.found()
    assert "asked" in {row["name"] for row in found["gc"]["functions"]}
    assert found["sampling"]["unrecorded_collections"] == 0
    assert found["gc"]["programs"] == (2 if "exec" in end else 1)


@every_version()
def test_no_collection(version: str, tmp_path: Path) -> None:
    """That there was none is known, and is not the same as unknown."""
    recording = tmp_path / "gc.zond"
    python = interpreter_of(version)
    code = "import gc, os, time; gc.disable(); time.sleep(0.2); os._exit(0)"
    done = zond("gc", "-q", "-o", recording, "--", python.path, "-S", "-E", "-c", code)
    assert done.returncode == 0, done.stderr
    found = json.loads(view(recording, "--json", verb="gc"))["gc"]
    assert found["exact"]
    assert sum(row["count"] for row in found["collections"]) == found["pauses"]["count"]
    if not found["pauses"]["count"]:
        assert found["pauses"]["p50_s"] is None
        assert "in 0 collections" in view(recording, verb="gc")


def test_sampled_share(tmp_path: Path) -> None:
    """A recording from outside has a share, and the view says how to get more."""
    code = "import gc, time\nend = time.monotonic() + 0.5\nkept = [[] for _ in range(200000)]\n"
    ran = run_code(tmp_path, code + "while time.monotonic() < end: gc.collect()\n")
    text = view(ran.recording, verb="gc")
    assert "Sampled" in text
    assert "zond gc COMMAND" in text
    found = json.loads(view(ran.recording, "--json", verb="gc"))["gc"]
    assert found["collections"] is None
    assert found["pauses"] is None
    assert not found["exact"]
    assert found["share"] > 0.1


def test_program_without_python(tmp_path: Path) -> None:
    recording = tmp_path / "gc.zond"
    done = zond("gc", "-o", recording, "--", "sh", "-c", "exit 4")
    assert done.returncode == 4
    assert "No Python was seen" in done.stdout.decode()


def test_python_that_is_not_reached(tmp_path: Path) -> None:
    """One without zond's environment is named."""
    recording = tmp_path / "gc.zond"
    code = "import time; time.sleep(0.5)"
    script = f"{PYTHON} -c '{code}' & env -u LD_PRELOAD -u ZOND_AGENT {PYTHON} -c '{code}'; wait"
    done = zond("gc", "-o", recording, "--", "sh", "-c", script)
    assert done.returncode == 0
    assert re.search(r"process +\d+: a Python that zond's library did not reach", done.stdout.decode())
    static = tmp_path / "static.c"
    static.write_text("#include <unistd.h>\nint main(void) { usleep(100000); return 5; }\n")
    subprocess.run([tool("gcc"), "-static", "-o", tmp_path / "static", static], check=True)
    done = zond("gc", "-o", recording, "--", tmp_path / "static")
    assert done.returncode == 5
    assert re.search(r"collections\s+were\s+not\s+recorded", done.stdout.decode())


CHILDREN = """\
import multiprocessing, os, subprocess
def works(n):
    rings(2000)
    return n
if __name__ == "__main__":
    for _ in range(30): subprocess.run(["/bin/true"])
    for _ in range(10): subprocess.run(["/bin/true"], preexec_fn=os.getpid)
    for _ in range(20):
        if os.fork() == 0: os._exit(0)
        os.wait()
    for method in ("fork", "spawn", "forkserver"):
        with multiprocessing.get_context(method).Pool(2) as pool: assert sum(pool.map(works, range(100))) == 4950
    sys.exit(5)
"""


@every_version()
def test_children_are_all_reached(version: str, tmp_path: Path) -> None:
    """However they are started; those that are about to be another program, and such as do nothing, are not missed."""
    ran = record(tmp_path, CHILDREN, python=interpreter_of(version).path)
    assert ran.status == 5, ran.err
    text = view(ran.recording, verb="gc")
    assert "did not reach" not in text, text
    recording = taken(ran.recording)
    collected = {one.heap for one in recording.collections if innermost(recording, one)[0] == "rings"}
    assert len(collected) >= 3


def test_duration(tmp_path: Path) -> None:
    """After it the agent is silent, and the program goes on alone."""
    code = "def first(): gc.collect()\ndef later(): gc.collect()\nfirst()\ntime.sleep(2)\nlater()\nos._exit(3)\n"
    ran = record(tmp_path, code, options=("-d", "1"))
    assert ran.status == 3, ran.err
    names = {row["name"] for row in ran.found()["gc"]["functions"]}
    assert "first" in names
    assert "later" not in names


@pytest.mark.parametrize("width", [60, 100])
def test_widths(width: int, tmp_path: Path) -> None:
    ran = record(tmp_path, ALLOCATES)
    text = view(ran.recording, "--width", str(width), verb="gc")
    assert max(map(len, text.splitlines())) <= width
    for heading in ("Generations", "Functions", "Lines"):
        assert heading in text
    number = (tmp_path / "program.py").read_text().splitlines().index("        ring.append(ring)") + 1
    assert re.search(rf"program\.py:{number - 1}|program\.py:{number}", text), text


def test_filters_symbols_and_merge_keep_collections(tmp_path: Path) -> None:
    ran = record(tmp_path, FORKS)
    found = ran.found()["gc"]
    pids = {heap.pid for heap in taken(ran.recording).heaps}
    assert len(pids) == 3
    each = [json.loads(view(ran.recording, "--json", "--pid", str(pid), verb="gc"))["gc"] for pid in pids]
    assert [one["programs"] for one in each] == [1, 1, 1]
    assert sum(one["pauses"]["count"] for one in each) == found["pauses"]["count"]
    merged = tmp_path / "merged.zond"
    assert zond("merge", ran.recording, ran.recording, "-o", merged).returncode == 0
    twice = json.loads(view(merged, "--json", verb="gc"))["gc"]
    assert [row["count"] for row in twice["collections"]] == [2 * row["count"] for row in found["collections"]]
    resolved = json.loads(view(ran.recording, "--json", "--symbols", str(tmp_path)))["gc"]
    assert resolved["collections"] == found["collections"]
    assert resolved["functions"] == found["functions"]


def test_subinterpreters_are_not_reached_and_harm_nothing(tmp_path: Path) -> None:
    code = """\
import _interpreters as interpreters
other = interpreters.create()
interpreters.run_string(other, "import gc; assert gc.callbacks == []; gc.collect()")
interpreters.destroy(other)
def after(): gc.collect()
after()
os._exit(6)
"""
    python = interpreter_of("3.13")
    assert version_of(python) >= (3, 13)
    ran = record(tmp_path, code, python=python.path)
    assert ran.status == 6, ran.err
    found = ran.found()
    assert "after" in {row["name"] for row in found["gc"]["functions"]}
    assert found["sampling"]["unrecorded_collections"] == 0


@pytest.mark.parametrize("version", ["3.8", "3.11", "3.12", "3.13"])
def test_python_that_begins_twice(version: str, tmp_path: Path) -> None:
    """In a program that embeds it: both times are listened to."""
    python = interpreter_of(version)
    if not python.has_headers:
        pytest.skip(f"no headers of {version}")
    config = Path(python.path).resolve().with_name(f"python{version}-config")
    flags = subprocess.run([config, "--embed", "--cflags", "--ldflags"], check=True, capture_output=True, text=True)
    source, program = tmp_path / "twice.c", tmp_path / "twice"
    source.write_text(
        """\
#include <Python.h>
int main(void)
{
    for (int i = 0; i < 2; i++) {
        Py_Initialize();
        PyRun_SimpleString("import gc\\ndef asked(): gc.collect()\\nfor _ in range(3): asked()");
        Py_FinalizeEx();
    }
    return 7;
}
"""
    )
    built = subprocess.run(
        [tool("gcc"), "-rdynamic", source, "-o", program, *flags.stdout.split()], check=False, capture_output=True
    )
    assert built.returncode == 0, built.stderr
    recording = tmp_path / "gc.zond"
    environment = {**os.environ, "PYTHONHOME": str(Path(python.path).resolve().parent.parent)}
    done = zond("gc", "-q", "-o", recording, "--", program, env=environment)
    assert done.returncode == 7, done.stderr
    found = json.loads(view(recording, "--json", verb="gc"))["gc"]
    assert sum(row["count"] for row in found["functions"] if row["name"] == "asked") == 6
