"""A second reader of recordings, written from docs/recording-format.md alone.

It shares nothing with zond but that document: where the two disagree, one of the three is wrong. It holds all
samples in memory, trusts nothing, and refuses what is beyond the limits of the format.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple, TypeVar

from backports import zstd

MAGIC = b"\x89ZOND\r\n\x1a"
VERSION = 1
MERGED_VERSION = NEWEST_VERSION = 2
PREAMBLE_SIZE = 16
HEAD_SIZE = 20

# Types of blocks
HEADER, CHUNK, END, MERGED = 1, 2, 3, 4

# Sections of a chunk
EPOCH, STRINGS, CODES, FRAMES, PROCESSES, THREADS, THREAD_NAMES, PYTHONS, EXITS, LOSSES, STATS, PAUSES = range(1, 13)
MODULES, PLACES = 13, 14
HEAPS, HEAP_NODES, HEAP_SITES, HEAP_POINTS = range(28, 32)
COLLECTORS, COLLECTIONS = 32, 33
COLUMNS = range(16, 28)
THREAD, SAMPLE_END, START, CPU, STATE, SYSCALL, COUNT, STACK, UP, GROWN, LEAVES, STACK_FRAMES = COLUMNS

KNOWN = {*range(EPOCH, PLACES + 1), *COLUMNS, *range(HEAPS, COLLECTIONS + 1)}

# Bits of a sample's state
ON_CPU, GIL_HELD, GIL_WAIT, IN_GC, CALLING_C, TASK = (1 << bit for bit in range(6))

KINDS = ("python", "native", "jit", "gc", "syscall", "native")

# Limits
MAX_RAW = 16 << 20
MAX_STORED = (16 << 20) + (64 << 10) + (4 << 10)
MAX_STRINGS = 786_432
MAX_STRING_BYTES = 32 << 20
MAX_CODES = 393_216
MAX_FRAMES = 786_432
MAX_MODULES = 49_152
MAX_NODES = 786_432
MAX_HEAP_NODES = 786_432
MAX_PROCESSES = MAX_THREADS = MAX_HEAPS = 1_048_576
MAX_STEPS_UP = 255

GENERATIONS = 3

NO_CODE = -(1 << 31)

T = TypeVar("T")


class NotARecordingError(Exception):
    """There is no recording of a version that is known here."""


class CorruptError(Exception):
    """What a block holds cannot be."""


class Code(NamedTuple):
    name: int
    file: int
    first_line: int
    kind: int


class Frame(NamedTuple):
    code: int
    line: int
    end_line: int
    column: int
    end_column: int
    module: int
    address: int


class Module(NamedTuple):
    path: int
    build_id: int


@dataclass
class Process:
    pid: int
    parent: int
    start: int
    python: int
    command: int


@dataclass
class Lane:
    """Where the samples of a thread, or those of its waiting tasks, have got to."""

    last_end: int
    last_node: int = 0


@dataclass
class Thread:
    process: int
    tid: int
    start: int
    name: int
    lanes: tuple[Lane, Lane]


class Node:
    """A stack: a frame and its caller; `number` is its id in its epoch."""

    __slots__ = ("caller", "frame", "number")

    def __init__(self, number: int, caller: Node | None, frame: int) -> None:
        self.number = number
        self.caller = caller
        self.frame = frame

    def frames(self) -> tuple[int, ...]:
        """From the innermost frame outward."""
        found = []
        node = self
        while node.caller is not None:
            found.append(node.frame)
            node = node.caller
        return tuple(found)


class Sample(NamedTuple):
    """`end`, `wall` and `cpu` in units; `syscall` is None where the thread is blocked in none."""

    thread: int
    end: int
    wall: int
    cpu: int
    state: int
    syscall: int | None
    looks: int
    stack: Node


class Exit(NamedTuple):
    process: int
    end: int
    code: int | None
    signal: int
    cpu: int


class Loss(NamedTuple):
    kind: int
    time: int
    things: int
    detail: int


class Stats(NamedTuple):
    time: int
    ticks: int
    samples: int
    cpu: int
    reads: int
    read_bytes: int
    stops: int


class Pause(NamedTuple):
    length: int
    times: int


class Heap(NamedTuple):
    pid: int
    start: int


class HeapSite(NamedTuple):
    heap: int
    stack: int
    allocated: int
    allocations: int
    freed: int
    frees: int
    peak: int


class HeapPoint(NamedTuple):
    heap: int
    time: int
    live: int
    resident: int
    resident_peak: int
    peak: int
    peak_time: int


class Collector(NamedTuple):
    heap: int
    since: int
    until: int


class Collection(NamedTuple):
    heap: int
    stack: int
    start: int
    length: int
    generation: int
    collected: int
    uncollectable: int


class Ended(NamedTuple):
    time: int
    code: int | None
    signal: int


class Header(NamedTuple):
    zond: bytes
    host: bytes
    command: bytes
    started_wall: int
    started: int
    period: int
    unit: int
    attached: bool
    rank: int | None


@dataclass
class Recording:
    """`end` is "complete", "cut" or "corrupt"; `offset` that of the first block that was not taken."""

    header: Header | None = None
    strings: list[bytes] = field(default_factory=lambda: [b""])
    codes: list[Code] = field(default_factory=list)
    modules: list[Module] = field(default_factory=lambda: [Module(0, 0)])
    frames: list[Frame] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)
    threads: list[Thread] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    exits: list[Exit] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    stats: list[Stats] = field(default_factory=list)
    pauses: list[Pause] = field(default_factory=list)
    nodes: list[list[Node]] = field(default_factory=lambda: [empty_trie()])  # of each epoch
    heaps: list[Heap] = field(default_factory=list)
    heap_nodes: list[tuple[int, int]] = field(default_factory=lambda: [(0, 0)])  # caller, frame
    heap_sites: list[HeapSite] = field(default_factory=list)
    heap_points: list[HeapPoint] = field(default_factory=list)
    collectors: list[Collector] = field(default_factory=list)
    collections: list[Collection] = field(default_factory=list)
    ended: Ended | None = None
    end: str = "cut"
    offset: int = 0
    why: str = ""

    def text(self, string: int) -> str:
        return self.strings[string].decode("utf-8", "surrogateescape")


def empty_trie() -> list[Node]:
    return [Node(0, None, 0)]


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_CRC = _crc_table()


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def signed(number: int) -> int:
    """Modulo 2^64, as a signed number."""
    number &= (1 << 64) - 1
    return number - (1 << 64) if number >> 63 else number


def unzigzag(number: int) -> int:
    return number >> 1 ^ -(number & 1)


class Cursor:
    """Takes numbers from bytes that are not trusted."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def more(self) -> bool:
        return self.at < len(self.data)

    def byte(self) -> int:
        if self.at >= len(self.data):
            raise CorruptError("a record goes on beyond its section")
        self.at += 1
        return self.data[self.at - 1]

    def u(self) -> int:
        number = 0
        for shift in range(0, 70, 7):
            byte = self.byte()
            number |= (byte & 0x7F) << shift
            if not byte & 0x80:
                if number >> 64:
                    raise CorruptError("a number of more than 64 bits")
                return number
        raise CorruptError("a number of more than 10 bytes")

    def u32(self) -> int:
        number = self.u()
        if number >> 32:
            raise CorruptError("a number of more than 32 bits")
        return number

    def s(self) -> int:
        return unzigzag(self.u())

    def s32(self) -> int:
        number = self.s()
        if not -(1 << 31) <= number < 1 << 31:
            raise CorruptError("a signed number of more than 32 bits")
        return number

    def bytes(self) -> bytes:
        length = self.u32()
        if length > len(self.data) - self.at:
            raise CorruptError("bytes go on beyond their section")
        self.at += length
        return self.data[self.at - length : self.at]

    def below(self, limit: int, what: str) -> int:
        number = self.u32()
        if number >= limit:
            raise CorruptError(f"{what} {number} is not there")
        return number


