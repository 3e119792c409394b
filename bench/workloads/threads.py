"""Keep some threads busy, sharing the GIL, and the others asleep on an event.

`threads.py SECONDS THREADS BUSY [--counter FILE]`; the main thread is one of the busy ones.
"""

from __future__ import annotations

import threading

import progress


def work() -> int:
    """One iteration: some microseconds of Python."""
    total = 0
    for number in range(100):
        total += number
    return total


def main() -> None:
    """Start the threads, be busy for the given time, let the idle ones go."""
    parser = progress.parser(__doc__)
    parser.add_argument("threads", type=int, help="threads in all")
    parser.add_argument("busy", type=int, help="how many of them work")
    arguments = parser.parse_args()
    counters = progress.slots(arguments.counter)
    over = threading.Event()
    others = [threading.Thread(target=over.wait) for _ in range(arguments.threads - arguments.busy)]
    others += [
        threading.Thread(target=progress.drive, args=(work, arguments.seconds, counters, slot))
        for slot in range(1, arguments.busy)
    ]
    for thread in others:
        thread.daemon = True
        thread.start()
    progress.drive(work, arguments.seconds, counters)
    over.set()
    for thread in others:
        thread.join()
    progress.report(arguments.seconds, counters)


if __name__ == "__main__":
    main()
