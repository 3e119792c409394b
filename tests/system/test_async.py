"""What waiting asyncio tasks wait for, as chains from the task that nobody awaits to the innermost await."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from system.drive import Ran, interpreter_of, report, run, version_of, view

PROGRAM = """\
import asyncio

async def leaf(seconds):
    await asyncio.sleep(seconds)

async def middle(seconds):
    await leaf(seconds)

async def numbers(seconds):
    await asyncio.sleep(seconds)
    yield 1

async def consume(seconds):
    async for _ in numbers(seconds):
        pass

async def group():
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(middle(2), name="gróup member")
        tasks.create_task(consume(1))

async def waits_for(task):
    await task

async def main():
    shared = asyncio.create_task(leaf(2), name="shared")
    waiters = [asyncio.create_task(waits_for(shared), name=f"waiter {n}") for n in range(2)]
    await asyncio.gather(middle(1), middle(1), group(), *waiters)
    await asyncio.sleep(1)

asyncio.run(main(), debug=False)
"""

# The functions of the program and the tasks, outermost first, and for how many seconds they wait.
CHAINS = {
    "task;main": 1.0,
    "task;main;task;middle;leaf": 2.0,
    "task;main;task;group;task gróup member;middle;leaf": 2.0,
    "task;main;task;group;task;consume;numbers": 1.0,
}

# The shared task is in the chain of one of those that wait for it; the chain of the other ends there.
SHARED = (
    {"task;main;task waiter 0;waits_for;task shared;leaf": 2.0, "task;main;task waiter 1;waits_for": 2.0},
    {"task;main;task waiter 1;waits_for;task shared;leaf": 2.0, "task;main;task waiter 0;waits_for": 2.0},
)

MANY = """\
import asyncio

async def leaf():
    await asyncio.sleep(1)

async def main():
    await asyncio.gather(*(asyncio.create_task(leaf(), name=f"member {n}") for n in range(5000)))

asyncio.run(main())
"""

# Tasks that come and go all the time, next to one that waits.
RESTLESS = """\
import asyncio, time

async def short():
    await asyncio.sleep(0)

async def patient():
    await asyncio.sleep(2)

async def main():
    waiting = asyncio.create_task(patient(), name="patient")
    while not waiting.done():
        await asyncio.gather(*(short() for _ in range(20)))

asyncio.run(main())
"""

versions = pytest.mark.parametrize("version", ["3.14", "3.15"])


def record(folder: Path, version: str, text: str, *options: str) -> Ran:
    program = folder / "program.py"
    program.write_text(text, encoding="utf-8")
    ran = run(folder, interpreter_of(version).path, program, options=[*options, "--"])
    assert ran.status == 0, ran.err
    return ran


def chains(recording: Path) -> dict[str, float]:
    """Seconds by chain: the functions of the program and the tasks; what asyncio itself does is left out."""
    found: dict[str, float] = {}
    for line in view(recording, "--async", "--format", "collapsed", verb="export").splitlines():
        stack, micros = line.rsplit(" ", 1)
        frames = [re.sub(r" \(.*", "", frame) for frame in stack.split(";") if "asyncio/" not in frame]
        found[";".join(frames)] = found.get(";".join(frames), 0) + float(micros) / 1e6
    return found


@versions
def test_chains(version: str, tmp_path: Path) -> None:
    found = chains(record(tmp_path, version, PROGRAM).recording)
    # Looked at ten times a second: each wait is off by a look at both ends.
    shared = next(pair for pair in SHARED if set(pair) <= set(found))
    assert found == pytest.approx(CHAINS | shared, abs=0.3)


@versions
def test_every_view_shows_them(version: str, tmp_path: Path) -> None:
    # Few looks: one in the microseconds in which `leaf` does run is not to be expected.
    recording = record(tmp_path, version, PROGRAM, "-r", "20").recording
    assert "leaf" in view(recording, "--async", verb="calls")
    assert "main" in view(recording, "--async", verb="calls")
    assert "return await future" in view(recording, "--async", verb="lines")
    names = {function["name"] for function in report(recording, "--async")["functions"]}
    assert {"task", "task shared", "main", "leaf", "sleep"} <= names
    # The threads' own stacks know nothing of waiting tasks.
    assert not {"task", "leaf"} & {function["name"] for function in report(recording)["functions"]}


@versions
def test_more_tasks_than_are_looked_at(version: str, tmp_path: Path) -> None:
    recording = record(tmp_path, version, MANY).recording
    assert any("event loop" in loss for loss in report(recording)["sampling"]["losses"])
    # A look may come while they are created, when nothing waits for them yet.
    possible = re.compile(r"task;main(;task.*)?|task( member \d+)?;leaf")
    assert [chain for chain in chains(recording) if not possible.fullmatch(chain)] == []


@versions
def test_tasks_that_come_and_go(version: str, tmp_path: Path) -> None:
    found = chains(record(tmp_path, version, RESTLESS).recording)
    waited = sum(seconds for chain, seconds in found.items() if "task patient;patient" in chain)
    assert waited == pytest.approx(2, abs=0.5)


@pytest.mark.parametrize("version", ["3.13"])
def test_older_versions_have_none(version: str, tmp_path: Path) -> None:
    assert version_of(interpreter_of(version)) < (3, 14)
    assert chains(record(tmp_path, version, PROGRAM).recording) == {}
