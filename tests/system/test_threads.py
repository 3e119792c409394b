"""Threads as the recording knows them: by the names that Python gave, and each counted once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from system.drive import Report, every_version, functions, interpreter_of, report, run, stolen_s

TRIES = 6
STOLEN_SHARE = 0.1

# Threads of every kind. The last ones have no name in Python; one is renamed while it runs.
NAMES = """\
import _thread, threading, time

stop = threading.Event()

class Worker(threading.Thread):
    def __init__(self):
        self.before = 1
        super().__init__(name="of a class")
        self.after = 2

    def run(self):
        stop.wait()

threads = [threading.Thread(target=stop.wait, name=name) for name in ("alpha", "bêta", "γάμμα", "😀", "x" * 100, "old")]
threads.append(Worker())
for thread in threads:
    thread.start()
_thread.start_new_thread(stop.wait, ())
time.sleep(0.3)
threads[5].name = "new"
time.sleep(1)
stop.set()
"""

# Enters three interpreters, each of which runs, waits, and is left again; the last is entered from another.
INTERPRETERS = """\
import sys, time

try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
run = getattr(interpreters, "exec", None) or interpreters.run_string

CODE = '''
import time

def spin_inside():
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        sum(range(100))

def wait_inside():
    time.sleep(0.2)

spin_inside()
wait_inside()
'''

def spin_outside():
    end = time.monotonic() + 0.4
    while time.monotonic() < end:
        sum(range(100))

def wait_outside():
    time.sleep(0.3)

made = [interpreters.create() for _ in range(3)]
for interpreter in made:
    run(interpreter, CODE)
spin_outside()
wait_outside()
for interpreter in made:
    interpreters.destroy(interpreter)
"""

# Two threads, each in an interpreter with its own GIL.
OWN_GIL = """\
import threading, time

import _interpreters as interpreters

CODE = '''
import time

def spin_inside():
    end = time.monotonic() + 1
    while time.monotonic() < end:
        sum(range(100))

spin_inside()
'''

made = [interpreters.create() for _ in range(2)]
threads = [threading.Thread(target=interpreters.exec, args=(i, CODE), name=f"guest {n}") for n, i in enumerate(made)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def record(folder: Path, version: str, text: str) -> Report:
    program = folder / "program.py"
    program.write_text(text, encoding="utf-8")
    ran = run(folder, "--", interpreter_of(version).path, program)
    assert ran.status == 0, ran.err
    return report(ran.recording)


def record_undisturbed(folder: Path, version: str, text: str) -> Report:
    """The same, again where the host of this virtual machine took the processors away meanwhile, a few times.

    What it takes, zond makes up for over 64 ms of running time (docs/performance.md, "What was tried").
    """
    for _ in range(TRIES):
        before_s = stolen_s()
        found = record(folder, version, text)
        if stolen_s() - before_s < STOLEN_SHARE * found["run"]["wall_s"]:
            break
    return found


def threads(found: Report) -> list[dict[str, Any]]:
    (process,) = found["processes"]
    listed: list[dict[str, Any]] = process["threads"]
    assert len({thread["tid"] for thread in listed}) == len(listed)
    return listed


@every_version()
def test_names(version: str, tmp_path: Path) -> None:
    names = [thread["name"] for thread in threads(record(tmp_path, version, NAMES))]
    known = {"MainThread", "alpha", "bêta", "γάμμα", "😀", "x" * 100, "new", "of a class"}
    assert known <= set(names)
    assert len(names) == len(known) + 1


@every_version()
def test_main_thread_has_its_name_without_threading(version: str, tmp_path: Path) -> None:
    listed = threads(record(tmp_path, version, "import time; time.sleep(0.2)"))
    assert [thread["name"] for thread in listed] == ["MainThread"]


@every_version()
def test_a_thread_in_many_interpreters_counts_once(version: str, tmp_path: Path) -> None:
    found = record_undisturbed(tmp_path, version, INTERPRETERS)
    (main,) = threads(found)
    wall_s, cpu_s = found["run"]["wall_s"], found["run"]["cpu_s"]
    assert main["name"] == "MainThread"
    # All but the start, before there is a Python to look into.
    assert wall_s - 0.3 < main["wall_s"] <= wall_s
    assert cpu_s - 0.15 < main["cpu_s"] <= cpu_s + 0.02
    expected = {"spin_inside": 0.9, "wait_inside": 0.6, "spin_outside": 0.4, "wait_outside": 0.3}
    seen = functions(found)
    assert {name: seen[name]["total_wall_s"] for name in expected} == pytest.approx(expected, abs=0.15)


# Up to 3.12 the module enters an interpreter by the thread state of the thread that made it.
@pytest.mark.parametrize("version", ["3.13", "3.13t", "3.14", "3.15"])
def test_threads_in_interpreters_with_their_own_gil(version: str, tmp_path: Path) -> None:
    found = record(tmp_path, version, OWN_GIL)
    by_name = {thread["name"]: thread for thread in threads(found)}
    assert set(by_name) == {"MainThread", "guest 0", "guest 1"}
    cpu_s = sum(thread["cpu_s"] for thread in by_name.values())
    assert cpu_s == pytest.approx(found["run"]["cpu_s"], rel=0.05, abs=0.05)
    assert functions(found)["spin_inside"]["total_wall_s"] == pytest.approx(2, abs=0.2)
