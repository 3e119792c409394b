"""Functions of about 1 us, 100 us and 5 ms. `short.py TRUTH.json [SECONDS]`."""

from __future__ import annotations

import random
import sys
import time

from ledger import Ledger

LEDGER = Ledger()


def often() -> int:
    """About 1 us of work."""
    total = 0
    for number in range(20):
        total += number
    return total


def seldom() -> int:
    """The work of `often`."""
    total = 0
    for number in range(20):
        total += number
    return total


def tiny(calls: int) -> None:
    """Call `often` three times as often as `seldom`."""
    started = (time.monotonic(), time.thread_time())
    for _ in range(calls):
        often()
        seldom()
        often()
        often()
    LEDGER.total("tiny", started, (time.monotonic(), time.thread_time()))


def hundred(seconds: float) -> None:
    """Compute for about 100 us."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def hundreds(calls: int, seconds: float) -> None:
    """Call `hundred`: all but a thousandth of the time is its own."""
    started = (time.monotonic(), time.thread_time())
    for _ in range(calls):
        hundred(seconds)
    LEDGER.own("hundred", started, (time.monotonic(), time.thread_time()))


def long(seconds: float) -> None:
    """Compute for some milliseconds."""
    started = (time.monotonic(), time.thread_time())
    end = started[0] + seconds
    while time.monotonic() < end:
        pass
    LEDGER.own("long", started, (time.monotonic(), time.thread_time()))


def main() -> None:
    """Take turns; the tiny ones get a fifth of the time, which keeps the sampling error of their shares small."""
    numbers = random.Random(1)
    LEDGER.ratio("often", "seldom", 3.0)
    end = time.monotonic() + (float(sys.argv[2]) if len(sys.argv) > 2 else 10.0)
    while time.monotonic() < end:
        tiny(numbers.randint(200, 500))
        hundreds(numbers.randint(10, 30), 0.0001)
        long(numbers.uniform(0.003, 0.007))
    LEDGER.write(sys.argv[1])


main()
