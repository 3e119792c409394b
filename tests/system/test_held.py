"""What a program may notice of being held for its native stacks, a thousand times a second: nothing."""

from __future__ import annotations

import collections
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from system.drive import (
    PYTHON,
    TIMEOUT,
    ZOND,
    check_free,
    check_readable,
    end_of,
    functions,
    needs_root,
    pythons,
    run_code,
    started,
    thread_states,
    tool,
    view,
)
from system.test_attach import NOBODY, reachable_by_others
from system.test_stack import names, stack

HELD = ["--native-rate", "1000"]
# As often as it goes: some of many ends meet a thread that is held.
ALWAYS_HELD = ["-r", "20000", "--native-rate", "20000"]


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library of calls.c."""
    library = tmp_path_factory.mktemp("calls") / "calls.so"
    source = Path(__file__).parent / "calls.c"
    subprocess.run([tool("cc"), "-O1", "-shared", "-fPIC", "-o", library, source, "-lrt"], check=True)
    return library


# Threads of which a few run, and all others wait, in two ways.
CROWD = """\
import os, sys, threading, time, zlib

threading.stack_size(1 << 18)
never = threading.Event()
data = bytes(1 << 16)

def runs():
    while True: zlib.crc32(data)

def waits():
    never.wait()

def sleeps():
    time.sleep(1000)

for work, count in (runs, 8), (waits, 500), (sleeps, 491):
    for _ in range(count):
        threading.Thread(target=work, name=work.__name__, daemon=True).start()
print("ready", flush=True)
print(os.getpid(), flush=True)
sys.stdin.read()
os._exit(6)
"""
CROWDED = {"MainThread": 1, "runs": 8, "waits": 500, "sleeps": 491}


def test_a_thousand_threads(tmp_path: Path) -> None:
    recording = tmp_path / "run.zond"
    with started(ZOND, "run", "-q", *HELD, "-o", recording, "--", PYTHON, "-c", CROWD) as recorder:
        assert recorder.stdout
        pid = int(recorder.stdout.readline())
        time.sleep(3)
        assert len(thread_states(pid)) == 1000
        recorder.communicate(b"")
        assert recorder.returncode == 6
    found = check_readable(recording)
    (process,) = pythons(found)
    assert collections.Counter(thread["name"] for thread in process["threads"]) == CROWDED
    assert found["sampling"]["pause_us"]["p50"] > 0


def test_a_thousand_threads_have_whole_stacks() -> None:
    with started(PYTHON, "-c", CROWD) as process:
        (found,) = stack(process.pid)["processes"]
        check_free(process.pid)
    starts = {name: "_start" if name == "MainThread" else "__clone3?" for name in CROWDED}
    assert collections.Counter(thread["name"] for thread in found["threads"]) == CROWDED
    for thread in found["threads"]:
        assert re.fullmatch(starts[thread["name"]], names(thread, "native")[-1]), thread


# What argv[1] (calls.c) makes of calls that argv[3] chooses, each in a thread, in argv[2] seconds.
MAKES_CALLS = """\
import ctypes, json, re, signal, sys, threading

calls = ctypes.CDLL(sys.argv[1])
calls.calls_name.restype = ctypes.c_char_p
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
names = [calls.calls_name(i).decode() for i in range(calls.calls_begin())]
made = [(i, name, (ctypes.c_long * 4)()) for i, name in enumerate(names) if re.fullmatch(sys.argv[3], name)]
seconds = ctypes.c_double(float(sys.argv[2]))
threads = [threading.Thread(target=calls.calls_make, args=(i, seconds, result)) for i, _, result in made]
for thread in threads: thread.start()
for thread in threads: thread.join()
calls.calls_end()
print(json.dumps([(name, *result) for _, name, result in made]))
"""


# What waits for children is alone: the end of a child whose parent is held just then is a signal to the others, which
# without zond would have been ignored at once.
@pytest.mark.parametrize(("which", "count"), [("(?!waitpid).*", 22), ("waitpid", 1)])
def test_no_call_ends_by_it(which: str, count: int, calls: Path, tmp_path: Path) -> None:
    """Calls that begin to wait just when their thread is to be held: no EINTR, nothing odd, none too short."""
    ran = run_code(tmp_path, MAKES_CALLS, calls, "6", which, options=HELD)
    assert ran.status == 0, ran.err
    made = json.loads(ran.out)
    assert len({name for name, *_ in made}) == count
    for name, times, *wrong in made:
        assert times > 50, name
        assert wrong == [0, 0, 0], name
    assert check_readable(ran.recording)["sampling"]["pause_us"]["p50"] > 0


# Half of argv[2] signals from itself and half from a child, to a thread that computes beside another.
COUNTS_SIGNALS = """\
import ctypes, os, signal, sys, threading, zlib

