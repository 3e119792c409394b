"""Functions that were compiled just in time: by name, and with whole stacks, as far as their compiler tells of them."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest
from system.drive import (
    PYTHON,
    Report,
    attached,
    check_readable,
    functions,
    interpreter_of,
    run,
    started,
)
from system.test_stack import names, stack, threads

# `inner` has nearly all of the time; `outer` calls it, and could not inline it.
NUMBA = """\
import sys, time
import numba
import numpy as np


@numba.njit(inline="never")
def inner(a):
    total = 0.0
    for row in range(a.shape[0]):
        for column in range(a.shape[1]):
            total += np.sqrt(a[row, column]) * row
    return total


def decorate(function):
    return numba.njit(function)


@decorate
def outer(a):
    return inner(a) + inner(a[:2])


a = np.random.default_rng(0).random((1000, 1000))
"""
# Calls what was compiled for so many seconds.
LOOP = """\
{0}(a)
print("ready", flush=True)
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    {0}(a)
"""
CALL_LINE = 29

# Machine code of our own, in memory of no file: counts down, with a frame pointer as compilers have it. What tells of
# it is written by `tell`.
COMPILED = """\
import ctypes, mmap, os, struct, sys, time

CODE = bytes.fromhex("554889e548ffcf75fb5dc3")
memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
memory.write(CODE)
address = ctypes.addressof(ctypes.c_char.from_buffer(memory))

def perf_map():
    with open(f"/tmp/perf-{os.getpid()}.map", "w") as file:
        file.write(f"{address:x} {len(CODE):x} counts_down\\n")

def jitdump():
    name = b"counts_down\\0"
    load = struct.pack("<IIQIIQQQQ", 0, 56 + len(name) + len(CODE), 0, os.getpid(), os.getpid(), address, address,
                       len(CODE), 1) + name + CODE
    path = f"{sys.argv[2]}/jit-{os.getpid()}.dump"
    with open(path, "wb") as file:
        file.write(struct.pack("<6I2Q", 0x4A695444, 1, 40, 62, 0, os.getpid(), 0, 0) + load)
    global mark
    file = os.open(path, os.O_RDONLY)
    mark = mmap.mmap(file, 0, prot=mmap.PROT_READ | mmap.PROT_EXEC, flags=mmap.MAP_PRIVATE)

def nothing():
    pass

globals()[sys.argv[1]]()
count = ctypes.CFUNCTYPE(None, ctypes.c_uint64)(address)
print("ready", flush=True)
while True:
    count(10**8)
"""

# What a perf map must not be believed, or must at least survive.
ODD_MAPS = {
    "no hexadecimal": "zz zz name\n\n\n x\n",
    "beyond all addresses": "ffffffffffffffff ffffffffffffffff all\nffffffffffffff000 10 long\n",
    "everything": "0 ffffffffffffffff everything\n",
    "no name": "1000 10\n1000 10 \n",
    "no end of a line": "1000 10 " + "x" * 300_000,
    "many of one address": "".join(f"1000 {size:x} name{size}\n" for size in range(1, 50_000)),
}


def jitted(found: Report) -> dict[str, Report]:
    return {row["name"]: row for row in found["functions"] if row["kind"] == "jit"}


def test_what_numba_compiled_has_its_names(tmp_path: Path) -> None:
    script = tmp_path / "kernel.py"
    script.write_text(NUMBA + LOOP.format("outer"))
    ran = run(tmp_path, script, "3")
    assert ran.status == 0, ran.err
    found = check_readable(ran.recording)
    compiled = jitted(found)
    assert set(compiled) >= {"inner", "outer"}
    assert {(row["file"], row["line"]) for row in compiled.values()} >= {(str(script), 6), (str(script), 19)}
    assert compiled["inner"]["self_wall_s"] > 0.9 * compiled["outer"]["total_wall_s"] > 2
    lines = {line["line"]: line for line in found["lines"] if line["file"] == str(script)}
    assert lines[CALL_LINE]["self_wall_s"] == pytest.approx(compiled["outer"]["total_wall_s"], rel=0.02)
    assert "(code of no file)" not in functions(found) or functions(found)["(code of no file)"]["self_wall_s"] < 0.1


def test_the_stack_of_what_numba_compiled(tmp_path: Path) -> None:
    script = tmp_path / "kernel.py"
    script.write_text(NUMBA + LOOP.format("outer"))
    with started(PYTHON, script, "1000") as process:
        for _ in range(5):
            thread = threads(stack(process.pid))["MainThread"]
            if "inner" in names(thread, "jit"):
                break
    assert names(thread, "jit") == ["inner", "outer"]
    assert names(thread, "python") == ["<module>"]
    assert names(thread, "native")[-1] == "_start"


@pytest.mark.parametrize("told", ["perf_map", "jitdump", "nothing"])
def test_code_that_no_file_was_mapped_to(told: str, tmp_path: Path) -> None:
    with started(PYTHON, "-c", COMPILED, told, tmp_path) as process:
        found = attached(tmp_path, process.pid)
        thread = threads(stack(process.pid))["MainThread"]
    Path(f"/tmp/perf-{process.pid}.map").unlink(missing_ok=True)
    assert names(thread, "native")[-1] == "_start"
    if told == "nothing":
        assert functions(found)["(code of no file)"]["self_wall_s"] > 0.8
    else:
        assert jitted(found)["counts_down"]["self_wall_s"] > 0.8
        assert names(thread, "jit") == ["counts_down"]


@pytest.mark.parametrize("odd", ODD_MAPS)
def test_an_odd_perf_map(odd: str, tmp_path: Path) -> None:
    with started(PYTHON, "-c", COMPILED, "nothing", tmp_path) as process:
        path = Path(f"/tmp/perf-{process.pid}.map")
        path.write_text(ODD_MAPS[odd])
        try:
            found = attached(tmp_path, process.pid)
        finally:
            path.unlink()
    assert found["sampling"]["samples"] > 0
    assert functions(found)["_start"]["kind"] == "native"


def test_a_perf_map_that_is_a_link_is_not_read(tmp_path: Path) -> None:
    other = tmp_path / "other.map"
    other.write_text("0 7fffffffffff stolen\n")
    with started(PYTHON, "-c", COMPILED, "nothing", tmp_path) as process:
        path = Path(f"/tmp/perf-{process.pid}.map")
        path.symlink_to(other)
        try:
            found = attached(tmp_path, process.pid)
        finally:
            path.unlink()
    assert "stolen" not in functions(found)


SORTS = """\
def key(x):
    for i in range(100000): pass
    return -x

