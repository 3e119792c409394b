"""Whatever happens to the program, the disk or the memory that is read: no crash, no hang, a readable recording.

The losses are counted, and the program's end is its own. With ZOND from a sanitizer's build, nothing may be said by it.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from system.drive import (
    BUSY,
    PYTHON,
    TIMEOUT,
    ZOND,
    Report,
    attach,
    attached,
    check_readable,
    check_sane,
    end_of,
    functions,
    interpreter_of,
    needs_root,
    process_state,
    pythons,
    run,
    run_code,
    started,
    wait_until,
    zond,
)

SPIN = """\
import ctypes, os, resource, sys, time
def spin(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(100))
spin(0.5)
"""


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("os._exit(9)", 9),
        ("os.kill(os.getpid(), 9)", -signal.SIGKILL),
        ("ctypes.string_at(1)", -signal.SIGSEGV),
        ("os.abort()", -signal.SIGABRT),
        ("resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)); bytearray(1 << 40)", 1),
        ("resource.setrlimit(resource.RLIMIT_CPU, (1, 1)); spin(20)", -signal.SIGKILL),
        ("os.execv('/bin/true', ['true'])", 0),
        ("os.execv(sys.executable, [sys.executable, '-c', 'raise SystemExit(4)'])", 4),
    ],
)
@pytest.mark.parametrize("version", ["3.8", "3.11", "3.15"])
def test_end_of_the_program(tmp_path: Path, version: str, end: str, status: int) -> None:
    ran = run_code(tmp_path, SPIN + end, python=interpreter_of(version).path)
    assert ran.status == status, ran.err
    found = check_readable(ran.recording)
    assert found["run"]["complete"]
    assert functions(found)["spin"]["total_wall_s"] > 0.25


def test_exec_into_another_python(tmp_path: Path) -> None:
    """The second program is another one: its functions are its own, by the layout of its version."""
    other = interpreter_of("3.15")
    ran = run_code(tmp_path, SPIN + f"os.execv({other.path!r}, [{other.path!r}, '-c', {BUSY!r}, '0.5'])")
    assert ran.status == 0, ran.err
    found = check_readable(ran.recording)
    assert {"spin", "Work.inner", "outer"} <= set(functions(found))
    assert len({process["python"] for process in pythons(found)}) == 2


def test_threads_that_outlive_the_main_one(tmp_path: Path) -> None:
    """The process's first thread ends by pthread_exit, and leaves a zombie for a leader."""
    code = "import threading\n" + SPIN.replace("spin(0.5)", "")
    code += "threading.Thread(target=lambda: (spin(0.8), os._exit(3))).start()\n"
    code += "ctypes.CDLL(None).syscall(60, 0)\n"
    ran = run_code(tmp_path, code)
    assert ran.status == 3, ran.err
    check_readable(ran.recording)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    mounted = folder / "disk"
    mounted.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(mounted)]
    if subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("no right to mount a file system")
    try:
        yield mounted
    finally:
        subprocess.run(["umount", "--lazy", str(mounted)], check=True)


# Ever new stacks: a recording that does not compress to nothing.
MANY_STACKS = """\
import random, time
def f(n):
    return g(n - 1) if n and random.random() < 0.5 else f(n - 1) if n else random.random()
def g(n):
    return f(n - 1) if n else random.random()
end = time.monotonic() + float(__import__("sys").argv[1])
while time.monotonic() < end:
    f(30)
raise SystemExit(5)
"""


@needs_root
@pytest.mark.parametrize("size", ["4k", "16k"])
def test_full_disk(tmp_path: Path, size: str) -> None:
    """The program goes on, the loss is said, and what fitted is a recording."""
    with small_disk(tmp_path, size) as disk:
        recording = disk / "run.zond"
        ran = run_code(tmp_path, MANY_STACKS, "3.5", options=["-r", "max", "-o", recording])
        assert ran.status == 5
        assert f"the recording is incomplete: writing {recording} stopped: No space left on device" in ran.err
        found = check_readable(recording)
    assert not found["run"]["complete"]


