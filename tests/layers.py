#!/usr/bin/env python3
"""Fails, with file and line, where a folder of src/ uses one that it may not know.

The table `layers` in src/meson.build says what a folder may know, besides itself. The build runs this
with a depfile, so that it runs again when a source changes.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from pathlib import Path

SRC = Path(__file__).resolve().parent.parent / "src"
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"')

Layers = dict[str, list[str]]


def read_layers(meson_build: Path) -> Layers:
    """The table; Meson's syntax of it is Python's too."""
    table = re.search(r"^layers = (\{.*?^\})", meson_build.read_text(), re.MULTILINE | re.DOTALL)
    if table is None:
        raise ValueError(f"{meson_build}: no table `layers`")
    layers: Layers = ast.literal_eval(table[1])
    return layers


def sources(src: Path) -> list[Path]:
    return sorted(path for path in src.rglob("*") if path.suffix in {".c", ".h"})


def violations(src: Path, layers: Layers) -> list[str]:
    """One message for each include that breaks the table, and for each folder that it lacks."""
    found = [f"{src}/{name}: not in the table `layers`" for name in _folders(src) if name not in layers]
    for path in sources(src):
        folder = path.relative_to(src).parts[0]
        allowed = {folder, *layers.get(folder, [])}
        for number, line in enumerate(path.read_text().splitlines(), 1):
            include = INCLUDE.match(line)
            if include and (broken := _broken_rule(include[1], folder, allowed)):
                found.append(f"{path}:{number}: {broken}")
    return found


def _folders(src: Path) -> list[str]:
    return sorted({path.relative_to(src).parts[0] for path in sources(src) if path.parent != src})


def _broken_rule(target: str, folder: str, allowed: set[str]) -> str | None:
    first, *rest = target.split("/")
    if not rest or ".." in target.split("/"):
        return f'"{target}": write the path from src/, "folder/file.h"'
    if first not in allowed:
        return f"{folder} may not use {first} (layers in src/meson.build)"
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description="Check the #include lines of src/ against its table of layers.")
    parser.add_argument("--stamp", type=Path, help="write this file if all is well")
    parser.add_argument("--depfile", type=Path, help="write the files read, for ninja")
    options = parser.parse_args()
    broken = violations(SRC, read_layers(SRC / "meson.build"))
    if broken:
        print("\n".join(broken), file=sys.stderr)
        return 1
    if options.stamp and options.depfile:
        options.stamp.touch()
        read = [SRC / "meson.build", *sources(SRC)]
        options.depfile.write_text(f"{options.stamp}: {' '.join(map(str, read))}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
