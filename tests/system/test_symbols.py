"""--symbols: names, lines and inlined functions of native code, looked up after the fact by build-id."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from system.drive import Report, functions, report, run, view, zond

SOURCE = """\
#include <stdint.h>
static inline uint64_t __attribute__((always_inline)) mixes(uint64_t x)
{
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdULL;
    return x ^ x >> 33;
}

static uint64_t __attribute__((noinline)) spins(uint64_t n)
{
    uint64_t x = n;
    for (uint64_t i = 0; i < n; i++)
        x = mixes(x + i);
    return x;
}

uint64_t work(uint64_t n)
{
    return spins(n) + 1;
}
"""
MIXES_LINES = range(4, 8)
CALLS_MIXES = 13
CALLS_SPINS = 19

PROGRAM = """\
import ctypes, os, sys, time
work = ctypes.CDLL(sys.argv[1]).work
work.argtypes = [ctypes.c_uint64]
work.restype = ctypes.c_uint64
end = time.monotonic() + 1.5
while time.monotonic() < end:
    work(3_000_000)
print(os.environ.get("DEBUGINFOD_URLS"))
"""


@dataclass(frozen=True)
class Recorded:
    """A recording of a stripped library that is gone now, its debug information, and the build-id of both."""

    path: Path
    debug: Path
    build_id: str


def build(folder: Path, source: str) -> tuple[Path, Path, str]:
    """A library without symbols but what it exports, what was taken from it, and its build-id."""
    library, debug = folder / "libwork.so", folder / "libwork.debug"
    (folder / "work.c").write_text(source)
    commands = [
        ["gcc", "-g", "-O2", "-shared", "-fPIC", "-Wl,--build-id=sha1", "-o", str(library), "work.c"],
        ["objcopy", "--only-keep-debug", str(library), str(debug)],
        ["strip", "--strip-all", str(library)],
    ]
    for command in commands:
        subprocess.run(command, cwd=folder, check=True)
    notes = subprocess.run(["readelf", "-n", str(debug)], capture_output=True, text=True, check=True).stdout
    return library, debug, notes.partition("Build ID: ")[2].split()[0]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """Recorded while a server of debug information is named: nobody may ask it, and the program must see it."""
    folder = tmp_path_factory.mktemp("recorded")
    library, debug, build_id = build(folder, SOURCE)
    script = folder / "program.py"
    script.write_text(PROGRAM)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        urls = f"http://127.0.0.1:{server.getsockname()[1]}"
        ran = run(folder, script, library, env=dict(os.environ, DEBUGINFOD_URLS=urls))
        with pytest.raises(TimeoutError):
            server.accept()
    assert ran.status == 0, ran.err
    assert ran.out.decode().split() == [urls]
    library.unlink()
    return Recorded(ran.recording, debug, build_id)


@pytest.fixture
def given(recorded: Recorded, tmp_path: Path) -> Path:
    """A directory with the debug information, somewhere below it and under any name."""
    (tmp_path / "below").mkdir()
    shutil.copy(recorded.debug, tmp_path / "below" / "of-a-library")
    return tmp_path


def unknown(found: Report) -> list[str]:
    return [name for name in functions(found) if name.startswith("libwork.so+0x")]


def collapsed(recording: Path, *options: str | Path) -> list[list[str]]:
    """The stacks that `work` is on, from there inwards, frames as `function (file:line)`."""
    text = view(recording, "--format", "collapsed", "--lines", *options, verb="export")
    stacks = [line.rpartition(" ")[0].split(";") for line in text.splitlines()]
    starts = [(stack, [i for i, frame in enumerate(stack) if frame.startswith("work ")]) for stack in stacks]
    return [stack[found[0] :] for stack, found in starts if found]


def test_before(recorded: Recorded) -> None:
    """What is exported is known at once; the rest has only where it is."""
    found = report(recorded.path)
    (name,) = unknown(found)
    assert functions(found)[name]["self_cpu_s"] > 0.9 * functions(found)["work"]["total_cpu_s"]
    assert "spins" not in functions(found)


def test_functions(recorded: Recorded, given: Path) -> None:
    found = report(recorded.path, "--symbols", given)
    assert unknown(found) == []
    before, after = functions(report(recorded.path)), functions(found)
    assert [after[name]["kind"] for name in ("mixes", "spins", "work")] == ["native"] * 3
    assert after["work"]["total_wall_s"] == before["work"]["total_wall_s"]
    assert after["mixes"]["self_cpu_s"] + after["spins"]["self_cpu_s"] > 0.9 * after["work"]["total_cpu_s"]
    assert found["run"] == report(recorded.path)["run"]
    assert found["sampling"] == report(recorded.path)["sampling"]


def test_lines_and_what_was_inlined(recorded: Recorded, given: Path) -> None:
    stacks = collapsed(recorded.path, "--symbols", given)
    inlined = {tuple(stack) for stack in stacks if len(stack) == 3}
    assert len(inlined) > 1
    for work, spins, mixes in inlined:
        assert work == f"work ({recorded.path.parent}/work.c:{CALLS_SPINS})"
        assert spins == f"spins ({recorded.path.parent}/work.c:{CALLS_MIXES})"
        name, _, line = mixes.rstrip(")").rpartition(":")
        assert name == f"mixes ({recorded.path.parent}/work.c"
        assert int(line) in MIXES_LINES


@pytest.mark.parametrize("verb", ["report", "lines", "calls", "diff"])
def test_views(recorded: Recorded, given: Path, verb: str) -> None:
    other = [recorded.path] if verb == "diff" else []
    json.loads(view(recorded.path, "--json", "--symbols", given, *other, verb=verb))
    assert "Traceback" not in view(recorded.path, "--symbols", given, *other, verb=verb)


def test_another_build_is_not_taken(recorded: Recorded, tmp_path: Path) -> None:
    """Also where it has the name and lies where the library was."""
    library, _, build_id = build(tmp_path, SOURCE.replace("33", "31"))
    assert build_id != recorded.build_id
    lay_there = recorded.path.parent / "libwork.so"
    shutil.copy(library, lay_there)
    try:
        assert len(unknown(report(recorded.path, "--symbols", tmp_path))) == 1
    finally:
        lay_there.unlink()


def test_a_server(recorded: Recorded, tmp_path: Path) -> None:
    """Asked when symbols are, and only then: servers can be files."""
    served = tmp_path / "served" / "buildid" / recorded.build_id
    served.mkdir(parents=True)
    shutil.copy(recorded.debug, served / "debuginfo")
    shutil.copy(recorded.debug, served / "executable")
    (tmp_path / "nothing").mkdir()
    env = dict(os.environ, DEBUGINFOD_URLS=f"file://{tmp_path}/served/", DEBUGINFOD_CACHE_PATH=str(tmp_path / "cache"))
    done = zond("report", "--json", "--symbols", tmp_path / "nothing", recorded.path, env=env)
    assert done.returncode == 0, done.stderr
    assert "mixes" in functions(json.loads(done.stdout))
    shutil.rmtree(tmp_path / "cache")
    assert zond("report", "--json", recorded.path, env=env).returncode == 0
    assert not (tmp_path / "cache").exists()


def test_an_incomplete_recording(recorded: Recorded, given: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.zond"
    cut.write_bytes(recorded.path.read_bytes()[:-1])
    done = zond("report", "--json", "--symbols", given, cut)
    assert done.returncode == 0
    assert re.fullmatch(rb"zond report: .*cut.zond is incomplete.* byte \d+; what comes before is taken\n", done.stderr)
    found = json.loads(done.stdout)
    assert found["run"]["complete"] is False
    assert "mixes" in functions(found)


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("missing", "cannot read the directory .*missing: No such file or directory"),
        ("file", "cannot read the directory .*file: Not a directory"),
    ],
)
def test_no_directory(recorded: Recorded, tmp_path: Path, what: str, says: str) -> None:
    (tmp_path / "file").write_text("")
    done = zond("report", "--symbols", tmp_path / what, recorded.path)
    assert done.returncode == 125
    assert re.fullmatch(f"zond report: {says}\n", done.stderr.decode())


def test_a_merged_recording(recorded: Recorded, given: Path, tmp_path: Path) -> None:
    merged = tmp_path / "merged.zond"
    assert zond("merge", "-q", "-o", merged, recorded.path, recorded.path).returncode == 0
    done = zond("report", "--symbols", given, merged)
    assert done.returncode == 125
    assert b"is a merged recording; --symbols works on those that it was merged from" in done.stderr


@pytest.mark.parametrize("size", [0, 100, 5000])
def test_broken_debug_information(recorded: Recorded, tmp_path: Path, size: int) -> None:
    """A file that is cut, and one of noise behind an honest beginning."""
    whole = recorded.debug.read_bytes()
    (tmp_path / "cut").write_bytes(whole[:size])
    noise = bytes(range(256)) * (len(whole) // 256 + 1)
    (tmp_path / "noise").write_bytes(whole[:size] + noise[size : len(whole)])
    assert functions(report(recorded.path, "--symbols", tmp_path))["work"]["kind"] == "native"