def test_full_device(tmp_path: Path) -> None:
    ran = run_code(tmp_path, SPIN + "sys.exit(5)", options=["-o", "/dev/full"])
    assert ran.status == 5
    assert "writing /dev/full stopped: No space left on device" in ran.err


def test_limit_of_file_size(tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))

    ran = run(tmp_path, PYTHON, "-c", MANY_STACKS, "2.5", options=["-r", "max"], preexec=limit)
    assert ran.status == 5
    assert "stopped: File too large" in ran.err
    assert not check_readable(ran.recording)["run"]["complete"]


def test_closed_pipe_as_output(tmp_path: Path) -> None:
    """Whoever takes the recording goes away: the program ends as it would."""
    ours, theirs = os.pipe()
    os.close(ours)
    command = [ZOND, "run", "-o", "/dev/stdout", "--", PYTHON, "-c", SPIN + "os._exit(6)"]
    done = subprocess.run(command, stdout=theirs, stderr=subprocess.PIPE, check=False, timeout=TIMEOUT)
    os.close(theirs)
    assert done.returncode == 6
    assert "writing /dev/stdout stopped: Broken pipe" in done.stderr.decode()


def test_pipe_as_output(tmp_path: Path) -> None:
    """A recording that went through a pipe is the same as a file."""
    code = SPIN + "os.write(2, b'said'); os._exit(6)"
    done = zond("run", "-q", "-o", "/dev/stdout", "--", PYTHON, "-c", code)
    assert (done.returncode, done.stderr[:4]) == (6, b"said")
    (tmp_path / "through.zond").write_bytes(done.stdout)
    found = check_readable(tmp_path / "through.zond")
    assert found["run"]["complete"]
    assert "spin" in functions(found)


def test_fifo_as_output(tmp_path: Path) -> None:
    fifo, copy = tmp_path / "fifo", tmp_path / "copy.zond"
    os.mkfifo(fifo)
    reader = threading.Thread(target=lambda: copy.write_bytes(fifo.read_bytes()))
    reader.start()
    done = zond("run", "-o", fifo, "--", PYTHON, "-c", SPIN + "os._exit(6)")
    reader.join()
    assert done.returncode == 6
    assert check_readable(copy)["run"]["complete"]


def test_slow_reader(tmp_path: Path) -> None:
    """A reader that stands still for a while stops neither the program nor the sampling."""
    ours, theirs = os.pipe()
    command = [ZOND, "run", "-q", "-o", "/dev/stdout", "-r", "max", "--", PYTHON, "-c", MANY_STACKS, "2"]
    with subprocess.Popen(command, stdout=theirs, stderr=subprocess.PIPE) as process:
        os.close(theirs)
        time.sleep(3)
        data = b""
        while chunk := os.read(ours, 1 << 16):
            data += chunk
        assert end_of(process) == 5
    os.close(ours)
    (tmp_path / "through.zond").write_bytes(data)
    assert check_readable(tmp_path / "through.zond")["run"]["complete"]


@needs_root
def test_read_only_folder(tmp_path: Path) -> None:
    with small_disk(tmp_path, "64k") as disk:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        done = zond("run", "-o", disk / "run.zond", "touch", tmp_path / "started")
        assert done.returncode == 125
        assert "Read-only file system; choose another place with -o FILE" in done.stderr.decode()
    assert not (tmp_path / "started").exists()