calls, each = ctypes.CDLL(sys.argv[1]), int(sys.argv[2]) // 2
mine = {signal.SIGRTMIN, signal.SIGRTMIN + 1, signal.SIGALRM, signal.SIGCHLD}
data = bytes(1 << 16)

def runs():
    while True: zlib.crc32(data)

signal.pthread_sigmask(signal.SIG_BLOCK, mine)
threading.Thread(target=runs, daemon=True).start()
sender = threading.Thread(target=calls.signals_send, args=(os.getpid(), 1, each))
calls.signals_begin()
signal.pthread_sigmask(signal.SIG_UNBLOCK, mine)
print(calls.signals_of_children(300), calls.signals_of_timer(2000, 500_000))
signal.pthread_sigmask(signal.SIG_BLOCK, mine)
sender.start()
child = os.fork()
if not child:
    calls.signals_send(os.getppid(), 0, each)
    os._exit(0)
signal.pthread_sigmask(signal.SIG_UNBLOCK, mine)
while sender.is_alive() or os.waitpid(child, os.WNOHANG) == (0, 0):
    sum(range(1000))
print(calls.signals_arrived(0), calls.signals_arrived(1), calls.signals_out_of_order(), flush=True)
os._exit(7)
"""


def test_a_million_signals(calls: Path, tmp_path: Path) -> None:
    """Queued ones arrive in order, each once; so do the ends of children, and a timer's expirations."""
    ran = run_code(tmp_path, COUNTS_SIGNALS, calls, "1000000", options=HELD)
    assert ran.status == 7, ran.err
    assert ran.out == b"300 0\n500000 500000 0\n"
    assert check_readable(ran.recording)["sampling"]["pause_us"]["p50"] > 0


# Sixty children, one after the other: two threads of each compute while it ends as argv[1] says.
ENDS = """\
import os, random, sys, threading, time, zlib

data = bytes(1 << 16)

def runs():
    while True: zlib.crc32(data)

def execs():
    os.execv("/bin/sh", ["sh", "-c", "exit 41"])

def execs_in_a_thread():
    threading.Thread(target=execs).start()
    time.sleep(1000)

def exits():
    os._exit(41)

def is_killed():
    os.kill(os.getpid(), 9)

statuses = set()
for _ in range(60):
    pid = os.fork()
    if not pid:
        for _ in range(2): threading.Thread(target=runs, daemon=True).start()
        time.sleep(random.uniform(0.05, 0.07))
        globals()[sys.argv[1]]()
    statuses.add(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
print(statuses)
"""


@pytest.mark.parametrize(
    ("how", "statuses"), [("exits", {41}), ("is_killed", {-9}), ("execs", {41}), ("execs_in_a_thread", {41})]
)
def test_ends_of_what_is_held(how: str, statuses: set[int], tmp_path: Path) -> None:
    """A thread that dies while it is held, or gets another number by exec, keeps no process from its end."""
    ran = run_code(tmp_path, ENDS, how, options=ALWAYS_HELD)
    assert (ran.status, ran.out.decode()) == (0, f"{statuses}\n"), ran.err
    check_readable(ran.recording)


# Kills the process that asks for what debuggers ask for, or that goes on with a call by restart_syscall: no program
# asks for that itself.
CONFINED = """\
import ctypes, select, struct, sys, threading, time

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
LOAD, JUMP_IF_EQUAL, RETURN, ALLOW, KILL = 0x20, 0x15, 0x06, 0x7FFF0000, 0x80000000
process_vm_readv = 310
FORBIDDEN = {"ptrace": 101, "restart_syscall": 219, "perf_event_open": 298, "process_vm_readv": process_vm_readv,
             "process_vm_writev": 311, "kcmp": 312, "pidfd_open": 434, "pidfd_getfd": 438}

libc = ctypes.CDLL(None)
code = [(LOAD, 0, 0, 0)]
code += [(JUMP_IF_EQUAL, len(FORBIDDEN) - i, 0, number) for i, number in enumerate(FORBIDDEN.values())]
code += [(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, KILL)]
text = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *word) for word in code))
program = struct.pack("<HxxxxxxQ", len(code), ctypes.addressof(text))
assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
assert libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0) == 0

def waits(end):
    event, poll = threading.Event(), select.epoll()
    while time.monotonic() < end:
        time.sleep(0.0001)
        libc.poll(None, 0, 1)
        event.wait(0.0001)
        poll.poll(0.001)

if sys.argv[1] == "offends":
    libc.syscall(process_vm_readv)
threads = [threading.Thread(target=waits, args=(time.monotonic() + 3,)) for _ in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
sys.exit(4)
"""


