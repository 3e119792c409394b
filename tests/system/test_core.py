"""`zond stack CORE`: of a core file the same as of the process, by gdb's gcore and by the kernel."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import struct
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from system.drive import PYTHON, TIMEOUT, end_of, every_version, interpreter_of, started, tool, zond
from system.test_stack import THREADS, WAITS, check_waiting, names, stack, threads

PATTERN = Path("/proc/sys/kernel/core_pattern")

# Holds the GIL in C, without it in C, waits for it, and a thread that Python does not know.
BUSY = """\
import ctypes, hashlib, sys, threading, time

def hashes():
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)

def loops():
    while True:
        sum(range(1000))

def waits():
    while True:
        sum(range(1000))

libc = ctypes.CDLL(None)
libc.pthread_create(ctypes.byref(ctypes.c_ulong()), None, libc.pause, None)
for work in (hashes, loops, waits):
    threading.Thread(target=work, name=work.__name__, daemon=True).start()
time.sleep(0.2)
print("ready", flush=True)
sys.stdin.read()
"""

# Dies in C, called by the thread `dies`, while another one waits.
DIES = """\
import ctypes, os, threading, time

def kills():
    time.sleep(0.3)
    {kills}

threading.Thread(target=time.sleep, args=(1000,), name="sleeps", daemon=True).start()
other = threading.Thread(target=kills, name="dies")
other.start()
other.join()
"""

# What kills it, the signal, the address that it is about, and a C function on the stack.
DEATHS = {
    "ctypes.string_at(0)": ("SIGSEGV", 0, "string_at"),
    "os.abort()": ("SIGABRT", None, "abort"),
}


def gcore(pid: int, folder: Path) -> Path:
    """The core of a process that goes on."""
    words = [tool("gcore"), "-o", str(folder / "gcore"), str(pid)]
    subprocess.run(words, check=True, capture_output=True, timeout=TIMEOUT)
    return folder / f"gcore.{pid}"


def check_pattern() -> None:
    """Skips where the kernel does not write cores into the folder of the process."""
    pattern = PATTERN.read_text().strip()
    if pattern.startswith(("|", "/")):
        pytest.skip(f"{PATTERN} is {pattern!r}: cores do not go to the folder of the process")
    if resource.getrlimit(resource.RLIMIT_CORE)[1] != resource.RLIM_INFINITY:
        pytest.skip("the hard limit of RLIMIT_CORE forbids whole cores here")


# Put before a program: it leaves its core in the folder.
LEAVES_CORE = """\
import os, resource
resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY,) * 2)
os.chdir({folder!r})
"""


def core_in(folder: Path) -> Path:
    found = [path for path in folder.iterdir() if path.name.startswith("core")]
    assert len(found) == 1, found
    return found[0]


def kernel_core(folder: Path, python: Sequence[str], code: str) -> Path:
    """The core that the kernel writes of a program that dies."""
    check_pattern()
    words = [*python, "-c", LEAVES_CORE.format(folder=str(folder)) + code]
    done = subprocess.run(words, timeout=TIMEOUT, check=False, stderr=subprocess.DEVNULL)
    assert done.returncode < 0
    return core_in(folder)


def gdb_core(folder: Path, *command: str) -> Path:
    """The core that gdb writes when the command is about to die: needs nothing of the machine."""
    core = folder / "gdb.core"
    words = ["-batch", "-nx", "-ex", "set debuginfod enabled off", "-ex", "run", "-ex", f"generate-core-file {core}"]
    subprocess.run([tool("gdb"), *words, "--args", *command], check=True, capture_output=True, timeout=TIMEOUT)
    return core


def look(core: Path, *options: str, exe: Path | None = None) -> dict[str, Any]:
    done = zond("stack", "--json", *options, core, *([exe] if exe else []))
    assert (done.returncode, done.stderr) == (0, b""), done.stderr.decode()
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(autouse=True)
def _no_core_stays(tmp_path: Path) -> Iterator[None]:
    """A core of gdb has a hundred megabytes."""
    yield
    shutil.rmtree(tmp_path)


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small core: the kernel's, or that of gdb."""
    folder = tmp_path_factory.mktemp("crashed")
    code = DIES.format(kills="ctypes.string_at(0)")
    if PATTERN.read_text().strip().startswith(("|", "/")):
        return gdb_core(folder, PYTHON, "-c", code)
    return kernel_core(folder, [PYTHON], code)


