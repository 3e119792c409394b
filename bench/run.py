#!/usr/bin/env python3
"""Measure zond beside its peers, interleaved on this machine, and print a table of medians and ratios.

`run.py` measures every figure; `run.py rate impossible` those. See README.md for what each one means. Nothing here
fails on a slow machine: a bar is printed as met or not met.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from datetime import date
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests"), str(HERE.parent / "tests" / "truth")]

from figures import FIGURES, Row, Settings
from matrix import find
from peers import PEERS, PEERS_PYTHON, install
from profilers import PROFILERS, Nothing, Profiler, Zond


def arguments() -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help=f"of {', '.join(FIGURES)} (default: all)")
    parser.add_argument("--python", action="append", metavar="VERSION", help="default: 3.11 and 3.15")
    names = ", ".join(profiler.name for profiler in PROFILERS)
    parser.add_argument("--only", action="append", metavar="NAME", help=f"of {names} (default: all)")
    parser.add_argument("--zond", metavar="EXE", default=os.environ.get("ZOND"), help="default: the build's")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each profiler (default: 5)")
    parser.add_argument("--window", type=float, default=3.0, metavar="S", help="length of a turn (default: 3)")
    parser.add_argument(
        "--soak", type=float, default=60.0, metavar="S", help="length of `memory` and `size` (default: 60)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows here as well")
    parsed = parser.parse_args()
    if unknown := set(parsed.figures) - set(FIGURES):
        parser.error(f"no such figure: {', '.join(sorted(unknown))}; there are {', '.join(FIGURES)}")
    return parsed


def contenders(parsed: argparse.Namespace) -> dict[str, list[Profiler]]:
    """Return the profilers to measure on each interpreter that is here."""
    found: dict[str, list[Profiler]] = {}
    for version in parsed.python or [PEERS_PYTHON, "3.15"]:
        interpreter = find(version)
        if interpreter is None:
            print(f"no Python {version} here: tests/matrix.py setup makes it", file=sys.stderr)
            continue
        able = [
            profiler(interpreter)
            for profiler in PROFILERS
            if version in profiler.versions and (not parsed.only or profiler.name in parsed.only)
        ]
        if able:
            found[version] = able
    return found


def cell(value: float | None) -> str:
    """Return a number with three digits that count, or a dash."""
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(rows: list[Row]) -> str:
    """Return the rows as text, one column for each profiler."""
    known = [*(profiler.name for profiler in PROFILERS), Nothing.name]
    names = [name for name in known if any(name in row.values for row in rows)]
    head = ["figure", "unit", "python", "bar", *names, "ratio", ""]
    lines = [head]
    for row in rows:
        verdict = {None: "", True: "met", False: "NOT MET"}[row.met]
        values = [cell(row.values.get(name)) for name in names]
        lines.append([row.name, row.unit, row.python, row.bar, *values, row.ratio, verdict])
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    left = {0, 1, 2, 3, len(head) - 1}
    return "\n".join(_padded(line, widths, left).rstrip() for line in lines)


def _padded(line: list[str], widths: list[int], left: set[int]) -> str:
    """Return one line of the table; the columns in `left` are words, the others numbers."""
    cells = enumerate(zip(line, widths, strict=True))
    return "  ".join(text.ljust(width) if at in left else text.rjust(width) for at, (text, width) in cells)


def main() -> int:
    """Measure and print."""
    parsed = arguments()
    for peer in PEERS:
        install(peer)
    Zond.executable = parsed.zond or str(HERE.parent / "build" / "src" / "cli" / "zond")
    settings = Settings(contenders(parsed), parsed.rounds, parsed.window, parsed.soak)
    rows: list[Row] = []
    for name in parsed.figures or FIGURES:
        print(f"{name} …", file=sys.stderr, flush=True)
        rows += FIGURES[name](settings)
        if parsed.json:
            parsed.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    print(f"{date.today()}, {os.cpu_count()} cores, load average {os.getloadavg()[0]:.2f} at the end")
    print(table(rows))
    for failure in dict.fromkeys(settings.failures):
        print(failure, file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
