"""zond's shares against programs that know their own, on two interpreters; on all with ZOND_TEST_ALL=1."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from compare import compare_report, read
from matrix import Interpreter, interpreters

ZOND = os.environ.get("ZOND") or str(HERE.parent.parent / "build" / "src" / "cli" / "zond")
PROGRAMS = ("blocks", "short", "nested", "contention", "collector")
RATE_HZ = 1000
SECONDS = 10
POINTS = 1.0

# Late ticks are the machine's doing, not the sampler's, and they are not spread evenly: a virtual processor gets its
# turn late when another one begins to work. What they would have seen can be all of one function, so that a bound of
# one point cannot be held with more than a hundredth of them missed.
MISSED_SHARE = POINTS / 100
TRIES = 6

# The last layout without a table of offsets that many run, and the newest with one.
USUAL_VERSIONS = ("3.11", "3.15")


def chosen() -> list[Interpreter]:
    """Return the interpreters to test."""
    every = interpreters()
    if os.environ.get("ZOND_TEST_ALL") == "1":
        return every
    return [interpreter for interpreter in every if interpreter.version in USUAL_VERSIONS]


def record(target: list[str], folder: Path) -> dict[str, Any]:
    """Run `target` under zond and return the report; skip where the machine leaves no processor for the sampler."""
    recording = folder / "truth.zond"
    for _ in range(TRIES):
        command = [ZOND, "run", "-r", str(RATE_HZ), "-o", str(recording), "--quiet", "--", *target]
        subprocess.run(command, check=True)
        printed = subprocess.run([ZOND, "report", "--json", str(recording)], check=True, capture_output=True).stdout
        report: dict[str, Any] = json.loads(printed)
        if report["sampling"]["missed"] <= MISSED_SHARE * RATE_HZ * SECONDS:
            return report
    pytest.skip(f"too busy a machine: in {TRIES} tries more than {MISSED_SHARE:.0%} of the ticks were missed")


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("interpreter", chosen(), ids=lambda interpreter: interpreter.version)
def test_shares(interpreter: Interpreter, program: str, tmp_path: Path) -> None:
    """Own and total time of functions and lines, on the clock and on CPU, are within a point of the truth."""
    truth = tmp_path / "truth.json"
    report = record(interpreter.command(str(HERE / f"{program}.py"), str(truth), str(SECONDS)), tmp_path)
    differences = compare_report(read(truth), report, f"{program}.py")
    assert differences
    wrong = [
        f"{found.what} ({found.metric}): {found.found:.2f} instead of {found.truth:.2f} points"
        for found in differences
        if found.error > POINTS
    ]
    assert not wrong, "\n".join(wrong)