class Reader:
    """Takes a recording block by block."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.recording = Recording()
        self.string_bytes = 1
        self.places: dict[int, tuple[int, int]] = {}  # by frame, of those that come

    def read(self) -> Recording:
        if self.preamble() != VERSION:
            raise NotARecordingError("this is a merged recording")
        recording = self.recording
        recording.offset = PREAMBLE_SIZE
        try:
            while not recording.ended and self.block():
                pass
        except CorruptError as error:
            recording.end, recording.why = "corrupt", str(error)
        if recording.ended:
            recording.end = "complete"
        return recording

    def preamble(self) -> int:
        preamble = self.file.read(PREAMBLE_SIZE)
        if len(preamble) < PREAMBLE_SIZE or preamble[:8] != MAGIC:
            raise NotARecordingError("this is no recording")
        version, crc = struct.unpack_from("<II", preamble, 8)
        if crc != crc32c(preamble[:12]) or version == 0:
            raise NotARecordingError("the preamble is damaged")
        if version > NEWEST_VERSION:
            raise NotARecordingError(f"version {version} is newer than {NEWEST_VERSION}")
        return int(version)

    def stored_block(self) -> tuple[int, bytes, int] | None:
        """The type, the payload as it is stored and its raw length; None where the input ends."""
        head = self.file.read(HEAD_SIZE)
        if len(head) < HEAD_SIZE:
            return None
        kind, stored, raw, payload_crc, head_crc = struct.unpack("<5I", head)
        if head_crc != crc32c(head[:16]):
            raise CorruptError("the checksum of a block's head does not fit")
        if stored > MAX_STORED or raw > MAX_RAW:
            raise CorruptError("a length is beyond its limit")
        payload = self.file.read(stored)
        if len(payload) < stored:
            return None
        if payload_crc != crc32c(payload):
            raise CorruptError("the checksum of a block's payload does not fit")
        return kind, payload, raw

    def block(self) -> bool:
        """False where the input ends."""
        found = self.stored_block()
        if not found:
            return False
        kind, payload, raw = found
        self.take(kind, payload, raw)
        self.recording.offset += HEAD_SIZE + len(payload)
        return True

    def take(self, kind: int, payload: bytes, raw: int) -> None:
        if (kind == HEADER) == (self.recording.header is not None):
            raise CorruptError("the header comes first and once")
        take = {HEADER: self.header, CHUNK: self.chunk, END: self.end}.get(kind)
        if take:
            take(Cursor(decompressed(payload, raw)))

    def header(self, c: Cursor) -> None:
        header = Header(c.bytes(), c.bytes(), c.bytes(), c.u(), c.u(), c.u(), c.u(), bool(c.u() & 1), rank(c))
        if not 1 <= header.unit <= 10**9:
            raise CorruptError("a unit that cannot be")
        self.recording.header = header

    def end(self, c: Cursor) -> None:
        self.recording.ended = Ended(c.s(), exit_code(c.s32()), c.s32())

    def chunk(self, c: Cursor) -> None:
        sections: dict[int, bytes] = {}
        while c.more():
            section = c.u()
            content = c.bytes()
            if section in sections:
                raise CorruptError("a section comes twice")
            if section in KNOWN:
                sections[section] = content
        for section, take in self.takers():
            records = Cursor(sections.get(section, b""))
            while records.more():
                take(records)
            if section == FRAMES and self.places:
                raise CorruptError("a place of no frame")
            if section == HEAP_NODES:
                Columns(self, [Cursor(sections.get(column, b"")) for column in COLUMNS]).take()

    def takers(self) -> list[tuple[int, Callable[[Cursor], None]]]:
        """What takes a record of each section, in the order in which they are taken."""
        return [
            (EPOCH, self.epoch),
            (STRINGS, self.string),
            (CODES, self.code),
            (MODULES, self.module),
            (PLACES, self.place),
            (FRAMES, self.frame),
            (PROCESSES, self.process),
            (THREADS, self.thread),
            (THREAD_NAMES, self.thread_name),
            (PYTHONS, self.python),
            (HEAPS, self.heap),
            (HEAP_NODES, self.heap_node),
            (EXITS, self.exit),
            (LOSSES, self.loss),
            (STATS, self.stats),
            (PAUSES, self.pauses),
            (HEAP_SITES, self.heap_site),
            (HEAP_POINTS, self.heap_point),
            (COLLECTORS, self.collector),
            (COLLECTIONS, self.collection),
        ]

    def epoch(self, c: Cursor) -> None:
        if c.data != b"\x01" or c.byte() != 1:
            raise CorruptError("an epoch that is not 1")
        self.recording.nodes.append(empty_trie())
        for thread in self.recording.threads:
            for lane in thread.lanes:
                lane.last_node = 0

    def string(self, c: Cursor) -> None:
        string = c.bytes()
        self.string_bytes += len(string) + 1
        if self.string_bytes > MAX_STRING_BYTES:
            raise CorruptError("too many bytes of strings")
        add(self.recording.strings, string, MAX_STRINGS)

    def string_id(self, c: Cursor) -> int:
        return c.below(len(self.recording.strings), "string")

    def process_id(self, c: Cursor) -> int:
        return c.below(len(self.recording.processes), "process")

    def code(self, c: Cursor) -> None:
        add(self.recording.codes, Code(self.string_id(c), self.string_id(c), c.u32(), c.byte()), MAX_CODES)

    def module(self, c: Cursor) -> None:
        add(self.recording.modules, Module(self.string_id(c), self.string_id(c)), MAX_MODULES)

    def place(self, c: Cursor) -> None:
        frame = c.u32()
        if frame <= max(self.places, default=len(self.recording.frames) - 1):
            raise CorruptError("places that are not in order")
        self.places[frame] = (c.below(len(self.recording.modules), "module"), c.u())

    def frame(self, c: Cursor) -> None:
        code = c.below(len(self.recording.codes), "code")
        place = self.places.pop(len(self.recording.frames), (0, 0))
        add(self.recording.frames, Frame(code, c.u32(), c.u32(), c.u32(), c.u32(), *place), MAX_FRAMES)

    def process(self, c: Cursor) -> None:
        process = Process(c.u32(), c.u32(), c.s(), self.string_id(c), self.string_id(c))
        add(self.recording.processes, process, MAX_PROCESSES)

    def thread(self, c: Cursor) -> None:
        assert self.recording.header
        process, tid, start = self.process_id(c), c.u32(), c.s()
        first = start // self.recording.header.unit
        thread = Thread(process, tid, start, self.string_id(c), (Lane(first), Lane(first)))
        add(self.recording.threads, thread, MAX_THREADS)

    def thread_name(self, c: Cursor) -> None:
        thread = c.below(len(self.recording.threads), "thread")
        self.recording.threads[thread].name = self.string_id(c)

    def python(self, c: Cursor) -> None:
        process = self.process_id(c)
        self.recording.processes[process].python = self.string_id(c)

    def exit(self, c: Cursor) -> None:
        self.recording.exits.append(Exit(self.process_id(c), c.s(), exit_code(c.s32()), c.s32(), c.u()))

    def loss(self, c: Cursor) -> None:
        self.recording.losses.append(Loss(c.byte(), c.s(), c.u(), self.string_id(c)))

    def stats(self, c: Cursor) -> None:
        self.recording.stats.append(Stats(c.s(), c.u(), c.u(), c.u(), c.u(), c.u(), c.u()))

    def pauses(self, c: Cursor) -> None:
        self.recording.pauses.append(Pause(c.u(), c.u()))

    def heap(self, c: Cursor) -> None:
        add(self.recording.heaps, Heap(c.u32(), c.s()), MAX_HEAPS)

    def heap_node(self, c: Cursor) -> None:
        caller = c.below(len(self.recording.heap_nodes), "node of a heap")
        frame = c.below(len(self.recording.frames), "frame")
        add(self.recording.heap_nodes, (caller, frame), MAX_HEAP_NODES)

    def heap_site(self, c: Cursor) -> None:
        heap = c.below(len(self.recording.heaps), "heap")
        stack = c.below(len(self.recording.heap_nodes), "node of a heap")
        self.recording.heap_sites.append(HeapSite(heap, stack, c.u(), c.u(), c.u(), c.u(), c.u()))

    def heap_point(self, c: Cursor) -> None:
        heap = c.below(len(self.recording.heaps), "heap")
        self.recording.heap_points.append(HeapPoint(heap, c.s(), c.u(), c.u(), c.u(), c.u(), c.s()))

    def collector(self, c: Cursor) -> None:
        heap = c.below(len(self.recording.heaps), "heap")
        self.recording.collectors.append(Collector(heap, c.s(), c.s()))

    def collection(self, c: Cursor) -> None:
        heap = c.below(len(self.recording.heaps), "heap")
        stack = c.below(len(self.recording.heap_nodes), "node of a heap")
        start, length = c.s(), c.u()
        generation = c.below(GENERATIONS, "generation")
        self.recording.collections.append(Collection(heap, stack, start, length, generation, c.u(), c.u()))


class Columns:
    """The samples of one chunk."""

    def __init__(self, reader: Reader, columns: list[Cursor]) -> None:
        self.recording = reader.recording
        self.nodes = reader.recording.nodes[-1]
        self.columns = dict(zip(COLUMNS, columns, strict=True))

    def take(self) -> None:
        thread = 0
        for _ in range(len(self.columns[STATE].data)):
            thread += self.columns[THREAD].s()
            self.sample(thread)
        if any(column.more() for column in self.columns.values()):
            raise CorruptError("columns of different lengths")

    def sample(self, thread: int) -> None:
        header, columns = self.recording.header, self.columns
        assert header
        if not 0 <= thread < len(self.recording.threads):
            raise CorruptError(f"thread {thread} is not there")
        state = columns[STATE].byte()
        lane = self.recording.threads[thread].lanes[bool(state & TASK)]
        count = columns[COUNT].u32()
        end = signed(lane.last_end + count * (header.period // header.unit) + columns[SAMPLE_END].s())
        wall = signed(end - lane.last_end - columns[START].s())
        cpu = columns[CPU].s()
        cpu = signed(wall - cpu) if state & ON_CPU else cpu
        if not (0 <= wall * header.unit < 1 << 63 and 0 <= cpu * header.unit < 1 << 63):
            raise CorruptError("a time that cannot be")
        syscall = columns[SYSCALL].u()
        if syscall > 65535:
            raise CorruptError("a system call that cannot be")
        node = self.node(lane.last_node)
        stack = self.nodes[node]
        lane.last_end, lane.last_node = end, node
        sample = Sample(thread, end, wall, cpu, state, syscall - 1 if syscall else None, count, stack)
        self.recording.samples.append(sample)

    def node(self, last: int) -> int:
        how = self.columns[STACK].u()
        if how == 0:
            return last
        if how == 1:
            return self.grow(last)
        node = last + unzigzag(how - 2)
        if not 0 <= node < len(self.nodes):
            raise CorruptError(f"node {node} is not there")
        return node

    def grow(self, last: int) -> int:
        nodes, columns = self.nodes, self.columns
        caller = self.caller(last)
        grown = columns[GROWN].u()
        if grown >= MAX_NODES - len(nodes):
            raise CorruptError("too many nodes")
        frame_count = len(self.recording.frames)
        innermost = columns[LEAVES].below(frame_count, "frame")
        frames = [columns[STACK_FRAMES].below(frame_count, "frame") for _ in range(grown)]
        for frame in (*reversed(frames), innermost):
            caller = Node(len(nodes), caller, frame)
            nodes.append(caller)
        return len(nodes) - 1

    def caller(self, last: int) -> Node:
        nodes, up = self.nodes, self.columns[UP].u()
        if up == 0:
            return nodes[self.columns[UP].below(len(nodes), "node")]
        if up - 1 > MAX_STEPS_UP:
            raise CorruptError("too many steps up")
        caller = nodes[last]
        for _ in range(up - 1):
            caller = caller.caller or caller
        return caller


def add(table: list[T], record: T, limit: int) -> None:
    if len(table) >= limit:
        raise CorruptError("a table is full")
    table.append(record)


def exit_code(code: int) -> int | None:
    return None if code == NO_CODE else code


def decompressed(payload: bytes, raw: int) -> bytes:
    """All frames of a payload; never more than `raw` and a byte."""
    out = b""
    while payload:
        frame = zstd.ZstdDecompressor()
        try:
            out += frame.decompress(payload, raw + 1 - len(out))
        except zstd.ZstdError as error:
            raise CorruptError(f"zstd: {error}") from None
        if not frame.eof:
            raise CorruptError("a payload that does not decompress to its length")
        payload = frame.unused_data
    if len(out) != raw:
        raise CorruptError("a payload that does not decompress to its length")
    return out


def rank(c: Cursor) -> int | None:
    """The rank of a header's end, which older ones lack."""
    number = c.u() if c.more() else 0
    return number - 1 if number else None


