#!/usr/bin/env python3
"""The interpreters that the tests run against: every CPython from 3.8 to 3.15, and 3.13 free-threaded.

They come from pyenv, then from /usr/bin, then from the cache folder, where `matrix.py setup` makes
what is missing: from Debian's suites, each unpacked into a root of its own, and 3.13t from Debian's
source. Nothing outside the cache folder is changed, and nothing is made twice.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TextIO

FREE_THREADED = "3.13t"
VERSIONS = (*(f"3.{minor}" for minor in range(8, 16)), FREE_THREADED)

# The Debian suite that each version comes from; the versions of one suite share a root.
SUITES = {"3.9": "bullseye", "3.11": "bookworm", "3.13": "trixie", "3.14": "forky", "3.15": "forky"}
FREE_THREADED_SUITE = "trixie"
FREE_THREADED_SOURCE = "python3.13"

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

# debootstrap knows the suites of its own day only; this script of its serves them all.
DEBOOTSTRAP_SCRIPT = "/usr/share/debootstrap/scripts/sid"


@dataclass(frozen=True)
class Interpreter:
    """One CPython. `path` is run as it is; `root` is the Debian root that it lives in, if it does."""

    version: str
    path: str
    free_threaded: bool
    root: str | None
    has_headers: bool

    @property
    def headers(self) -> Path:
        """The folder of Python.h; it exists if `has_headers`."""
        return _headers(Path(self.path), self.version)

    def command(self, *args: str) -> list[str]:
        """The argv that runs it on this machine."""
        return [self.path, *args]

    def container_command(self, *args: str) -> list[str]:
        """The argv that runs it as process 1 of its own mount and PID namespaces (needs root).

        Only files under `root` are seen from there, by their path within it.
        """
        if self.root is None:
            raise ValueError(f"{self.path} has no root of its own")
        namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        return [*namespaces, f"--root={self.root}", f"/usr/bin/python{self.version}", *args]


class SetupError(Exception):
    """Why an interpreter could not be made; says what to do about it."""


def cache_dir() -> Path:
    """The folder that keeps what is slow to make, outside the repository."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("ZOND_CACHE") or Path(base) / "zond")


def interpreters() -> list[Interpreter]:
    """Those found here, in the order of VERSIONS."""
    found = (find(version) for version in VERSIONS)
    return [interpreter for interpreter in found if interpreter is not None]


def missing() -> list[str]:
    """The versions that were not found."""
    found = {interpreter.version for interpreter in interpreters()}
    return [version for version in VERSIONS if version not in found]


def find(version: str) -> Interpreter | None:
    """The first interpreter of `version` in the order of the sources."""
    for path, root in _candidates(version):
        if os.access(path, os.X_OK):
            return Interpreter(
                version=version,
                path=str(path),
                free_threaded=version.endswith("t"),
                root=str(root) if root else None,
                has_headers=(_headers(path, version) / "Python.h").exists(),
            )
    return None


def _candidates(version: str) -> Iterator[tuple[Path, Path | None]]:
    """Where an interpreter of `version` may be, and the root that the place belongs to."""
    pyenv = _pyenv(version)
    if pyenv is not None:
        yield pyenv, None
    yield Path(f"/usr/bin/python{version}"), None
    if version == FREE_THREADED:
        yield cache_dir() / version / f"bin/python{version}", None
    if version in SUITES:
        root = cache_dir() / SUITES[version]
        yield _host_copy(root, version), root


def _pyenv(version: str) -> Path | None:
    """pyenv's newest patch release of `version`."""
    pyenv_root = os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv"
    releases = {}
    for folder in Path(pyenv_root).glob("versions/3.*"):
        release = re.fullmatch(r"(3\.\d+)\.(\d+)(t?)", folder.name)
        if release and release[1] + release[3] == version:
            releases[int(release[2])] = folder
    return releases[max(releases)] / f"bin/python{version}" if releases else None


def _headers(path: Path, version: str) -> Path:
    return path.parent.parent / "include" / f"python{version}"


