"""Make cyclic garbage over a heap of kept objects: what the collector takes. `collector.py TRUTH.json [SECONDS]`.

Collections are timed from outside, with the automatic ones off: `gc.callbacks` are called inside of them, and leave out
some microseconds of each. All count, those while the heap is built too; none follows the last word, hence no usual end,
which would collect all that is kept.
"""

from __future__ import annotations

import gc
import os
import random
import sys
import time
from typing import List

from ledger import Ledger

LEDGER = Ledger()
KEPT = 200_000


def make(count: int) -> List[object]:
    """Return `count` objects, each in a cycle with itself."""
    made: List[object] = []
    for _ in range(count):
        cycle: List[object] = []
        cycle.append(cycle)
        made.append(cycle)
    return made


def collect(generation: int) -> float:
    """Collect; return how long it took, s."""
    started = time.monotonic()
    gc.collect(generation)
    return time.monotonic() - started


def main() -> None:
    """Make garbage over a heap of kept objects; amounts vary, so that they do not beat against the sampler's clock."""
    numbers = random.Random(1)
    gc.disable()
    started = time.monotonic()
    end = started + (float(sys.argv[2]) if len(sys.argv) > 2 else 10.0)
    kept = make(KEPT)
    collecting = collect(2)
    while time.monotonic() < end:
        make(numbers.randint(10_000, 30_000))
        collecting += collect(0)
        if collecting < 0.3 * (time.monotonic() - started):
            collecting += collect(2)
    LEDGER.gc = {"wall_s": collecting, "run_s": time.monotonic() - started, "kept": len(kept)}
    LEDGER.write(sys.argv[1])
    os._exit(0)


main()
