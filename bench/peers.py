#!/usr/bin/env python3
"""The profilers that zond is measured against, each in a virtual environment of its own.

`peers.py` installs what is missing into the cache folder and prints where each one is. CPython's own sampler belongs
to the interpreter (3.15) and needs no installation.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from matrix import Interpreter, cache_dir, find


@dataclass(frozen=True)
class Peer:
    """A profiler on PyPI: the pinned distribution and the command that it brings."""

    command: str
    distribution: str
    version: str

    @property
    def folder(self) -> Path:
        """The virtual environment, named after the pinned version, so that a new pin is a new environment."""
        return cache_dir() / "bench" / f"{self.distribution}-{self.version}"

    @property
    def path(self) -> Path:
        """The installed command."""
        return self.folder / "bin" / self.command


PEERS = (
    Peer("py-spy", "py-spy", "0.4.3"),
    Peer("austin", "austin-dist", "4.0.0"),
    Peer("pyinstrument", "pyinstrument", "5.1.3"),
    Peer("scalene", "scalene", "2.4.0"),
)

# The interpreter that runs the peers that are written in Python, and that they profile.
PEERS_PYTHON = "3.11"


class SetupError(Exception):
    """Why a peer cannot be had; says what to do about it."""


def peer(command: str) -> Peer:
    """Return the peer of that command."""
    return next(found for found in PEERS if found.command == command)


def python() -> Interpreter:
    """Return the interpreter of the peers."""
    found = find(PEERS_PYTHON)
    if found is None:
        raise SetupError(f"no Python {PEERS_PYTHON}: run tests/matrix.py setup")
    return found


def install(wanted: Peer) -> None:
    """Make the environment of one peer, unless it is there."""
    if wanted.path.exists():
        return
    wanted.folder.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(python().command("-m", "venv", "--clear", str(wanted.folder)), check=True)
    pip = [str(wanted.folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
    requirement = f"{wanted.distribution}=={wanted.version}"
    done = subprocess.run([*pip, requirement], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SetupError(f"{wanted.distribution} {wanted.version} cannot be installed: {done.stderr}")


def austin_command() -> list[str]:
    """Return the argv prefix of Austin.

    Its binary asks for glibc 2.38. Where the host's is older, it starts with the loader and the libraries of the
    Debian root that the newest interpreters of the matrix live in.
    """
    path = str(peer("austin").path)
    if subprocess.run([path, "--version"], capture_output=True, check=False).returncode == 0:
        return [path]
    newest = find("3.15")
    if newest is None or newest.root is None:
        raise SetupError("Austin needs a newer libc than this machine's: run tests/matrix.py setup")
    root = Path(newest.root)
    return [str(root / "lib64/ld-linux-x86-64.so.2"), "--library-path", str(root / "usr/lib/x86_64-linux-gnu"), path]


def main() -> int:
    """Install them all."""
    for wanted in PEERS:
        install(wanted)
        print(f"{wanted.distribution:14} {wanted.version:8} {wanted.path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
