"""The matrix is complete: in CI a Python that is missing is a failure, elsewhere it is skipped aloud."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from matrix import FREE_THREADED, VERSIONS, Interpreter, advice, find, interpreters

VERSION_AND_GIL = "import sys; print('%d.%d' % sys.version_info[:2], getattr(sys, '_is_gil_enabled', lambda: True)())"


def run(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def found_or_skip(version: str) -> Interpreter:
    interpreter = find(version)
    if interpreter is None:
        message = f"no CPython {version}: {advice(version)}"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return interpreter


@pytest.mark.parametrize("version", VERSIONS)
def test_version_runs(version: str) -> None:
    interpreter = found_or_skip(version)
    minor = version.rstrip("t")
    assert run(interpreter.command("-c", VERSION_AND_GIL)) == f"{minor} {version != FREE_THREADED}"


@pytest.mark.parametrize("version", VERSIONS)
def test_headers_are_of_the_version(version: str) -> None:
    interpreter = found_or_skip(version)
    if not interpreter.has_headers:
        pytest.skip(f"{interpreter.path} has no headers")
    header = (interpreter.headers / "patchlevel.h").read_text()
    assert f'"{version.rstrip("t")}.' in header


@pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")
def test_container_has_its_own_processes() -> None:
    in_roots = [interpreter for interpreter in interpreters() if interpreter.root]
    if not in_roots:
        pytest.skip("no Python of the matrix lives in a root of its own")
    for interpreter in in_roots:
        said = run(interpreter.container_command("-c", "import os, sys; print(os.getpid(), sys.prefix)"))
        assert said == "1 /usr"
        assert Path(f"{interpreter.root}/usr/bin/python{interpreter.version}").exists()
