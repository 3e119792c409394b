"""How each profiler is started, and what it says of its own samples.

A `Profiler` hides the command lines: `attach` to a process for some seconds, `launch` a command, `outcome` (samples
kept and lost) and `stacks` of what it has written. Every one samples all threads, on the clock (not only on CPU).
"""

from __future__ import annotations

import json
import math
import re
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matrix import Interpreter
from peers import austin_command, peer
from stacks import Stack, collapsed, mojo

ANSI = re.compile(r"\x1b\[[0-9;]*m")

# Faster than any of them can look: what "without a pause" is for a profiler that has no word for it.
UNTHROTTLED_HZ = 1_000_000


@dataclass(frozen=True)
class Outcome:
    """Samples kept, and samples lost: reads that failed, so that what was there at that moment is unknown."""

    kept: int
    lost: int

    @property
    def lost_share(self) -> float:
        """Return the share of all samples that was lost, 0 to 1."""
        return self.lost / max(1, self.kept + self.lost)


class Profiler(ABC):
    """One profiler, for targets of one interpreter."""

    name: str
    versions: tuple[str, ...]
    can_attach = True

    # Whether it stops after the seconds that `attach` gives it.
    ends_itself = True

    # Exit statuses of a session that went well.
    good: tuple[int, ...] = (0,)

    def __init__(self, interpreter: Interpreter) -> None:
        self.interpreter = interpreter

    @abstractmethod
    def launch(self, rate_hz: int, output: Path, script: Sequence[str]) -> list[str]:
        """Return the argv that runs `script` (path and arguments) under the profiler."""

    @abstractmethod
    def attach(self, rate_hz: int | None, seconds: float, output: Path, pid: int) -> list[str]:
        """Return the argv that samples `pid` for `seconds` or until SIGINT; `rate_hz` None: no pause."""

    @abstractmethod
    def outcome(self, output: Path, said: str) -> Outcome:
        """Return the counts, from the file that was written and from what was printed."""

    @abstractmethod
    def stacks(self, output: Path) -> Iterator[tuple[Stack, int]]:
        """Return the stacks with their weights."""


class Zond(Profiler):
    """zond itself; counts come from `report --json`, stacks from `export`."""

    name = "zond"
    versions = ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14", "3.15", "3.13t")
    executable = "zond"

    # The peers take no native stacks either, but in their native forms.
    native = False

    def _options(self, rate_hz: int | None, output: Path) -> list[str]:
        rate = ["-r", "max" if rate_hz is None else str(rate_hz)]
        native = ["--native-rate", str(rate_hz) if self.native else "0"]
        return [*rate, *native, "-o", str(output), "--quiet"]

    def launch(self, rate_hz: int, output: Path, script: Sequence[str]) -> list[str]:
        command = [self.executable, "run", *self._options(rate_hz, output), "--"]
        return [*command, *self.interpreter.command(*script)]

    def attach(self, rate_hz: int | None, seconds: float, output: Path, pid: int) -> list[str]:
        return [self.executable, "attach", *self._options(rate_hz, output), "-d", str(seconds), str(pid)]

    def report(self, output: Path) -> dict[str, Any]:
        """Return the object of `report --json`."""
        command = [self.executable, "report", "--json", str(output)]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found: dict[str, Any] = json.loads(printed)
        return found

    def outcome(self, output: Path, said: str) -> Outcome:
        sampling = self.report(output)["sampling"]
        return Outcome(sampling["samples"], sampling["dropped"] + sampling["unreadable"])

    def stacks(self, output: Path) -> Iterator[tuple[Stack, int]]:
        text = output.with_suffix(".collapsed")
        command = [self.executable, "export", "--format", "collapsed", "--lines", "-o", str(text), str(output)]
        subprocess.run(command, check=True)
        return collapsed(text)


class NativeZond(Zond):
    """zond with a native stack at each look."""

    native = True


class PySpy(Profiler):
    """py-spy; it stops the target for every sample, except as `NonblockingPySpy`."""

    name = "py-spy"
    ends_itself = False
    versions = ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14")
    extra: tuple[str, ...] = ()

    def _command(self, rate_hz: int | None, output: Path) -> list[str]:
        options = ["-r", str(rate_hz or UNTHROTTLED_HZ), "-f", "raw", "--full-filenames", "--idle", "-o", str(output)]
        return [str(peer("py-spy").path), "record", *options, *self.extra]

    def launch(self, rate_hz: int, output: Path, script: Sequence[str]) -> list[str]:
        return [*self._command(rate_hz, output), "--", *self.interpreter.command(*script)]

    def attach(self, rate_hz: int | None, seconds: float, output: Path, pid: int) -> list[str]:
        # It counts a duration in samples, and takes as long as it needs for them: only SIGINT ends it in time.
        return [*self._command(rate_hz, output), "-p", str(pid)]

    def outcome(self, output: Path, said: str) -> Outcome:
        found = re.search(r"Samples: (\d+) Errors: (\d+)", said)
        if found is None:
            raise ValueError(f"py-spy said no counts: {said!r}")
        return Outcome(int(found[1]), int(found[2]))

    def stacks(self, output: Path) -> Iterator[tuple[Stack, int]]:
        return collapsed(output)


class NativePySpy(PySpy):
    """py-spy with native stacks."""

    extra = ("--native",)