def work():
    sorted([1, 2, 3], key=key)

print("ready", flush=True)
while True: work()
"""


@pytest.mark.parametrize("version", ["3.12", "3.13", "3.14"])
def test_trampolines_for_perf_are_not_shown(version: str, tmp_path: Path) -> None:
    """`python -X perf` calls each function through a piece of code of its own, which stands for nothing."""
    python = interpreter_of(version)
    with started(*python.command("-X", "perf", "-c", SORTS)) as process:
        deadline = time.monotonic() + 20
        thread = threads(stack(process.pid))["MainThread"]
        while "key" not in names(thread, "python") and time.monotonic() < deadline:
            thread = threads(stack(process.pid))["MainThread"]
    Path(f"/tmp/perf-{process.pid}.map").unlink(missing_ok=True)
    shown = [frame["name"] for frame in thread["frames"]]
    assert names(thread, "python") == ["key", "work", "<module>"], shown
    assert names(thread, "jit") == []
    assert not [name for name in shown if re.search("py::|trampoline|of no file", name)], shown
    assert names(thread, "native")[-1] == "_start", shown


PARALLEL = """\
import sys, time
import numba
import numpy as np


@numba.njit(parallel=True)
def shared(a):
    total = 0.0
    for row in numba.prange(a.shape[0]):
        for column in range(a.shape[1]):
            total += np.sqrt(a[row, column])
    return total


a = np.random.default_rng(0).random((2000, 2000))
"""


def test_workers_of_what_numba_compiled(tmp_path: Path) -> None:
    """Threads that Python does not know are recorded for as long as they run, with the compiled function on them."""
    script = tmp_path / "parallel.py"
    script.write_text(PARALLEL + LOOP.format("shared"))
    env = dict(os.environ, NUMBA_NUM_THREADS="2", OPENBLAS_NUM_THREADS="1")
    with started(PYTHON, script, "1000", env=env) as process:
        found = attached(tmp_path, process.pid, "-d", "3")
        thread_of = threads(stack(process.pid))
    (kernel,) = [row for name, row in jitted(found).items() if "parfor_gufunc" in name]
    (seen,) = found["processes"]
    assert len(seen["threads"]) == 2
    times = [thread["cpu_s"] for thread in seen["threads"]]
    assert min(times) > 0.2 * max(times)
    assert sum(times) == pytest.approx(found["run"]["cpu_s"], rel=0.1)
    assert kernel["self_cpu_s"] > 0.5 * sum(times)
    assert jitted(found)["shared"]["file"] == str(script)
    (worker,) = [thread for name, thread in thread_of.items() if name != "MainThread"]
    assert "start_thread" in names(worker, "native") or names(worker, "jit")
    assert names(worker, "python") == []