def _host_copy(root: Path, version: str) -> Path:
    """The copy of the root's interpreter that starts with the root's own loader and libraries.

    Their libc may be newer than the host's. It stands beside /usr/bin, so that it finds /usr/lib.
    """
    return root / "usr/host" / f"python{version}"


def setup() -> int:
    """Make what is missing; 0 if the matrix is complete then."""
    cache_dir().mkdir(parents=True, exist_ok=True)
    with _locked(cache_dir() / "matrix.lock"):
        for suite in dict.fromkeys(SUITES.values()):
            versions = [version for version in SUITES if SUITES[version] == suite]
            _make(suite, versions, partial(_debian_root, suite, versions))
        _make(FREE_THREADED, [FREE_THREADED], _free_threaded)
    for version in missing():
        print(f"{version:6} missing: {advice(version)}")
    return 1 if missing() else 0


def advice(version: str) -> str:
    """How to get an interpreter of `version`."""
    if version in SUITES or version == FREE_THREADED:
        return "`./dev matrix` makes it"
    return f"no suite of Debian has it; `pyenv install {version}` makes it"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make(name: str, versions: list[str], build: Callable[[TextIO], None]) -> None:
    """Run `build` if one of `versions` is missing; its output goes to a log in the cache."""
    wanted = [version for version in versions if find(version) is None]
    if not wanted:
        return
    print(f"{', '.join(wanted)}: making {cache_dir() / name} ...", flush=True)
    log_path = cache_dir() / f"{name}.log"
    start = time.monotonic()
    try:
        with log_path.open("w") as log:
            build(log)
    except SetupError as error:
        print(f"  not made: {error}")
    except subprocess.CalledProcessError as error:
        print(f"  failed: {' '.join(error.cmd)}; the log, {log_path}, ends with")
        print("".join(f"  | {line}\n" for line in log_path.read_text().splitlines()[-15:]), end="")
    else:
        print(f"  made in {time.monotonic() - start:.0f} s")


def _debian_root(suite: str, versions: list[str], log: TextIO) -> None:
    """Unpack a small Debian with the interpreters of `versions`, complete or not at all."""
    if os.geteuid() != 0:
        again = f"sudo env ZOND_CACHE={cache_dir()} python3 {sys.argv[0]} setup"
        raise SetupError(f"debootstrap needs root: `{again}`")
    root, unfinished = cache_dir() / suite, cache_dir() / f"{suite}.unfinished"
    for leftover in (root, unfinished):
        shutil.rmtree(leftover, ignore_errors=True)
    packages = ["procps", *_packages(versions)]
    options = ["--variant=minbase", f"--include={','.join(packages)}", f"--keyring={KEYRING}"]
    _run(["debootstrap", *options, suite, str(unfinished), debian_mirror(), DEBOOTSTRAP_SCRIPT], log)
    for package in (unfinished / "var/cache/apt/archives").glob("*.deb"):
        package.unlink()
    unfinished.rename(root)
    for version in versions:
        _make_host_copy(root, version, log)


def _packages(versions: list[str]) -> list[str]:
    """Each interpreter and its headers."""
    return [package for v in versions for package in (f"python{v}", f"libpython{v}-dev")]


def _make_host_copy(root: Path, version: str, log: TextIO) -> None:
    copy = _host_copy(root, version)
    copy.parent.mkdir(exist_ok=True)
    unfinished = copy.with_name(f"{copy.name}.unfinished")
    shutil.copy2(root / f"usr/bin/python{version}", unfinished)
    libraries = root / "usr/lib/x86_64-linux-gnu"
    loader = libraries / "ld-linux-x86-64.so.2"
    # An RPATH, unlike a RUNPATH, also serves the libraries of the libraries.
    rpath = ["--force-rpath", "--set-rpath", str(libraries)]
    _run(["patchelf", "--set-interpreter", str(loader), *rpath, str(unfinished)], log)
    _run([str(unfinished), "-c", ""], log)
    unfinished.rename(copy)


