"""The figures: each function measures one group, interleaved, and returns its rows for the table.

Interleaved means: in every round each profiler has its turn, in an order that is shuffled anew; a row shows medians
over the rounds. zond is measured on every interpreter that one of its peers is measured on.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path[:0] = [str(Path(__file__).resolve().parent / "workloads")]

import callers
import libs300
from compare import compare, from_report, from_stacks, read
from matrix import Interpreter
from measure import (
    SETTLE_S,
    WORKLOADS,
    ProfilerError,
    Target,
    Window,
    duration,
    middle,
    resident_bytes,
    session,
    target,
    watch,
)
from profilers import NATIVE, Nothing, Outcome, Profiler, Zond
from stacks import UNREADABLE

TRUTH = Path(__file__).resolve().parent.parent / "tests" / "truth"
RATE_HZ = 1000
MILLION = 1_000_000

# How long a ground-truth program runs, s.
TRUTH_S = 10.0


@dataclass
class Row:
    """One figure on one interpreter: the bar in words and as a test, and each profiler's median."""

    name: str
    unit: str
    python: str
    bar: str
    values: dict[str, float | None]
    met: bool | None = None
    ratio: str = ""


@dataclass
class Settings:
    """What to measure: the profilers by interpreter, how often and how long (s)."""

    contenders: dict[str, list[Profiler]]
    rounds: int
    window_s: float
    soak_s: float
    failures: list[str] = field(default_factory=list)

    def turns(self, version: str, launched: bool = False, control: bool = False) -> Iterator[Profiler]:
        """Yield the profilers of one interpreter for each round.

        Only those that attach, unless `launched`; with `control`, a process that does nothing has its turn too.
        """
        able = [profiler for profiler in self.contenders[version] if launched or profiler.can_attach]
        able += [Nothing(self.interpreter(version))] if control else []
        for _ in range(self.rounds):
            yield from random.sample(able, len(able))

    def interpreter(self, version: str) -> Interpreter:
        """Return the interpreter of that version."""
        return self.contenders[version][0].interpreter

    @contextmanager
    def forgiving(self, profiler: Profiler, figure: str) -> Iterator[None]:
        """Let one profiler fail without ending the run: its cell stays empty, and the failure is printed."""
        try:
            yield
        except (ProfilerError, subprocess.CalledProcessError, ValueError, OSError, KeyError) as error:
            self.failures.append(f"{profiler.name} on {profiler.interpreter.version}, {figure}: {error}")


Readings = defaultdict[str, list[float]]


def _readings() -> Readings:
    return defaultdict(list)


def _medians(settings: Settings, version: str, readings: Readings) -> dict[str, float | None]:
    return {profiler.name: middle(readings[profiler.name]) for profiler in settings.contenders[version]}


def _below(row: Row, limit: float) -> Row:
    """Judge a row whose bar is an upper limit of zond's value, and set its ratio to the best peer."""
    own = row.values.get("zond")
    row.met = None if own is None else own <= limit
    peers = [value for name, value in row.values.items() if name != "zond" and value is not None]
    if own and peers:
        row.ratio = f"{own / min(peers):.2f}" if min(peers) else "-"
    return row


@dataclass(frozen=True)
class Round:
    """One profiler's turn on a running target: what it cost the target and itself, and its samples."""

    slowdown: float
    cpu_share: float
    seconds: float
    outcome: Outcome
    output: Path


def _turn(profiler: Profiler, watched: Target, rate_hz: int | None, settings: Settings, folder: Path) -> Round:
    """Measure the target without, with and again without the profiler."""
    seconds = settings.window_s
    output = folder / "output"
    output.unlink(missing_ok=True)
    # Austin knows whole seconds only.
    length = round(seconds + 2 * SETTLE_S + 0.5)
    before = watch(watched, seconds / 2)
    with session(profiler.attach(rate_hz, length, output, watched.pid), folder / "log") as running:
        watch(watched, SETTLE_S)
        during = watch(watched, seconds, running.process.pid)
        said = running.finish(length - seconds - SETTLE_S, profiler.ends_itself, profiler.good)
    after = watch(watched, seconds / 2)
    alone = Window(before.seconds + after.seconds, before.iterations + after.iterations, 0.0)
    return Round(
        slowdown=alone.rate / during.rate,
        cpu_share=during.profiler_cpu_s / during.seconds,
        seconds=length,
        outcome=profiler.outcome(output, said),
        output=output,
    )


