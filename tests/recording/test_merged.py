"""Merged recordings: the Python reader takes from each part what it takes from the recording that was merged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from recording import craft, figures, zond_format
from recording.compare import by_kind, taken
from recording.zond_format import Merged
from system.drive import zond

CORPUS = Path(__file__).parent / "corpus"
NAMES = ("threads", "fork", "cut", "recursion")


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("merged") / "job.zond"
    done = zond("merge", "-o", out, *(CORPUS / f"{name}.zond" for name in NAMES))
    assert done.returncode == 0, done.stderr
    return out


def read(path: Path) -> Merged:
    with path.open("rb") as file:
        return zond_format.read_merged(file)


def dump(recording: zond_format.Recording) -> dict[str, list[str]]:
    """All of it but where in its file it ends."""
    found = by_kind(list(figures.dump(recording)))
    return {kind: rows for kind, rows in found.items() if kind != recording.end}


def test_parts_are_the_recordings(merged: Path) -> None:
    found = read(merged)
    ones = [taken(CORPUS / f"{name}.zond") for name in NAMES]
    assert [part.end for part in found.parts] == [one.end for one in ones]
    for part, one in zip(found.parts, ones, strict=True):
        assert dump(part) == dump(one)
    assert found.counts == (4, 1, 0, 0)


def test_the_header_is_that_of_the_first(merged: Path) -> None:
    found = read(merged)
    first = min((part.header for part in found.parts if part.header), key=lambda header: header.started_wall)
    assert found.header
    assert (found.header.started_wall, found.header.started) == (first.started_wall, first.started)


def test_zond_has_the_sum_of_the_parts(merged: Path) -> None:
    done = zond("report", "--json", merged)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    parts = read(merged).parts
    assert len(report["processes"]) == sum(len(part.processes) for part in parts)
    assert report["sampling"]["samples"] == sum(s.looks for part in parts for s in figures.own(part))
    assert report["run"]["merged"]["recordings"] == len(parts)


def test_a_merged_recording_that_is_cut(merged: Path, tmp_path: Path) -> None:
    """Both readers take what stands before, and find no end."""
    cut = tmp_path / "cut.zond"
    shutil.copy(merged, cut)
    with cut.open("r+b") as file:
        file.truncate(cut.stat().st_size - 1)
    found = read(cut)
    assert (len(found.parts), found.counts) == (4, None)
    done = zond("report", "--json", cut)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["run"]["complete"] is False


@pytest.mark.parametrize("early", [craft.end(), craft.chunk(*craft.tables())], ids=["end", "chunk"])
def test_blocks_before_the_first_part_are_of_none(tmp_path: Path, early: bytes) -> None:
    path = tmp_path / "odd.zond"
    path.write_bytes(craft.preamble(zond_format.MERGED_VERSION) + craft.header() + early)
    assert read(path).parts == []
    done = zond("report", "--json", path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["processes"], report["run"]["complete"]) == ([], False)
