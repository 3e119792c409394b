"""Builds and runs what prints layouts: ours, and those of an interpreter's headers."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path
from typing import Protocol

import matrix
import pytest
from matrix import Interpreter

HERE = Path(__file__).parent
SRC = HERE.parent.parent / "src"
SANITIZERS = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
WARNINGS = ["-Wall", "-Wextra", "-Wshadow", "-Werror"]

# More than the largest table; DEBUG_OFFSETS_MAX of layout.h.
TABLE_BYTES = 1024

# Prints the start of its own interpreter's _PyRuntime.
PRINT_RUNTIME = f"""
import ctypes
print(bytes((ctypes.c_char * {TABLE_BYTES}).in_dll(ctypes.pythonapi, "_PyRuntime")).hex())
"""


class DumpHeaders(Protocol):
    """The fields that an interpreter's headers give, for a build with or without the GIL."""

    def __call__(self, interpreter: Interpreter, *, free_threaded: bool) -> dict[str, str]: ...


def interpreter_with_headers(version: str) -> Interpreter:
    """Skips the test, aloud, where there is none."""
    interpreter = matrix.find(version)
    if interpreter is None:
        pytest.skip(f"no CPython {version} here: `./dev matrix` makes what can be made")
    if not (interpreter.headers / "internal" / "pycore_pystate.h").exists():
        pytest.skip(f"CPython {version} has no internal headers in {interpreter.headers}")
    return interpreter


def minor(interpreter: Interpreter) -> int:
    return int(interpreter.version.rstrip("t").split(".")[1])


def run(*command: Path | str, data: bytes = b"", status: int = 0) -> str:
    done = subprocess.run(command, input=data, capture_output=True)
    assert done.returncode == status, done.stderr.decode()
    return done.stdout.decode()


def parse(lines: str) -> dict[str, str]:
    """Lines of "key value"."""
    return dict(line.split(" ", 1) for line in lines.splitlines())


def dump_debug(dump_layout: Path, table: bytes) -> str:
    """The layout that comes out of the first bytes of _PyRuntime, or the refusal."""
    done = subprocess.run([dump_layout, "debug"], input=table, capture_output=True)
    assert done.returncode in (0, 1), done.stderr.decode()
    assert not done.stderr, done.stderr.decode()
    return done.stdout.decode()


def refusal(dump: str) -> str | None:
    return parse(dump).get("error")


@cache
def runtime_bytes(interpreter: Interpreter) -> bytes:
    """The first bytes of _PyRuntime, as the interpreter reads them from itself."""
    return bytes.fromhex(run(*interpreter.command("-c", PRINT_RUNTIME)))


def our_layout(interpreter: Interpreter, dump_layout: Path) -> str:
    """What the library says of this interpreter."""
    if minor(interpreter) >= 13:
        return dump_debug(dump_layout, runtime_bytes(interpreter))
    return run(dump_layout, interpreter.version)


def compile_ours(folder: Path, name: str, source: str) -> Path:
    """A program of this folder with a source of src/python, under the sanitizers."""
    program = folder / name
    flags = ["-std=gnu17", "-D_GNU_SOURCE", *WARNINGS, *SANITIZERS, f"-I{SRC}"]
    run("cc", *flags, HERE / f"{name}.c", SRC / "python" / source, "-o", program)
    return program


def compile_headers(folder: Path, interpreter: Interpreter, *, free_threaded: bool) -> Path:
    """dump_headers.c for one interpreter. A Debian root has a part of pyconfig.h in a folder beside."""
    program = folder / f"dump_headers-{interpreter.version}-{free_threaded}"
    headers = interpreter.headers
    flags = ["-std=gnu17", "-w", "-DNDEBUG", *(["-DPy_GIL_DISABLED=1"] if free_threaded else [])]
    includes = [f"-I{headers}", f"-I{headers}/internal", "-idirafter", str(headers.parent)]
    run("cc", *flags, *includes, HERE / "dump_headers.c", "-o", program)
    return program
