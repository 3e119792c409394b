"""Functions that compute and call each other, and one that calls itself. `nested.py TRUTH.json [SECONDS]`."""

from __future__ import annotations

import random
import sys
import time

from ledger import Ledger

LEDGER = Ledger()
NUMBERS = random.Random(1)
DEPTH = 20


def inner() -> None:
    """Compute."""
    started = (time.monotonic(), time.thread_time())
    end = started[0] + NUMBERS.uniform(0.002, 0.006)
    while time.monotonic() < end:
        pass
    LEDGER.own("inner", started, (time.monotonic(), time.thread_time()))


def middle() -> None:
    """Compute, then call `inner`."""
    started = (time.monotonic(), time.thread_time())
    end = started[0] + NUMBERS.uniform(0.001, 0.003)
    while time.monotonic() < end:
        pass
    LEDGER.own("middle", started, (time.monotonic(), time.thread_time()))
    inner()
    LEDGER.total("middle", started, (time.monotonic(), time.thread_time()))


def outer() -> None:
    """Call `middle`, then compute."""
    entered = (time.monotonic(), time.thread_time())
    middle()
    started = (time.monotonic(), time.thread_time())
    end = started[0] + NUMBERS.uniform(0.0005, 0.0015)
    while time.monotonic() < end:
        pass
    LEDGER.own("outer", started, (time.monotonic(), time.thread_time()))
    LEDGER.total("outer", entered, (time.monotonic(), time.thread_time()))


def recurse(depth: int) -> None:
    """Compute at each level."""
    started = (time.monotonic(), time.thread_time())
    end = started[0] + NUMBERS.uniform(0.0001, 0.0003)
    while time.monotonic() < end:
        pass
    LEDGER.own("recurse", started, (time.monotonic(), time.thread_time()))
    if depth > 1:
        recurse(depth - 1)


def recursion() -> None:
    """Start a recursion, whose total must not count a moment twice."""
    started = (time.monotonic(), time.thread_time())
    recurse(DEPTH)
    LEDGER.total("recurse", started, (time.monotonic(), time.thread_time()))


def main() -> None:
    """Take turns."""
    end = time.monotonic() + (float(sys.argv[2]) if len(sys.argv) > 2 else 10.0)
    while time.monotonic() < end:
        outer()
        recursion()
    LEDGER.write(sys.argv[1])


main()