def _free_threaded(log: TextIO) -> None:
    """Build CPython without the GIL from Debian's source; only the installation is kept."""
    prefix = cache_dir() / FREE_THREADED
    with tempfile.TemporaryDirectory(prefix="zond-matrix-") as folder:
        source = _unpacked_source(Path(folder), log)
        options = ["--disable-gil", f"--prefix={prefix}", "--without-ensurepip", "--disable-test-modules"]
        _run(["./configure", *options], log, cwd=source)
        _run(["make", f"-j{os.cpu_count()}"], log, cwd=source)
        staged = Path(folder) / "installed"
        _run(["make", "install", f"DESTDIR={staged}"], log, cwd=source)
        shutil.rmtree(prefix, ignore_errors=True)
        shutil.move(staged / prefix.relative_to("/"), prefix)


def _unpacked_source(folder: Path, log: TextIO) -> Path:
    """Fetch Debian's tarball of upstream with an apt of its own: the machine's sources stay as they are."""
    for state in ("lists/partial", "cache/archives/partial"):
        (folder / state).mkdir(parents=True)
    (folder / "sources.list").write_text(
        f"deb-src [signed-by={KEYRING}] {debian_mirror()} {FREE_THREADED_SUITE} main\n"
    )
    (folder / "apt.conf").write_text(
        f'''Dir::Etc::SourceList "{folder}/sources.list";
Dir::Etc::SourceParts "-";
Dir::State::Lists "{folder}/lists";
Dir::Cache "{folder}/cache";
APT::Sandbox::User "";
'''
    )
    private = {**os.environ, "APT_CONFIG": str(folder / "apt.conf")}
    _run(["apt-get", "update"], log, cwd=folder, env=private)
    _run(["apt-get", "source", "--tar-only", FREE_THREADED_SOURCE], log, cwd=folder, env=private)
    (tarball,) = folder.glob("*.orig.tar.xz")
    source = folder / "source"
    source.mkdir()
    _run(["tar", "-xf", str(tarball), "-C", str(source), "--strip-components=1"], log)
    return source


@cache
def debian_mirror() -> str:
    """The mirror of the machine's own apt configuration, or ZOND_DEBIAN_MIRROR where that is not Debian's."""
    mirror = os.environ.get("ZOND_DEBIAN_MIRROR") or _apt_mirror()
    if mirror is None:
        # Before its first update, apt does not know whose archives its sources are.
        subprocess.run(["apt-get", "update"], check=False, capture_output=True)
        mirror = _apt_mirror()
    if mirror is None:
        raise SetupError("apt has no Debian mirror: set ZOND_DEBIAN_MIRROR to the URL of one")
    return mirror


def _apt_mirror() -> str | None:
    columns = ["--format", "$(ORIGIN) $(CODENAME) $(REPO_URI)", "Created-By: Packages"]
    targets = subprocess.run(["apt-get", "indextargets", *columns], check=True, capture_output=True, text=True)
    for line in targets.stdout.splitlines():
        origin, _, rest = line.partition(" ")
        codename, _, uri = rest.partition(" ")
        if origin == "Debian" and "-" not in codename and uri.startswith("http"):
            return uri
    return None


def _run(command: list[str], log: TextIO, cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
    print("$", *command, file=log, flush=True)
    try:
        subprocess.run(command, check=True, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=cwd, env=env)
    except FileNotFoundError:
        raise SetupError(f"no `{command[0]}` here: `./dev matrix` installs it") from None


def show() -> None:
    """Print the matrix as a table."""
    for version in VERSIONS:
        interpreter = find(version)
        if interpreter is None:
            print(f"{version:6} missing: {advice(version)}")
        else:
            print(f"{version:6} headers: {'yes' if interpreter.has_headers else 'no ':3}  {interpreter.path}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("verb", choices=["list", "setup"], nargs="?", default="list")
    if parser.parse_args().verb == "setup":
        return setup()
    show()
    return 0


if __name__ == "__main__":
    sys.exit(main())
