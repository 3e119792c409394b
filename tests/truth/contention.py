"""Threads that compute and share the GIL, one that sleeps. `contention.py TRUTH.json [SECONDS]`.

Each has its own function. The wall time of a thread that waits for the GIL is its function's; its CPU time is not.
"""

from __future__ import annotations

import sys
import threading
import time

from ledger import Ledger

LEDGER = Ledger()


def heavy(seconds: float) -> None:
    """Compute all the time."""
    started = (time.monotonic(), time.thread_time())
    end = started[0] + seconds
    while time.monotonic() < end:
        pass
    LEDGER.own("heavy", started, (time.monotonic(), time.thread_time()))


def light(seconds: float) -> None:
    """Compute for the first half of the time."""
    started = (time.monotonic(), time.thread_time())
    end = started[0] + seconds / 2
    while time.monotonic() < end:
        pass
    LEDGER.own("light", started, (time.monotonic(), time.thread_time()))


def sleepy(seconds: float) -> None:
    """Sleep."""
    started = (time.monotonic(), time.thread_time())
    time.sleep(seconds)
    LEDGER.own("sleepy", started, (time.monotonic(), time.thread_time()))


def main() -> None:
    """Run them at once."""
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 10.0
    threads = [threading.Thread(target=function, args=(seconds,)) for function in (heavy, light, sleepy)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    LEDGER.write(sys.argv[1])


main()
