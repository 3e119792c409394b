"""What a ground-truth program knows of itself: the seconds that its functions and lines took, by its own clocks.

The JSON that it writes, all in seconds (float):
`functions`: name -> own time; `totals`: name -> own time and that of all it called; `lines`: own time of the lines
`first` to `last` of a function; `ratios`: the own times of two functions with the same body, called `ratio` to 1;
`gc`: time in the collector, of `run_s`. Each time is `{"wall_s": f, "cpu_s": f}`.
"""

from __future__ import annotations

import json
from typing import Any, Callable, Dict, List, Optional, Tuple

# A moment of a thread: monotonic time and the thread's CPU time, s. Read where it is wanted, `(time.monotonic(),
# time.thread_time())`: a function that read both would have time of its own, which no account here knows.
Clocks = Tuple[float, float]


class Ledger:
    """Adds up seconds; threads add to different names, so that no lock is needed."""

    def __init__(self) -> None:
        self.functions: Dict[str, Dict[str, float]] = {}
        self.totals: Dict[str, Dict[str, float]] = {}
        self.lines: Dict[str, Dict[str, Any]] = {}
        self.ratios: List[Dict[str, Any]] = []
        self.gc: Optional[Dict[str, float]] = None

    @staticmethod
    def _add(entry: Dict[str, Any], since: Clocks, until: Clocks) -> None:
        entry["wall_s"] = entry.get("wall_s", 0.0) + until[0] - since[0]
        entry["cpu_s"] = entry.get("cpu_s", 0.0) + until[1] - since[1]

    def own(self, function: str, since: Clocks, until: Clocks) -> None:
        """Add the time from `since` to `until` to what `function` took itself."""
        self._add(self.functions.setdefault(function, {}), since, until)

    def total(self, function: str, since: Clocks, until: Clocks) -> None:
        """Add the time from `since` to `until` to what `function` and its callees took."""
        self._add(self.totals.setdefault(function, {}), since, until)

    def line(self, function: Callable[..., object], first: int, last: int, since: Clocks, until: Clocks) -> None:
        """Add that time to lines `first` to `last`, counted from that of `def`."""
        code = function.__code__
        start = code.co_firstlineno
        place = {"function": code.co_name, "first": start + first, "last": start + last}
        self._add(self.lines.setdefault("%s+%d" % (code.co_name, first), place), since, until)

    def ratio(self, often: str, seldom: str, ratio: float) -> None:
        """State that `often` took `ratio` times as long as `seldom`."""
        self.ratios.append({"often": often, "seldom": seldom, "ratio": ratio})

    def write(self, path: str) -> None:
        """Write it all to `path`."""
        truth = {
            "functions": self.functions,
            "totals": self.totals,
            "lines": list(self.lines.values()),
            "ratios": self.ratios,
            "gc": self.gc,
        }
        with open(path, "w") as file:
            json.dump(truth, file, indent=1)
