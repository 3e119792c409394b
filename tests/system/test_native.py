"""`--native-rate`: what C did under each Python line, in recordings; and that holding threads for it does no harm."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from system.drive import (
    PYTHON,
    ZOND,
    Report,
    attached,
    check_readable,
    end_of,
    every_version,
    functions,
    interpreter_of,
    process_state,
    pythons,
    run,
    run_code,
    started,
    tool,
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


# Computes, and counts the bytes that its signals leave in a pipe.
COUNTS = """\
import os, signal, sys, time

reads, writes = os.pipe()
os.set_blocking(reads, False)
os.set_blocking(writes, False)
signal.set_wakeup_fd(writes)
signal.signal(signal.SIGRTMIN, lambda *_: None)
print("ready", flush=True)
count = 0
end = time.monotonic() + 4
while time.monotonic() < end:
    sum(range(10000))
    try:
        count += len(os.read(reads, 4096))
    except BlockingIOError:
        pass
print(count, flush=True)
"""


def test_no_signal_is_lost(tmp_path: Path) -> None:
    with started(PYTHON, "-c", COUNTS) as process:
        assert process.stdout
        words = [ZOND, "attach", "-q", *HELD, "-d", "3", "-o", str(tmp_path / "a.zond"), str(process.pid)]
        sent = 0
        with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as recorder:
            end = time.monotonic() + 3
            while time.monotonic() < end:
                os.kill(process.pid, signal.SIGRTMIN)
                sent += 1
                time.sleep(0.001)
            assert recorder.wait(timeout=60) == 0
        out = process.stdout.readline()
        assert end_of(process) == 0
    assert int(out) == sent
    assert check_readable(tmp_path / "a.zond")["sampling"]["samples"] > 0


SPIN = "print('ready', flush=True)\nwhile True: sum(range(1000))"


def test_a_recorder_that_is_killed_leaves_nothing_behind(tmp_path: Path) -> None:
    with started(PYTHON, "-c", SPIN) as process:
        for _ in range(10):
            words = [ZOND, "attach", "-q", *HELD, "-o", str(tmp_path / "a.zond"), str(process.pid)]
            with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as recorder:
                time.sleep(0.4)
                recorder.kill()
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
    strace = tool("strace")
    with started(PYTHON, "-c", SPIN) as process:
        traced = subprocess.Popen([strace, "-f", "-qq", "-o", "/dev/null", "-p", str(process.pid)])
        try:
            wait_until(lambda: process_state(process.pid)[1] == traced.pid, "tracer")
            found = attached(tmp_path, process.pid, *HELD)
        finally:
            traced.terminate()
            traced.wait(timeout=60)
    assert any("a debugger or strace has it" in why for why in found["sampling"]["losses"])
    assert pythons(found)
