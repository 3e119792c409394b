"""Drive a workload and count its iterations where another process can read them.

A workload takes SECONDS and, optionally, `--counter FILE`: an existing file of zeroed 8-byte slots, one per busy
thread, into which it counts. Without the file the slots are private. At its end it prints iterations per second.
"""

from __future__ import annotations

import argparse
import mmap
import sys
import time
from typing import Callable

PRIVATE_SLOTS = 256


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return the arguments that every workload has; `description` is its docstring."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("seconds", type=float, help="how long to run, s; 'inf' for ever")
    made.add_argument("--counter", metavar="FILE", help="count the iterations in this file of 8-byte slots")
    return made


def slots(path: str | None) -> memoryview:
    """Return the counters, as unsigned 64-bit slots; slot 0 is the main thread's."""
    if path is None:
        return memoryview(bytearray(8 * PRIVATE_SLOTS)).cast("Q")
    with open(path, "r+b") as file:
        return memoryview(mmap.mmap(file.fileno(), 0)).cast("Q")


def drive(step: Callable[[], object], seconds: float, counters: memoryview, slot: int = 0) -> None:
    """Repeat `step` for `seconds`, counting the calls in `counters[slot]`."""
    end = time.monotonic() + seconds
    count = 0
    while time.monotonic() < end:
        step()
        count += 1
        counters[slot] = count


def report(seconds: float, counters: memoryview) -> None:
    """Print the iterations per second of all the slots together."""
    sys.stdout.write("%.3f\n" % (sum(counters) / seconds))
    sys.stdout.flush()


def main(description: str | None, step: Callable[[], object]) -> None:
    """Be a workload of one thread: repeat `step` for the time that the command line gives."""
    arguments = parser(description).parse_args()
    counters = slots(arguments.counter)
    drive(step, arguments.seconds, counters)
    report(arguments.seconds, counters)