# Functions that are made, run and thrown away all the time: code objects move into each other's memory.
CHURN = """\
import gc, sys, threading, time
end = time.monotonic() + 2.5
def churn(seed):
    n = seed
    while time.monotonic() < end:
        n += 1
        space = {}
        text = "def made_%d(x):\\n%s return sum(range(40)) + x\\n" % (n % 7, "\\n" * (n % 50))
        exec(compile(text, "<made>", "exec"), space)
        for name in list(space):
            if name.startswith("made"):
                space[name](1)
        eval("(lambda y: [y for _ in range(20)])(%d)" % n)
        if n % 100 == 0:
            gc.collect(0)
threads = [threading.Thread(target=churn, args=(i * 1000,)) for i in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


@pytest.mark.parametrize("version", ["3.8", "3.11", "3.12", "3.13", "3.15", "3.13t"])
def test_code_objects_that_come_and_go(tmp_path: Path, version: str) -> None:
    """Every name that is shown existed, and stands at a line where it was."""
    ran = run_code(tmp_path, CHURN, options=["-r", "max"], python=interpreter_of(version).path)
    assert ran.status == 0, ran.err
    found = check_readable(ran.recording)
    made = {f["name"]: f for f in found["functions"] if f["file"] == "<made>"}
    assert made
    assert set(made) <= {"<module>"} | {f"made_{i}" for i in range(7)}
    assert "churn" in functions(found)


# Finds the word in a frame that leads to its caller, and gives it other values while the frame's function runs in
# another thread. Offsets: from the start of the frame object to the frame's data, and in that to the caller.
FRAMES = """\
import ctypes, gc, os, sys, threading, time
gc.disable()
minor = sys.version_info[1]
def word(at): return ctypes.c_uint64.from_address(at)
def data(frame): return id(frame) if minor <= 10 else word(id(frame) + 24).value
def caller_of(frame): return word(data(frame) + (24 if minor <= 10 else 48 if minor == 11 else 8))
def check(frame):
    if caller_of(frame).value != data(frame.f_back): os._exit(77)
"""

CYCLE = (
    FRAMES
    + """\
def outer(): middle()
def middle(): inner()
def inner():
    frame = sys._getframe()
    check(frame)
    caller_of(frame.f_back).value = data(frame)
    caught.set()
    how()
def sleeping(): time.sleep(60)
def spinning():
    while True: pass
how = globals()[sys.argv[1]]
caught = threading.Event()
threading.Thread(target=outer, daemon=True).start()
caught.wait()
end = time.monotonic() + 1
while time.monotonic() < end: sum(range(100))
os._exit(5)
"""
)

REWRITE = (
    FRAMES
    + """\
import random
def outer(): middle()
def middle(): inner()
def inner():
    frames.append(sys._getframe().f_back)
    while running: sum(range(20))
frames, running = [], True
threading.Thread(target=outer, daemon=True).start()
while not frames: time.sleep(0.001)
frame = frames[0]
check(frame)
place, truth = caller_of(frame), caller_of(frame).value
end = time.monotonic() + 2
while time.monotonic() < end:
    for value in (0, 1, 7, 8, truth + 1, truth + 8, data(frame), id(frame), id(type), 1 << 63, (1 << 64) - 8,
                  random.getrandbits(64), random.getrandbits(47) & ~7, truth):
        place.value = value
        time.sleep(random.random() / 500)
place.value = truth
os._exit(5)
"""
)

FRAME_VERSIONS = pytest.mark.parametrize("version", ["3.8", "3.10", "3.11", "3.12", "3.13", "3.14", "3.15"])


def losses(found: Report) -> int:
    """All stacks that were not seen whole."""
    sampling = found["sampling"]
    return sum(int(sampling[key]) for key in ("torn", "dropped", "unreadable", "truncated"))


@FRAME_VERSIONS
@pytest.mark.parametrize("how", ["sleeping", "spinning"])
def test_cyclic_frames(tmp_path: Path, version: str, how: str) -> None:
    """A chain that leads back into itself is cut or given up, and counted."""
    ran = run_code(tmp_path, CYCLE, how, python=interpreter_of(version).path)
    if ran.status == 77:
        pytest.fail(f"frames of {version} are not as this test thinks")
    assert ran.status == 5, ran.err
    found = check_readable(ran.recording)
    assert losses(found) > 0
    assert "<module>" in functions(found)


@FRAME_VERSIONS
def test_frames_that_are_overwritten(tmp_path: Path, version: str) -> None:
    ran = run_code(tmp_path, REWRITE, options=["-r", "max"], python=interpreter_of(version).path)
    if ran.status == 77:
        pytest.fail(f"frames of {version} are not as this test thinks")
    assert ran.status == 5, ran.err
    found = check_readable(ran.recording)
    assert losses(found) > 0
    assert {"inner", "<module>"} <= set(functions(found))


DEEP = """\
import sys, threading, time
sys.setrecursionlimit(10**6)
def down(n):
    if n: return down(n - 1)
    end = time.monotonic() + 1.5
    while time.monotonic() < end: sum(range(100))
