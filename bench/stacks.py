"""Read the stacks that profilers write: one (stack, weight) at a time, outermost frame first.

A frame is its function's name without class or module, and the line that it stood on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Frame(NamedTuple):
    """A function's name, the file it is in (as the profiler writes it), and the line."""

    function: str
    file: str
    line: int


Stack = tuple[Frame, ...]

# py-spy and zond: `name (file:line)`; CPython's sampler: `file:name:line`.
NAME_FIRST = re.compile(r"(?P<function>.*) \((?P<file>.*):(?P<line>\d+)\)")
FILE_FIRST = re.compile(r"(?P<file>.*):(?P<function>[^:]*):(?P<line>\d+)")


def _frame(text: str) -> Frame | None:
    """Return the frame that `text` stands for; None for a thread, a process or a marker."""
    found = NAME_FIRST.fullmatch(text) or FILE_FIRST.fullmatch(text)
    if found is None:
        return None
    return Frame(found["function"].rpartition(".")[2], found["file"], int(found["line"]))


def collapsed(path: Path) -> Iterator[tuple[Stack, int]]:
    """Read a collapsed (folded) file: `frame;frame;… WEIGHT` a line."""
    with path.open(errors="surrogateescape") as file:
        for line in file:
            stack, _, weight = line.rstrip("\n").rpartition(" ")
            frames = (_frame(text) for text in stack.split(";"))
            yield tuple(frame for frame in frames if frame is not None), int(weight)


class MojoError(Exception):
    """What is wrong with a MOJO file."""


class _Mojo:
    """A cursor over the bytes of a MOJO file, with the strings and frames seen so far."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.strings: dict[int, str] = {}
        self.frames: dict[int, Frame] = {}

    def number(self) -> int:
        """Read a varint: 6 bits and a sign in its first byte, 7 in each that follows."""
        byte = self.data[self.at]
        self.at += 1
        value, shift, negative = byte & 0x3F, 6, bool(byte & 0x40)
        while byte & 0x80:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
        return -value if negative else value

    def text(self) -> str:
        """Read a string that ends in a zero byte."""
        end = self.data.index(0, self.at)
        found = self.data[self.at : end].decode(errors="surrogateescape")
        self.at = end + 1
        return found

    def define_frame(self) -> None:
        """Read the definition of a frame: key, file, function, line, end line, column, end column."""
        key, file, function, line, _, _, _ = (self.number() for _ in range(7))
        name = self.strings.get(function, "").rpartition(".")[2]
        self.frames[key] = Frame(name, self.strings.get(file, ""), line)


METADATA, STACK, FRAME, INVALID, REFERENCE, KERNEL, GC, IDLE, TIME, MEMORY, STRING, STRING_REFERENCE = range(1, 13)
UNREADABLE = Frame("<unreadable>", "", 0)


def mojo(path: Path) -> Iterator[tuple[Stack, int]]:
    """Read Austin's MOJO file, version 3: every sample on its own, with the microseconds that it stands for."""
    data = path.read_bytes()
    if data[:3] != b"MOJ":
        raise MojoError(f"{path} is not a MOJO file")
    cursor = _Mojo(data)
    cursor.at = 3
    if cursor.number() != 3:
        raise MojoError(f"{path} is not of MOJO version 3")
    stack: list[Frame] = []
    while cursor.at < len(data):
        event = data[cursor.at]
        cursor.at += 1
        if event == STACK:
            stack = []
            cursor.number(), cursor.number(), cursor.text()
        elif event == REFERENCE:
            stack.append(cursor.frames[cursor.number()])
        elif event == INVALID:
            stack.append(UNREADABLE)
        elif event == TIME:
            yield tuple(stack), cursor.number()
        else:
            _skip(cursor, event)


def _skip(cursor: _Mojo, event: int) -> None:
    """Read an event that adds no frame to a stack, remembering what it defines."""
    if event == FRAME:
        cursor.define_frame()
    elif event == STRING:
        key = cursor.number()
        cursor.strings[key] = cursor.text()
    elif event in (MEMORY, STRING_REFERENCE):
        cursor.number()
    elif event == METADATA:
        cursor.text(), cursor.text()
    elif event == KERNEL:
        cursor.text()
    elif event not in (GC, IDLE):
        raise MojoError(f"event {event} at byte {cursor.at - 1}")