@pytest.mark.parametrize(("what", "status"), [("obeys", 4), ("offends", -signal.SIGSYS)])
def test_a_program_that_has_confined_itself(what: str, status: int, tmp_path: Path) -> None:
    ran = run_code(tmp_path, CONFINED, what, options=HELD)
    assert ran.status == status, ran.err
    found = check_readable(ran.recording)
    assert status < 0 or {"waits", "clock_nanosleep"} <= set(functions(found))


# Writes 2 MiB by one call of the kind argv[1], to a reader that takes a little at a time, again and again; tells of
# each call what it wrote. argv[2]: "alarms" has a handler run every 2 ms meanwhile, so that calls end early, and goes
# on as a program has to. What arrived is what was written: nothing twice, nothing left out.
WRITES = """\
import os, pty, signal, socket, sys, threading, tty, zlib

def terminal():
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    return ours, theirs

def sockets():
    ours, theirs = socket.socketpair()
    return ours.detach(), theirs.detach()

kind, alarms = sys.argv[1], sys.argv[2] == "alarms"
reader, writer = {"pipe": os.pipe, "terminal": terminal, "socket": sockets, "send": sockets}[kind]()
end = socket.socket(fileno=writer) if kind == "send" else None
data = os.urandom(2 << 20)
arrived, went, short = zlib.crc32(b""), zlib.crc32(b""), 0

def reads():
    global arrived
    while piece := os.read(reader, 40_000):
        arrived = zlib.crc32(piece, arrived)

thread = threading.Thread(target=reads)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
thread.start()
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
signal.signal(signal.SIGALRM, lambda *_: None)
if alarms: signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
for _ in range(10 if kind == "terminal" else 60):
    rest = memoryview(data)
    while rest:
        count = end.send(rest) if end else os.write(writer, rest)
        went = zlib.crc32(rest[:count], went)
        rest = rest[count:]
        short += bool(rest)
signal.setitimer(signal.ITIMER_REAL, 0)
if end: end.shutdown(socket.SHUT_RDWR)
if kind == "terminal":
    while arrived != went: pass
    os._exit(5 if not short else 6)
if not end: os.close(writer)
thread.join()
sys.exit((3 if arrived != went else 5 if not short else 6))
"""


@pytest.mark.parametrize("kind", ["pipe", "terminal", "socket", "send"])
@pytest.mark.parametrize(("meanwhile", "status"), [("nothing", 5), ("alarms", 6)])
def test_what_is_written_by_one_call(kind: str, meanwhile: str, status: int, tmp_path: Path) -> None:
    """A call that waits for its reader writes all of it, though its thread is held; signals end it early as ever."""
    ran = run_code(tmp_path, WRITES, kind, meanwhile, options=ALWAYS_HELD)
    assert ran.status == status, ran.err
    assert check_readable(ran.recording)["sampling"]["pause_us"]["p50"] > 0


# The same for what is received by a call that waits for all.
RECEIVES = """\
import os, signal, socket, sys, threading, zlib

alarms = sys.argv[1] == "alarms"
ours, theirs = socket.socketpair()
data = memoryview(os.urandom(2 << 20))
sent = zlib.crc32(b"")

def sends():
    global sent
    for _ in range(60):
        for start in range(0, len(data), 40_000):
            theirs.sendall(data[start:start + 40_000])
        sent = zlib.crc32(data, sent)

thread = threading.Thread(target=sends)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
thread.start()
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
signal.signal(signal.SIGALRM, lambda *_: None)
if alarms: signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
arrived, short = zlib.crc32(b""), 0
for _ in range(60):
    rest = len(data)
    while rest:
        piece = ours.recv(rest, socket.MSG_WAITALL)
        arrived = zlib.crc32(piece, arrived)
        rest -= len(piece)
        short += bool(rest)
signal.setitimer(signal.ITIMER_REAL, 0)
thread.join()
sys.exit((3 if arrived != sent else 5 if not short else 6))
"""


