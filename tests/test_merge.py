"""`zond merge` on recordings of real programs: what is in them is in the merged one, each apart."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from test_views import ZOND, zond

PROGRAM = """\
import sys, time

def work(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        sum(range(50))

work(float(sys.argv[1]))
"""
SECONDS = (0.2, 0.3, 0.4)


def merge(*args: str | Path) -> str:
    """Merges, and returns what was said."""
    done = zond("merge", *args)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    return done.stderr


def report(*args: str | Path) -> dict[str, Any]:
    done = zond("report", "--json", *args)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def totals(found: dict[str, Any], table: str) -> dict[tuple[object, ...], tuple[float, ...]]:
    """The times of functions or lines by what they are."""
    sums: dict[tuple[object, ...], tuple[float, ...]] = {}
    for row in found[table]:
        key = (row["name"] if table == "functions" else row["function"], row["file"], row["line"])
        times = tuple(row[name] for name in ("self_wall_s", "total_wall_s", "self_cpu_s", "total_cpu_s"))
        assert key not in sums
        sums[key] = times
    return sums


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three workers of a job."""
    folder = tmp_path_factory.mktemp("parts")
    program = folder / "worker.py"
    program.write_text(PROGRAM)
    made = []
    for rank, seconds in enumerate(SECONDS):
        made.append(folder / f"{rank}.zond")
        python = ("--python", sys.executable)
        done = zond("run", *python, "-o", made[-1], "--quiet", program, str(seconds), OMPI_COMM_WORLD_RANK=str(rank))
        assert done.returncode == 0, done.stderr
    return made


@pytest.fixture(scope="module")
def merged(parts: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("merged") / "job.zond"
    said = merge(*parts, "-o", out)
    assert said == f"zond: merged 3 recordings into {out}; clocks aligned by wall time\n"
    return out


@pytest.mark.parametrize("table", ["functions", "lines"])
def test_the_merged_times_are_the_sums(parts: list[Path], merged: Path, table: str) -> None:
    sums: dict[tuple[object, ...], list[float]] = defaultdict(lambda: [0.0] * 4)
    for part in parts:
        for key, times in totals(report(part), table).items():
            sums[key] = [a + b for a, b in zip(sums[key], times, strict=True)]
    found = totals(report(merged), table)
    assert found.keys() == sums.keys()
    for key, times in found.items():
        assert times == pytest.approx(sums[key], abs=1e-9)


def test_each_is_kept_apart(parts: list[Path], merged: Path) -> None:
    """Host, rank, process and threads of each are as in its own recording."""
    found = report(merged)
    assert found["run"]["merged"] == {
        "recordings": 3,
        "incomplete": 0,
        "damaged": 0,
        "left_out": 0,
        "clock": "aligned by wall time",
    }
    own = [process for part in parts for process in report(part)["processes"]]
    assert found["processes"] == own
    python = [process for process in found["processes"] if process["python"]]
    assert [process["rank"] for process in python] == [0, 1, 2]
    assert {process["host"] for process in python} == {socket.gethostname()}


def test_filters(parts: list[Path], merged: Path) -> None:
    for rank, part in enumerate(parts):
        assert totals(report("--rank", str(rank), merged), "functions") == totals(report(part), "functions")
    assert report("--host", "elsewhere", merged)["functions"] == []
    assert report("--host", socket.gethostname(), merged)["functions"] != []
    titles = [
        line for line in zond("report", "--per-process", merged).stdout.splitlines() if line.startswith("--- process")
    ]
    pids = [process["pid"] for part in parts for process in report(part)["processes"]]
    assert [int(line.split()[2].rstrip(",")) for line in titles] == pids
    assert [line.rpartition(" ")[2] for line in titles if "rank" in line][-1] == "2"


def test_clocks_are_aligned_by_wall_time(parts: list[Path], merged: Path) -> None:
    """The first worker began before the last, and the job took from one's beginning to the other's end."""
    reports = [report(part) for part in parts]
    found = report(merged)
    assert found["run"]["started"] == reports[0]["run"]["started"]
    assert found["run"]["wall_s"] > sum(one["run"]["wall_s"] for one in reports)
    text = zond("report", merged).stdout
    assert "Merged from 3 recordings of one host; their clocks are aligned by wall time." in text
    assert "rank" in text


def test_exports(parts: list[Path], merged: Path) -> None:
    def weight(path: Path) -> int:
        stacks = zond("export", "-f", "collapsed", path).stdout.splitlines()
        return sum(int(line.rpartition(" ")[2]) for line in stacks)

    assert weight(merged) == pytest.approx(sum(map(weight, parts)), rel=0.01)
    profiles = json.loads(zond("export", "-f", "speedscope", merged).stdout)["profiles"]
    assert len(profiles) == sum(
        len(json.loads(zond("export", "-f", "speedscope", part).stdout)["profiles"]) for part in parts
    )


def test_merging_what_was_merged(parts: list[Path], merged: Path, tmp_path: Path) -> None:
    """Node by node, then the whole: the same as all at once."""
    half, whole = tmp_path / "half.zond", tmp_path / "whole.zond"
    merge(*parts[:2], "-o", half)
    merge(half, parts[2], "-o", whole)
    one, other = report(merged), report(whole)
    assert one["processes"] == other["processes"]
    assert totals(one, "functions") == totals(other, "functions")
    assert one["run"]["merged"] == other["run"]["merged"]


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _damage(path: Path) -> None:
    """In the middle of the last large block."""
    content = bytearray(path.read_bytes())
    content[-500] ^= 0x40
    path.write_bytes(content)


def _replace(path: Path) -> None:
    path.write_text("not a recording, though it is long enough to be one\n")


def _empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("spoil", "says", "counts", "shown"),
    [
        (_cut, "ends without its end mark", {"incomplete": 1}, "1 of them is incomplete"),
        (_damage, "is damaged; what is before byte", {"damaged": 1}, "1 is damaged"),
        (_replace, "left out: it is not a zond recording", {"left_out": 1}, "1 more could not be read"),
        (_empty, "left out: it ends before its header", {"left_out": 1}, "1 more could not be read"),
        (Path.unlink, "left out: No such file", {"left_out": 1}, "1 more could not be read"),
    ],
)
def test_a_broken_input(
    parts: list[Path], tmp_path: Path, spoil: Any, says: str, counts: dict[str, int], shown: str
) -> None:
    """It is said and counted, and the others are all there."""
    inputs = [Path(shutil.copy(part, tmp_path)) for part in parts]
    spoil(inputs[1])
    out = tmp_path / "job.zond"
    said = merge(*inputs, "-o", out)
    assert f"{inputs[1]} {says}" in said
    found = report(out)
    merged = {"recordings": 3 - counts.get("left_out", 0), "incomplete": 0, "damaged": 0, "left_out": 0}
    assert found["run"]["merged"] == {**merged, **counts, "clock": "aligned by wall time"}
    for rank in (0, 2):
        assert totals(report("--rank", str(rank), out), "functions") == totals(report(parts[rank]), "functions")
    assert shown in " ".join(zond("report", out).stdout.split())


def test_a_damaged_part_of_a_merged_recording(parts: list[Path], merged: Path, tmp_path: Path) -> None:
    """A recording that cannot be read from somewhere on shows what is before, and merges as far."""
    content = merged.read_bytes()
    assert content
    for cut in range(0, len(content), len(content) // 40):
        broken = tmp_path / "broken.zond"
        broken.write_bytes(content[:cut])
        done = zond("report", broken)
        assert done.returncode in (0, 125)
        again = zond("merge", broken, parts[0], "-o", tmp_path / "again.zond")
        assert again.returncode == 0
        assert report("--rank", "0", tmp_path / "again.zond")["functions"]


RANKS = [
    ("OMPI_COMM_WORLD_RANK", "3", 3),
    ("PMIX_RANK", "0", 0),
    ("PMI_RANK", "7", 7),
    ("MV2_COMM_WORLD_RANK", "12", 12),
    ("PALS_RANKID", "1", 1),
    ("ALPS_APP_PE", "1", 1),
    ("JSM_NAMESPACE_RANK", "1", 1),
    ("RANK", "41", 41),
    ("SLURM_PROCID", "9999", 9999),
    ("SLURM_PROCID", "many", None),
    ("SLURM_PROCID", "-1", None),
    ("NO_RANK", "1", None),
]


@pytest.mark.parametrize(("variable", "value", "rank"), RANKS)
def test_ranks(tmp_path: Path, variable: str, value: str, rank: int | None) -> None:
    out = tmp_path / "one.zond"
    zond("run", "-q", "-o", out, "--", sys.executable, "-I", "-S", "-c", "pass", **{variable: value})
    assert [process["rank"] for process in report(out)["processes"]] == [rank]


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        ([], 2, "it needs the recordings to merge"),
        (["0"], 2, "it needs -o FILE"),
        (["0", "-o", "0"], 125, "is to be merged, and is the output"),
        (["nothing", "-o", "out"], 125, "there is nothing to merge"),
        (["0", "-o", "/nowhere/out"], 125, "cannot write /nowhere/out"),
        (["0", "-o", "/dev/full"], 125, "writing /dev/full stopped: No space left"),
        (["0", "1", "-q", "-o", "out"], 0, ""),
        (["-o", "out", "0", "1"], 0, "merged 2 recordings"),
        (["-o", "out", "--", "0"], 0, "merged 1 recording into"),
    ],
)
def test_usage(parts: list[Path], tmp_path: Path, words: list[str], status: int, says: str) -> None:
    names = {"0": parts[0], "1": parts[1], "out": tmp_path / "out.zond", "nothing": tmp_path / "nothing.zond"}
    before = parts[0].read_bytes()
    done = zond("merge", *(names.get(word, word) for word in words))
    assert done.returncode == status, done.stderr
    assert says in done.stderr
    assert (not says) == (not done.stderr)
    assert parts[0].read_bytes() == before
    assert names["out"].exists() == (status == 0)


def test_into_a_pipe(parts: list[Path], merged: Path, tmp_path: Path) -> None:
    """The output need not be a file."""
    piped = tmp_path / "piped.zond"
    with piped.open("wb") as to:
        made = subprocess.Popen([ZOND, "merge", "-q", *parts, "-o", "/dev/stdout"], stdout=subprocess.PIPE)
        assert made.stdout is not None
        shutil.copyfileobj(made.stdout, to)
        assert made.wait() == 0
    assert piped.read_bytes() == merged.read_bytes()
