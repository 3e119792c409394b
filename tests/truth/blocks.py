"""Blocks of milliseconds, busy or waiting, in functions and in lines. `blocks.py TRUTH.json [SECONDS]`."""

from __future__ import annotations

import os
import random
import select
import sys
import time

from ledger import Ledger

LEDGER = Ledger()
PIPE, _ = os.pipe()


def busy(seconds: float) -> None:
    """Compute."""
    started = (time.monotonic(), time.thread_time())
    end = started[0] + seconds
    while time.monotonic() < end:
        pass
    LEDGER.own("busy", started, (time.monotonic(), time.thread_time()))


def busier(seconds: float) -> None:
    """Compute, more often than `busy`."""
    started = (time.monotonic(), time.thread_time())
    end = started[0] + seconds
    while time.monotonic() < end:
        pass
    LEDGER.own("busier", started, (time.monotonic(), time.thread_time()))


def lines(seconds: float) -> None:
    """Compute on two pairs of lines, three parts on the first and one on the second."""
    started = (time.monotonic(), time.thread_time())
    end = started[0] + seconds * 0.75
    while time.monotonic() < end:
        pass
    middle = (time.monotonic(), time.thread_time())
    end = middle[0] + seconds * 0.25
    while time.monotonic() < end:
        pass
    ended = (time.monotonic(), time.thread_time())
    LEDGER.line(lines, 4, 5, started, middle)
    LEDGER.line(lines, 8, 9, middle, ended)
    LEDGER.own("lines", started, ended)


def asleep(seconds: float) -> None:
    """Sleep."""
    started = (time.monotonic(), time.thread_time())
    time.sleep(seconds)
    LEDGER.own("asleep", started, (time.monotonic(), time.thread_time()))


def waiting(seconds: float) -> None:
    """Wait for input that does not come."""
    started = (time.monotonic(), time.thread_time())
    select.select([PIPE], [], [], seconds)
    LEDGER.own("waiting", started, (time.monotonic(), time.thread_time()))


def main() -> None:
    """Take turns; lengths vary, so that they do not beat against the sampler's clock."""
    numbers = random.Random(1)
    end = time.monotonic() + (float(sys.argv[2]) if len(sys.argv) > 2 else 10.0)
    turns = ((busy, 0.002), (busier, 0.005), (lines, 0.004), (asleep, 0.004), (waiting, 0.005))
    while time.monotonic() < end:
        for work, seconds in turns:
            work(seconds * numbers.uniform(0.5, 1.5))
    LEDGER.write(sys.argv[1])


main()