def check_as_alive(found: dict[str, Any], alive: dict[str, Any], version: str, end: str | None) -> None:
    """Threads that wait have frame by frame the stack that they had while the process lived."""
    assert found["losses"] == []
    (of_core,) = found["processes"]
    assert of_core["python"].startswith(version.rstrip("t"))
    assert of_core["core"]["signal"] == end
    seen = threads(found)
    assert set(seen) == set(alive)
    for function, (calls, _) in WAITS.items():
        check_waiting(seen[function], function, calls, None)
        assert seen[function]["frames"][1:] == alive[function]["frames"][1:], function
        assert seen[function]["tid"] == alive[function]["tid"]
    frames = [f["name"] if f["kind"] == "python" else f["kind"] for f in seen["sorts"]["frames"]]
    assert set(frames[frames.index("key") + 1 : frames.index("sorts")]) == {"native"}, frames
    assert (seen["sorts"]["on_cpu"], seen["sleeps"]["on_cpu"]) == (True, False)


@every_version()
def test_core_of_gdb(version: str, tmp_path: Path) -> None:
    with started(*interpreter_of(version).command("-c", THREADS)) as process:
        alive = threads(stack(process.pid))
        core = gcore(process.pid, tmp_path)
    found = look(core)
    if found["losses"]:
        # A gdb that cannot read the guard pages of glibc 2.42 writes the stacks of all other threads as zeros.
        assert "does not have each thread's stack" in found["losses"][0]
        assert threads(found)["MainThread"]["frames"][1:] == alive["MainThread"]["frames"][1:]
    else:
        check_as_alive(found, alive, version, None)


HAS_LOCALS = """\
import time
def waits(number, text="x" * 100):
    items = [number, {"a": None}]
    print("ready", flush=True)
    time.sleep(1000)
waits(7)
"""


@every_version()
def test_local_variables(version: str, tmp_path: Path) -> None:
    with started(*interpreter_of(version).command("-c", HAS_LOCALS)) as process:
        core = gcore(process.pid, tmp_path)
    (found,) = [frame for frame in threads(look(core, "--locals"))["MainThread"]["frames"] if frame["name"] == "waits"]
    values = {local["name"]: local["value"] for local in found["locals"]}
    assert (values["number"], values["items"]) == ("7", "[7, {'a': None}]")
    assert values["text"].startswith("'xxx")
    assert set(values) == {"number", "text", "items"}


@every_version()
def test_core_of_the_kernel(version: str, tmp_path: Path) -> None:
    check_pattern()
    code = LEAVES_CORE.format(folder=str(tmp_path)) + THREADS
    with started(*interpreter_of(version).command("-c", code)) as process:
        alive = threads(stack(process.pid))
        process.send_signal(signal.SIGQUIT)
        assert end_of(process) == -signal.SIGQUIT
    check_as_alive(look(core_in(tmp_path)), alive, version, "SIGQUIT")


@every_version()
@pytest.mark.parametrize("kills", DEATHS)
def test_death(version: str, kills: str, tmp_path: Path) -> None:
    """The signal, the thread that got it, and where in C that was, in a core of the kernel."""
    name, address, function = DEATHS[kills]
    core = kernel_core(tmp_path, interpreter_of(version).command(), DIES.format(kills=kills))
    check_death(look(core), name, address, function)


@pytest.mark.parametrize("kills", DEATHS)
def test_death_under_gdb(kills: str, tmp_path: Path) -> None:
    name, address, function = DEATHS[kills]
    check_death(look(gdb_core(tmp_path, PYTHON, "-c", DIES.format(kills=kills))), name, address, function)