class NonblockingPySpy(PySpy):
    """py-spy that lets the target run while it reads."""

    name = "py-spy -n-b"
    extra = ("--nonblocking",)


class Austin(Profiler):
    """Austin 4."""

    name = "austin"
    versions = ("3.9", "3.10", "3.11", "3.12", "3.13", "3.14")

    # -2: its time is over and the target still runs.
    good = (0, 254)

    def __init__(self, interpreter: Interpreter) -> None:
        super().__init__(interpreter)
        self.prefix = austin_command()

    def _command(self, rate_hz: int | None, output: Path) -> list[str]:
        interval_us = 1_000_000 // (rate_hz or UNTHROTTLED_HZ)
        return [*self.prefix, "-i", f"{interval_us}us", "-o", str(output)]

    def launch(self, rate_hz: int, output: Path, script: Sequence[str]) -> list[str]:
        return [*self._command(rate_hz, output), *self.interpreter.command(*script)]

    def attach(self, rate_hz: int | None, seconds: float, output: Path, pid: int) -> list[str]:
        return [*self._command(rate_hz, output), "-x", str(math.ceil(seconds)), "-p", str(pid)]

    def outcome(self, output: Path, said: str) -> Outcome:
        found = re.search(r"Error rate[ .]*(\d+)/(\d+)", ANSI.sub("", said))
        if found is None:
            raise ValueError(f"Austin said no counts: {said!r}")
        return Outcome(int(found[2]) - int(found[1]), int(found[1]))

    def stacks(self, output: Path) -> Iterator[tuple[Stack, int]]:
        return mojo(output)


class Sampling(Profiler):
    """CPython's own `profiling.sampling`, in the interpreter that it also profiles."""

    name = "3.15"
    versions = ("3.15",)

    def _command(self, verb: str, rate_hz: int | None, output: Path) -> list[str]:
        options = ["-a", "-r", str(rate_hz or UNTHROTTLED_HZ), "--collapsed", "-o", str(output)]
        return self.interpreter.command("-m", "profiling.sampling", verb, *options)

    def launch(self, rate_hz: int, output: Path, script: Sequence[str]) -> list[str]:
        # It runs a script without the script's folder in sys.path.
        folder = Path(script[0]).parent
        return ["env", f"PYTHONPATH={folder}", *self._command("run", rate_hz, output), *script]

    def attach(self, rate_hz: int | None, seconds: float, output: Path, pid: int) -> list[str]:
        return [*self._command("attach", rate_hz, output), "-d", str(math.ceil(seconds)), str(pid)]

    def outcome(self, output: Path, said: str) -> Outcome:
        taken = re.search(r"Captured ([\d,]+) samples", said)
        if taken is None:
            raise ValueError(f"the sampler said no counts: {said!r}")
        errors = re.search(r"Error rate: ([\d.]+)", said)
        total = int(taken[1].replace(",", ""))
        lost = round(total * float(errors[1]) / 100) if errors else 0
        return Outcome(total - lost, lost)

    def stacks(self, output: Path) -> Iterator[tuple[Stack, int]]:
        return collapsed(output)


class InProcess(Profiler):
    """A profiler that runs inside the program: it cannot attach, and has no process of its own to measure."""

    versions = ("3.11",)
    can_attach = False

    def attach(self, rate_hz: int | None, seconds: float, output: Path, pid: int) -> list[str]:
        raise NotImplementedError(f"{self.name} cannot attach")

    def outcome(self, output: Path, said: str) -> Outcome:
        raise NotImplementedError(f"{self.name} counts no samples")

    def stacks(self, output: Path) -> Iterator[tuple[Stack, int]]:
        raise NotImplementedError(f"{self.name} writes no stacks with lines")


class Pyinstrument(InProcess):
    """pyinstrument; samples the main thread only."""

    name = "pyinstrument"

    def launch(self, rate_hz: int, output: Path, script: Sequence[str]) -> list[str]:
        return [str(peer("pyinstrument").path), "-i", str(1 / rate_hz), "-r", "pyisession", "-o", str(output), *script]


class Scalene(InProcess):
    """scalene, CPU only: its cheapest form."""

    name = "scalene"

    def launch(self, rate_hz: int, output: Path, script: Sequence[str]) -> list[str]:
        path, *arguments = script
        options = ["--cpu-only", "--cpu-sampling-rate", str(1 / rate_hz), "-o", str(output)]
        return [str(peer("scalene").path), "run", *options, path, "---", *arguments]


class Nothing(InProcess):
    """The control: a process that sleeps. What it "costs" is the noise of the measurement."""

    name = "nothing"
    can_attach = True

    def launch(self, rate_hz: int, output: Path, script: Sequence[str]) -> list[str]:
        return self.interpreter.command(*script)

    def attach(self, rate_hz: int | None, seconds: float, output: Path, pid: int) -> list[str]:
        return ["sleep", str(seconds)]

    def outcome(self, output: Path, said: str) -> Outcome:
        return Outcome(0, 0)


NATIVE: tuple[type[Profiler], ...] = (NativeZond, NativePySpy)
PROFILERS: tuple[type[Profiler], ...] = (Zond, Austin, Sampling, PySpy, NonblockingPySpy, Pyinstrument, Scalene)