def rate(settings: Settings) -> list[Row]:
    """Measure the sustained rate without a pause between samples, on a stack that moves all the time."""
    rows = []
    for version in settings.contenders:
        kept, lost, slowed = _readings(), _readings(), _readings()
        with TemporaryDirectory() as name, target(settings.interpreter(version), Path(name), "moving.py") as watched:
            for profiler in settings.turns(version):
                with settings.forgiving(profiler, "rate"):
                    measured = _turn(profiler, watched, None, settings, Path(name))
                    kept[profiler.name].append(measured.outcome.kept / measured.seconds / 1000)
                    lost[profiler.name].append(100 * measured.outcome.lost_share)
                    slowed[profiler.name].append(measured.slowdown)
        row = Row("rate, unthrottled, kept", "kHz", version, "4 x 3.15, 2 x austin", _medians(settings, version, kept))
        rows += [
            _above(row, {"3.15": 4.0, "austin": 2.0}),
            _below(Row("  lost", "%", version, "<= 0.5", _medians(settings, version, lost)), 0.5),
            _below(Row("  target slowed", "x", version, "<= 1.3", _medians(settings, version, slowed)), 1.3),
        ]
    return rows


def _above(row: Row, factors: dict[str, float]) -> Row:
    """Judge a row whose bar is a multiple of each peer's value."""
    own = row.values.get("zond")
    known = {name: row.values.get(name) for name in factors}
    against = {name: own / value for name, value in known.items() if own is not None and value}
    row.ratio = " ".join(f"{ratio:.2f}" for ratio in against.values())
    row.met = all(ratio >= factors[name] for name, ratio in against.items()) if against else None
    return row


def impossible(settings: Settings) -> list[Row]:
    """Count the stacks that cannot occur, when callers alternate around one leaf at one frame address."""
    rows = []
    for version in settings.contenders:
        wrong, lost, counts = _readings(), _readings(), _readings()
        with TemporaryDirectory() as name, target(settings.interpreter(version), Path(name), "callers.py") as watched:
            for profiler in settings.turns(version):
                with settings.forgiving(profiler, "impossible"):
                    measured = _turn(profiler, watched, None, settings, Path(name))
                    wrong[profiler.name].append(MILLION * _wrong_share(profiler, measured.output))
                    lost[profiler.name].append(100 * measured.outcome.lost_share)
                    counts[profiler.name].append(measured.outcome.kept / MILLION)
        totals = {name: sum(values) for name, values in counts.items()}
        worst = {name: max(values) for name, values in wrong.items()}
        rows += [
            _below(Row("impossible stacks, worst round", "/1e6", version, "0", dict(worst)), 0.0),
            Row("  samples checked, all rounds", "1e6", version, "", dict(totals)),
            _below(Row("  lost", "%", version, "<= 0.5", _medians(settings, version, lost)), 0.5),
        ]
    return rows


def _wrong_share(profiler: Profiler, output: Path) -> float:
    """Return the share of weight on stacks that cannot occur; one that is marked unreadable is lost, not wrong."""
    total = wrong = 0
    for stack, weight in profiler.stacks(output):
        if UNREADABLE in stack:
            continue
        total += weight
        if not callers.is_possible([(frame.function, frame.line) for frame in stack]):
            wrong += weight
    return wrong / max(1, total)


@dataclass(frozen=True)
class Load:
    """A load at 1 kHz: the workload, and the bars for the target's slowdown and the sampler's CPU (percent)."""

    name: str
    workload: str
    arguments: tuple[str, ...]
    slowdown: float
    cpu_percent: float


LOADS = (
    Load("1 thread, moving", "moving.py", (), 1.01, 2.0),
    Load("50 threads, 45 idle", "threads.py", ("50", "5"), 1.02, 5.0),
    Load("200 threads, 195 idle", "threads.py", ("200", "5"), 1.03, 12.0),
)


def load(settings: Settings) -> list[Row]:
    """Measure, at 1 kHz, what the target loses and what the sampler takes."""
    rows = []
    for version in settings.contenders:
        for what in LOADS:
            slowed, cpu = _readings(), _readings()
            with TemporaryDirectory() as name:
                with target(settings.interpreter(version), Path(name), what.workload, *what.arguments) as watched:
                    for profiler in settings.turns(version, control=True):
                        with settings.forgiving(profiler, what.name):
                            measured = _turn(profiler, watched, RATE_HZ, settings, Path(name))
                            slowed[profiler.name].append(measured.slowdown)
                            cpu[profiler.name].append(100 * measured.cpu_share)
                _launched(settings, version, what, Path(name), slowed)
            slow_row = Row(f"1 kHz slowdown, {what.name}", "x", version, f"<= {what.slowdown}", {})
            slow_row.values = _medians(settings, version, slowed)
            cpu_row = Row("  sampler's CPU", "%", version, f"<= {what.cpu_percent:g}", _medians(settings, version, cpu))
            rows += [_below(slow_row, what.slowdown), _below(cpu_row, what.cpu_percent)]
            slow_row.values[Nothing.name] = middle(slowed[Nothing.name])
    return rows


