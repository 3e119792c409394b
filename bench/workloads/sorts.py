"""Recurse to a depth of 20 above C code that calls Python: `sorted` with a key, over and over.

Native and Python frames in turns, 17 to 40 on the whole. `sorts.py SECONDS [--counter FILE]`.
"""

from __future__ import annotations

import random

import progress

DEPTH = 20
ITEMS = [random.Random(0).random() for _ in range(2000)]


def key(value: float) -> float:
    """What is sorted by."""
    return -value


def descend(depth: int) -> None:
    """Go down `depth` levels, then sort."""
    if depth > 0:
        descend(depth - 1)
    else:
        sorted(ITEMS, key=key)


def dive() -> None:
    """One iteration."""
    descend(DEPTH)


if __name__ == "__main__":
    progress.main(__doc__, dive)
