"""`zond stack`: what each thread of a living process does now, in Python, in C and in the kernel."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from system.drive import (
    COUNTS_SIGNALS,
    PYTHON,
    ZOND,
    check_sane,
    counted_signals,
    end_of,
    every_version,
    interpreter_of,
    process_state,
    send_signals,
    started,
    traced,
    version_of,
    wait_until,
    zond,
)

# One thread for each way to wait, and one that runs C under Python under C under Python.
THREADS = """\
import os, select, socket, sys, threading, time

lock = threading.Lock()
lock.acquire()
reads, writes = os.pipe()
ours, theirs = socket.socketpair()
poll = select.epoll()

def sleeps():
    time.sleep(1000)

def locks():
    lock.acquire()

def reads_pipe():
    os.read(reads, 1)

def receives():
    ours.recv(1)

def polls():
    poll.poll()

def key(x):
    total = 0
    for i in range(10**9):
        total += i
    return total

def sorts():
    sorted([1, 2, 3], key=key)

for work in (sleeps, locks, reads_pipe, receives, polls, sorts):
    threading.Thread(target=work, name=work.__name__, daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
"""

# Of each thread: its function, the system call that it waits in, and what that is about.
WAITS = {
    "sleeps": ("clock_nanosleep|pselect6", None),
    "locks": ("futex", None),
    "reads_pipe": ("read", r"pipe:\[\d+\]"),
    "receives": ("recvfrom", r"socket:\[\d+\]"),
    "polls": ("epoll_wait", r"anon_inode:\[eventpoll\]"),
}

# Every blocking call in a thread of its own; says which of them ended though nothing happened.
BLOCKED = """\
import ctypes, os, select, signal, socket, sys, threading, time

libc = ctypes.CDLL(None, use_errno=True)
reads, writes = os.pipe()
server = socket.socket(); server.bind(("127.0.0.1", 0)); server.listen()
poll = select.epoll()
sems = libc.semget(0, 1, 0o1600)
queue = libc.msgget(0, 0o1600)
ended = []

def call(name, *args):
    ctypes.set_errno(0)
    result = getattr(libc, name)(*args)
    ended.append(f"{name} {result} {ctypes.get_errno()}")

class Event(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("events", ctypes.c_uint32), ("data", ctypes.c_uint64)]

sembuf = (ctypes.c_short * 3)(0, -1, 0)
buffer = ctypes.create_string_buffer(64)
calls = [
    ("read", reads, buffer, 1),
    ("epoll_wait", poll.fileno(), ctypes.byref(Event()), 1, -1),
    ("poll", None, 0, -1),
    ("select", 0, None, None, None, None),
    ("semop", sems, sembuf, 1),
    ("msgrcv", queue, buffer, 8, 0, 0),
    ("pause",),
    ("sleep", 1000),
    ("usleep", 999999999),
    ("accept", server.fileno(), None, None),
    ("sigwaitinfo", ctypes.create_string_buffer(128), None),
]
for args in calls:
    threading.Thread(target=call, args=args, name=args[0], daemon=True).start()
time.sleep(0.3)
print("ready", flush=True)
sys.stdin.read()
print(len(calls), ended, flush=True)
libc.semctl(sems, 0, 0)
libc.msgctl(queue, 0, None)
os._exit(0)
"""

Thread = dict[str, Any]


def stack(pid: int, *options: str) -> dict[str, Any]:
    done = zond("stack", "--json", *options, str(pid))
    assert (done.returncode, done.stderr) == (0, b"")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def threads(found: dict[str, Any]) -> dict[str, Thread]:
    return {thread["name"]: thread for process in found["processes"] for thread in process["threads"]}


def names(thread: Thread, kind: str) -> list[str]:
    return [frame["name"] for frame in thread["frames"] if frame["kind"] == kind]


def check_waiting(thread: Thread, function: str, calls: str, about: str | None) -> None:
    """The system call, C functions, Python functions, and C down to the start of the thread: in that order."""
    first = thread["frames"][0]
    assert first["kind"] == "syscall", thread
    assert re.fullmatch(calls, first["name"])
    assert about is None or re.fullmatch(about, first["file"])
    assert not thread["on_cpu"]
    kinds = [frame["kind"] for frame in thread["frames"]]
    assert kinds[1] == "native", kinds
    assert kinds[-1] == "native", kinds
    assert names(thread, "python")[0] == function
    assert [name.rpartition(".")[2] for name in names(thread, "python")[1:]] == [
        "run",
        "_bootstrap_inner",
        "_bootstrap",
    ]


@every_version()
def test_each_kind_of_wait(version: str) -> None:
    interpreter = interpreter_of(version)
    with started(*interpreter.command("-c", THREADS)) as process:
        found = stack(process.pid)
        assert len(found["processes"]) == 1
        assert found["processes"][0]["python"].startswith(version.rstrip("t"))
        seen = threads(found)
        for function, (calls, about) in WAITS.items():
            check_waiting(seen[function], function, calls, about)
        for thread in seen.values():
            evals = [name for name in names(thread, "native") if name.startswith("_PyEval_EvalFrameDefault")]
            assert not evals, (thread["name"], evals)


@every_version()
def test_c_between_python_functions(version: str) -> None:
    """What runs is found by where it is called from: `key` under `sorted` under `sorts`."""
    interpreter = interpreter_of(version)
    with started(*interpreter.command("-c", THREADS)) as process:
        time.sleep(0.2)
        thread = threads(stack(process.pid))["sorts"]
    frames = [frame["name"] if frame["kind"] == "python" else frame["kind"] for frame in thread["frames"]]
    inner = frames.index("key")
    outer = frames.index("sorts")
    assert inner < outer
    assert set(frames[inner + 1 : outer]) == {"native"}, frames
    assert frames[-1] == "native"
    if version_of(interpreter) >= (3, 13) and interpreter.free_threaded:
        return
    assert thread["gil"] in ("held", "waiting")


def test_the_text_fits_and_names_all(tmp_path: Path) -> None:
    with started(PYTHON, "-c", THREADS) as process:
        for width in (60, 100):
            done = zond("stack", "--width", str(width), str(process.pid))
            lines = done.stdout.decode().splitlines()
            assert max(map(len, lines)) <= width
            assert lines[0].startswith(f"Process {process.pid}")
            text = done.stdout.decode()
            for function in WAITS:
                assert re.search(rf"^ +py +{function} ", text, re.MULTILINE), function
            assert re.search(r"^ +sys +read +pipe:", text, re.MULTILINE)


def test_python_alone(tmp_path: Path) -> None:
    with started(PYTHON, "-c", THREADS) as process:
        seen = threads(stack(process.pid, "--no-native"))
    assert {frame["kind"] for thread in seen.values() for frame in thread["frames"]} == {"python"}
    assert set(WAITS) < set(seen)


def test_the_tree(tmp_path: Path) -> None:
    code = "import os\nif os.fork() == 0:\n    import time; time.sleep(1000)\nprint('ready', flush=True); os.wait()"
    with started(PYTHON, "-c", code) as process:
        alone, tree = stack(process.pid), stack(process.pid, "--tree")
        pids = [found["pid"] for found in tree["processes"]]
        os.kill(max(pids), signal.SIGKILL)
    assert [found["pid"] for found in alone["processes"]] == [process.pid]
    assert process.pid in pids
    assert len(pids) == 2


def test_no_call_ends_by_it() -> None:
    """Threads that wait are not stopped, so that nothing is interrupted: not even calls that nothing restarts."""
    with started(PYTHON, "-c", BLOCKED) as process:
        for _ in range(30):
            stack(process.pid)
        out, _ = process.communicate(b"", timeout=60)
    assert out == b"11 []\n"


def test_no_signal_is_lost() -> None:
    """Stopped again and again while signals arrive: each is delivered, and once."""
    with started(PYTHON, "-c", COUNTS_SIGNALS, "3") as process:
        looks = subprocess.Popen(["sh", "-c", f"while {ZOND} stack --json {process.pid} >/dev/null 2>&1; do :; done"])
        sent = send_signals(process.pid, 2, every=0.002)
        assert counted_signals(process) == sent
        looks.wait(timeout=60)


def test_nothing_is_left_behind() -> None:
    with started(PYTHON, "-c", THREADS) as process:
        before = sorted(os.listdir(f"/proc/{process.pid}/fd"))
        for _ in range(5):
            stack(process.pid)
        assert process_state(process.pid) == ("S", 0)
        assert sorted(os.listdir(f"/proc/{process.pid}/fd")) == before
        assert process.stdin
        process.stdin.close()
        assert end_of(process) == 0


def test_under_a_debugger() -> None:
    """What strace holds cannot be stopped: Python frames, and why there are no others."""
    with started(PYTHON, "-c", THREADS) as process, traced(process.pid):
        found = stack(process.pid)
    assert any("a debugger or strace has it" in why for why in found["losses"])
    thread = threads(found)["sorts"]
    assert names(thread, "python")[:2] == ["key", "sorts"]
    assert names(thread, "native") == []


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["stack"], 2, "it needs a PID or a core file"),
        (["stack", "1", "2"], 2, "it needs one PID"),
        (["stack", "4194305"], 125, "there is no process 4194305"),
        (["stack", str(os.getppid())], 125, ""),
    ],
)
def test_wrong_use(words: list[str], status: int, says: str) -> None:
    done = zond(*words)
    if says:
        assert (done.returncode, says in done.stderr.decode()) == (status, True)
    check_sane(done.stderr.decode())


def test_no_python() -> None:
    with started("sleep", "1000", ready=False) as process:
        wait_until(lambda: process_state(process.pid)[0] == "S", "sleep")
        done = zond("stack", str(process.pid))
    assert (done.returncode, b"runs no Python" in done.stderr) == (125, True)


# In turns a second in `computes` and one in `waits`, under `turns`; another thread only waits.
TURNS = """\
import threading, time

def computes(end):
    while time.monotonic() < end: sum(range(1000))

def waits(end):
    time.sleep(max(0, end - time.monotonic()))

def turns():
    begin = time.monotonic()
    print("ready", flush=True)
    for second in range(1, 100):
        (computes if second % 2 else waits)(begin + second)

threading.Thread(target=time.sleep, args=(1000,), daemon=True, name="idle").start()
turns()
"""


def test_what_changed_between_looks() -> None:
    with started(PYTHON, "-c", TURNS) as process:
        time.sleep(0.4)
        done = zond("stack", "--repeat", "3", "--every", "1", "--no-native", str(process.pid))
        several = zond("stack", "--repeat", "2", "--every", "0.1", "--json", str(process.pid))
    assert done.returncode == 0, done.stderr
    first, second, third = re.split(r"^After [12]\.\d s$", done.stdout.decode(), flags=re.MULTILINE)
    assert re.search(r"^ +py +computes .*\n +py +turns .*\n +py +<module>", first, re.MULTILINE), first
    assert "idle" in first
    assert re.search(r"^ +py +waits ", second, re.MULTILINE), second
    assert re.search(r"^ +py +computes ", third, re.MULTILINE), third
    for later in (second, third):
        assert "2 frames as before" in later
        assert "1 thread as before" in later
        assert "idle" not in later
    looks = [json.loads(look) for look in several.stdout.decode().replace("}\n{", "}\0{").split("\0")]
    assert [look["processes"][0]["pid"] for look in looks] == [process.pid] * 2
