"""Load 300 shared libraries, then show the time, in milliseconds, as a line number.

`libs300.py SECONDS [LIBRARIES]` prints the monotonic time at which its timeline starts, s. From then on the lines of
its functions `coarse` and `fine` tell the time (see `shown_s`), so that a recording tells when its first sample was
taken, whatever the profiler. The libraries are copies of one extension module, each a file of its own.
"""

from __future__ import annotations

import _ctypes
import ctypes
import os
import shutil
import sys
import tempfile
import time
from typing import Callable, Dict

LIBRARIES = 300
TICK_S = 0.001
FINE_TICKS = 100
COARSE_TICKS = 600
FIRST_LINE = 2


def load(count: int) -> None:
    """Load `count` copies of a library; the files are gone when this returns, the mappings stay."""
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            copy = os.path.join(folder, "lib%03d.so" % number)
            shutil.copyfile(_ctypes.__file__, copy)
            ctypes.CDLL(copy)


def shown_s(coarse_line: int, fine_line: int) -> float:
    """Return the time, s after the start of the timeline, at which a stack stood on these lines."""
    return ((coarse_line - FIRST_LINE) * FINE_TICKS + fine_line - FIRST_LINE) * TICK_S


def function(name: str, calls: int) -> Callable[..., None]:
    """Return a function that calls its argument with 0, 1, 2 and so on, from a line each."""
    names: Dict[str, Callable[..., None]] = {}
    source = "def %s(call):\n" % name + "".join(" call(%d)\n" % number for number in range(calls))
    exec(compile(source, "timeline", "exec"), names)
    return names[name]


def main() -> None:
    """Load, say when the timeline starts, and walk it."""
    load(int(sys.argv[2]) if len(sys.argv) > 2 else LIBRARIES)
    fine = function("fine", FINE_TICKS)
    coarse = function("coarse", min(COARSE_TICKS, int(float(sys.argv[1]) / TICK_S / FINE_TICKS)))
    base = time.monotonic()
    sys.stdout.write("%.6f\n" % base)
    sys.stdout.flush()

    def hundred(number: int) -> None:
        def until(tick: int) -> None:
            end = base + (number * FINE_TICKS + tick + 1) * TICK_S
            while time.monotonic() < end:
                pass

        fine(until)

    coarse(hundred)


if __name__ == "__main__":
    main()