class Counts(NamedTuple):
    """What a merge says at its end."""

    parts: int
    cut: int
    corrupt: int
    left_out: int


@dataclass
class Merged:
    """Recordings in one; counts: None where the file is cut. end of a part: "complete", "cut" or "corrupt"."""

    header: Header | None = None
    parts: list[Recording] = field(default_factory=list)
    counts: Counts | None = None


class MergedReader(Reader):
    """Takes a merged recording: each header behind the first begins a part, read like a recording of its own."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.merged = Merged()
        self.part: Reader | None = None

    def read_merged(self) -> Merged:
        if self.preamble() != MERGED_VERSION:
            raise NotARecordingError("this is no merged recording")
        while not self.merged.counts and (found := self.stored_block()):
            self.take_merged(*found)
        return self.merged

    def take_merged(self, kind: int, payload: bytes, raw: int) -> None:
        if self.merged.header is None:
            self.take(kind, payload, raw)
            self.merged.header = self.recording.header
        elif kind == MERGED:
            c = Cursor(decompressed(payload, raw))
            self.merged.counts = Counts(c.u(), c.u(), c.u(), c.u())
        else:
            if kind == HEADER:
                self.part = Reader(self.file)
                self.merged.parts.append(self.part.recording)
            self.take_in_part(kind, payload, raw)

    def take_in_part(self, kind: int, payload: bytes, raw: int) -> None:
        part = self.part
        if not part or part.recording.end != "cut":
            return
        try:
            part.take(kind, payload, raw)
        except CorruptError as error:
            part.recording.end, part.recording.why = "corrupt", str(error)
        if part.recording.ended:
            part.recording.end = "complete"


def read(file: BinaryIO) -> Recording:
    """Raises NotARecordingError; whatever else is wrong stands in the result."""
    return Reader(file).read()


def read_merged(file: BinaryIO) -> Merged:
    """Raises NotARecordingError, and CorruptError where the file itself is damaged."""
    return MergedReader(file).read_merged()
