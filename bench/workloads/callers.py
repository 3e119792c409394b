"""Alternate two callers around one leaf at one frame address, as fast as possible.

A sampler that trusts a frame it has seen before at the same address mixes the callers up and reports stacks that
cannot occur. `STACKS` is the exact set of those that can. `callers.py SECONDS [--counter FILE]`.
"""

from __future__ import annotations

from typing import Callable, FrozenSet, List, Sequence, Tuple

import progress

Frame = Tuple[str, int]
Stack = Tuple[Frame, ...]

TURNS = 1000


def leaf() -> None:
    """Do nothing."""
    return


def left() -> None:
    """Call the leaf."""
    leaf()


def right() -> None:
    """Call the leaf as `left` does, from a frame of the same size."""
    leaf()


def fork(side: int) -> int:
    """Return on one line or another, depending on the caller's line."""
    if side == 1:
        return 3
    return 4


def callers() -> None:
    """Alternate the callers of the leaf."""
    for _ in range(TURNS):
        left()
        right()


def branches() -> None:
    """Alternate the lines that call `fork`."""
    for _ in range(TURNS):
        fork(1)
        fork(2)


def turn() -> None:
    """One iteration: both forms."""
    callers()
    branches()


def _lines(function: Callable[..., object], *offsets: int) -> List[int]:
    """Return the first line of `function` (where it is entered) and those `offsets` below it."""
    first = function.__code__.co_firstlineno
    return [first, *(first + offset for offset in offsets)]


def _possible() -> FrozenSet[Stack]:
    """Return every stack that can occur, from the driver of one form (included) down to the leaf."""
    stacks: List[Stack] = []
    for driver in (callers, branches):
        stacks += [((driver.__name__, line),) for line in _lines(driver, 2, 3, 4)]
    for caller, below in ((left, 3), (right, 4)):
        root = ("callers", _lines(callers, below)[1])
        stacks += [(root, (caller.__name__, line)) for line in _lines(caller, 2)]
        call = (caller.__name__, _lines(caller, 2)[1])
        stacks += [(root, call, ("leaf", line)) for line in _lines(leaf, 2)]
    for below, taken in ((3, 3), (4, 4)):
        root = ("branches", _lines(branches, below)[1])
        stacks += [(root, ("fork", line)) for line in _lines(fork, 2, taken)]
    return frozenset(stacks)


STACKS: FrozenSet[Stack] = _possible()
FUNCTIONS = frozenset({"leaf", "left", "right", "fork", "callers", "branches"})


def is_possible(stack: Sequence[Frame]) -> bool:
    """Tell whether `stack` ((function, line) pairs, outermost first) can occur in this program."""
    for at, (function, _) in enumerate(stack):
        if function in FUNCTIONS:
            return at > 0 and stack[at - 1][0] == "turn" and tuple(stack[at:]) in STACKS
    return True


if __name__ == "__main__":
    progress.main(__doc__, turn)
