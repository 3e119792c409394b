"""Make cyclic garbage over a heap of kept objects: what the collector takes. `collector.py TRUTH.json [SECONDS]`."""

from __future__ import annotations

import gc
import sys
import time
from typing import Dict, List

from ledger import Ledger

LEDGER = Ledger()
KEPT = 200_000


class Pauses:
    """Adds up what `gc.callbacks` tells."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.started = 0.0

    def __call__(self, phase: str, info: Dict[str, int]) -> None:
        """Note the start or the end of a collection."""
        if phase == "start":
            self.started = time.monotonic()
        else:
            self.seconds += time.monotonic() - self.started


def make(count: int) -> List[object]:
    """Return `count` objects, each in a cycle with itself."""
    made: List[object] = []
    for _ in range(count):
        cycle: List[object] = []
        cycle.append(cycle)
        made.append(cycle)
    return made


def main() -> None:
    """Make garbage over a heap of kept objects."""
    pauses = Pauses()
    kept = make(KEPT)
    gc.callbacks.append(pauses)
    started = time.monotonic()
    end = started + (float(sys.argv[2]) if len(sys.argv) > 2 else 10.0)
    while time.monotonic() < end:
        make(2000)
        gc.collect(0)
        if pauses.seconds < 0.3 * (time.monotonic() - started):
            gc.collect()
    LEDGER.gc = {"wall_s": pauses.seconds, "run_s": time.monotonic() - started, "kept": len(kept)}
    LEDGER.write(sys.argv[1])


main()
