"""Holds what zond says of a recording to what the Python reader took of it."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

from recording import figures, zond_format
from recording.zond_format import Recording
from system.drive import ROOT, TIMEOUT, Report, zond

DUMP = ROOT / "build" / "tests" / "dump_recording"


def taken(path: Path) -> Recording:
    with path.open("rb") as file:
        return zond_format.read(file)


def by_kind(lines: list[str]) -> dict[str, list[str]]:
    """Lines by their first word, in their order."""
    kinds: dict[str, list[str]] = {}
    for line in lines:
        kinds.setdefault(line.split(maxsplit=1)[0].rstrip(":"), []).append(line)
    return kinds


def check_dump(path: Path, recording: Recording) -> None:
    """Every header, frame, node, process, thread, sample and event is the same to the last number."""
    done = subprocess.run([DUMP, path], capture_output=True, encoding="ascii", timeout=TIMEOUT, check=True)
    theirs, ours = by_kind(done.stdout.splitlines()), by_kind(list(figures.dump(recording)))
    assert theirs.keys() == ours.keys()
    for kind in ours:
        assert theirs[kind] == ours[kind]


def ns(seconds: float) -> int:
    return round(seconds * 1e9)


def check_report(found: Report, recording: Recording) -> None:
    """`zond report --json` has the sums of what was read in Python."""
    header = recording.header
    assert header
    assert found["run"]["command"] == figures.words(header.command)
    assert found["run"]["complete"] == (recording.end == "complete")
    assert found["run"]["attached"] == header.attached
    if recording.ended:
        assert ns(found["run"]["wall_s"]) == recording.ended.time
        assert found["run"]["exit"] == exit_of(recording.ended.code, recording.ended.signal)
    sampling = found["sampling"]
    assert sampling["samples"] == sum(sample.looks for sample in figures.own(recording))
    assert {key: sampling[key] for key in figures.LOSSES} == figures.losses(recording)
    details = dict.fromkeys(figures.text(recording, loss.detail) for loss in recording.losses if loss.detail)
    assert sampling["losses"] == list(details)
    check_processes(found, recording)
    check_tables(found, recording)


def exit_of(code: int | None, by: int) -> dict[str, int | None]:
    return {"code": None if by else code, "signal": by or None}


def check_processes(found: Report, recording: Recording) -> None:
    ends = {event.process: exit_of(event.code, event.signal) for event in recording.exits}
    threads = figures.threads(recording)
    for number, (theirs, process) in enumerate(zip(found["processes"], recording.processes, strict=True)):
        python = figures.text(recording, process.python) if process.python else None
        assert (theirs["pid"], theirs["ppid"], theirs["python"]) == (process.pid, process.parent, python)
        assert theirs["command"] == figures.words(recording.strings[process.command])
        assert theirs["exit"] == ends.get(number, exit_of(None, 0))
        of_theirs = [
            {key: ns(value) if key.endswith("_s") else value for key, value in thread.items()}
            for thread in theirs["threads"]
        ]
        assert of_theirs == threads[number]


TIMES = ("self_wall_s", "total_wall_s", "self_cpu_s", "total_cpu_s")


def rows_of(table: list[dict[str, Any]], *keys: str) -> Counter[tuple[object, ...]]:
    """Rows with any time."""
    rows = [(*(row[key] for key in keys), *(ns(row[key]) for key in TIMES)) for row in table]
    return Counter(row for row in rows if any(row[-len(TIMES) :]))


def check_tables(found: Report, recording: Recording) -> None:
    functions = {row: n for row, n in figures.functions(recording).items() if any(row[-len(TIMES) :])}
    assert rows_of(found["functions"], "name", "file", "line", "kind") == functions
    lines = {row: n for row, n in figures.lines(recording).items() if any(row[-len(TIMES) :])}
    assert rows_of(found["lines"], "file", "line", "function") == lines


def check_collapsed(path: Path, recording: Recording, metric: str) -> None:
    """Each stack of the export weighs what it weighs here, to the microsecond that it is rounded to."""
    done = zond("export", "--format", "collapsed", "--lines", "--metric", metric, path)
    assert done.returncode == 0, done.stderr
    theirs: Counter[str] = Counter()
    rows: Counter[str] = Counter()
    for line in done.stdout.decode(errors="replace").splitlines():
        stack, weight = line.rsplit(" ", 1)
        theirs[stack] += int(weight)
        rows[stack] += 1
    ours = figures.collapsed(recording, figures.METRICS[metric])
    assert [stack for stack in theirs if stack not in ours] == []
    wrong = {s: (theirs[s], ours[s]) for s in ours if abs(theirs[s] * 1000 - ours[s]) > 1000 * max(rows[s], 1)}
    assert wrong == {}
    assert abs(theirs.total() * 1000 - ours.total()) <= 500


def check(path: Path) -> Recording:
    """Both readers, and all views, agree. Returns what was read."""
    recording = taken(path)
    check_dump(path, recording)
    report = zond("report", "--json", path)
    assert report.returncode == 0, report.stderr
    check_report(json.loads(report.stdout), recording)
    for metric in figures.METRICS:
        check_collapsed(path, recording, metric)
    return recording