if sys.version_info < (3, 11): threading.stack_size(1 << 29)
thread = threading.Thread(target=down, args=(100_000,))
thread.start()
thread.join()
"""


@pytest.mark.parametrize("version", ["3.8", "3.11", "3.13", "3.15"])
def test_deep_recursion(tmp_path: Path, version: str) -> None:
    """100 000 frames: the innermost are shown, and that there are more is counted."""
    ran = run_code(tmp_path, DEEP, python=interpreter_of(version).path)
    assert ran.status == 0, ran.err
    found = check_readable(ran.recording)
    assert found["sampling"]["truncated"] > 0
    assert functions(found)["down"]["total_wall_s"] > 0.5


THREADS = """\
import sys, threading, time
count = int(sys.argv[1])
threading.stack_size(1 << 16)
go = threading.Event()
started = 0
for _ in range(count):
    try: threading.Thread(target=go.wait, daemon=True).start()
    except RuntimeError: break
    started += 1
def spin(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end: sum(range(100))
spin(3)
sys.stdout.write(str(started))
sys.stdout.flush()
__import__("os")._exit(0)
"""


@pytest.mark.parametrize(("count", "descriptors"), [(1000, 1024), (10_000, None)])
def test_many_threads(tmp_path: Path, count: int, descriptors: int | None) -> None:
    """All are in the recording, also where there are fewer descriptors than threads."""

    def limit() -> None:
        if descriptors:
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))

    ran = run(tmp_path, PYTHON, "-c", THREADS, str(count), preexec=limit)
    assert ran.status == 0, ran.err
    made = int(ran.out)
    if made < count:
        print(f"this machine allows {made} threads, not {count}")
    found = check_readable(ran.recording)
    (process,) = pythons(found)
    seen = len(process["threads"])
    assert seen == made + 1
    assert "spin" in functions(found)


NAMES: dict[str, bytes] = {
    "not UTF-8": b"caf\xe9 \xff\xfe.py",
    "newline": b"two\nlines.py",
    "escape": b"\x1b[31mred\x1b]0;title\x07\x9b.py",
    "quotes": b"a'b\"c\\d;e<f>&.py",
    "wide": "雪-é-\u202e-\U0001f40d.py".encode(),
    "long": b"n" * 250 + b".py",
}


@pytest.mark.parametrize("version", ["3.8", "3.12", "3.15"])
@pytest.mark.parametrize("name", NAMES)
def test_file_names(tmp_path: Path, name: str, version: str) -> None:
    """A script of any name is recorded and shown; the JSON is UTF-8, and no text upsets a terminal."""
    script = os.fsencode(tmp_path) + b"/" + NAMES[name]
    with open(script, "wb") as file:
        file.write(SPIN.encode())
    done = zond("run", "-q", "--python", interpreter_of(version).path, "-o", tmp_path / "run.zond", script)
    assert done.returncode == 0, done.stderr
    found = check_readable(tmp_path / "run.zond")
    assert functions(found)["spin"]["file"].endswith(".py")
    ran = zond("run", "-q", script, cwd=tmp_path)
    assert ran.returncode == 0
    assert len(list(tmp_path.glob("*.zond"))) == 2


HOSTILE_NAMES = """\
import sys, time
names = ["ab\\ncd", "\\x1b[31mred\\x1b[0m", "\\udcff\\udc80", "\\ud800 alone", "", "x" * 5000, "\\0nul\\0"]
names += ["\\u202eright", "a;b c"]
def spin(end):
    while time.monotonic() < end: sum(range(100))
for name in names:
    code = compile("def f(spin, end):\\n spin(end)", "file", "exec").co_consts[0]
    changes = {"co_name": name, "co_filename": "file " + name}
    if sys.version_info >= (3, 11): changes["co_qualname"] = name
    function = type(spin)(code.replace(**changes), {})
    function(spin, time.monotonic() + 0.15)
"""


@pytest.mark.parametrize("version", ["3.8", "3.11", "3.15"])
def test_names_in_the_program(tmp_path: Path, version: str) -> None:
    """Names of functions and files that no editor would let one type."""
    ran = run_code(tmp_path, HOSTILE_NAMES, python=interpreter_of(version).path)
    assert ran.status == 0, ran.err
    found = check_readable(ran.recording)
    assert functions(found)["spin"]["total_wall_s"] > 0.9
    callers = [f for f in found["functions"] if (f["file"] or "").startswith("file ")]
    assert len(callers) >= 8


ELF_HEADER = "<16sHHIQQQIHHHHHH"
SECTION = "<IIQQQQIIQQ"


def with_header(data: bytes, **fields: int) -> bytes:
    """The file with other values in its header."""
    names = "ident type machine version entry phoff shoff flags ehsize phentsize phnum shentsize shnum shstrndx".split()
    values = dict(zip(names, struct.unpack_from(ELF_HEADER, data), strict=True)) | fields
    return struct.pack(ELF_HEADER, *values.values()) + data[64:]


def with_sections(data: bytes, **fields: int) -> bytes:
    """The file with other values in every section's header."""
    names = "name type flags addr offset size link info addralign entsize".split()
    header = struct.unpack_from(ELF_HEADER, data)
    out = bytearray(data)
    for i in range(header[12]):
        at = header[6] + i * 64
        values = dict(zip(names, struct.unpack_from(SECTION, data, at), strict=True)) | fields
        struct.pack_into(SECTION, out, at, *values.values())
    return bytes(out)


def with_noise(data: bytes, start: int, end: int, seed: int) -> bytes:
    """The file with one byte in 20 of a part replaced."""
    chance = random.Random(seed)
    out = bytearray(data)
    for i in range(start, min(end, len(out))):
        if chance.random() < 0.05:
            out[i] = chance.randrange(256)
    return bytes(out)


def sections_at(data: bytes) -> int:
    return int(struct.unpack_from(ELF_HEADER, data)[6])


def noisy(seed: int, part: Callable[[bytes], tuple[int, int]]) -> Callable[[bytes], bytes]:
    return lambda data: with_noise(data, *part(data), seed)


ALL_ONES = (1 << 64) - 1
CORRUPTIONS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "one byte": lambda data: data[:1],
    "half of the header": lambda data: data[:32],
    "header only": lambda data: data[:64],
    "first page": lambda data: data[:4096],
    "half": lambda data: data[: len(data) // 2],
    "without its end": lambda data: data[:-4096],
    "zeros": lambda data: bytes(len(data)),
    "ones": lambda data: b"\xff" * len(data),
    "text": lambda data: b"no ELF file at all\n" * 1000,
    "sections beyond the end": lambda data: with_header(data, shoff=len(data) * 2),
    "sections at the very end": lambda data: with_header(data, shoff=ALL_ONES - 63),
    "sections over the header": lambda data: with_header(data, shoff=0),
    "many sections": lambda data: with_header(data, shnum=0xFFFF),
    "no names of sections": lambda data: with_header(data, shstrndx=0xFFFF),
    "many segments": lambda data: with_header(data, phnum=0xFFFE),
    "segments beyond the end": lambda data: with_header(data, phoff=len(data) * 2),
    "small entries": lambda data: with_header(data, shentsize=1, phentsize=1),
    "huge sections": lambda data: with_sections(data, size=ALL_ONES),
    "sections elsewhere": lambda data: with_sections(data, offset=ALL_ONES - 8),
    "entries of one byte": lambda data: with_sections(data, entsize=1),
    "entries of nothing": lambda data: with_sections(data, entsize=0),
    "links to nowhere": lambda data: with_sections(data, link=0x7FFFFFFF),
    "names beyond the end": lambda data: with_sections(data, name=0xFFFFFFF0),
    "all are symbols": lambda data: with_sections(data, type=2),
    **{f"noise in the first pages {i}": noisy(i, lambda data: (4, 1 << 16)) for i in range(4)},
    **{f"noise in the sections {i}": noisy(i, lambda data: (sections_at(data), len(data))) for i in range(4)},
    **{f"noise everywhere {i}": noisy(i, lambda data: (4, len(data))) for i in range(2)},
}


@contextmanager
def standing(folder: Path, version: str) -> Iterator[tuple[int, Path]]:
    """A program that stands still, and the copy of libpython that it has mapped."""
    interpreter = interpreter_of(version)
    libraries = list(Path(interpreter.path).parent.parent.glob(f"lib/libpython{version}.so.1.0"))
    if not libraries:
        pytest.skip(f"{interpreter.path} has no libpython beside it")
    copy = folder / libraries[0].name
    shutil.copyfile(libraries[0], copy)
    env = {**os.environ, "LD_LIBRARY_PATH": str(folder)}
    with started(interpreter.path, "-c", BUSY, "60", env=env) as process:
        if str(copy) not in Path(f"/proc/{process.pid}/maps").read_text():
            pytest.skip(f"{interpreter.path} does not load the libpython that it is given")
        process.send_signal(signal.SIGSTOP)
        wait_until(lambda: process_state(process.pid)[0] == "T", "stop")
        yield process.pid, copy


def overwrite(path: Path, data: bytes) -> None:
    """In place: where the length stays, memory of the process that has been written to stays, too."""
    with path.open("r+b") as file:
        file.write(data)
        file.truncate()


LIBRARY_VERSIONS = pytest.mark.parametrize("version", ["3.9", "3.13"])


@LIBRARY_VERSIONS
@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_corrupt_library(tmp_path: Path, version: str, corruption: str) -> None:
    """The file of a running Python is overwritten: a clear error or a recording, no crash and no hang."""
    with standing(tmp_path, version) as (pid, copy):
        overwrite(copy, CORRUPTIONS[corruption](copy.read_bytes()))
        ran = attach(tmp_path, pid, "-d", "0.2")
    check_sane(ran.err)
    assert ran.status in (0, 125), ran.err
    assert ran.status == 0 or ran.err.startswith("zond: process ")
    assert ran.recording.exists() == (ran.status == 0)
    if ran.status == 0:
        check_readable(ran.recording)


@LIBRARY_VERSIONS
def test_whole_library(tmp_path: Path, version: str) -> None:
    """The program of the tests above is one that zond reads, when its file is whole."""
    with standing(tmp_path, version) as (pid, copy):
        overwrite(copy, copy.read_bytes())
        found = attached(tmp_path, pid, "-d", "0.2")
    assert "outer" in functions(found)


def test_program_that_is_stopped_for_a_while(tmp_path: Path) -> None:
    code = "import os\nprint('ready', flush=True)\nprint(os.getpid(), flush=True)\n" + SPIN + "spin(1)"
    with started(ZOND, "run", "-q", "-o", tmp_path / "run.zond", "--", PYTHON, "-c", code) as process:
        assert process.stdout is not None
        target = int(process.stdout.readline())
        time.sleep(0.2)
        os.kill(target, signal.SIGSTOP)
        time.sleep(0.5)
        os.kill(target, signal.SIGCONT)
        assert end_of(process) == 0
    found = check_readable(tmp_path / "run.zond")
    spin = functions(found)["spin"]
    assert spin["total_wall_s"] > spin["total_cpu_s"] + 0.2
