"""zond's shares against programs that know their own, on two interpreters; on all with ZOND_TEST_ALL=1."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
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
# turn late when another one begins to work. What they would have seen can be all of one function, so that they may
# take half of the one point, and chance the other. Where each thread has its one function they take nothing of it.
MISSED_SHARE = {program: POINTS / 100 / (1 if program == "contention" else 2) for program in PROGRAMS}
TRIES = 6

# A virtual processor with nothing to do is given to other machines, and is back late when the sampler's clock rings.
# One that computes what anything else may interrupt at once is kept. For threads that take turns on two processors
# that is no help: the kernel does not look for a free one among such.
AWAKE = """
import os, sys
parent = os.getppid()
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
os.sched_setaffinity(0, {int(sys.argv[1])})
while os.getppid() == parent:
    sum(range(10_000))
"""

# The last layout without a table of offsets that many run, and the newest with one.
USUAL_VERSIONS = ("3.11", "3.15")


def chosen() -> list[Interpreter]:
    """Return the interpreters to test."""
    every = interpreters()
    if os.environ.get("ZOND_TEST_ALL") == "1":
        return every
    return [interpreter for interpreter in every if interpreter.version in USUAL_VERSIONS]


@contextlib.contextmanager
def processors_awake(program: str) -> Iterator[None]:
    """Keep each processor of the machine, where that helps."""
    with contextlib.ExitStack() as stack:
        for cpu in os.sched_getaffinity(0) if program != "contention" else ():
            awake = stack.enter_context(subprocess.Popen([sys.executable, "-c", AWAKE, str(cpu)]))
            stack.callback(awake.kill)
        yield


def record(target: list[str], native_hz: int, share: float, folder: Path) -> dict[str, Any]:
    """Run `target` under zond and return the report; skip where the machine leaves no processor for the sampler."""
    recording = folder / "truth.zond"
    for _ in range(TRIES):
        rates = ["-r", str(RATE_HZ), "--native-rate", str(native_hz)]
        command = [ZOND, "run", *rates, "-o", str(recording), "--quiet", "--", *target]
        subprocess.run(command, check=True)
        printed = subprocess.run([ZOND, "report", "--json", str(recording)], check=True, capture_output=True).stdout
        report: dict[str, Any] = json.loads(printed)
        if report["sampling"]["missed"] <= share * RATE_HZ * SECONDS:
            return report
    pytest.skip(f"too busy a machine: in {TRIES} tries more than {share:.1%} of the ticks were missed")


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("interpreter", chosen(), ids=lambda interpreter: interpreter.version)
@pytest.mark.parametrize("native_hz", [100, 0], ids=["native", "python"])
def test_shares(interpreter: Interpreter, program: str, native_hz: int, tmp_path: Path) -> None:
    """Own and total time of functions and lines, on the clock and on CPU, are within a point of the truth."""
    truth = tmp_path / "truth.json"
    target = interpreter.command(str(HERE / f"{program}.py"), str(truth), str(SECONDS))
    with processors_awake(program):
        report = record(target, native_hz, MISSED_SHARE[program], tmp_path)
    differences = compare_report(read(truth), report, f"{program}.py")
    assert differences
    wrong = [
        f"{found.what} ({found.metric}): {found.found:.2f} instead of {found.truth:.2f} points"
        for found in differences
        if found.error > POINTS
    ]
    assert not wrong, "\n".join(wrong)
