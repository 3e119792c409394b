"""Functions that compute and call each other, and one that calls itself. `nested.py TRUTH.json [SECONDS]`."""

from __future__ import annotations

import random
import sys
import time

from ledger import Ledger, now

LEDGER = Ledger()
NUMBERS = random.Random(1)
DEPTH = 20


def inner() -> None:
    """Compute."""
    started = now()
    end = started.wall + NUMBERS.uniform(0.002, 0.006)
    while time.monotonic() < end:
        pass
    LEDGER.own("inner", started)


def middle() -> None:
    """Compute, then call `inner`."""
    started = now()
    end = started.wall + NUMBERS.uniform(0.001, 0.003)
    while time.monotonic() < end:
        pass
    LEDGER.own("middle", started)
    inner()
    LEDGER.total("middle", started)


def outer() -> None:
    """Call `middle`, then compute."""
    entered = now()
    middle()
    started = now()
    end = started.wall + NUMBERS.uniform(0.0005, 0.0015)
    while time.monotonic() < end:
        pass
    LEDGER.own("outer", started)
    LEDGER.total("outer", entered)


def recurse(depth: int) -> None:
    """Compute at each level."""
    started = now()
    end = started.wall + NUMBERS.uniform(0.0001, 0.0003)
    while time.monotonic() < end:
        pass
    LEDGER.own("recurse", started)
    if depth > 1:
        recurse(depth - 1)


def recursion() -> None:
    """Start a recursion, whose total must not count a moment twice."""
    started = now()
    recurse(DEPTH)
    LEDGER.total("recurse", started)


def main() -> None:
    """Take turns."""
    end = time.monotonic() + (float(sys.argv[2]) if len(sys.argv) > 2 else 10.0)
    while time.monotonic() < end:
        outer()
        recursion()
    LEDGER.write(sys.argv[1])


main()