@pytest.mark.parametrize(("meanwhile", "status"), [("nothing", 5), ("alarms", 6)])
def test_what_is_received_by_one_call(meanwhile: str, status: int, tmp_path: Path) -> None:
    ran = run_code(tmp_path, RECEIVES, meanwhile, options=ALWAYS_HELD)
    assert ran.status == status, ran.err
    assert check_readable(ran.recording)["sampling"]["pause_us"]["p50"] > 0


# Writes much by each call, for as long as somebody reads.
WRITES_ON = """\
import os, signal
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
os.write(1, b"ready\\n")
data = bytes(8 << 20)
while True:
    os.write(1, data)
"""


def test_the_reader_of_a_write_ends(tmp_path: Path) -> None:
    """SIGPIPE and EPIPE come as ever, in the middle of a write that was held."""
    recording = tmp_path / "run.zond"
    for i in range(20):
        with started(ZOND, "run", "-q", *ALWAYS_HELD, "-o", recording, "--", PYTHON, "-c", WRITES_ON) as recorder:
            assert recorder.stdout
            for _ in range(20 * i):
                os.read(recorder.stdout.fileno(), 1 << 16)
            recorder.stdout.close()
            assert end_of(recorder) == -signal.SIGPIPE
        check_readable(recording)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_zond_ends_while_a_write_waits(number: int, tmp_path: Path) -> None:
    """The program goes on writing, untraced, as soon as its reader goes on reading."""
    recording = tmp_path / "attach.zond"
    with started(PYTHON, "-c", WRITES_ON) as writer:
        assert writer.stdout
        for _ in range(10):
            with started(ZOND, "attach", "-q", *ALWAYS_HELD, "-o", recording, str(writer.pid), ready=False) as recorder:
                for _ in range(200):
                    os.read(writer.stdout.fileno(), 1 << 16)
                    time.sleep(0.0005)
                recorder.send_signal(number)
                recorder.wait(TIMEOUT)
            check_free(writer.pid)
        for _ in range(2000):
            assert os.read(writer.stdout.fileno(), 1 << 16)


# Makes itself unreadable after so many seconds, and computes on.
UNREADABLE = """\
import ctypes, sys, time
PR_SET_DUMPABLE = 4

def spins(end):
    while time.monotonic() < end: sum(range(100))

def before():
    spins(time.monotonic() + float(sys.argv[1]))

def after():
    spins(time.monotonic() + 1)

before()
ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0)
after()
sys.exit(6)
"""


@needs_root
@pytest.mark.parametrize("seconds", ["0", "0.6"])
def test_a_program_that_is_unreadable_to_others(seconds: str, tmp_path: Path) -> None:
    """To root it is not."""
    ran = run_code(tmp_path, UNREADABLE, seconds, options=HELD)
    assert ran.status == 6, ran.err
    found = check_readable(ran.recording)
    assert functions(found)["after"]["total_wall_s"] > 0.8
    assert functions(found)["_start"]["total_wall_s"] > 0.8


@needs_root
@pytest.mark.parametrize("seconds", ["0", "0.6"])
def test_a_program_that_is_unreadable_to_us(seconds: str, tmp_path: Path) -> None:
    """It runs on to its own end, and the report says why there is no more of it."""
    python = "/usr/bin/python3"
    if not os.access(python, os.X_OK):
        pytest.skip(f"no {python} that every user can run")
    recording = tmp_path / "run.zond"
    other = [tool("setpriv"), f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    words = ["run", "-q", *HELD, "-o", str(recording), "--", python, "-c", UNREADABLE, seconds]
    with reachable_by_others(tmp_path) as copy:
        tmp_path.chmod(0o777)
        done = subprocess.run([*other, str(copy), *words], capture_output=True, check=False, timeout=TIMEOUT)
    assert done.returncode == 6, done.stderr
    found = check_readable(recording)
    assert [why for why in found["sampling"]["losses"] if re.search(r"process \d+ may not be looked into", why)]
    assert "may not be looked into: see `zond doctor`" in " ".join(view(recording).split())
    assert "after" not in functions(found)
    assert seconds == "0" or "before" in functions(found)