def check_death(found: dict[str, Any], name: str, address: int | None, function: str) -> None:
    assert found["losses"] == []
    (process,) = found["processes"]
    seen = threads(found)
    assert process["core"] == {"signal": name, "tid": seen["dies"]["tid"], "address": address}
    assert names(seen["dies"], "python")[:1] in (["kills"], ["string_at"])
    assert "kills" in names(seen["dies"], "python")
    assert seen["sleeps"]["frames"][0]["kind"] == "syscall"
    assert seen["MainThread"]["frames"][0]["name"] == "futex"
    assert seen["dies"]["gil"] in ("held", None)
    native = names(seen["dies"], "native")
    assert function in native or any("_ctypes" in name for name in native), native


def test_the_text_tells_the_death(crashed: Path) -> None:
    text = zond("stack", "--width", "120", crashed).stdout.decode()
    assert "ended by SIGSEGV at 0x0" in text.splitlines()[0]
    assert len([line for line in text.splitlines() if "dies" in line and "got SIGSEGV at 0x0" in line]) == 1


def test_threads_that_run(tmp_path: Path) -> None:
    with started(PYTHON, "-c", BUSY) as process:
        core = gcore(process.pid, tmp_path)
    found = look(core)
    seen = threads(found)
    held = [name for name, thread in seen.items() if thread["gil"] == "held"]
    assert len(held) <= 1
    assert set(held) <= {"loops", "waits"}
    assert names(seen["hashes"], "python")[0] == "hashes"
    assert seen["hashes"]["frames"][0]["kind"] == "native"
    assert seen["hashes"]["on_cpu"]
    (foreign,) = [t for t in found["processes"][0]["threads"] if not names(t, "python")]
    assert [f["name"] for f in foreign["frames"]][:2] == ["pause", "pause"]
    alone = threads(look(core, "--no-native"))
    assert {f["kind"] for t in alone.values() for f in t["frames"]} == {"python"}
    assert {"hashes", "loops", "waits"} < set(alone)


# A process that waits in a library that is replaced afterwards.
LIBRARY = """\
#include <unistd.h>
void {name}(void) {{ for (;;) pause(); }}
"""


def compiled(folder: Path, name: str) -> Path:
    (folder / f"{name}.c").write_text(LIBRARY.format(name=name))
    out = folder / f"lib{name}.so"
    subprocess.run([tool("cc"), "-shared", "-fPIC", "-o", out, folder / f"{name}.c"], check=True)
    return out


@contextmanager
def in_library(folder: Path) -> Iterator[tuple[Path, Path]]:
    """The core of a process that waits in a library, and the library."""
    library = compiled(folder, "first")
    code = (
        "import ctypes, threading\n"
        f"threading.Thread(target=ctypes.CDLL('{library}').first, name='inside', daemon=True).start()\n"
        "import sys, time; time.sleep(0.2); print('ready', flush=True); sys.stdin.read()"
    )
    # The kernel leaves the code of libraries out, gdb does where this says so.
    with started(PYTHON, "-c", code) as process:
        core = gcore(process.pid, folder)
    yield core, library


def test_a_library_that_was_replaced_or_is_gone(tmp_path: Path) -> None:
    with in_library(tmp_path) as (core, library):
        whole = look(core)
        other = compiled(tmp_path, "second")
        shutil.copy(other, library)
        replaced = look(core)
        library.unlink()
        gone = look(core)
    assert "first" in names(threads(whole)["inside"], "native")
    assert whole["losses"] == []
    for found, why in ((replaced, "was replaced since"), (gone, "is not here")):
        (loss,) = found["losses"]
        assert str(library) in loss
        assert why in loss
        assert "first" not in names(threads(found)["inside"], "native")
        assert names(threads(found)["MainThread"], "python") == ["<module>"]


