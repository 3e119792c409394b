"""Every kind of build and of embedding: shared, static, stripped, deleted, linked in, loaded late, in a container."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import matrix
import pytest
from matrix import Interpreter
from system.drive import (
    BUSY,
    Report,
    attach,
    attached,
    check_busy,
    check_readable,
    functions,
    interpreter_of,
    needs_root,
    pythons,
    run,
    started,
    tool,
)


def loads_libpython(path: Path) -> bool:
    """Is its Python in a library of its own?"""
    said = subprocess.run([tool("readelf"), "-d", path], capture_output=True, text=True, check=True).stdout
    return "[libpython" in said


def one_of(shared: bool) -> Interpreter:
    """An interpreter of the matrix, or Debian's, that is built so."""
    debian = Path("/usr/bin/python3")
    found = [*matrix.interpreters()]
    if debian.exists():
        found.append(Interpreter(os.path.realpath(debian).rsplit("python")[-1], str(debian), False, None, False))
    for interpreter in found:
        if loads_libpython(Path(interpreter.path)) == shared and "/usr/host/" not in interpreter.path:
            return interpreter
    pytest.skip(f"no {'shared' if shared else 'static'} build here")


@pytest.mark.parametrize("shared", [True, False], ids=["shared", "static"])
def test_build(tmp_path: Path, shared: bool) -> None:
    interpreter = one_of(shared)
    with started(interpreter.path, "-c", BUSY, "60") as process:
        check_busy(attached(tmp_path, process.pid), interpreter)


def home_of(interpreter: Interpreter) -> str:
    """Where a copy of it finds its library."""
    code = "import sys; print(sys.base_prefix)"
    return subprocess.run(interpreter.command("-c", code), capture_output=True, text=True, check=True).stdout.strip()


def copy_of(interpreter: Interpreter, folder: Path, name: str) -> tuple[Path, dict[str, str]]:
    """A copy of the executable and its libpython under another name, and the environment that it needs."""
    copy = folder / name
    shutil.copy(os.path.realpath(interpreter.path), copy)
    for library in Path(interpreter.path).parent.parent.glob("lib/libpython3.*.so.1.0"):
        shutil.copy(library, folder / library.name)
    return copy, {**os.environ, "PYTHONHOME": home_of(interpreter), "LD_LIBRARY_PATH": str(folder)}


@pytest.mark.parametrize("shared", [True, False], ids=["shared", "static"])
def test_stripped(tmp_path: Path, shared: bool) -> None:
    """Without symbols but the dynamic ones, and under a name that says nothing."""
    interpreter = one_of(shared)
    copy, env = copy_of(interpreter, tmp_path, "program")
    for file in (copy, *tmp_path.glob("libpython*")):
        file.chmod(0o755)
        subprocess.run([tool("strip"), "--strip-all", file], check=True)
    with started(copy, "-c", BUSY, "60", env=env) as process:
        check_busy(attached(tmp_path, process.pid), interpreter)


@pytest.mark.parametrize("shared", [True, False], ids=["shared", "static"])
def test_deleted(tmp_path: Path, shared: bool) -> None:
    """An update replaced the files of a program that runs on."""
    interpreter = one_of(shared)
    copy, env = copy_of(interpreter, tmp_path, Path(interpreter.path).name)
    with started(copy, "-c", BUSY, "60", env=env) as process:
        for file in (copy, *tmp_path.glob("libpython*")):
            file.unlink()
            file.write_text("something else")
        check_busy(attached(tmp_path, process.pid), interpreter)


@needs_root
def test_deleted_executable_of_an_ordinary_user(tmp_path: Path) -> None:
    """Without the right to look at mapped files by themselves."""
    interpreter = one_of(False)
    copy, env = copy_of(interpreter, tmp_path, Path(interpreter.path).name)
    few_rights = [tool("setpriv"), "--bounding-set=-sys_admin,-checkpoint_restore"]
    with started(copy, "-c", BUSY, "60", env=env) as process:
        copy.unlink()
        ran = attach(tmp_path, process.pid, through=few_rights)
    assert ran.status == 0, ran.err
    check_busy(check_readable(ran.recording), interpreter)


def test_folder_with_a_newline(tmp_path: Path) -> None:
    """The kernel writes such a name in another way into its list of mapped files."""
    folder = tmp_path / "two\nlines \\012"
    folder.mkdir()
    interpreter = one_of(False)
    copy, env = copy_of(interpreter, folder, Path(interpreter.path).name)
    with started(copy, "-c", BUSY, "60", env=env) as process:
        check_busy(attached(tmp_path, process.pid), interpreter)


@pytest.mark.parametrize("version", ["3.8", "3.11", "3.12"])
@pytest.mark.parametrize("links", [True, False], ids=["links", "copies"])
def test_virtual_environment(tmp_path: Path, version: str, links: bool) -> None:
    interpreter = interpreter_of(version)
    how = "--symlinks" if links else "--copies"
    subprocess.run(interpreter.command("-m", "venv", "--without-pip", how, str(tmp_path / "venv")), check=True)
    script = tmp_path / "busy.py"
    script.write_text(BUSY)
    path = f"{tmp_path / 'venv/bin'}:{os.environ['PATH']}"
    ran = run(tmp_path, "python", script, "0.6", env={**os.environ, "PATH": path})
    assert ran.status == 0, ran.err
    check_busy(check_readable(ran.recording), interpreter)


