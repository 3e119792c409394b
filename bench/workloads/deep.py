"""Recurse 100,000 deep and stay there for the given time. `deep.py SECONDS [DEPTH]`; prints the depth reached."""

from __future__ import annotations

import sys
import threading
import time

DEPTH = 100_000
STACK_BYTES = 1 << 30


def stay(seconds: float) -> None:
    """Keep the processor busy for `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def descend(depth: int, seconds: float) -> None:
    """Go down `depth` levels and stay there for `seconds`."""
    if depth > 0:
        descend(depth - 1, seconds)
    else:
        stay(seconds)


def main() -> None:
    """Recurse in a thread whose stack is large enough: until 3.10 each Python call is a C call."""
    seconds = float(sys.argv[1])
    depth = int(sys.argv[2]) if len(sys.argv) > 2 else DEPTH
    sys.setrecursionlimit(depth + 1000)
    threading.stack_size(STACK_BYTES)
    thread = threading.Thread(target=descend, args=(depth, seconds))
    thread.start()
    thread.join()
    sys.stdout.write("%d\n" % depth)


if __name__ == "__main__":
    main()
