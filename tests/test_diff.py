"""`zond diff` on recordings of real programs whose differences are known by construction."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matrix
import pytest
from matrix import Interpreter
from test_views import ZOND, columns, zond

# Each part keeps the CPU busy for so many seconds of its thread's own time, nearly all of it in one line.
TEMPLATE = """\
import time
{above}

def spin(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        sum(range(20000))
    return end


class Work:
{methods}

work = Work()
{calls}
"""
METHOD = """\
    def {name}(self):
        before = [spin(0) for _ in range(3)]
        return spin({seconds}), before
"""


def program(parts: Mapping[str, float], above: int = 0) -> str:
    """A program whose methods spin for as long as `parts` says; `above`: lines of comment before all of them."""
    return TEMPLATE.format(
        above="\n".join(["# what was added"] * above),
        methods="\n".join(METHOD.format(name=name, seconds=seconds) for name, seconds in parts.items()),
        calls="\n".join(f"work.{name}()" for name in parts),
    )


def record(path: Path, source: str, *, python: str = sys.executable) -> Path:
    """Runs the program, which is written to `path`, and returns its recording."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)
    made = path.with_suffix(".zond")
    done = zond("run", "--python", python, "-o", made, "--quiet", path)
    assert done.returncode == 0, done.stderr
    return made


def diff(*args: str | Path) -> dict[str, Any]:
    done = zond("diff", "--json", *args)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def last_part(name: str) -> str:
    return name.rpartition(".")[2]


def own(found: dict[str, Any], table: str) -> list[dict[str, Any]]:
    """The rows of the program's own file."""
    sides = ((row, row["a"] or row["b"]) for row in found[table])
    return [row for row, side in sides if Path(side["file"] or "").name.startswith("program")]


OLD = {"shrinks": 0.6, "stays": 0.4, "vanishes": 0.4}
# Lines; one of the comments stands where there is an empty line without them.
MOVED = 7
NEW = {"stays": 0.4, "shrinks": 0.2, "appears": 0.5}


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("old") / "program_old.py", program(OLD))


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another version in another folder, under another name, its lines moved."""
    return record(tmp_path_factory.mktemp("new") / "deeper" / "program_new.py", program(NEW, above=MOVED + 1))


@dataclass(frozen=True)
class Change:
    function: str
    a: float | None  # seconds of CPU; None: not seen
    b: float | None
    clear: bool


CHANGES = [
    Change("shrinks", 0.6, 0.2, True),
    Change("stays", 0.4, 0.4, False),
    Change("vanishes", 0.4, None, True),
    Change("appears", None, 0.5, True),
]


@pytest.mark.parametrize("expected", CHANGES, ids=lambda change: change.function)
def test_functions(old: Path, new: Path, expected: Change) -> None:
    """Functions are found in the other version, and what they cost is what they spun."""
    rows = [row for row in own(diff("--metric", "cpu", old, new), "functions") if expected.function in row["name"]]
    assert [last_part(row["name"]) for row in rows] == [expected.function]
    (row,) = rows
    assert (row["a"] is None, row["b"] is None) == (expected.a is None, expected.b is None)
    assert row["total"]["a"] == pytest.approx(expected.a or 0, abs=0.05)
    assert row["total"]["b"] == pytest.approx(expected.b or 0, abs=0.05)
    assert row["total"]["clear"] is expected.clear


def test_comprehensions_belong_to_their_functions(old: Path, new: Path) -> None:
    found = diff(old, new)
    assert [row["name"] for row in own(found, "functions") if "<listcomp>" in row["name"]] == []


def test_lines_move_with_their_functions(old: Path, new: Path) -> None:
    rows = own(diff("--metric", "cpu", old, new), "lines")
    both = [row for row in rows if row["a"] and row["b"] and last_part(row["name"]) == "spin"]
    assert {row["b"]["line"] - row["a"]["line"] for row in both} == {MOVED}
    (spinning,) = [row for row in rows if row["a"] and "sum(range" in _source(row["a"])]
    assert "sum(range" in _source(spinning["b"])


def _source(place: dict[str, Any]) -> str:
    line: int = place["line"]
    return Path(place["file"]).read_text().splitlines()[line - 1]


def test_stacks(old: Path, new: Path) -> None:
    stacks = diff("--metric", "cpu", old, new)["stacks"]
    changes: dict[str, float] = {}
    for row in stacks:
        names = [last_part(name) for name in row["innermost_first"]]
        if names[0] == "spin":
            assert names[2] == "<module>"
            changes[names[1]] = changes.get(names[1], 0) + row["total"]["change"]
    assert changes == pytest.approx({"shrinks": -0.4, "stays": 0, "vanishes": -0.4, "appears": 0.5}, abs=0.06)


def test_identical_runs_differ_in_nothing(old: Path, tmp_path: Path) -> None:
    again = record(tmp_path / "program_old.py", program(OLD))
    found = diff("--metric", "cpu", old, again)
    rows = own(found, "functions")
    assert {last_part(row["name"]) for row in rows} >= {"spin", *OLD}
    assert [row["name"] for row in rows if row["a"] is None or row["b"] is None] == []
    assert [row for row in rows if row["self"]["clear"] or row["total"]["clear"]] == []
    assert [row for row in own(found, "lines") if row["self"]["clear"]] == []


def test_a_recording_differs_in_nothing_from_itself(old: Path) -> None:
    for metric in ("wall", "cpu", "gil", "gc"):
        found = diff("--metric", metric, old, old)
        assert [row for row in found["functions"] + found["lines"] + found["stacks"] if row["self"]["change"]] == []
    done = zond("diff", old, old)
    assert "No difference between the two is larger than the noise" in done.stdout
    assert "Functions" not in done.stdout


def test_shares_of_runs_of_different_length(old: Path, tmp_path: Path) -> None:
    twice = record(tmp_path / "program_twice.py", program({name: 2 * seconds for name, seconds in OLD.items()}))
    seconds = {last_part(r["name"]): r for r in own(diff("--metric", "cpu", old, twice), "functions")}
    assert seconds["spin"]["total"]["clear"] is True
    found = diff("--metric", "cpu", "--shares", old, twice)
    assert found["unit"] == "share"
    shares = {last_part(r["name"]): r["total"] for r in own(found, "functions")}
    for name, spun in OLD.items():
        assert shares[name]["a"] == pytest.approx(spun / found["a"]["whole_s"], abs=0.03)
        assert shares[name]["b"] == pytest.approx(2 * spun / found["b"]["whole_s"], abs=0.03)


@pytest.mark.parametrize(("one", "other"), [("3.8", "3.11"), ("3.11", "3.15"), ("3.8", "3.15")])
def test_between_versions_of_python(tmp_path: Path, one: str, other: str) -> None:
    """Names that are qualified or not, comprehensions that are frames or not: the functions are the same."""
    made = [
        record(tmp_path / version / "program.py", program(OLD), python=_interpreter(version).path)
        for version in (one, other)
    ]
    rows = own(diff("--metric", "cpu", *made), "functions")
    assert [row["name"] for row in rows if row["a"] is None or row["b"] is None] == []
    both = {last_part(row["name"]): row["total"] for row in rows}
    for name, spun in OLD.items():
        assert both[name]["a"] == pytest.approx(spun, abs=0.05)
        assert both[name]["clear"] is False


def _interpreter(version: str) -> Interpreter:
    found = matrix.find(version)
    if found is None:
        pytest.skip(matrix.advice(version))
    return found


def test_modules_are_found_below_other_roots(tmp_path: Path) -> None:
    """Packages in virtual environments of different places and versions of Python, and the standard library's."""
    made: list[Path] = []
    for folder in ("one/lib/python3.8/site-packages", "another/place/lib/python3.13/site-packages"):
        package = tmp_path / folder / "package"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "module.py").write_text(program({"works": 0.3}))
        start = "import sys; sys.path.insert(0, sys.argv[1]); import json, package.module; json.loads('[1]' * 0 or '1')"
        recording = tmp_path / f"{len(made)}.zond"
        command = [sys.executable, "-c", start, str(tmp_path / folder)]
        done = zond("run", "-o", recording, "--quiet", "--", *command)
        assert done.returncode == 0, done.stderr
        made.append(recording)
    rows = diff("--metric", "cpu", *made)["functions"]
    (works,) = [row for row in rows if last_part(row["name"]) == "works"]
    assert works["a"]["file"] != works["b"]["file"]
    assert works["total"]["clear"] is False