# Runs the program in argv[1] as Python; with a library in argv[2], loads it after a second.
EMBEDDING = """\
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
void Py_Initialize(void) __attribute__((weak));
int PyRun_SimpleString(const char *) __attribute__((weak));
int main(int argc, char **argv)
{
    void (*initialize)(void) = Py_Initialize;
    int (*run)(const char *) = PyRun_SimpleString;
    puts("ready");
    fflush(stdout);
    if (argc > 2) {
        sleep(1);
        void *library = dlopen(argv[2], RTLD_NOW | RTLD_GLOBAL);
        if (!library)
            return fprintf(stderr, "%s\\n", dlerror()), 1;
        memcpy(&initialize, (void *[]){dlsym(library, "Py_Initialize")}, sizeof(initialize));
        memcpy(&run, (void *[]){dlsym(library, "PyRun_SimpleString")}, sizeof(run));
    } else {
        usleep(300000);
    }
    initialize();
    return run(argv[1]);
}
"""

IN_A_PROGRAM = "import sys\nsys.argv = ['', '60']\n" + BUSY.replace('print("ready", flush=True)\n', "\n")


def embedding(folder: Path, *flags: str) -> Path:
    (folder / "embedding.c").write_text(EMBEDDING)
    program = folder / "embedding"
    subprocess.run([tool("cc"), "-o", program, folder / "embedding.c", *flags, "-ldl"], check=True)
    return program


def library_of(interpreter: Interpreter) -> Path:
    found = list(Path(interpreter.path).parent.parent.glob(f"lib/libpython{interpreter.version}.so.1.0"))
    if not found:
        pytest.skip(f"{interpreter.path} has no libpython beside it")
    return found[0]


def check_embedded(found: Report, interpreter: Interpreter) -> None:
    """The functions of BUSY; for how long is not asked, as the program starts late."""
    assert "outer" in functions(found)
    assert pythons(found)[0]["python"].startswith(interpreter.version)


EMBEDDED_VERSIONS = pytest.mark.parametrize("version", ["3.8", "3.10", "3.12", "3.13"])


@EMBEDDED_VERSIONS
def test_embedded(tmp_path: Path, version: str) -> None:
    """A program that links Python, attached to before Python is initialised."""
    interpreter = interpreter_of(version)
    library = library_of(interpreter)
    flags = ["-Wl,--no-as-needed", str(library), f"-Wl,-rpath,{library.parent}"]
    program = embedding(tmp_path, *flags)
    env = {**os.environ, "PYTHONHOME": home_of(interpreter)}
    with started(program, IN_A_PROGRAM, env=env) as process:
        check_embedded(attached(tmp_path, process.pid, "-d", "2"), interpreter)


@EMBEDDED_VERSIONS
@pytest.mark.parametrize("renamed", [False, True], ids=["libpython", "another name"])
def test_loaded_late(tmp_path: Path, version: str, renamed: bool) -> None:
    """A program that loads Python after a second, under whatever name the library has."""
    interpreter = interpreter_of(version)
    library = library_of(interpreter)
    if renamed:
        library = Path(shutil.copy(library, tmp_path / "plugin.so"))
    env = {**os.environ, "PYTHONHOME": home_of(interpreter)}
    with started(embedding(tmp_path), IN_A_PROGRAM, library, env=env) as process:
        check_embedded(attached(tmp_path, process.pid, "-d", "2.5"), interpreter)


def test_attach_while_python_starts(tmp_path: Path) -> None:
    """At any moment of the start of an interpreter."""
    interpreter = interpreter_of("3.11")
    for wait in (0, 0.003, 0.006, 0.01, 0.015, 0.02):
        with started(*interpreter.command("-c", BUSY, "60"), ready=False) as process:
            time.sleep(wait)
            assert "outer" in functions(attached(tmp_path, process.pid, "-d", "0.6"))


IN_CONTAINER = """\
import os, sys, threading, time
def in_thread():
    os.write(1, ("tid %d\\n" % threading.get_native_id()).encode())
    end = time.monotonic() + seconds
    while time.monotonic() < end: sum(range(100))
seconds = float(sys.argv[1])
thread = threading.Thread(target=in_thread)
thread.start()
thread.join()
"""


def contained() -> Interpreter:
    found = [interpreter for interpreter in matrix.interpreters() if interpreter.root]
    if not found:
        pytest.skip("no interpreter of the matrix lives in a root of its own: `./dev matrix` makes one")
    return found[-1]


def check_container(found: Report, said: bytes, interpreter: Interpreter) -> None:
    (process,) = [p for p in pythons(found) if p["python"].startswith(interpreter.version)]
    tid = int(said.split()[1])
    assert {thread["tid"] for thread in process["threads"]} == {1, tid}
    assert functions(found)["in_thread"]["total_cpu_s"] > 0.1


@needs_root
def test_run_of_a_container(tmp_path: Path) -> None:
    """Its files are found through its root, and its threads are called as it calls them."""
    tool("unshare")
    interpreter = contained()
    ran = run(tmp_path, "--", *interpreter.container_command("-c", IN_CONTAINER, "0.7"))
    assert ran.status == 0, ran.err
    check_container(check_readable(ran.recording), ran.out, interpreter)


@needs_root
def test_attach_to_a_container(tmp_path: Path) -> None:
    tool("unshare")
    interpreter = contained()
    with started(*interpreter.container_command("-c", IN_CONTAINER, "60"), ready=False) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        found = attached(tmp_path, int(children.read_text()))
    check_container(found, said, interpreter)
