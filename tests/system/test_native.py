"""`--native-rate`: what C did under each Python line, in recordings; and that holding threads for it does no harm."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from recording import zond_format
from recording.zond_format import KINDS
from system.drive import (
    COUNTS_SIGNALS,
    PYTHON,
    ROOT,
    ZOND,
    Report,
    attached,
    check_free,
    check_readable,
    counted_signals,
    every_version,
    functions,
    interpreter_of,
    process_state,
    pythons,
    run,
    run_code,
    send_signals,
    started,
    traced,
    view,
    wait_until,
    zond,
)

HELD = ["--native-rate", "1000"]

# Python and C in turns, 20 ms each: `crc32_z` is a function of a library, and runs in `sums` alone.
TURNS = """\
import time, zlib

data = bytes(1 << 20)

def spins(end):
    total = 0
    while time.monotonic() < end:
        total += 1

def sums(end):
    while time.monotonic() < end:
        zlib.crc32(data)

until = time.monotonic() + 2
while time.monotonic() < until:
    spins(time.monotonic() + 0.02)
    sums(time.monotonic() + 0.02)
"""


def seconds(found: Report, function: str) -> float:
    return float(functions(found)[function]["total_wall_s"])


@every_version()
def test_c_has_its_share_between_native_looks_too(version: str, tmp_path: Path) -> None:
    """At a tenth of the looks the stack is taken; the share of C is that of all looks."""
    python = interpreter_of(version)
    ran = run(tmp_path, *python.command("-c", TURNS), options=["--native-rate", "100", "--"])
    assert ran.status == 0, ran.err
    found = check_readable(ran.recording)
    whole = seconds(found, "sums")
    assert seconds(found, "crc32_z") == pytest.approx(whole, rel=0.1)
    assert seconds(found, "spins") == pytest.approx(whole, rel=0.15)
    line = {line["line"]: line for line in found["lines"] if line["function"] == "sums"}[12]
    assert line["self_wall_s"] == pytest.approx(whole, rel=0.1)
    assert "crc32_z" not in {line["function"] for line in found["lines"]}
    assert functions(found)["<module>"]["total_wall_s"] > 1.9
    # Moments in which a call of the evaluation loop has no Python frame, yet or any more.
    loops = [float(row["total_wall_s"]) for row in found["functions"] if row["name"].startswith("_PyEval_EvalFrameD")]
    assert sum(loops) < 0.05


def test_what_waits_is_known_by_its_call(tmp_path: Path) -> None:
    code = (
        "import os, threading, time; r, w = os.pipe(); threading.Timer(1, os.write, (w, b'x')).start(); os.read(r, 1)"
    )
    found = check_readable(run_code(tmp_path, code, options=["--native-rate", "10"]).recording)
    assert seconds(found, "read") > 0.8


def test_the_rate_is_one_of_looks() -> None:
    done = zond("run", "-r", "100", "--native-rate", "200", "--", "true")
    assert (done.returncode, b"--native-rate is at most --rate (100)" in done.stderr) == (2, True)


# Threads that are born and end all the time, and processes; their statuses are checked by the program itself.
CHURN = """\
import os, sys, threading, time

def short():
    sum(range(2000))