def test_the_executable_elsewhere(tmp_path: Path) -> None:
    """An executable that moved is given by hand; one that is another is refused."""
    exe = tmp_path / "python-that-moves"
    shutil.copy(os.path.realpath(PYTHON), exe)
    code = "import sys; print('ready', flush=True); sys.stdin.read()"
    home = subprocess.run(
        [PYTHON, "-c", "import sys; print(sys.base_prefix)"], capture_output=True, text=True, check=True
    )
    env = {**os.environ, "PYTHONHOME": home.stdout.strip()}
    with started(exe, "-c", code, env=env) as process:
        core = gcore(process.pid, tmp_path)
    whole = look(core)
    moved = exe.rename(tmp_path / "moved")
    done = zond("stack", "--json", core)
    assert str(exe) in (done.stdout + done.stderr).decode()
    again = look(core, exe=moved)
    assert again["losses"] == []
    assert again["processes"][0]["threads"] == whole["processes"][0]["threads"]
    other = zond("stack", core, shutil.which("true") or "/bin/true")
    assert (other.returncode, b"is not the executable of this core" in other.stderr) == (125, True)
    missing = zond("stack", core, tmp_path / "nothing")
    assert (missing.returncode, b"cannot read" in missing.stderr) == (125, True)


def check_survives(core: Path) -> str:
    """What is said of a core that may be anything: shown, or refused with a reason."""
    done = zond("stack", "--json", core)
    assert done.returncode in (0, 125), (done.returncode, done.stderr)
    if done.returncode == 0:
        return " ".join(json.loads(done.stdout)["losses"])
    assert done.stderr.startswith(b"zond stack: ")
    return done.stderr.decode()


def test_cut(crashed: Path, tmp_path: Path) -> None:
    """Cut anywhere, it is shown as far as it goes, or refused; either way with the reason."""
    whole = crashed.read_bytes()
    head = struct.unpack_from("<Q", whole, 32)[0] + 56 * struct.unpack_from("<H", whole, 56)[0]
    cuts = {*range(0, min(head + 6000, len(whole)), 701), *range(0, len(whole), max(len(whole) // 40, 1))}
    for size in sorted(cuts):
        core = tmp_path / "cut"
        core.write_bytes(whole[:size])
        said = check_survives(core)
        assert "cut" in said or "is not a core file" in said, (size, said)


def test_hostile(crashed: Path, tmp_path: Path) -> None:
    """Its headers and notes hold any numbers."""
    whole = crashed.read_bytes()
    phoff, count = struct.unpack_from("<Q", whole, 32)[0], struct.unpack_from("<H", whole, 56)[0]
    headers = [struct.unpack_from("<IIQQQQQQ", whole, phoff + 56 * i) for i in range(count)]
    notes = [(offset, size) for kind, _, offset, _, _, size, _, _ in headers if kind == 4]
    places = [(16, 48), (phoff, 56 * count), *notes]
    dice = random.Random(8)
    for _ in range(150):
        bad = bytearray(whole[: max(offset + size for offset, size in places) + (1 << 20)])
        for _ in range(dice.choice((1, 3, 30))):
            offset, size = dice.choice(places)
            value = dice.choice((b"\xff" * 8, b"\0" * 8, dice.randbytes(8), b"\xff" * 4, dice.randbytes(1)))
            at = dice.randrange(offset, offset + max(size - 8, 1)) & ~3
            bad[at : at + len(value)] = value
        core = tmp_path / "bad"
        core.write_bytes(bad)
        check_survives(core)


def test_what_is_no_core(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("no core\n" * 100)
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "pipe")
    for path, says in (
        (text, "is not a core file"),
        (tmp_path / "empty", "is not a core file"),
        (tmp_path / "pipe", "is not a core file"),
        (tmp_path, "is not a core file"),
        (tmp_path / "nothing", "No such file"),
        (Path(os.path.realpath(PYTHON)), "it is a program or library"),
    ):
        done = zond("stack", path)
        assert (done.returncode, says in done.stderr.decode()) == (125, True), done.stderr


@pytest.mark.parametrize("words", [["--repeat", "2"], ["--tree"]])
def test_options_for_processes(words: list[str], crashed: Path) -> None:
    done = zond("stack", *words, crashed)
    assert (done.returncode, b"is for processes" in done.stderr) == (2, True)


def test_a_core_of_no_python(tmp_path: Path) -> None:
    with started("sleep", "1000", ready=False) as process:
        time.sleep(0.2)
        core = gcore(process.pid, tmp_path)
        process.send_signal(signal.SIGTERM)
        end_of(process)
    done = zond("stack", core)
    assert (done.returncode, b"no Python could be found in it" in done.stderr) == (125, True)
