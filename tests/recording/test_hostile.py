"""Recordings that are cut, broken or made to harm: a clear sentence with the offset, and all before it is kept.

Memory is bounded whatever the file claims. The Python reader and zond stop at the same byte.
"""

from __future__ import annotations

import io
import re
import resource
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from backports import zstd
from recording import craft, zond_format
from recording.craft import block, chunk, growth, header, numbers, s, samples, section, string, tables, u
from recording.zond_format import CHUNK, END, MAX_NODES, MAX_RAW, MAX_STORED, NotARecordingError
from system.drive import TIMEOUT, ZOND, check_sane

MIB = 1 << 20

# What the tables of the format and of the analysis take when all are full; and what a small recording may take.
FULL, SMALL = 512 * MIB, 64 * MIB

SANITIZED = b"__asan_init" in Path(ZOND).read_bytes() or b"__tsan_init" in Path(ZOND).read_bytes()


def zond(*args: str | Path, memory: int = FULL) -> subprocess.CompletedProcess[str]:
    """Runs zond with so much memory and no more; a sanitizer's memory is not zond's."""

    def limit() -> None:
        if not SANITIZED:
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))

    done = subprocess.run(
        [ZOND, *args],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=TIMEOUT,
        check=False,
        preexec_fn=limit,
    )
    check_sane(done.stderr)
    return done


def collapsed(path: Path, memory: int = FULL) -> subprocess.CompletedProcess[str]:
    return zond("export", "--format", "collapsed", "--lines", path, memory=memory)


def taken_by_python(data: bytes) -> tuple[str, int, int] | None:
    """How it ends, at which byte, and how many samples there were; None: refused."""
    try:
        recording = zond_format.read(io.BytesIO(data))
    except NotARecordingError:
        return None
    if recording.header is None:
        return None
    return recording.end, recording.offset, len(recording.samples)


def check_same_end(path: Path, data: bytes) -> subprocess.CompletedProcess[str]:
    """zond refuses what the Python reader refuses, and stops where it does."""
    path.write_bytes(data)
    expected, ran = taken_by_python(data), collapsed(path, SMALL)
    if expected is None:
        assert (ran.returncode, ran.stdout) == (125, "")
        assert re.search(r"zond export: cannot read .*: it (is|ends) ", ran.stderr)
        return ran
    end, offset, _ = expected
    assert ran.returncode == 0
    if end == "complete":
        assert ran.stderr == ""
    else:
        says = "is incomplete: it ends without its end mark at" if end == "cut" else "is damaged from"
        assert ran.stderr == f"zond export: {path} {says} byte {offset}; what comes before is taken\n"
    return ran


# Ten samples, of 10 ms, and a thread that is named later.
SMALL_RECORDING = craft.recording(chunk(section(7, numbers(0, 3)), *samples(1, [0])))
WHOLE_STACK = "outer (program.py:8);inner (program.py:4)"


@pytest.mark.parametrize("part", range(8))
def test_cut_at_every_byte(tmp_path: Path, part: int) -> None:
    """Whatever is cut off, the blocks before it count: 10 samples of a millisecond, then 11."""
    path, seen = tmp_path / "cut.zond", set()
    for length in range(part, len(SMALL_RECORDING), 8):
        ran = check_same_end(path, SMALL_RECORDING[:length])
        seen.add(ran.stdout)
        expected = taken_by_python(SMALL_RECORDING[:length])
        weight = f"{WHOLE_STACK} {expected[2] * 1000}\n" if expected and expected[2] else ""
        assert ran.stdout == weight
    assert len(seen) == 3


@pytest.mark.parametrize("part", range(8))
def test_flipped_bit_in_every_byte(tmp_path: Path, part: int) -> None:
    path = tmp_path / "flipped.zond"
    for at in range(part, len(SMALL_RECORDING), 8):
        data = bytearray(SMALL_RECORDING)
        data[at] ^= 1 << at // 8 % 8
        ran = check_same_end(path, bytes(data))
        assert ran.returncode == 125 or "damaged from" in ran.stderr


def frame_that_claims(size: int) -> bytes:
    """A zstd frame whose head says that it holds this many bytes, with one raw block of one byte."""
    return b"\x28\xb5\x2f\xfd" + b"\xc0" + b"\x58" + size.to_bytes(8, "little") + b"\x09\x00\x00x"


def bomb(size: int) -> bytes:
    """Zeros, many of them, in a few bytes."""
    return zstd.compress(bytes(size))


def columns_with(stack: int, **columns: bytes) -> bytes:
    return chunk(*samples(1, [stack], **columns))


HUGE = craft.MANY
HUGE_32 = 0xFFFFFFFF

