"""What is promised of versions: old recordings are read for ever, newer ones refused, what is new in them skipped."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from recording import craft
from recording.compare import check
from recording.craft import block, chunk, growth, header, numbers, section, tables
from recording.zond_format import HEAD_SIZE, LOSSES, NEWEST_VERSION, PREAMBLE_SIZE, THREADS
from system.drive import zond

CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.zond"))
VIEWS = [("report",), ("report", "--json"), ("calls",), ("lines",), ("export", "--format", "collapsed")]


def report_of(path: Path, *options: str) -> dict[str, Any]:
    done = zond("report", "--json", *options, path)
    assert (done.returncode, done.stderr) == (0, b"")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def differences(expected: object, found: object, where: str = "") -> list[str]:
    """What of `expected` is not in `found`; keys may have been added."""
    if isinstance(expected, dict) and isinstance(found, dict):
        missing = [f"{where}.{key} is gone" for key in expected if key not in found]
        keys = [key for key in expected if key in found]
        return missing + [line for key in keys for line in differences(expected[key], found[key], f"{where}.{key}")]
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        pairs = enumerate(zip(expected, found, strict=True))
        return [line for i, pair in pairs for line in differences(*pair, f"{where}[{i}]")]
    return [] if expected == found else [f"{where}: {found!r}, not {expected!r}"]


def test_the_corpus_is_there() -> None:
    assert {path.stem for path in CORPUS} >= {"threads", "fork", "recursion", "tasks", "cut"}


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_old_recordings_are_read(path: Path) -> None:
    """The figures are those of when it was made."""
    expected = json.loads(path.with_suffix(".json").read_text())
    assert differences(expected, report_of(path, "-n", "12")) == []


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_readers_agree_on_old_recordings(path: Path) -> None:
    assert check(path).end == ("cut" if path.stem == "cut" else "complete")


def test_waiting_tasks_of_an_old_recording() -> None:
    (tasks,) = (path for path in CORPUS if path.stem == "tasks")
    done = zond("report", "--async", tasks)
    assert re.search(r"sleep +asyncio/tasks\.py", done.stdout.decode())


@pytest.mark.parametrize("view", VIEWS, ids=" ".join)
@pytest.mark.parametrize("version", [NEWEST_VERSION + 1, 7, (1 << 32) - 1])
@pytest.mark.parametrize("suffix", [".zond", ""])
def test_newer_versions_are_refused(tmp_path: Path, version: int, view: tuple[str, ...], suffix: str) -> None:
    """The sentence names both versions and what to do, whatever stands behind the preamble."""
    newer = tmp_path / f"newer{suffix}"
    newer.write_bytes(craft.preamble(version) + b"something else altogether")
    done = zond(*view, newer)
    assert (done.returncode, done.stdout) == (125, b"")
    reads = rf"this zond, [\d.]+, reads up to version {NEWEST_VERSION}; update zond"
    says = rf"it is of version {version} of the format, and {reads}"
    assert re.search(says, done.stderr.decode())


def block_borders(data: bytes) -> list[int]:
    """Where blocks begin behind the header; the last is the end of the file."""
    borders = [PREAMBLE_SIZE]
    while borders[-1] < len(data):
        stored = int.from_bytes(data[borders[-1] + 4 : borders[-1] + 8], "little")
        borders.append(borders[-1] + HEAD_SIZE + stored)
    return borders[1:]


# Blocks of a later zond that an old one may pass over.
LATER: dict[str, bytes] = {
    "an unknown block": block(4, b"some new thing" * 100),
    "a block that is not zstd": block(200, b"", packed=b"\0\1\2 anything"),
    "an empty block of the last type": block((1 << 32) - 1, b"", packed=b""),
    "a large block": block(77, b"", packed=bytes(1 << 20)),
    "an empty chunk": chunk(),
    "a chunk of unknown sections": chunk(
        section(99, b"x"), section(15, b"y"), section(1 << 60, b"z"), section(98, b"")
    ),
    "a loss of an unknown kind": chunk(section(LOSSES, b"\xc8" + numbers(0, 5, 0))),
}


@pytest.mark.parametrize("later", LATER)
@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_what_is_new_is_skipped(tmp_path: Path, path: Path, later: str) -> None:
    """Wherever it stands behind the header: all figures stay."""
    data, mixed = path.read_bytes(), tmp_path / "mixed.zond"
    expected = report_of(path)
    borders = block_borders(data)
    for at in borders if path.stem == "cut" else borders[:-1]:
        mixed.write_bytes(data[:at] + LATER[later] + data[at:])
        assert report_of(mixed) == expected
    check(mixed)


def test_fields_behind_the_known_ones(tmp_path: Path) -> None:
    """A header and an end block may have grown; other flags, kinds and states may have come."""
    sections = [*tables(), *growth()]
    later_kind = section(3, numbers(1, 0, 0) + b"\0" + numbers(2, 5, 3) + b"\x09" + numbers(3, 5, 7) + b"\0")
    sections[1] = later_kind
    grown = craft.preamble() + header(more=b"new") + chunk(*sections) + craft.end(more=b"newer")
    path = tmp_path / "grown.zond"
    path.write_bytes(grown)
    found = report_of(path)
    assert found["run"]["complete"]
    kinds = {function["name"]: function["kind"] for function in found["functions"] if function["total_wall_s"]}
    assert kinds == {"inner": "unknown", "outer": "python"}
    assert [thread["wall_s"] for thread in found["processes"][0]["threads"]] == [pytest.approx(0.01)]


def test_epochs_start_the_nodes_over(tmp_path: Path) -> None:
    """The same number is another stack before and behind; both readers know."""
    again = [section(1, b"\1"), *craft.samples(2, [1, 0], up=b"\1", grown=b"\0", leaves=b"\2", frames=b"")]
    path = tmp_path / "epochs.zond"
    path.write_bytes(craft.recording(chunk(*again), chunk(section(1, b"\1"), *craft.samples(1, [0]))))
    recording = check(path)
    assert [len(nodes) for nodes in recording.nodes] == [3, 2, 1]
    assert [sample.stack.frames() for sample in recording.samples[9:]] == [(1, 2), (2,), (2,), ()]


def test_threads_of_other_chunks(tmp_path: Path) -> None:
    """A thread of a later chunk, first for its tasks: each lane begins where the thread does, rounded down."""
    born = section(THREADS, numbers(0, 43) + craft.s(-1) + numbers(3))
    first = craft.samples(2, [4, 0], thread=craft.s(1) + craft.s(0), state=b"\x20\x01")
    path = tmp_path / "lanes.zond"
    path.write_bytes(craft.recording(chunk(born, *first)))
    recording = check(path)
    assert [(sample.end, sample.wall) for sample in recording.samples[10:]] == [(999, 1000)] * 2
    assert [sample.stack.frames() for sample in recording.samples[10:]] == [(2,), ()]
