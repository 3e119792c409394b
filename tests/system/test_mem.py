"""`zond mem`: what programs allocate, whose sizes are known by construction, is found to the byte.

The blocks are the C library's own, got through ctypes: so it is the same on each version. Lines are found by the
comment that they end with.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from system.drive import (
    PYTHON,
    ZOND,
    Report,
    check_readable,
    end_of,
    every_version,
    interpreter_of,
    run_code,
    started,
    tool,
    view,
    wait_until,
    zond,
)

# What the agent may ask of the C library: nothing that allocates, locks or writes.
AGENT_IMPORTS = {"__errno_location", "dlsym", "getenv", "memcpy", "strlen", "syscall"}

# What linkers add, for who wants it.
WEAK = {"_ITM_deregisterTMCloneTable", "_ITM_registerTMCloneTable", "__cxa_finalize", "__gmon_start__"}

LIBC = """\
import ctypes, mmap, os, signal, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
size, pointer = ctypes.c_size_t, ctypes.c_void_p
def declare(name, *arguments):
    function = getattr(libc, name)
    function.argtypes, function.restype = arguments, pointer
    return function
malloc, calloc, realloc = declare("malloc", size), declare("calloc", size, size), declare("realloc", pointer, size)
free, aligned = declare("free", pointer), declare("aligned_alloc", size, size)
reallocarray = declare("reallocarray", pointer, size, size)
memalign = declare("posix_memalign", pointer, size, size)
mapped = declare("mmap", pointer, size, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
unmap, remap = declare("munmap", pointer, size), declare("mremap", pointer, size, size, ctypes.c_int)
def anonymous(n, protection=3, more=0): return mapped(None, n, protection, 0x22 | more, -1, 0)  # anonymous
free(malloc(1))
"""

EACH_FUNCTION = """\
def main():
    kept = malloc(7000001)  # kept
    free(malloc(9000003))  # freed
    for _ in range(1000): free(malloc(12345))  # often
    first = malloc(100000)  # before realloc
    grown = realloc(first, 3000000)  # realloc
    assert realloc(grown, 1 << 62) is None
    small = realloc(malloc(500000), 70000)  # shrunk
    array = reallocarray(malloc(100), 1000, 77)  # reallocarray
    assert reallocarray(array, 1 << 33, 1 << 33) is None
    new = realloc(None, 333333)  # realloc of nothing
    zeros = calloc(1000, 1001)  # calloc
    place = pointer()
    memalign(ctypes.byref(place), 4096, 123457)  # posix_memalign
    free(aligned(64, 64 * 1001))  # aligned_alloc
    assert malloc(1 << 62) is None
    top = malloc(50000001)  # top
    free(top)
    half = anonymous(8 << 20)
    unmap(half + (2 << 20), 4 << 20)
    unmap(half, 1 << 20)
    moved = remap(half + (6 << 20), 2 << 20, 3 << 20, 1)  # mremap
    reserved = anonymous(1 << 30, 0)
    reserved_too = anonymous(1 << 30, 3, 0x4000)
    over = mapped(half + (1 << 20), 4096, 3, 0x32, -1, 0)  # fixed
    os._exit(0)
main()
"""


@dataclass(frozen=True)
class Sums:
    """Of a line: bytes and number of allocations, and what was left of the bytes at the peak and at the end."""

    allocated: int
    count: int
    peak: int
    live: int


# In the order of the program; the peak is at `top`.
EACH_LINE = {
    "kept": Sums(7000001, 1, 7000001, 7000001),
    "freed": Sums(9000003, 1, 0, 0),
    "often": Sums(12345000, 1000, 0, 0),
    "before realloc": Sums(100000, 1, 0, 0),
    "realloc": Sums(3000000, 1, 3000000, 3000000),
    "shrunk": Sums(570000, 2, 70000, 70000),
    "reallocarray": Sums(77100, 2, 77000, 77000),
    "realloc of nothing": Sums(333333, 1, 333333, 333333),
    "calloc": Sums(1001000, 1, 1001000, 1001000),
    "posix_memalign": Sums(123457, 1, 123457, 123457),
    "aligned_alloc": Sums(64064, 1, 0, 0),
    "top": Sums(50000001, 1, 50000001, 0),
    "anonymous": Sums(8 << 20, 1, 0, (1 << 20) - 4096),
    "mremap": Sums(3 << 20, 1, 0, 3 << 20),
    "fixed": Sums(4096, 1, 0, 4096),
}


@dataclass(frozen=True)
class Ran:
    status: int
    out: bytes
    err: str
    recording: Path

    def found(self) -> Report:
        report: Report = json.loads(view(self.recording, "--json", verb="mem"))
        return report


def mem(folder: Path, code: str, *args: str, python: str = PYTHON, env: dict[str, str] | None = None) -> Ran:
    """`zond mem` of a program that has LIBC, in a file of its own."""
    program = folder / "program.py"
    program.write_text(LIBC + code)
    recording = folder / "mem.zond"
    done = zond("mem", "--quiet", "-o", recording, "--", python, program, *args, env=env)
    return Ran(done.returncode, done.stdout, done.stderr.decode(), recording)


def number_of(folder: Path, mark: str) -> int:
    (number,) = (
        number
        for number, line in enumerate((folder / "program.py").read_text().splitlines(), 1)
        if line.endswith(f"# {mark}")
    )
    return number


def at(folder: Path, found: Report, mark: str) -> Sums:
    """What was found at the line of the program with this mark, in all of its functions."""
    number = number_of(folder, mark)
    lines = [line for line in found["lines"] if line["line"] == number and line["file"].endswith("/program.py")]

    def total(key: str) -> int:
        return sum(int(line[key]) for line in lines)

    assert total("alloc_bytes") - total("free_bytes") == total("live_bytes")
    return Sums(total("alloc_bytes"), total("alloc_count"), total("peak_bytes"), total("live_bytes"))


def check_sums(found: Report) -> None:
    """Functions add up to the whole."""
    memory: dict[str, Any] = found["memory"]

    def total(key: str) -> int:
        return sum(int(function[key]) for function in found["functions"])

    assert total("peak_bytes") == memory["peak_bytes"]
    assert total("live_bytes") == memory["live_at_exit_bytes"]
    assert total("alloc_bytes") == memory["allocated_bytes"]
    assert total("alloc_count") == memory["allocations"]


@every_version()
def test_each_function_to_the_byte(version: str, tmp_path: Path) -> None:
    ran = mem(tmp_path, EACH_FUNCTION, python=interpreter_of(version).path)
    assert ran.status == 0, ran.err
    found = ran.found()
    assert {mark: at(tmp_path, found, mark) for mark in EACH_LINE} == EACH_LINE
    check_sums(found)
    assert found["memory"]["programs"] == 1
    check_readable(ran.recording)
    assert ("Without the GIL" in view(ran.recording, verb="mem")) == version.endswith("t")


# Python's own blocks, where they are not out of a reservation.
@pytest.mark.parametrize("version", ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14", "3.15"])
def test_objects_of_python(version: str, tmp_path: Path) -> None:
    """In a function, a method, a generator, a comprehension, a coroutine: each line has what it asked for."""
    code = """\
kept = []
class Holder:
    def method(self, n): kept.append(bytearray(n))  # method
def generator():
    yield bytearray(2000000)  # generator
async def coroutine():
    kept.append(bytearray(4000000))  # coroutine
Holder().method(1000000)
kept.extend(generator())
kept.extend([bytearray(300000) for _ in range(10)])  # comprehension
try: coroutine().send(None)
except StopIteration: pass
exec(compile("\\n" * 99 + "kept.append(bytearray(6000000))", "elsewhere.py", "exec"))
os._exit(0)
"""
    ran = mem(tmp_path, code, python=interpreter_of(version).path)
    found = ran.found()
    beside = 33 if version == "3.15" else 1  # of each bytearray
    expected = {"method": 1000000, "generator": 2000000, "coroutine": 4000000}
    for mark, net in expected.items():
        size = net + beside
        assert at(tmp_path, found, mark) == Sums(size, 1, size, size), mark
    comprehension = at(tmp_path, found, "comprehension")
    assert comprehension.live == comprehension.peak == 10 * (300000 + beside)
    (elsewhere,) = (line for line in found["lines"] if line["file"] == "elsewhere.py" and line["line"] == 100)
    assert elsewhere["live_bytes"] == 6000000 + beside


@every_version()
def test_threads_that_free_what_others_allocated(version: str, tmp_path: Path) -> None:
    """Addresses are used again at once, by other threads: none is lost or counted twice."""
    code = """\
import queue
blocks = queue.Queue(100)
def gives():
    for _ in range(5000): blocks.put(malloc(1000))  # gives
    blocks.put(None)
def takes():
    for block in iter(blocks.get, None): free(block)
def churns():
    for _ in range(20000): free(malloc(1000))  # churns
threads = [threading.Thread(target=target) for target in (gives, takes) * 3 + (churns,) * 4]
for thread in threads: thread.start()
for thread in threads: thread.join()
os._exit(0)
"""
    ran = mem(tmp_path, code, python=interpreter_of(version).path)
    assert ran.status == 0, ran.err
    found = ran.found()
    gives, churns = at(tmp_path, found, "gives"), at(tmp_path, found, "churns")
    assert (gives.live, churns.live) == (0, 0)
    # A call through ctypes and a queue may allocate beside what was asked for, but less than a block of it each.
    assert gives.count >= 15000
    assert churns.count >= 80000
    assert 15000 * 1000 <= gives.allocated < 15000 * 1000 * 1.2
    assert 80000 * 1000 <= churns.allocated < 80000 * 1000 * 1.2
    check_sums(found)


@every_version()
def test_fork(version: str, tmp_path: Path) -> None:
    """A child counts what it allocates itself; what it inherits is its parent's."""
    code = """\
inherited = malloc(4000000)  # inherited
if os.fork() == 0:
    free(inherited)
    child = malloc(3000000)  # child
    if os.fork() == 0:
        grandchild = malloc(2000000)  # grandchild
        os._exit(0)
    os.wait()
    os._exit(0)
os.wait()
os._exit(7)
"""
    ran = mem(tmp_path, code, python=interpreter_of(version).path)
    assert ran.status == 7, ran.err
    found = ran.found()
    assert found["memory"]["programs"] == 3
    for mark, size in {"inherited": 4000000, "child": 3000000, "grandchild": 2000000}.items():
        assert at(tmp_path, found, mark) == Sums(size, 1, size, size), mark
    check_sums(found)
    for pid in {process["pid"] for process in found["processes"]}:
        one = json.loads(view(ran.recording, "--json", "--pid", str(pid), verb="mem"))
        assert one["memory"]["programs"] == 1


def test_exec_spawn_and_shell(tmp_path: Path) -> None:
    """Whatever is started with the environment is recorded, too."""
    code = """\
import subprocess
if sys.argv[1:]:
    last = malloc(int(sys.argv[1]))  # last
    os._exit(0)
subprocess.run([sys.executable, __file__, "5000000"], check=True)
subprocess.run(f"{sys.executable} {__file__} 6000000; true", shell=True, check=True)
os.execv(sys.executable, [sys.executable, __file__, "7000000"])
"""
    ran = mem(tmp_path, code)
    assert ran.status == 0, ran.err
    found = ran.found()
    assert at(tmp_path, found, "last") == Sums(18000000, 3, 18000000, 18000000)
    assert found["memory"]["programs"] >= 5


@pytest.mark.parametrize("end", ["os._exit(0)", "os.kill(os.getpid(), signal.SIGKILL)", "os.abort()"])
def test_sudden_end(end: str, tmp_path: Path) -> None:
    """What was allocated up to the end is there."""
    ran = mem(tmp_path, f"block = malloc(8000000)  # block\n{end}\n")
    assert at(tmp_path, ran.found(), "block") == Sums(8000000, 1, 8000000, 8000000)


def test_status_output_and_environment_are_kept(tmp_path: Path) -> None:
    code = """\
import json
ctypes.set_errno(5)
for _ in range(3): free(malloc(100000))
assert ctypes.get_errno() == 5
assert realloc(malloc(10), 1 << 62) is None and ctypes.get_errno() == 12
print(json.dumps([dict(os.environ), sorted(os.listdir("/proc/self/fd"))]))
sys.stderr.write("to stderr\\n")
sys.exit(42)
"""
    environment = {"PATH": os.environ["PATH"], "SOME": "thing", "ODD": "a=b=c"}
    ran = mem(tmp_path, code, env=environment)
    assert ran.status == 42
    # Standard output is the view's: the program's goes to standard error.
    stderr, printed, *_ = ran.err.splitlines()
    assert stderr == "to stderr"
    seen, descriptors = json.loads(printed)
    preloaded = seen.pop("LD_PRELOAD")
    assert Path(preloaded).name == "libzond-agent.so"
    assert seen.pop("ZOND_AGENT")
    seen.pop("LC_CTYPE", None)  # Python's own doing
    assert seen == environment
    assert descriptors == ["0", "1", "2", "3"]  # the last is that of listdir


def test_another_preload_stays(tmp_path: Path) -> None:
    mapped = Path("/proc/self/maps").read_text().splitlines()
    libc = next(Path(line.split()[-1]) for line in mapped if "/libc.so" in line)
    ran = mem(tmp_path, "print(os.environ['LD_PRELOAD'])\n", env={**os.environ, "LD_PRELOAD": str(libc)})
    assert ran.err.splitlines()[0].endswith(f"libzond-agent.so:{libc}")


# Counts what it got, and allocates all the time.
LASTS = """\
print("ready", flush=True)
for _ in range(int(sys.argv[1])): free(malloc(100))  # churn
print("done", flush=True)
os._exit(3)
"""


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_zond_killed(tmp_path: Path) -> None:
    """The program goes on to its end, although nobody empties the ring."""
    program, log = tmp_path / "program.py", tmp_path / "log"
    program.write_text(LIBC + LASTS.replace('print("done", flush=True)', "open(sys.argv[2], 'w').write('done')"))
    recording = tmp_path / "mem.zond"
    with subprocess.Popen(
        [ZOND, "mem", "-q", "-o", recording, "--", PYTHON, program, "1000000", log], stderr=subprocess.PIPE
    ) as process:
        assert process.stderr
        assert process.stderr.readline() == b"ready\n"
        (child,) = children_of(process.pid)
        process.send_signal(signal.SIGKILL)
        end_of(process)
        wait_until(lambda: not is_running(child), "end of the program")
    assert log.read_text() == "done"


def test_zond_stands_still(tmp_path: Path) -> None:
    """A full ring makes the program wait, and nothing is lost."""
    program = tmp_path / "program.py"
    program.write_text(LIBC + LASTS)
    recording = tmp_path / "mem.zond"
    with subprocess.Popen(
        [ZOND, "mem", "-q", "-o", recording, "--", PYTHON, program, "200000"], stderr=subprocess.PIPE
    ) as process:
        assert process.stderr
        assert process.stderr.readline() == b"ready\n"
        (child,) = children_of(process.pid)
        process.send_signal(signal.SIGSTOP)
        wait_until(lambda: "nanosleep" in Path(f"/proc/{child}/wchan").read_text() or naps(child), "waiting program")
        process.send_signal(signal.SIGCONT)
        assert end_of(process) == 3
    found: Report = json.loads(view(recording, "--json", verb="mem"))
    churn = at(tmp_path, found, "churn")
    assert churn.count >= 200000
    assert churn.live == 0
    assert found["sampling"]["losses"] == []


def naps(pid: int) -> bool:
    """Is it in nanosleep?"""
    return Path(f"/proc/{pid}/syscall").read_text().split()[0] == "35"


def test_killed_zond_leaves_what_it_has_written(tmp_path: Path) -> None:
    """The sums of up to five seconds before."""
    program, recording = tmp_path / "program.py", tmp_path / "mem.zond"
    program.write_text(LIBC + "block = malloc(8000000)  # block\nprint('ready', flush=True)\ntime.sleep(60)\n")
    with subprocess.Popen(
        [ZOND, "mem", "-q", "-o", recording, "--", PYTHON, program], stderr=subprocess.PIPE
    ) as process:
        assert process.stderr
        assert process.stderr.readline() == b"ready\n"
        (child,) = children_of(process.pid)

        def written() -> bool:
            done = zond("mem", "--json", recording)
            return done.returncode == 0 and (json.loads(done.stdout)["memory"] or {}).get("allocations", 0) > 0

        wait_until(written, "sums in the file")
        process.send_signal(signal.SIGKILL)
        end_of(process)
        os.kill(child, signal.SIGKILL)
    found: Report = json.loads(zond("mem", "--json", recording).stdout)
    assert not found["run"]["complete"]
    assert at(tmp_path, found, "block") == Sums(8000000, 1, 8000000, 8000000)


def test_deep_and_many_stacks(tmp_path: Path) -> None:
    """A stack that is too deep keeps its innermost frames, and that is said."""
    code = """\
sys.setrecursionlimit(9000)
threading.stack_size(1 << 28)
def deep(n): return deep(n - 1) if n else malloc(1000000)  # deep
thread = threading.Thread(target=deep, args=(6000,))
thread.start()
thread.join()
os._exit(0)
"""
    ran = mem(tmp_path, code)
    assert at(tmp_path, ran.found(), "deep").live >= 1000000
    assert re.search(r"some\s+are\s+cut", view(ran.recording, verb="mem"))


def test_program_that_cannot_be_entered(tmp_path: Path) -> None:
    """It is recorded from outside, and that is said."""
    source = tmp_path / "static.c"
    source.write_text("#include <unistd.h>\nint main(void) { usleep(500000); return 5; }\n")
    subprocess.run([tool("gcc"), "-static", "-o", tmp_path / "static", source], check=True)
    recording = tmp_path / "mem.zond"
    done = zond("mem", "-o", recording, "--", tmp_path / "static")
    assert done.returncode == 5
    assert "library was not loaded" in done.stdout.decode()
    # The shell's child may have been recorded before it became that program.
    done = zond("mem", "-o", recording, "--", "sh", "-c", f"{tmp_path / 'static'}; true")
    said = " ".join(done.stdout.decode().split())
    assert re.search(r"process \d+(:| became a program into which) zond's library was not loaded", said)


def test_program_that_would_not_start(tmp_path: Path) -> None:
    """Built with AddressSanitizer: it runs without the library."""
    source = tmp_path / "sanitized.c"
    source.write_text("#include <stdlib.h>\nint main(void) { free(malloc(10)); return 6; }\n")
    program = tmp_path / "sanitized"
    subprocess.run([tool("gcc"), "-fsanitize=address", "-o", program, source], check=True)
    done = zond("mem", "-o", tmp_path / "mem.zond", "--", program)
    assert done.returncode == 6, done.stderr
    assert "library was not loaded" in done.stdout.decode()


def test_other_recordings_hold_no_memory(tmp_path: Path) -> None:
    ran = run_code(tmp_path, "import time; time.sleep(0.3)")
    assert "holds no memory" in view(ran.recording, verb="mem")
    found: Report = json.loads(view(ran.recording, "--json", verb="mem"))
    assert found["memory"] is None
    assert {line["alloc_bytes"] for line in found["lines"]} <= {None}


@pytest.mark.parametrize(("order", "first"), [("peak", "a"), ("live", "b"), ("allocated", "c"), ("count", "d")])
def test_order(order: str, first: str, tmp_path: Path) -> None:
    code = """\
b = malloc(20000000)  # b
a = malloc(50000000)  # a
free(a)
for _ in range(100): free(malloc(2000000))  # c
for _ in range(50000): free(malloc(1))  # d
os._exit(0)
"""
    recording = mem(tmp_path, code).recording
    found: Report = json.loads(view(recording, "--json", "--sort", order, verb="mem"))
    assert found["lines"][0]["line"] == number_of(tmp_path, first)
    for width in ("60", "100"):
        text = view(recording, "--sort", order, "--width", width, verb="mem")
        assert max(map(len, text.splitlines())) <= int(width)
        lines = text[text.index("\nLines") :].splitlines()
        assert f"program.py:{number_of(tmp_path, first)}" in lines[3] or width == "60"


def test_symbols_and_merge_keep_memory(tmp_path: Path) -> None:
    """A copy of a recording with other symbols has it, and a merged one that of all."""
    recording = mem(tmp_path, "block = malloc(8000000)  # block\nos._exit(0)\n").recording
    merged = tmp_path / "merged.zond"
    assert zond("merge", recording, recording, "-o", merged).returncode == 0
    found: Report = json.loads(view(merged, "--json", verb="mem"))
    assert at(tmp_path, found, "block") == Sums(16000000, 2, 16000000, 16000000)
    found = json.loads(view(recording, "--json", "--symbols", str(tmp_path)))
    assert at(tmp_path, found, "block") == Sums(8000000, 1, 8000000, 8000000)


def test_agent_is_a_world_of_its_own() -> None:
    """It calls a handful of functions of any C library, and needs no other one."""
    agent = library()
    listed = subprocess.run([tool("nm"), "-D", "--undefined-only", agent], check=True, capture_output=True, text=True)
    names = {line.split()[-1].partition("@")[0] for line in listed.stdout.splitlines()}
    assert names - WEAK == AGENT_IMPORTS
    versions = set(re.findall(r"@GLIBC_([0-9.]+)", listed.stdout))
    assert max(tuple(map(int, version.split("."))) for version in versions) <= (2, 14)
    dynamic = subprocess.run([tool("readelf"), "-d", agent], check=True, capture_output=True, text=True).stdout
    assert re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic) == ["libc.so.6"]