# What comes behind a whole chunk of ten samples. Each is damage at its first byte.
DAMAGE: dict[str, bytes] = {
    "block: stored is huge": block(CHUNK, b"", stored=HUGE_32),
    "block: stored is beyond the limit": block(CHUNK, b"", stored=MAX_STORED + 1),
    "block: raw is huge": block(CHUNK, b"", raw=HUGE_32),
    "block: raw is beyond the limit": block(CHUNK, b"", raw=MAX_RAW + 1),
    "block: raw is more than there is": block(CHUNK, b"x", raw=MAX_RAW),
    "block: raw is less than there is": block(CHUNK, bytes(100), raw=99),
    "block: payload's checksum": block(CHUNK, b"", crc=1),
    "block: unknown, beyond the limit": block(99, b"", raw=MAX_RAW + 1),
    "block: unknown, with a wrong checksum": block(99, b"", crc=1),
    "block: a second header": header(),
    "block: no zstd": block(CHUNK, b"xyz", packed=b"xyz"),
    "block: half of a zstd frame": block(CHUNK, bytes(1000), packed=zstd.compress(bytes(1000))[:-3]),
    "zstd: a bomb of 1 GiB that claims 16 MiB": block(CHUNK, b"", packed=bomb(1 << 30), raw=MAX_RAW),
    "zstd: a bomb that claims nothing": block(CHUNK, b"", packed=bomb(1 << 28)),
    "zstd: a bomb of many frames": block(CHUNK, b"", packed=bomb(1 << 20) * 1000, raw=MAX_RAW),
    "zstd: a frame that claims 2^62 bytes": block(CHUNK, b"", packed=frame_that_claims(1 << 62), raw=MAX_RAW),
    "section: length is huge": chunk(section(2, b"", HUGE)),
    "section: length is one more": chunk(section(2, string(b"x"), 3)),
    "section: twice": chunk(section(2, b""), section(2, b"")),
    "section: an id of 11 bytes": chunk(b"\x80" * 10 + b"\x00"),
    "string: length is huge": chunk(section(2, u(HUGE))),
    "string: length is 4 GiB": chunk(section(2, u(HUGE_32))),
    "code: name is huge": chunk(section(3, numbers(HUGE_32, 0, 0) + b"\0")),
    "code: line is huge": chunk(section(3, numbers(1, 0, HUGE) + b"\0")),
    "frame: code is huge": chunk(section(4, numbers(HUGE_32, 1, 1, 1, 1))),
    "process: command is huge": chunk(section(5, numbers(1, 1, 0, 0, HUGE_32))),
    "thread: process is huge": chunk(section(6, numbers(HUGE_32, 1, 0, 0))),
    "exit: process is huge": chunk(section(9, numbers(HUGE_32, 0, 0, 0, 0))),
    "exit: code is huge": chunk(section(9, numbers(0, 0, HUGE, 0, 0))),
    "loss: detail is huge": chunk(section(10, b"\0" + numbers(0, 1, HUGE_32))),
    "end: code is huge": block(END, numbers(0, HUGE, 0)),
    "end: empty": block(END, b""),
    "sample: thread is huge": columns_with(0, thread=u(HUGE)),
    "sample: wall is huge": columns_with(0, end=u(HUGE - 1)),
    "sample: system call is huge": columns_with(0, syscall=u(65536)),
    "sample: count is huge": columns_with(0, count=u(1 << 32)),
    "sample: node is huge": columns_with(HUGE),
    "growth: caller is huge": columns_with(1, up=numbers(0, HUGE), grown=u(0), leaves=u(1)),
    "growth: 256 steps up": columns_with(1, up=u(257), grown=u(0), leaves=u(1)),
    "growth: huge": columns_with(1, up=u(1), grown=u(HUGE), leaves=u(1)),
    "growth: all nodes": columns_with(1, up=u(1), grown=u(MAX_NODES), leaves=u(1), frames=bytes(MAX_NODES)),
    "growth: frame is huge": columns_with(1, up=u(1), grown=u(0), leaves=u(HUGE)),
    "columns: one is longer": columns_with(0, cpu=bytes(2)),
    "columns: one is shorter": columns_with(0, cpu=b""),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage(tmp_path: Path, damage: str) -> None:
    """The chunk before it is shown, the one behind it is not; the sentence has the byte."""
    start = craft.preamble() + header() + chunk(*tables(), *growth())
    path = tmp_path / "damaged.zond"
    ran = check_same_end(path, start + DAMAGE[damage] + chunk(*samples(1, [0])))
    assert f"is damaged from byte {len(start)};" in ran.stderr
    # Of a broken block, what comes before the error may be there.
    late = damage == "columns: one is longer"
    assert ran.stdout in (f"{WHOLE_STACK} 10000\n", f"{WHOLE_STACK} {11000 if late else 10000}\n")
    shown = zond("report", path, memory=SMALL)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert f"Damaged: the recording cannot be read from byte {len(start)} on." in " ".join(shown.stdout.split())


# Whole files of which nothing can be shown, and what is said of them.
REFUSED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "it ends before its header is whole"),
    "text": (b"def main():\n    pass\n", "it is not a zond recording"),
    "only a preamble": (craft.preamble(), "it ends before its header is whole"),
    "no header": (craft.preamble() + chunk(*tables()), "it is damaged in its header"),
    "a damaged preamble": (craft.preamble()[:15] + b"\0" + header(), "it is damaged in its header"),
    "version 0": (craft.preamble(0) + header(), "it is damaged in its header"),
    "a unit of 0": (craft.preamble() + header(unit=0), "it is damaged in its header"),
    "a unit of 2 s": (craft.preamble() + header(unit=2 * 10**9), "it is damaged in its header"),
    "a header of 4 GiB": (craft.preamble() + block(1, b"", raw=HUGE_32), "it is damaged in its header"),
    "a bomb of a header": (
        craft.preamble() + block(1, b"", packed=bomb(1 << 28), raw=MAX_RAW),
        "it is damaged in its header",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused(tmp_path: Path, what: str) -> None:
    data, says = REFUSED[what]
    ran = check_same_end(tmp_path / "refused.zond", data)
    assert says in ran.stderr


def many(number: int, record: bytes, count: int) -> list[bytes]:
    """Chunks with so many records of a section."""
    return [chunk(section(number, record * min(count - done, 400_000))) for done in range(0, count, 400_000)]


def full_trie() -> list[bytes]:
    """Two stacks of 390 000 frames."""
    grown = 389_999
    columns = {"up": u(1), "grown": u(grown), "leaves": u(1), "frames": u(2) * grown}
    return [chunk(section(1, b"\1"), *samples(1, [1], **columns)), chunk(*samples(1, [1], **columns))]


# Recordings of a few KB that fill the tables.
FILLS: dict[str, Callable[[], list[bytes]]] = {
    "strings": lambda: many(2, string(b""), 786_000),
    "bytes of strings": lambda: [chunk(section(2, string(bytes(15 * MIB)))) for _ in range(2)],
    "codes": lambda: many(3, numbers(2, 5, 3) + b"\0", 393_000),
    "frames": lambda: many(4, numbers(1, 4, 4, 5, 9), 786_000),
    "nodes": full_trie,
    "processes": lambda: many(5, numbers(42, 1, 0, 4, 0), 1_048_000),
    "threads": lambda: many(6, numbers(0, 42, 0, 2), 1_048_000),
    "processes and threads": lambda: FILLS["processes"]() + FILLS["threads"](),
    "losses": lambda: many(10, b"\1" + numbers(0, 1, 2), 4_000_000),
    "samples": lambda: [chunk(*samples(1_400_000, [0] * 1_400_000))] * 4,
}


@pytest.mark.parametrize("view", ["report", "report --json", "calls", "lines", "export"])
@pytest.mark.parametrize("table", FILLS)
def test_full_tables(tmp_path: Path, table: str, view: str) -> None:
    """A recording may be full, and is shown: in the memory that the limits of the format allow."""
    path = tmp_path / "full.zond"
    path.write_bytes(craft.recording(*FILLS[table]()))
    ran = collapsed(path) if view == "export" else zond(*view.split(), path)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout


# One more than a table takes.
OVERFLOWS: dict[str, Callable[[], list[bytes]]] = {
    "strings": lambda: many(2, string(b""), 786_432),
    "bytes of strings": lambda: [chunk(section(2, string(bytes(15 * MIB)))) for _ in range(3)],
    "codes": lambda: many(3, numbers(2, 5, 3) + b"\0", 393_216),
    "frames": lambda: many(4, numbers(1, 4, 4, 5, 9), 786_432),
    "nodes": lambda: [*full_trie(), full_trie()[1]],
    "processes": lambda: many(5, numbers(42, 1, 0, 4, 0), 1_048_576),
    "threads": lambda: many(6, numbers(0, 42, 0, 2), 1_048_576),
}


@pytest.mark.parametrize("table", OVERFLOWS)
def test_tables_beyond_their_limit(tmp_path: Path, table: str) -> None:
    blocks = OVERFLOWS[table]()
    data = craft.recording(*blocks)
    path = tmp_path / "beyond.zond"
    path.write_bytes(data)
    last = len(data) - len(craft.end()) - len(blocks[-1])
    assert f"is damaged from byte {last};" in collapsed(path).stderr


def test_times_at_the_edge(tmp_path: Path) -> None:
    """Times before the start, after each other in the wrong order, and of 2^63 - 1 ns: taken, and no view minds."""
    longest = ((1 << 63) - 1) // 1000
    odd = [
        chunk(*samples(1, [0], start=s(-5_000_000))),
        chunk(*samples(1, [0], end=s(-(1 << 62)), start=s(-(1 << 62)))),
        chunk(*samples(1, [0], end=s(longest - 1000), start=u(0))),
    ]
    path = tmp_path / "odd.zond"
    check_same_end(path, craft.recording(*odd))
    for view in ("report", "calls", "lines"):
        assert zond(view, path).returncode == 0