@pytest.mark.parametrize("width", [40, 60, 100, 160])
@pytest.mark.parametrize("options", [(), ("--shares",), ("--metric", "cpu"), ("--metric", "gc")])
def test_text_fits(old: Path, new: Path, width: int, options: tuple[str, ...]) -> None:
    done = zond("diff", "--width", str(width), *options, old, new)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if columns(line) > width or line != line.rstrip()] == []


def test_text(old: Path, new: Path) -> None:
    done = zond("diff", "--metric", "cpu", old, new)
    for word in ("program_old.py", "program_new.py", "Appeared", "Vanished", "Work.appears", "▲ +", "▼ -", "noise"):
        assert word in done.stdout
    plain = zond("diff", "--metric", "cpu", old, new, LC_ALL="C")
    assert plain.stdout.isascii()
    assert "^ +" in plain.stdout
    assert "v -" in plain.stdout


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        ([], 2, "it needs two recordings"),
        (["A"], 2, "it needs two recordings"),
        (["A", "A", "A"], 2, "it needs two recordings"),
        (["A", "missing.zond"], 125, "cannot read missing.zond"),
        (["A", "A", "--metrik", "cpu"], 2, "did you mean '--metric'"),
        (["A", "--metric", "cpu", "A"], 0, ""),
        (["--", "A", "A"], 0, ""),
    ],
)
def test_usage(old: Path, words: list[str], status: int, says: str) -> None:
    done = zond("diff", *(old if word == "A" else word for word in words))
    assert done.returncode == status
    assert says in done.stderr


def test_a_closed_output_is_said(old: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [ZOND, "diff", old, old],
            stdout=full,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            check=False,
        )
    assert done.returncode == 125
    assert "cannot write" in done.stderr
