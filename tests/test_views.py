"""Every view and export of a recording that `zond run` made of a real program."""

from __future__ import annotations

import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import unicodedata
from fcntl import ioctl
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
ZOND = os.environ.get("ZOND", str(ROOT / "build" / "src" / "cli" / "zond"))

# Two functions that share a second of CPU time three to one, and a thread that waits.
PROGRAM = """\
import threading
import time


def spin(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        sum(range(50))


def long_part():
    spin(0.75)


def short_part():
    spin(0.25)


waiter = threading.Thread(target=time.sleep, args=(0.9,), name="the waiter")
waiter.start()
long_part()
short_part()
waiter.join()
raise SystemExit(3)
"""


def zond(*args: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Runs zond with no terminal and a clean locale."""
    settled = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **env}
    return subprocess.run(
        [ZOND, *map(str, args)],
        capture_output=True,
        encoding="utf-8",
        env=settled,
        stdin=subprocess.DEVNULL,
        check=False,
    )


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("views")
    program = folder / "program.py"
    program.write_text(PROGRAM)
    made = folder / "program.zond"
    done = zond("run", "--python", sys.executable, "-o", made, "--quiet", program)
    assert done.returncode == 3, done.stderr
    assert made.exists()
    return made


@pytest.fixture(scope="module")
def report(recording: Path) -> dict[str, Any]:
    done = zond("report", "--json", recording)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def columns(line: str) -> int:
    wide = {"W": 2, "F": 2}
    return sum(0 if unicodedata.combining(c) else wide.get(unicodedata.east_asian_width(c), 1) for c in line)


@pytest.mark.parametrize("width", [40, 60, 100, 160])
@pytest.mark.parametrize("view", ["report", "calls", "lines"])
@pytest.mark.parametrize("metric", ["wall", "cpu", "gil", "gc"])
def test_text_fits(recording: Path, view: str, width: int, metric: str) -> None:
    done = zond(view, "--width", str(width), "--metric", metric, recording)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert done.stderr == ""
    assert [line for line in done.stdout.splitlines() if columns(line) > width or line != line.rstrip()] == []


@pytest.mark.parametrize(
    ("view", "says"),
    [
        (
            "report",
            ["program.py", "exit 3", "Thread time", "Python ", "waiting", "Functions", "Lines", "Threads", "Missed"],
        ),
        ("report", ["spin", "sum(range(50))", "zond itself", "Next ", "zond lines ", "sampled"]),
        ("calls", ["Sampled", "Callers and callees", "long_part", "short_part", "spin"]),
        ("lines", ["Sampled", "program.py", "while time.thread_time() < end:", "sum(range(50))"]),
    ],
)
def test_text_says(recording: Path, view: str, says: list[str]) -> None:
    text = zond(view, recording).stdout
    assert [words for words in says if words not in text] == []


def test_calls_share_between_callers(recording: Path) -> None:
    """long_part called spin for three quarters of its time."""
    block = re.search(r"^spin  self.*?\n\n", zond("calls", "--metric", "cpu", recording).stdout, re.M | re.S)
    assert block is not None
    shares = {name: float(share) for share, name in re.findall(r"from +([0-9.]+)% .* (\w+_part)", block[0])}
    assert shares["long_part"] == pytest.approx(75, abs=8)
    assert shares["short_part"] == pytest.approx(25, abs=8)


@pytest.mark.parametrize("metric", ["wall", "cpu", "gil"])
def test_states_sum_to_100(recording: Path, metric: str) -> None:
    text = zond("report", "--metric", metric, recording).stdout
    legend = re.search(r"^(?:Thread|CPU) time .*?\n.*?\n(.*?)\n\n", text, re.M | re.S)
    assert legend is not None
    shares = [float(share) for share in re.findall(r"([0-9.]+)%", legend[1])]
    assert sum(shares) == pytest.approx(100, abs=1e-6)


def test_json_is_of_the_contract(report: dict[str, Any]) -> None:
    assert {
        "zond",
        "schema",
        "run",
        "sampling",
        "processes",
        "functions",
        "lines",
        "gc",
        "memory",
        "io",
        "findings",
    } <= set(report)
    assert report["schema"] == 1
    assert report["run"]["exit"] == {"code": 3, "signal": None}
    assert report["run"]["complete"] is True
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", report["run"]["started"])
    assert report["sampling"]["rate_hz"] == pytest.approx(1000)
    pauses = report["sampling"]["pause_us"]
    assert 0 < pauses["p50"] <= pauses["p90"] <= pauses["max"]
    assert report["memory"] is None
    assert report["io"] is None
    assert report["findings"] == []
    assert all(line["exact"] is False and line["hits"] is None for line in report["lines"])
    assert all(function["calls"] is None for function in report["functions"])


def test_json_names_what_ran(report: dict[str, Any]) -> None:
    (process,) = [process for process in report["processes"] if process["python"]]
    assert process["python"].startswith("%d.%d." % sys.version_info[:2])
    assert len({thread["tid"] for thread in process["threads"]}) == 2
    by_name = {function["name"]: function for function in report["functions"]}
    spin = by_name["spin"]
    assert spin["kind"] == "python"
    assert spin["file"].endswith("program.py")
    assert spin["line"] == 5
    assert spin["total_cpu_s"] == pytest.approx(1, abs=0.15)
    by_line = {line["line"]: line["self_cpu_s"] for line in report["lines"] if line["function"] == "spin"}
    assert sum(by_line.values()) == pytest.approx(1, abs=0.15)
    assert by_name["long_part"]["total_cpu_s"] == pytest.approx(0.75, abs=0.1)


def test_self_times_sum_to_thread_time(report: dict[str, Any]) -> None:
    threads = [thread for process in report["processes"] for thread in process["threads"]]
    wall = sum(thread["wall_s"] for thread in threads)
    assert sum(function["self_wall_s"] for function in report["functions"]) <= wall * (1 + 1e-9)
    assert sum(line["self_wall_s"] for line in report["lines"]) <= wall * (1 + 1e-9)
    for thread in threads:
        assert thread["cpu_s"] <= report["run"]["cpu_s"] + 0.05


@pytest.mark.parametrize("view", ["calls", "lines"])
def test_json_is_the_same_in_every_view(recording: Path, report: dict[str, Any], view: str) -> None:
    assert json.loads(zond(view, "--json", recording).stdout) == report


def test_filters(recording: Path, report: dict[str, Any]) -> None:
    thread = next(t for p in report["processes"] for t in p["threads"] if t["cpu_s"] > 0.5)
    one = json.loads(zond("report", "--json", "--tid", str(thread["tid"]), recording).stdout)
    assert [t["tid"] for p in one["processes"] for t in p["threads"]] == [thread["tid"]]
    nothing = zond("report", "--pid", "1", recording)
    assert nothing.returncode == 0
    assert "none of the process or thread that was asked for" in nothing.stdout


def test_collapsed(recording: Path, report: dict[str, Any]) -> None:
    lines = zond("export", "--format", "collapsed", "--metric", "cpu", recording).stdout.splitlines()
    weights = {stack: int(weight) for stack, weight in (line.rsplit(" ", 1) for line in lines)}
    assert len(weights) == len(lines)
    cpu = sum(thread["cpu_s"] for process in report["processes"] for thread in process["threads"])
    assert sum(weights.values()) == pytest.approx(cpu * 1e6, rel=1e-6)
    through_long = sum(weight for stack, weight in weights.items() if ";long_part (" in stack and ";spin (" in stack)
    assert through_long == pytest.approx(750_000, abs=100_000)


# Of https://www.speedscope.app/file-format-schema.json: what a file of sampled profiles must hold.
FRAME: dict[str, type | tuple[type, ...]] = {"name": str, "file": (str, type(None)), "line": (int, type(None))}


def test_speedscope(recording: Path, tmp_path: Path, report: dict[str, Any]) -> None:
    out = tmp_path / "out.speedscope.json"
    done = zond("export", "--format", "speedscope", "-o", out, recording)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    root = json.loads(out.read_text())
    assert root["$schema"] == "https://www.speedscope.app/file-format-schema.json"
    frames = root["shared"]["frames"]
    for frame in frames:
        assert set(frame) <= {"name", "file", "line", "col"}
        assert all(isinstance(frame.get(key), kind) for key, kind in FRAME.items())
    assert len(root["profiles"]) == sum(len(process["threads"]) for process in report["processes"])
    for profile in root["profiles"]:
        assert set(profile) == {"type", "name", "unit", "startValue", "endValue", "samples", "weights"}
        assert (profile["type"], profile["unit"]) == ("sampled", "nanoseconds")
        assert len(profile["samples"]) == len(profile["weights"])
        assert sum(profile["weights"]) == profile["endValue"] - profile["startValue"]
        assert all(0 <= frame < len(frames) for stack in profile["samples"] for frame in stack)
    stacks = [[frames[i]["name"] for i in stack] for stack in root["profiles"][0]["samples"]]
    assert any(stack[-2:] == ["long_part", "spin"] for stack in stacks)


@pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
def test_cut_recording(recording: Path, tmp_path: Path, part: float) -> None:
    whole = recording.read_bytes()
    cut = tmp_path / "cut.zond"
    cut.write_bytes(whole[: int(len(whole) * part)])
    done = zond("report", cut)
    assert done.returncode == 0, done.stderr
    assert "Incomplete: " in done.stdout
    assert json.loads(zond("report", "--json", cut).stdout)["run"]["complete"] is False


def test_view_records_a_command_first(tmp_path: Path) -> None:
    made = tmp_path / "made.zond"
    code = "sum(i * i for i in range(3_000_000))"
    done = zond("report", "--json", "--python", sys.executable, "-o", made, "-c", code)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["run"]["command"][-1] == code
    assert str(made) in done.stderr


def test_terminal(recording: Path) -> None:
    """On a terminal: its width, and colour; NO_COLOR takes the colour away."""
    for env, colour in (({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False)):
        text = on_terminal([ZOND, "report", str(recording)], 72, {"LC_ALL": "C.UTF-8", **env})
        assert ("\033[" in text) == colour
        plain = re.sub(r"\033\[[0-9;]*m", "", text)
        assert 66 <= max(columns(line) for line in plain.splitlines()) <= 72
        assert "\033" not in plain


def on_terminal(command: list[str], width: int, env: dict[str, str]) -> str:
    """What the command prints on a terminal of that width."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env):
        os.close(theirs)
        text = b""
        try:
            while chunk := os.read(ours, 65536):
                text += chunk
        except OSError:  # EIO: the other end is closed
            pass
    os.close(ours)
    return text.decode().replace("\r\n", "\n")


@pytest.mark.parametrize(
    ("args", "status", "says"),
    [
        ([], 2, "Usage: zond VERB"),
        (["rnu", "x"], 2, "did you mean 'run'?"),
        (["--metric", "cpu"], 2, "the verb comes before the options"),
        (["report"], 2, "it needs a recording, or a command"),
        (["report", "--widht", "9", "x"], 2, "did you mean '--width'?"),
        (["report", "--format", "x"], 2, "it takes no option '--format'"),
        (["report", "--metric", "heat", "x"], 2, "--metric takes one of wall, cpu, gil, gc, not 'heat'"),
        (["report", "--rate", "-3", "x"], 2, "--rate takes a number above 0 or 'max', not '-3'"),
        (["report", "-n"], 2, "--limit needs N"),
        (["report", "-n", "0", "x"], 2, "--limit takes a whole number above 0, not '0'"),
        (["report", "--json=yes", "x"], 2, "--json takes no value"),
        (["report", "-qZ", "x"], 2, "there is no option '-Z'"),
        (["report", "--json", "--per-process", "x.zond"], 2, "--json prints one object"),
        (["report", "missing.zond"], 125, "cannot read missing.zond: No such file or directory"),
        (
            ["export", "x.zond"],
            2,
            "it needs --format: one of collapsed, speedscope, pprof, otlp, gecko, perfetto, pstats, csv, arrow",
        ),
        (["run", "-c"], 2, "-c needs CODE"),
    ],
)
def test_wrong_use(args: list[str], status: int, says: str) -> None:
    done = zond(*args)
    assert (done.returncode, done.stdout) == (status, "")
    assert says in done.stderr


def test_wrong_use_with_a_recording(recording: Path, tmp_path: Path) -> None:
    twice = zond("report", recording, "more")
    assert (twice.returncode, "it takes one recording" in twice.stderr) == (2, True)
    rate = zond("report", "--rate", "5", recording)
    assert (rate.returncode, "--rate is for recording" in rate.stderr) == (2, True)
    other = tmp_path / "other.zond"
    other.write_text("not a recording, but longer than its header")
    damaged = zond("report", other)
    assert (damaged.returncode, "is not a zond recording" in damaged.stderr) == (125, True)


@pytest.mark.parametrize("verb", ["run", "attach", "report", "calls", "lines", "export", "doctor"])
def test_help(verb: str) -> None:
    long, word = zond(verb, "--help"), zond("help", verb)
    assert (long.returncode, word.returncode) == (0, 0)
    assert long.stdout == word.stdout
    assert f"Usage: zond {verb}" in long.stdout
    assert f"Examples:\n  zond {verb}" in long.stdout
    assert max(map(len, long.stdout.splitlines())) <= 100


def test_version() -> None:
    done = zond("--version")
    assert (done.returncode, done.stdout[:5]) == (0, "zond ")
