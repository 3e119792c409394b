"""Compare what a profiler found with what a ground-truth program knows of itself.

Everything is a share of the time of the functions that the truth names, in points (hundredths): own and total time of
functions, own time of lines, on the clock and on CPU. Two more rows tell whether weights are seconds: the sum of it
all, and the time in the collector, as a share of the run.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

METRICS = ("wall", "cpu")


class Difference(NamedTuple):
    """One compared figure: what it is, and its true and found share, in points."""

    what: str
    metric: str
    truth: float
    found: float

    @property
    def error(self) -> float:
        """Return how far off it is, in points."""
        return abs(self.found - self.truth)


Times = defaultdict[str, float]


def _times() -> Times:
    return defaultdict(float)


@dataclass
class Found:
    """What a profiler says of one file, for one metric, s: by function own and total, by (function, line) own."""

    own: Times = field(default_factory=_times)
    total: Times = field(default_factory=_times)
    lines: defaultdict[tuple[str, int], float] = field(default_factory=lambda: defaultdict(float))


def from_report(report: dict[str, Any], file: str, metric: str) -> Found:
    """Return what `zond report --json` says of the file of that base name.

    With native stacks, what a function does in C is that of C functions: its own time is that of its lines, then,
    which keep it.
    """
    found = Found()
    native = any(row["kind"] == "native" for row in report["functions"])
    for row in report["functions"]:
        if Path(row["file"] or "").name == file:
            name = row["name"].rpartition(".")[2]
            found.own[name] += 0.0 if native else row[f"self_{metric}_s"] or 0.0
            found.total[name] += row[f"total_{metric}_s"] or 0.0
    for row in report["lines"]:
        if Path(row["file"] or "").name == file:
            place = (row["function"].rpartition(".")[2], row["line"])
            found.lines[place] += row[f"self_{metric}_s"] or 0.0
            found.own[place[0]] += row[f"self_{metric}_s"] or 0.0 if native else 0.0
    return found


def from_stacks(stacks: Iterable[tuple[tuple[tuple[str, str, int], ...], int]], file: str, seconds: float) -> Found:
    """Return what stacks of (function, file, line), outermost first, say of that file; a sample lasts `seconds`."""
    found = Found()
    for stack, weight in stacks:
        time = weight * seconds
        for name in {function for function, path, _ in stack if Path(path).name == file}:
            found.total[name] += time
        if stack and Path(stack[-1][1]).name == file:
            function, _, line = stack[-1]
            found.own[function] += time
            found.lines[function, line] += time
    return found


def _sums(truth: dict[str, Any], found: Found, metric: str) -> tuple[float, float]:
    """Return the time of all that the truth names, s: as it is known, and as it was found."""
    key = f"{metric}_s"
    known = sum(times[key] for times in truth["functions"].values())
    seen = sum(found.own[name] for name in truth["functions"])
    for name in set(truth["totals"]) - set(truth["functions"]):
        known += truth["totals"][name][key]
        seen += found.total[name]
    return known, seen


def compare(truth: dict[str, Any], found: Found, metric: str) -> list[Difference]:
    """Return the shares of functions and lines, one row each."""
    key = f"{metric}_s"
    known, seen = _sums(truth, found, metric)
    rows = [("own " + name, times[key], found.own[name]) for name, times in truth["functions"].items()]
    rows += [("total " + name, times[key], found.total[name]) for name, times in truth["totals"].items()]
    for line in truth["lines"]:
        function, first, last = line["function"], line["first"], line["last"]
        time = sum(found.lines[function, number] for number in range(first, last + 1))
        rows.append((f"lines {function}:{first}-{last}", line[key], time))
    compared = [
        Difference(what, metric, 100 * true / (known or 1), 100 * time / (seen or 1)) for what, true, time in rows
    ]
    for row in truth["ratios"]:
        both = found.own[row["often"]] + found.own[row["seldom"]]
        true = row["ratio"] / (row["ratio"] + 1) * both
        what = f"{row['often']} to {row['seldom']}"
        compared.append(Difference(what, metric, 100 * true / (seen or 1), 100 * found.own[row["often"]] / (seen or 1)))
    return compared


def compare_report(truth: dict[str, Any], report: dict[str, Any], file: str) -> list[Difference]:
    """Return every difference between the truth and a report of zond, sums and collector included."""
    compared = []
    for metric in METRICS:
        found = from_report(report, file, metric)
        compared += compare(truth, found, metric)
        known, seen = _sums(truth, found, metric)
        if known:
            compared.append(Difference("sum of functions", metric, 100.0, 100 * seen / known))
    if truth["gc"]:
        run_s, in_gc = truth["gc"]["run_s"], truth["gc"]["wall_s"]
        found_s = report["gc"]["share"] * report["run"]["wall_s"]
        compared.append(Difference("collector", "wall", 100 * in_gc / run_s, 100 * found_s / run_s))
    return compared


def read(path: Path) -> dict[str, Any]:
    """Read a truth file."""
    truth: dict[str, Any] = json.loads(path.read_text())
    return truth