def _launched(settings: Settings, version: str, what: Load, folder: Path, slowed: Readings) -> None:
    """Measure the slowdown by the profilers that cannot attach: whole runs, with and without."""
    script = [str(WORKLOADS / what.workload), str(settings.window_s), *what.arguments]
    for profiler in settings.turns(version, launched=True):
        if not profiler.can_attach:
            with settings.forgiving(profiler, what.name):
                alone = _printed(profiler.interpreter.command(*script), folder)
                with_it = _printed(profiler.launch(RATE_HZ, folder / "output", script), folder)
                slowed[profiler.name].append(alone / with_it)


def _printed(command: list[str], folder: Path) -> float:
    """Run a workload and return the iterations per second that it prints on a line of their own."""
    with session(command, folder / "log") as running:
        said = running.finish(0.0)
    for line in said.splitlines():
        try:
            return float(line)
        except ValueError:
            continue
    raise ProfilerError(f"{command!r} printed no rate: {said[-500:]}")


# Native stacks a second, and the bar of the target's slowdown.
NATIVE_RATES = ((100, 1.01), (RATE_HZ, 1.04))


def native(settings: Settings) -> list[Row]:
    """Measure the same with native stacks at each look, and for how long zond holds a thread that runs."""
    rows = []
    for version in settings.contenders:
        interpreter = settings.interpreter(version)
        names = {profiler.name for profiler in settings.contenders[version]}
        able = [kind(interpreter) for kind in NATIVE if version in kind.versions and kind.name in names]
        for rate_hz, bar in NATIVE_RATES:
            turns = Settings({version: able}, settings.rounds, settings.window_s, settings.soak_s, settings.failures)
            slowed, cpu, half, most = _readings(), _readings(), _readings(), _readings()
            with TemporaryDirectory() as name, target(interpreter, Path(name), "sorts.py") as watched:
                for profiler in turns.turns(version, control=True):
                    with settings.forgiving(profiler, "native"):
                        measured = _turn(profiler, watched, rate_hz, settings, Path(name))
                        slowed[profiler.name].append(measured.slowdown)
                        cpu[profiler.name].append(100 * measured.cpu_share)
                        if isinstance(profiler, Zond):
                            pause = profiler.report(measured.output)["sampling"]["pause_us"]
                            half[profiler.name].append(pause["p50"])
                            most[profiler.name].append(pause["p90"])
            slow_row = Row(
                f"native at {rate_hz} Hz, slowdown", "x", version, f"<= {bar}", _medians(turns, version, slowed)
            )
            cpu_row = Row("  sampler's CPU", "%", version, "<= 6", _medians(turns, version, cpu))
            rows += [_below(slow_row, bar), _below(cpu_row, 6.0)]
            rows.append(
                _below(Row("  a thread is held, p50", "us", version, "<= 25", _medians(turns, version, half)), 25)
            )
            rows.append(_below(Row("  p90", "us", version, "<= 60", _medians(turns, version, most)), 60))
            slow_row.values[Nothing.name] = middle(slowed[Nothing.name])
    return rows


def startup(settings: Settings) -> list[Row]:
    """Measure what a profiler adds to a program that does nothing: pairs of runs, with and without."""
    rows = []
    for version in settings.contenders:
        added = _readings()
        passing = str(WORKLOADS / "passing.py")
        with TemporaryDirectory() as name:
            folder = Path(name)
            for _ in range(4):
                for profiler in settings.turns(version, launched=True):
                    with settings.forgiving(profiler, "start-up"):
                        alone = duration(profiler.interpreter.command(passing), folder / "log")
                        command = profiler.launch(RATE_HZ, folder / "output", [passing])
                        added[profiler.name].append(1000 * (duration(command, folder / "log") - alone))
        rows.append(_below(Row("start-up added", "ms", version, "<= 15", _medians(settings, version, added)), 15.0))
    return rows


def attach(settings: Settings) -> list[Row]:
    """Measure the time from starting the profiler to its first sample, of a process with 300 libraries."""
    rows = []
    for version in settings.contenders:
        waited = _readings()
        for profiler in settings.turns(version):
            with settings.forgiving(profiler, "attach"), TemporaryDirectory() as name:
                waited[profiler.name].append(_first_sample_ms(profiler, Path(name)))
        row = Row("attach to first sample, 300 libs", "ms", version, "<= 50", _medians(settings, version, waited))
        rows.append(_below(row, 50.0))
    return rows