def library() -> Path:
    """The library that ZOND loads into programs."""
    program = Path(ZOND).resolve()
    places = [program.parent / "../lib/zond/libzond-agent.so", program.parent / "../agent/libzond-agent.so"]
    return next(place for place in places if place.exists())


def test_running_program_is_not_slowed_for_ever(tmp_path: Path) -> None:
    """After --duration the agent is silent, and the program goes on alone."""
    program, recording = tmp_path / "program.py", tmp_path / "mem.zond"
    program.write_text(LIBC + "first = malloc(8000000)  # first\ntime.sleep(2)\nlater = malloc(5000000)  # later\n")
    done = zond("mem", "-q", "-d", "1", "-o", recording, "--", PYTHON, program)
    assert done.returncode == 0
    found: Report = json.loads(view(recording, "--json", verb="mem"))
    assert at(tmp_path, found, "first").live == 8000000
    assert at(tmp_path, found, "later") == Sums(0, 0, 0, 0)


def test_programs_under_a_recorded_one_are_not_held_up(tmp_path: Path) -> None:
    """Many short programs, one after the other."""
    with started(ZOND, "mem", "-q", "-o", tmp_path / "m.zond", "--", "sh", "-c", LOOP, ready=False) as process:
        assert end_of(process) == 9
    text = view(tmp_path / "m.zond", verb="mem")
    assert re.search(r"of \d{2,} programs", text), text


LOOP = "i=0; while [ $i -lt 30 ]; do /bin/true; i=$((i + 1)); done; exit 9"
