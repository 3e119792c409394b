"""Recurse to a depth of about 43 and back without a pause, so that the stack is never the same twice in a row.

The worst case of a sampler that reads a stack frame by frame from outside. `moving.py SECONDS [--counter FILE]`.
"""

from __future__ import annotations

import progress

DEPTH = 40


def descend(depth: int) -> None:
    """Go down `depth` levels."""
    if depth > 0:
        descend(depth - 1)


def dive() -> None:
    """One iteration: down and up again."""
    descend(DEPTH)


if __name__ == "__main__":
    progress.main(__doc__, dive)
