"""What zond must say of a recording, computed from what the Python reader took of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from recording.zond_format import (
    GIL_HELD,
    GIL_WAIT,
    IN_GC,
    KINDS,
    NO_CODE,
    ON_CPU,
    TASK,
    Frame,
    Node,
    Recording,
    Sample,
)

MODULO = 1 << 64
NO_SYSCALL = -1

Weight = Callable[[Sample], int]


def dump(recording: Recording) -> Iterator[str]:
    """The lines of dump_recording.c, but for their order: of a kind, they are in order."""
    header = recording.header
    assert header
    yield (
        f'header: {header.started_wall} {header.started} {header.period} {header.attached:d} "{header.command.hex()}"'
    )
    for number, frame in enumerate(recording.frames):
        code = recording.codes[frame.code]
        yield (
            f"frame {number}: {' '.join(map(str, frame[:5]))}, {code.first_line} {code.kind}"
            f" {_hex(recording, code.name)} {_hex(recording, code.file)}{_place(recording, frame)}"
        )
    for number, process in enumerate(recording.processes):
        yield (
            f"process {number}: {process.pid} {process.parent} {_instant(recording, process.start)}"
            f" {_hex(recording, process.python)} {_hex(recording, process.command)}"
        )
    for number, thread in enumerate(recording.threads):
        start = _instant(recording, thread.start)
        yield f"thread {number}: {thread.process} {thread.tid} {start} {_hex(recording, thread.name)}"
    yield from _dump_samples(recording)
    yield from _dump_events(recording)
    yield f"{recording.end}: {recording.offset}"


def _dump_samples(recording: Recording) -> Iterator[str]:
    assert recording.header
    unit = recording.header.unit
    for nodes in recording.nodes:
        yield f"epoch: {len(nodes)}"
        for node in nodes[1:]:
            assert node.caller
            yield f"node {node.number}: {node.caller.number} {node.frame}"
    for sample in recording.samples:
        syscall = NO_SYSCALL if sample.syscall is None else sample.syscall
        yield (
            f"sample: {sample.thread} {_instant(recording, sample.end * unit)} {sample.wall * unit} {sample.cpu * unit}"
            f" {sample.looks} {syscall} {sample.state} {sample.stack.number}"
        )


def _dump_events(recording: Recording) -> Iterator[str]:
    for event in recording.exits:
        code = NO_CODE if event.code is None else event.code
        yield f"exit: {event.process} {_instant(recording, event.end)} {code} {event.signal} {event.cpu}"
    for loss in recording.losses:
        if loss.kind < len(LOSSES):
            yield f"loss: {loss.kind} {_instant(recording, loss.time)} {loss.things} {_hex(recording, loss.detail)}"
    for stats in recording.stats:
        yield f"stats: {_instant(recording, stats.time)} {' '.join(map(str, stats[1:]))}"
    for pause in recording.pauses:
        yield f"pause: {pause.length} {pause.times}"
    yield from _dump_heaps(recording)
    if recording.ended:
        code = NO_CODE if recording.ended.code is None else recording.ended.code
        yield f"end: {_instant(recording, recording.ended.time)} {code} {recording.ended.signal}"


def _dump_heaps(recording: Recording) -> Iterator[str]:
    for number, heap in enumerate(recording.heaps):
        yield f"heap {number}: {heap.pid} {_instant(recording, heap.start)}"
    for number, (caller, frame) in enumerate(recording.heap_nodes[1:], 1):
        yield f"heap-node {number}: {caller} {frame}"
    for site in recording.heap_sites:
        yield f"heap-site: {' '.join(map(str, site))}"
    for p in recording.heap_points:
        yield (
            f"heap-point: {p.heap} {_instant(recording, p.time)} {p.live} {p.resident} {p.resident_peak} {p.peak}"
            f" {_instant(recording, p.peak_time)}"
        )
    for k in recording.collectors:
        yield f"collector: {k.heap} {_instant(recording, k.since)} {_instant(recording, k.until)}"
    for one in recording.collections:
        yield f"collection: {one.heap} {one.stack} {_instant(recording, one.start)} {' '.join(map(str, one[3:]))}"


def _instant(recording: Recording, since: int) -> int:
    assert recording.header
    return (recording.header.started + since) % MODULO


def _place(recording: Recording, frame: Frame) -> str:
    module = recording.modules[frame.module]
    place = f" {frame.address:x} {_hex(recording, module.path)} {_hex(recording, module.build_id)}"
    return place if frame.module else ""


def _hex(recording: Recording, string: int) -> str:
    return f'"{recording.strings[string].hex()}"'


def words(arguments: bytes) -> list[str]:
    return [word.decode(errors="replace") for word in arguments.split(b"\0")[:-1]]


def text(recording: Recording, string: int) -> str:
    return recording.strings[string].decode(errors="replace")


# What each metric of zond weighs, in units.
METRICS: dict[str, Weight] = {
    "wall": lambda sample: sample.wall,
    "cpu": lambda sample: sample.cpu,
    "gil": lambda sample: sample.wall if sample.state & GIL_HELD else 0,
    "gc": lambda sample: sample.wall if sample.state & IN_GC else 0,
}


def _blocked(sample: Sample) -> int:
    return 0 if sample.state & (GIL_WAIT | ON_CPU) else max(0, sample.wall - sample.cpu)


# Keys of a thread in the JSON.
OF_A_THREAD: dict[str, Weight] = {
    "wall_s": METRICS["wall"],
    "cpu_s": METRICS["cpu"],
    "gil_held_s": METRICS["gil"],
    "gil_wait_s": lambda sample: sample.wall if sample.state & GIL_WAIT else 0,
    "gc_s": METRICS["gc"],
    "blocked_s": _blocked,
}

LOSSES = (
    "missed",
    "torn",
    "dropped",
    "unreadable",
    "truncated",
    "unseen_processes",
    "unwritten",
    "unrecorded_allocations",
    "unrecorded_collections",
)


def own(recording: Recording) -> list[Sample]:
    """The samples of threads, without those of waiting tasks."""
    return [sample for sample in recording.samples if not sample.state & TASK]


def threads(recording: Recording) -> list[list[dict[str, Any]]]:
    """By process, as in the JSON, with times in ns."""
    assert recording.header
    sums: dict[int, Counter[str]] = defaultdict(Counter)
    for sample in own(recording):
        for key, weight in OF_A_THREAD.items():
            sums[sample.thread][key] += weight(sample) * recording.header.unit
    found: list[list[dict[str, Any]]] = [[] for _ in recording.processes]
    for number, thread in enumerate(recording.threads):
        times = {key: sums[number][key] for key in OF_A_THREAD}
        found[thread.process].append({"tid": thread.tid, "name": text(recording, thread.name), **times})
    return found


def losses(recording: Recording) -> dict[str, int]:
    sums = dict.fromkeys(LOSSES, 0)
    for loss in recording.losses:
        if loss.kind < len(LOSSES):
            sums[LOSSES[loss.kind]] += loss.things
    return sums


class Tally:
    """Own and total time, in ns, by something that frames have; the own time of one without is its caller's."""

    def __init__(self, recording: Recording, of: Callable[[int], object], weights: tuple[Weight, ...]) -> None:
        assert recording.header
        self.of = of
        self.rows: dict[object, list[int]] = defaultdict(lambda: [0] * 2 * len(weights))
        unit = recording.header.unit
        sums: dict[int, list[int]] = defaultdict(lambda: [0] * len(weights))
        for sample in own(recording):
            for i, weight in enumerate(weights):
                sums[id(sample.stack)][i] += weight(sample) * unit
        for nodes in recording.nodes:
            self._fold(nodes, sums)

    def _fold(self, nodes: list[Node], sums: dict[int, list[int]]) -> None:
        seen: list[frozenset[object]] = [frozenset()]
        nearest: list[object] = [None]
        outermost = []
        for node in nodes[1:]:
            assert node.caller
            what, above = self.of(node.frame), seen[node.caller.number]
            outermost.append(what is not None and what not in above)
            seen.append(above | {what} if outermost[-1] else above)
            nearest.append(nearest[node.caller.number] if what is None else what)
            if nearest[-1] is not None:
                self._add(nearest[-1], 0, sums.get(id(node)))
        for node, first in zip(reversed(nodes[1:]), reversed(outermost), strict=True):
            if node.caller and id(node) in sums:
                for i, ns in enumerate(sums[id(node)]):
                    sums[id(node.caller)][i] += ns
                if first:
                    self._add(self.of(node.frame), 1, sums[id(node)])

    def _add(self, what: object, total: int, ns: list[int] | None) -> None:
        for i, part in enumerate(ns or ()):
            self.rows[what][2 * i + total] += part


