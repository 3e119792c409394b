"""Writes recordings by the rules of docs/recording-format.md, and such as break one of them."""

from __future__ import annotations

import struct

from backports import zstd
from recording.zond_format import CHUNK, COLUMNS, END, HEADER, MAGIC, VERSION, crc32c

MANY = (1 << 64) - 1


def u(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def s(number: int) -> bytes:
    return u((number << 1 ^ number >> 63) & MANY)


def string(content: bytes) -> bytes:
    return u(len(content)) + content


def numbers(*values: int) -> bytes:
    return b"".join(u(value) for value in values)


def section(number: int, content: bytes, length: int | None = None) -> bytes:
    return u(number) + u(len(content) if length is None else length) + content


def preamble(version: int = VERSION) -> bytes:
    start = MAGIC + struct.pack("<I", version)
    return start + struct.pack("<I", crc32c(start))


def block(kind: int, payload: bytes, *, packed: bytes | None = None, **claims: int) -> bytes:
    """`packed`: the payload as it is stored. `claims`: what the head says of `stored`, `raw` or `crc`."""
    packed = zstd.compress(payload) if packed is None else packed
    says = {"stored": len(packed), "raw": len(payload), "crc": crc32c(packed)} | claims
    head = struct.pack("<4I", kind, says["stored"], says["raw"], says["crc"])
    return head + struct.pack("<I", crc32c(head)) + packed


def header(period: int = 1_000_000, unit: int = 1000, more: bytes = b"") -> bytes:
    fields = string(b"0") + string(b"host") + string(b"python3\0-c\0")
    return block(HEADER, fields + numbers(10**18, 10**9, period, unit, 0) + more)


def chunk(*sections: bytes) -> bytes:
    return block(CHUNK, b"".join(sections))


def end(more: bytes = b"") -> bytes:
    return block(END, s(50_000_000) + s(3) + s(0) + more)


def tables() -> list[bytes]:
    """Strings 1 to 4, codes 0 to 2, frames 0 to 2, process 0 and thread 0."""
    return [
        section(2, b"".join(map(string, [b"(unknown)", b"inner", b"outer", b"3.11.7", b"program.py"]))),
        section(3, numbers(1, 0, 0) + b"\0" + numbers(2, 5, 3) + b"\0" + numbers(3, 5, 7) + b"\0"),
        section(4, numbers(0, 0, 0, 0, 0) + numbers(1, 4, 4, 5, 9) + numbers(2, 8, 8, 5, 12)),
        section(5, numbers(42, 1) + s(0) + numbers(4, 0)),
        section(6, numbers(0, 42) + s(0) + numbers(2)),
    ]


def samples(rows: int, stack: list[int], **more: bytes) -> list[bytes]:
    """Of thread 0, each a millisecond on a CPU; `stack`: the column of that name. `more`: the other columns."""
    columns = {
        "thread": bytes(rows),
        "end": bytes(rows),
        "start": bytes(rows),
        "cpu": bytes(rows),
        "state": b"\x03" * rows,
        "syscall": bytes(rows),
        "count": b"\x01" * rows,
        "stack": numbers(*stack),
        "up": b"",
        "grown": b"",
        "leaves": b"",
        "frames": b"",
    } | more
    return [section(number, content) for number, content in zip(COLUMNS, columns.values(), strict=True)]


def growth(count: int = 10) -> list[bytes]:
    """Samples that all have the stack inner, called by outer."""
    return samples(count, [1, *[0] * (count - 1)], up=u(1), grown=u(1), leaves=u(1), frames=u(2))


def recording(*blocks: bytes) -> bytes:
    """Whole, with these blocks behind a first chunk of ten samples."""
    return preamble() + header() + chunk(*tables(), *growth()) + b"".join(blocks) + end()