def _first_sample_ms(profiler: Profiler, folder: Path) -> float:
    """Return when the first sample was taken, after the profiler's exec, by the clock that the target shows."""
    command = profiler.interpreter.command(str(WORKLOADS / "libs300.py"), "10")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            base = float(process.stdout.readline())
            started = time.monotonic()
            output = folder / "output"
            with session(profiler.attach(RATE_HZ, 1, output, process.pid), folder / "log") as running:
                running.finish(1.0, profiler.ends_itself, profiler.good)
        finally:
            process.kill()
    shown = []
    for stack, _ in profiler.stacks(output):
        lines = {frame.function: frame.line for frame in stack}
        if "coarse" in lines and "fine" in lines:
            shown.append(libs300.shown_s(lines["coarse"], lines["fine"]))
    if not shown:
        raise ProfilerError("no sample of the timeline")
    return 1000 * (base + min(shown) - started)


def truth(settings: Settings) -> list[Row]:
    """Compare shares of functions and lines with programs that know their own: the largest error, in points."""
    rows = []
    for version in settings.contenders:
        for metric in ("wall", "cpu"):
            worst: dict[str, float | None] = {}
            for program in ("blocks", "short", "nested", "contention"):
                for profiler in settings.contenders[version]:
                    if profiler.can_attach and (metric == "wall" or isinstance(profiler, Zond)):
                        with settings.forgiving(profiler, f"truth of {program}"), TemporaryDirectory() as name:
                            error = _largest_error(profiler, program, metric, Path(name))
                            worst[profiler.name] = max(worst.get(profiler.name) or 0.0, error)
            rows.append(_below(Row(f"shares against truth, {metric}, worst", "points", version, "<= 1", worst), 1.0))
    return rows


def _largest_error(profiler: Profiler, program: str, metric: str, folder: Path) -> float:
    """Record one ground-truth program for TRUTH_S and return the largest error of a share, in points."""
    output, known = folder / "output", folder / "truth.json"
    script = [str(TRUTH / f"{program}.py"), str(known), str(TRUTH_S)]
    with session(profiler.launch(RATE_HZ, output, script), folder / "log") as running:
        running.finish(TRUTH_S, good=profiler.good)
    file = f"{program}.py"
    if isinstance(profiler, Zond):
        found = from_report(profiler.report(output), file, metric)
    else:
        found = from_stacks(profiler.stacks(output), file, 1 / RATE_HZ)
    return max(difference.error for difference in compare(read(known), found, metric))


def memory(settings: Settings) -> list[Row]:
    """Watch the profiler's resident memory over a soak at 1 kHz of a program that does many things."""
    rows = []
    for version in settings.contenders:
        peak: dict[str, float | None] = {}
        growth: dict[str, float | None] = {}
        for profiler in settings.contenders[version]:
            if not profiler.can_attach:
                continue
            with settings.forgiving(profiler, "memory"), TemporaryDirectory() as name:
                folder = Path(name)
                with target(profiler.interpreter, folder, "realistic.py") as watched:
                    command = profiler.attach(RATE_HZ, settings.soak_s, folder / "output", watched.pid)
                    with session(command, folder / "log") as running:
                        looks = []
                        end = time.monotonic() + settings.soak_s * 0.95
                        while time.monotonic() < end and running.process.poll() is None:
                            time.sleep(settings.soak_s / 100)
                            looks.append(resident_bytes(running.process.pid) / MILLION)
                        running.finish(settings.soak_s * 0.05, profiler.ends_itself, profiler.good)
                peak[profiler.name] = max(looks)
                # The first fifth is start-up; what a flat collector has then, it has at the end.
                growth[profiler.name] = looks[-1] - looks[len(looks) // 5]
        rows += [
            _below(Row(f"memory, peak in {settings.soak_s:g} s", "MB", version, "<= 100", peak), 100.0),
            _below(Row("  growth after the first fifth", "MB", version, "flat: <= 1", growth), 1.0),
        ]
    return rows


def size(settings: Settings) -> list[Row]:
    """Record two programs for the length of a soak at 1 kHz: bytes of the file for each sample."""
    rows = []
    for version, profilers in settings.contenders.items():
        for program in ("realistic.py", "moving.py"):
            values: dict[str, float | None] = {}
            for profiler in profilers:
                if not isinstance(profiler, Zond):
                    continue
                with settings.forgiving(profiler, f"size of {program}"), TemporaryDirectory() as name:
                    output = Path(name) / "output"
                    command = profiler.launch(RATE_HZ, output, [str(WORKLOADS / program), f"{settings.soak_s:g}"])
                    with session(command, Path(name) / "log") as running:
                        running.finish(settings.soak_s, good=profiler.good)
                    values[profiler.name] = output.stat().st_size / profiler.report(output)["sampling"]["samples"]
            row = Row(f"bytes a sample, {program}, {settings.soak_s:g} s", "B", version, "<= 6", values)
            rows.append(_below(row, 6.0))
    return rows


FIGURES: dict[str, Callable[[Settings], list[Row]]] = {
    "rate": rate,
    "impossible": impossible,
    "load": load,
    "native": native,
    "truth": truth,
    "startup": startup,
    "attach": attach,
    "memory": memory,
    "size": size,
}