def functions(recording: Recording) -> Counter[tuple[object, ...]]:
    """Rows of the JSON's functions: name, file, line, kind, own and total wall and CPU time."""
    tally = Tally(recording, lambda frame: recording.frames[frame].code, (METRICS["wall"], METRICS["cpu"]))
    rows: Counter[tuple[object, ...]] = Counter()
    for number, times in tally.rows.items():
        assert isinstance(number, int)
        code = recording.codes[number]
        file = text(recording, code.file) if code.file else None
        rows[(text(recording, code.name), file, code.first_line or None, KINDS[code.kind], *times)] += 1
    return rows


def lines(recording: Recording) -> Counter[tuple[object, ...]]:
    """Rows of the JSON's lines: file, line, function, own and total wall and CPU time.

    Native code and system calls have no lines of their own: their time is that of the line that called them.
    """

    def line_of(frame: int) -> tuple[int, ...] | None:
        kind = KINDS[recording.codes[recording.frames[frame].code].kind]
        return None if kind in ("native", "jit", "gc", "syscall") else recording.frames[frame][:2]

    tally = Tally(recording, line_of, (METRICS["wall"], METRICS["cpu"]))
    rows: Counter[tuple[object, ...]] = Counter()
    for key, times in tally.rows.items():
        assert isinstance(key, tuple)
        code = recording.codes[key[0]]
        file = text(recording, code.file) if code.file else None
        rows[(file, key[1] or None, text(recording, code.name), *times)] += 1
    return rows


def _collapsed_frame(recording: Recording, frame: int) -> str:
    code, line = recording.codes[recording.frames[frame].code], recording.frames[frame].line
    name = text(recording, code.name)
    file = f" ({text(recording, code.file)}{f':{line}' if line else ''})" if code.file else ""
    return "".join("?" if c < " " or c == "\x7f" else c for c in (name + file).replace(";", ":"))


def collapsed(recording: Recording, weight: Weight) -> Counter[str]:
    """`zond export --format collapsed --lines`, in ns."""
    assert recording.header
    by_stack: Counter[tuple[int, ...]] = Counter()
    for sample in own(recording):
        by_stack[sample.stack.frames()] += weight(sample) * recording.header.unit
    found: Counter[str] = Counter()
    for stack, ns in by_stack.items():
        names = [_collapsed_frame(recording, frame) for frame in reversed(stack)]
        found[";".join(names) or "(no Python)"] += ns
    return +found