end = time.monotonic() + 3
while time.monotonic() < end:
    threads = [threading.Thread(target=short) for _ in range(20)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    pid = os.fork()
    if not pid:
        sum(range(50000))
        os._exit(41)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 41
sys.exit(7)
"""


@pytest.mark.parametrize("version", ["3.9", "3.12", "3.15"])
def test_threads_and_processes_that_end(version: str, tmp_path: Path) -> None:
    python = interpreter_of(version)
    ran = run(tmp_path, *python.command("-c", CHURN), options=[*HELD, "--"])
    assert ran.status == 7, ran.err
    check_readable(ran.recording)


@pytest.mark.parametrize(
    ("code", "status"), [("os._exit(3)", 3), ("os.kill(os.getpid(), 9)", -9), ("sum(range(10**6))", 0)]
)
def test_the_end_is_kept(code: str, status: int, tmp_path: Path) -> None:
    for _ in range(10):
        ran = run_code(tmp_path, f"import os; sum(range(10**6)); {code}", options=HELD)
        assert ran.status == status, ran.err


# A leader that ends while its threads go on.
LEADERLESS = """\
import ctypes, os, threading, time

def works():
    end = time.monotonic() + 1
    while time.monotonic() < end: sum(range(1000))
    os._exit(5)

threading.Thread(target=works).start()
sum(range(10**6))
ctypes.CDLL(None).syscall(60, 0)
"""


def test_a_leader_that_ends_first(tmp_path: Path) -> None:
    for _ in range(3):
        ran = run_code(tmp_path, LEADERLESS, options=HELD)
        assert ran.status == 5, ran.err


def test_no_signal_is_lost(tmp_path: Path) -> None:
    with started(PYTHON, "-c", COUNTS_SIGNALS, "4") as process:
        words = [ZOND, "attach", "-q", *HELD, "-d", "3", "-o", str(tmp_path / "a.zond"), str(process.pid)]
        with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as recorder:
            sent = send_signals(process.pid, 3, every=0.001)
            assert recorder.wait(timeout=60) == 0
        assert counted_signals(process) == sent
    assert check_readable(tmp_path / "a.zond")["sampling"]["samples"] > 0


SPIN = "print('ready', flush=True)\nwhile True: sum(range(1000))"


# The same in two threads more, without the GIL.
SPINS = f"""\
import threading, zlib
data = bytes(1 << 16)
def runs():
    while True: zlib.crc32(data)
for _ in range(2): threading.Thread(target=runs, daemon=True).start()
{SPIN}
"""


def test_a_recorder_that_is_killed_leaves_nothing_behind(tmp_path: Path) -> None:
    """At any moment: before, between and in the middle of holding a thread."""
    with started(PYTHON, "-c", SPINS) as process:
        for _ in range(30):
            words = [ZOND, "attach", "-q", *HELD, "-o", str(tmp_path / "a.zond"), str(process.pid)]
            with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as recorder:
                time.sleep(random.uniform(0.05, 0.3))
                recorder.kill()
            check_free(process.pid)
        wait_until(lambda: process_state(process.pid) == ("R", 0), "run")


def test_a_program_that_is_stopped_and_continued(tmp_path: Path) -> None:
    """Stops of others are theirs: what is stopped stays so until it is continued."""
    with started(PYTHON, "-c", SPIN) as process:
        words = [ZOND, "attach", "-q", *HELD, "-d", "3", "-o", str(tmp_path / "a.zond"), str(process.pid)]
        with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as recorder:
            for _ in range(20):
                os.kill(process.pid, signal.SIGSTOP)
                wait_until(lambda: process_state(process.pid)[0] == "T", "stop")
                time.sleep(0.02)
                assert process_state(process.pid)[0] == "T"
                os.kill(process.pid, signal.SIGCONT)
                wait_until(lambda: process_state(process.pid)[0] == "R", "continuation")
            assert recorder.wait(timeout=60) == 0
        assert process_state(process.pid) == ("R", 0)


def test_under_a_debugger(tmp_path: Path) -> None:
    """What strace holds cannot be held: Python frames, and why there are no others."""
    with started(PYTHON, "-c", SPIN) as process, traced(process.pid):
        found = attached(tmp_path, process.pid, *HELD)
    assert any("a debugger or strace has it" in why for why in found["sampling"]["losses"])
    assert pythons(found)


BLAS = """\
import numpy as np
a = np.random.default_rng(0).random((600, 600))
print("ready", flush=True)
while True: a @ a
"""


def test_functions_without_call_frame_information(tmp_path: Path) -> None:
    """Kernels of OpenBLAS in assembler align their stack and tell nobody: their callers are guessed, and marked."""
    env = dict(os.environ, OPENBLAS_CORETYPE="Haswell", OPENBLAS_NUM_THREADS="1")
    with started(PYTHON, "-c", BLAS, env=env) as process:
        found = attached(tmp_path, process.pid, *HELD)
        thread = json.loads(zond("stack", "--json", str(process.pid)).stdout)["processes"][0]["threads"][0]
    whole = sum(row["total_wall_s"] for row in found["functions"] if row["name"] == "_start")
    assert whole > 0.99 * functions(found)["<module>"]["total_wall_s"]
    assert seconds(found, "dgemm_kernel_HASWELL") > 0.5
    assert any(row["guessed"] and row["name"] != "dgemm_kernel_HASWELL" for row in found["functions"])
    assert thread["frames"][-1]["name"] == "_start"


# Half of the time in the collector: called, and by allocation, with finalizers in Python.
COLLECTS = """\
import gc, time

class Finalized:
    def __del__(self):
        for i in range(200): pass

kept = [[i] for i in range(200000)]

def collects(end):
    while time.monotonic() < end:
        gc.collect()

def spins(end):
    total = 0
    while time.monotonic() < end:
        total += 1

def finalizes(end):
    gc.freeze()
    while time.monotonic() < end:
        for i in range(300):
            f = Finalized()
            f.self = f
        gc.collect()

begin = time.monotonic()
collects(begin + 1)
spins(begin + 2)
finalizes(begin + 2.5)
"""


@every_version()
def test_the_garbage_collector_is_a_frame(version: str, tmp_path: Path) -> None:
    python = interpreter_of(version)
    ran = run(tmp_path, *python.command("-c", COLLECTS), options=["--"])
    assert ran.status == 0, ran.err
    found = check_readable(ran.recording)
    rows = [row for row in found["functions"] if row["kind"] == "gc"]
    assert [row["name"] for row in rows] == ["(garbage collection)"]
    assert rows[0]["total_wall_s"] == pytest.approx(seconds(found, "collects"), rel=0.7)
    assert rows[0]["total_wall_s"] > 0.95 * seconds(found, "collects")
    stacks = zond("export", "--format", "collapsed", ran.recording).stdout.decode().splitlines()
    under = {"collects": 0, "spins": 0, "__del__": 0}
    for line in stacks:
        frames, _, weight = line.rpartition(" ")
        for function in under:
            if re.search(rf"\b{function} [^;]*;.*\(garbage collection\)", frames):
                under[function] += int(weight)
    assert under["collects"] > 0.95e6 * seconds(found, "collects")
    assert under["spins"] == 0
    assert under["__del__"] < 0.02e6


def test_the_case_of_the_talk_names_its_cause(tmp_path: Path) -> None:
    """In one screen: the line of the user, what it called, and the function of CPython that made it quadratic."""
    script = ROOT / "examples" / "cbor" / "slow.py"
    ran = run(tmp_path, script, "24")
    assert ran.status == 0, ran.err
    screen = view(ran.recording, "--width", "100").splitlines()[:45]
    path = "\n".join(screen)
    # Which of its copies glibc takes depends on the CPU, and so does which of their names comes first.
    found = re.search(r"unpack \S*slow\.py:32\n.*CBOR2_loads.*PyByteArray_Concat.*mem(cpy|move)", path, re.DOTALL)
    assert found, path


# What each program makes ready, and what it then does again and again, in libraries of C, C++ and machine code.
LIBRARIES = {
    "numpy": (
        "import numpy as np; a = np.random.default_rng(0).random(200_000)",
        "np.sort(a); np.exp(a).sum(); np.fft.fft(a[:65_536])",
    ),
    "OpenBLAS": ("import numpy as np; a = np.random.default_rng(0).random((300, 300))", "np.dot(a, a)"),
    "h5py": (
        "import h5py, numpy as np; f = h5py.File('no file', 'w', driver='core', backing_store=False);"
        " a = f.create_dataset('a', data=np.arange(3e5).reshape(300, -1), chunks=(30, 100), compression='gzip')",
        "a[:].sum(); a[5:200:3]",
    ),
    "numba": (
        "import numba, numpy as np; a = np.random.default_rng(0).random(100_000);"
        " total = numba.njit(lambda a: np.sqrt(a).sum()); total(a)",
        "total(a)",
    ),
    "cbor2": (
        "import cbor2; a = [{'a': i, 'b': [1.5, 'c', None]} for i in range(2000)]",
        "cbor2.loads(cbor2.dumps(a))",
    ),
    "regex": (
        "import regex; a = 'someone@example.com ' * 1000; mail = regex.compile(r'(\\w+)@(\\w+)')",
        "mail.findall(a)",
    ),
    "json": ("import json; a = [{'a': i, 'b': [1.5, None]} for i in range(2000)]", "json.loads(json.dumps(a))"),
    "sqlite3": (
        "import sqlite3; c = sqlite3.connect(':memory:'); c.execute('create table t (a, b)');"
        " c.executemany('insert into t values (?, ?)', ((i, str(i)) for i in range(20_000)))",
        "c.execute('select b, count(*) from t where a % 7 = 3 group by b order by a').fetchall()",
    ),
}
STARTS = {"_start", "__clone", "__clone3"}


@pytest.mark.parametrize("library", LIBRARIES)
def test_stacks_are_whole(library: str, tmp_path: Path) -> None:
    """Of the time that threads ran since there was a Python, 99 % at least is on stacks that lead to where the thread
    began."""
    begin, work = LIBRARIES[library]
    code = f"{begin}\nimport time; end = time.monotonic() + 3\nwhile time.monotonic() < end: {work}"
    ran = run_code(tmp_path, code, options=HELD)
    assert ran.status == 0, ran.err
    with ran.recording.open("rb") as file:
        read = zond_format.read(file)
    weights = {True: 0, False: 0}
    for sample in read.samples:
        frames = [read.codes[read.frames[frame].code] for frame in sample.stack.frames()]
        if sample.state & zond_format.ON_CPU and (frames or weights[True]):
            outermost = frames[-1] if frames else None
            began = outermost and KINDS[outermost.kind] == "native" and read.text(outermost.name) in STARTS
            weights[bool(began)] += sample.wall
    assert weights[True] > 0.99 * sum(weights.values())
