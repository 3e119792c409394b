"""Prints the opcodes of the interpreter that runs this and that call something, one number a line.

Run by each interpreter of the matrix, 3.8 included, so nothing newer is used here. The specialised forms are
not in the public tables: 3.13 and later have them in _opcode_metadata, 3.11 and 3.12 in opcode.h only.

Usage: opcodes.py FOLDER_OF_HEADERS
"""

from __future__ import annotations

import opcode
import re
import sys
from pathlib import Path

CALL = re.compile(r"(INSTRUMENTED_)?(PRE)?CALL(_.*)?$")
NOT_CALLS = re.compile(r"CALL_FINALLY$|CALL_INTRINSIC_")


def numbers_from_header(path: Path) -> dict[str, int]:
    found = re.findall(r"^#define (\w+)\s+(\d+)\s*$", path.read_text(), re.MULTILINE)
    return {name: int(number) for name, number in found}


def all_opcodes(headers: Path) -> dict[str, int]:
    numbers = dict(opcode.opmap)
    if sys.version_info >= (3, 13):
        import _opcode_metadata

        numbers.update(_opcode_metadata.opmap)
        numbers.update(_opcode_metadata._specialized_opmap)
    elif sys.version_info >= (3, 11):
        numbers.update(numbers_from_header(headers / "opcode.h"))
    return numbers


def main() -> None:
    numbers = all_opcodes(Path(sys.argv[1]))
    calls = {number for name, number in numbers.items() if CALL.match(name) and not NOT_CALLS.match(name)}
    print("\n".join(map(str, sorted(calls))))


if __name__ == "__main__":
    main()
