"""Every export of one real recording, read back with the format's own reader, against `zond report --json`."""

from __future__ import annotations

import io
import json
import os
import pstats
import pty
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import polars
import pyarrow
import pytest
import snakeviz.stats
from readers import (
    READERS,
    Frame,
    Sample,
    arrow_table,
    csv_rows,
    gecko_profile,
    need,
    otlp_data,
    otlp_value,
    perfetto_packets,
    pprof_profile,
    pstats_table,
    speedscope_import,
)

ROOT = Path(__file__).resolve().parent.parent.parent
ZOND = os.environ.get("ZOND", str(ROOT / "build" / "src" / "cli" / "zond"))
ODD = Path(__file__).resolve().parent / "odd.py"

METRICS = {"wall": "wall_s", "cpu": "cpu_s", "gil": "gil_held_s", "gc": "gc_s"}
BINARY = ["pprof", "pstats", "perfetto", "otlp", "arrow"]

# The line of `def spin` in odd.py.
SPIN = 1 + ODD.read_text().splitlines().index("def spin(seconds: float) -> None:")

# Formats that keep frames but no threads.
NO_THREADS = {"collapsed", "pstats"}


def zond(*args: str | Path) -> bytes:
    done = subprocess.run([ZOND, *map(str, args)], capture_output=True, stdin=subprocess.DEVNULL, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout


def record(folder: Path, *options: str) -> Path:
    made = folder / "odd.zond"
    command = [ZOND, "run", "--quiet", *options, "--python", sys.executable, "-o", str(made), str(ODD)]
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 0, done.stderr
    return made


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("exports"))


@pytest.fixture(scope="module")
def python_only(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("python"), "--native-rate", "0")


def report_of(recording: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(zond("report", "--json", recording))
    return found


@pytest.fixture(scope="module")
def report(recording: Path) -> dict[str, Any]:
    return report_of(recording)


def threads(report: dict[str, Any]) -> Iterable[tuple[dict[str, Any], dict[str, Any]]]:
    return ((process, thread) for process in report["processes"] for thread in process["threads"])


def exported(recording: Path, folder: Path, name: str, *options: str) -> list[Sample]:
    out = folder / f"export.{name}"
    assert zond("export", "--format", name, *options, "-o", out, recording) == b""
    return READERS[name](out)


@pytest.fixture(scope="module")
def functions(report: dict[str, Any]) -> set[Frame]:
    return {Frame(f["name"], f["file"] or "", f["line"] or 0) for f in report["functions"]}


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("name", READERS)
def test_sum_is_that_of_the_report(
    recording: Path, report: dict[str, Any], tmp_path: Path, name: str, metric: str
) -> None:
    samples = exported(recording, tmp_path, name, "--metric", metric)
    total = sum(float(thread[METRICS[metric]]) for _, thread in threads(report))
    assert total > 0
    assert sum(sample.ns for sample in samples) / 1e9 == pytest.approx(total, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("name", sorted(READERS.keys() - NO_THREADS))
def test_time_of_each_thread(recording: Path, report: dict[str, Any], tmp_path: Path, name: str) -> None:
    found: Counter[tuple[int | None, int | None, str | None]] = Counter()
    for sample in exported(recording, tmp_path, name):
        found[sample.pid, sample.tid, sample.thread] += sample.ns / 1e9  # type: ignore[assignment]
    expected = {(p["pid"], t["tid"], t["name"]): t["wall_s"] for p, t in threads(report) if t["wall_s"]}
    assert found == pytest.approx(expected, abs=1e-6)
    assert len({pid for pid, _, _ in found}) == 2
    assert len(found) == 3


@pytest.mark.parametrize("name", sorted(READERS.keys() - {"collapsed"}))
@pytest.mark.parametrize("metric", ["wall", "cpu"])
def test_own_time_of_each_function(
    recording: Path, report: dict[str, Any], tmp_path: Path, name: str, metric: str
) -> None:
    found: Counter[Frame] = Counter()
    for sample in exported(recording, tmp_path, name, "--metric", metric):
        found[sample.stack[-1]] += sample.ns / 1e9  # type: ignore[assignment]
    expected: Counter[Frame] = Counter()
    for f in report["functions"]:
        expected[Frame(f["name"], f["file"] or "", f["line"] or 0)] += f[f"self_{metric}_s"]
    without = found.pop(Frame("(no Python)", "", 0), 0)
    assert without >= 0
    assert {frame: s for frame, s in found.items() if s} == pytest.approx(
        {frame: s for frame, s in expected.items() if s}, abs=1e-6
    )


@pytest.mark.parametrize("name", sorted(READERS.keys() - {"collapsed"}))
def test_lines_are_those_that_ran(python_only: Path, tmp_path: Path, name: str) -> None:
    """Without native frames, whose time some formats cannot give to the line that called them."""
    found: Counter[Frame] = Counter()
    for sample in exported(python_only, tmp_path, name, "--lines"):
        found[sample.stack[-1]] += sample.ns / 1e9  # type: ignore[assignment]
    expected: Counter[Frame] = Counter()
    for line in report_of(python_only)["lines"]:
        expected[Frame(line["function"], line["file"] or "", line["line"] or 0)] += line["self_wall_s"]
    del found[Frame("(no Python)", "", 0)]
    assert found == pytest.approx({frame: s for frame, s in expected.items() if s}, abs=1e-6)
    spun = {frame.line for frame in found if frame.name == "spin"}
    body = range(SPIN + 1, SPIN + 4)
    assert spun <= {SPIN, *body}
    assert body[-1] in spun


@pytest.mark.parametrize("name", sorted(READERS.keys() - NO_THREADS))
def test_thread_alone(recording: Path, report: dict[str, Any], tmp_path: Path, name: str) -> None:
    _, thread = next((p, t) for p, t in threads(report) if t["name"].startswith("other"))
    samples = exported(recording, tmp_path, name, "--tid", str(thread["tid"]))
    assert {sample.thread for sample in samples} == {thread["name"]}
    assert sum(sample.ns for sample in samples) / 1e9 == pytest.approx(thread["wall_s"], abs=1e-6)


@pytest.mark.parametrize("name", sorted(READERS))
def test_nothing_to_export(recording: Path, tmp_path: Path, name: str) -> None:
    assert exported(recording, tmp_path, name, "--pid", "1") == []


@pytest.mark.parametrize("name", sorted(READERS))
def test_standard_output_is_the_same(recording: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    zond("export", "--format", name, "-o", out, recording)
    assert zond("export", "--format", name, recording) == out.read_bytes()


@pytest.mark.parametrize("name", sorted(READERS))
def test_full_disk(recording: Path, name: str) -> None:
    with Path("/dev/full").open("wb") as full:
        command = [ZOND, "export", "--format", name, str(recording)]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 125
    assert b"cannot export" in done.stderr


@pytest.mark.parametrize("name", BINARY)
def test_no_binary_on_a_terminal(recording: Path, name: str) -> None:
    ours, theirs = pty.openpty()
    command = [ZOND, "export", "--format", name, str(recording)]
    done = subprocess.run(command, stdout=theirs, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, check=False)
    os.set_blocking(ours, False)
    with pytest.raises(BlockingIOError):
        os.read(ours, 1)
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 2
    assert b"give -o FILE, or send it to a file or pipe" in done.stderr


def test_pprof_says_what_it_holds(recording: Path, tmp_path: Path) -> None:
    out = tmp_path / "cpu.pb.gz"
    zond("export", "--format", "pprof", "--metric", "cpu", "-o", out, recording)
    profile = pprof_profile(out)
    text = profile.string_table
    types = [(text[kind.type], text[kind.unit]) for kind in profile.sample_type]
    assert types == [("samples", "count"), ("cpu", "nanoseconds")]
    assert text[profile.default_sample_type] == "cpu"
    assert profile.period == 1_000_000
    assert profile.duration_nanos > 0


def test_pprof_opens_it(recording: Path, report: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "wall.pb.gz"
    zond("export", "--format", "pprof", "-o", out, recording)
    command = [need("go"), "tool", "pprof", "-top", "-unit=ms", "-nodefraction=0", "-nodecount=1000", str(out)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
    rows = [line.split(maxsplit=5) for line in done.stdout.splitlines() if "%" in line and "ms" in line.split()[0]]
    own = {row[5]: float(row[0].removesuffix("ms")) for row in rows}
    spin = sum(f["self_wall_s"] for f in report["functions"] if f["name"] == "spin")
    assert own["spin"] == pytest.approx(spin * 1e3, abs=0.01)


def totals(report: dict[str, Any]) -> dict[Frame, float]:
    found: Counter[Frame] = Counter()
    for f in report["functions"]:
        found[Frame(f["name"], f["file"] or "", f["line"] or 0)] += f["total_wall_s"]
    return dict(found)


def test_csv_has_the_total_time(recording: Path, report: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    zond("export", "--format", "csv", "-o", out, recording)
    found: Counter[Frame] = Counter()
    for row in csv_rows(out):
        found[Frame(row["function"], row["file"], int(row["line"] or 0))] += float(row["total_s"])  # type: ignore[assignment]
        assert int(row["samples"]) > 0
    del found[Frame("(no Python)", "", 0)]
    assert found == pytest.approx(totals(report), abs=1e-6)


def test_pstats_has_total_time_and_callers(recording: Path, report: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "out.pstats"
    zond("export", "--format", "pstats", "-o", out, recording)
    table = pstats_table(out)
    found = {Frame(key[2], key[0].replace("~", ""), key[1]): row[3] for key, row in table.items()}
    found.pop(Frame("(no Python)", "", 0), None)
    assert set(found) == set(totals(report))
    assert found == pytest.approx(totals(report), abs=1e-6)
    (spin,) = (row for key, row in table.items() if key[2] == "spin")
    (recurse,) = (row for key, row in table.items() if key[2] == "recurse")
    callers = {key[2]: row for key, row in spin[4].items()}
    assert sum(row[2] for row in callers.values()) == pytest.approx(spin[2], abs=0.02)
    assert recurse[2] + callers["recurse"][3] == pytest.approx(recurse[3], abs=1e-6)
    assert {key[2] for key in recurse[4]} == {"main", "recurse"}
    assert (
        0 < spin[0] <= sum(process["threads"] != [] for process in report["processes"]) * report["sampling"]["samples"]
    )


def test_pstats_and_snakeviz_show_it(recording: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.pstats"
    zond("export", "--format", "pstats", "-o", out, recording)
    text = io.StringIO()
    stats = pstats.Stats(str(out), stream=text)
    stats.sort_stats("tottime").print_stats()
    stats.print_callers("spin")
    assert f"{ODD}:{SPIN}(spin)" in text.getvalue()
    rows = snakeviz.stats.table_rows(stats)
    assert any(row[-1][0] == "recurse" or "recurse" in str(row) for row in rows)
    names = {call["display_name"] for call in snakeviz.stats.json_stats(stats).values()}
    assert any("spin" in name for name in names)


@pytest.mark.parametrize(("name", "unit_ns"), [("collapsed", 1e3), ("pprof", 1)])
def test_speedscope_imports_other_formats(
    recording: Path, report: dict[str, Any], tmp_path: Path, name: str, unit_ns: float
) -> None:
    out = tmp_path / f"out.{name}"
    zond("export", "--format", name, "-o", out, recording)
    (profile,) = speedscope_import(out)
    total = sum(float(thread["wall_s"]) for _, thread in threads(report))
    assert profile["total"] * unit_ns / 1e9 == pytest.approx(total, abs=1e-6)


def test_gecko_keeps_the_order_of_time(recording: Path, report: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    zond("export", "--format", "gecko", "-o", out, recording)
    profile = gecko_profile(out)
    for thread in profile["threads"]:
        samples = thread["samples"]
        end = sum(samples["timeDeltas"]) + samples["weight"][-1]
        assert end - samples["timeDeltas"][0] == pytest.approx(sum(samples["weight"]))
        assert end <= report["run"]["wall_s"] * 1e3 + 1
    assert [thread["isMainThread"] for thread in profile["threads"]].count(True) == 2
    assert b"</script>" not in out.read_bytes()


def test_perfetto_has_clock_metric_and_processes(recording: Path, report: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "out.perfetto"
    zond("export", "--format", "perfetto", "--metric", "cpu", "-o", out, recording)
    packets = perfetto_packets(out)
    clocks = packets[0].clock_snapshot
    assert [clock.clock_id for clock in clocks.clocks] == [3, 1]
    assert clocks.primary_trace_clock == 3
    defaults = packets[1].trace_packet_defaults
    assert defaults.timestamp_clock_id == 3
    assert (defaults.stack_sample_defaults.source, defaults.stack_sample_defaults.primary_descriptor.name) == (
        "zond",
        "cpu",
    )
    found = {
        packet.track_descriptor.process.pid: list(packet.track_descriptor.process.cmdline)
        for packet in packets
        if packet.track_descriptor.HasField("process")
    }
    assert found == {process["pid"]: process["command"] for process in report["processes"] if process["threads"]}
    started = clocks.clocks[0].timestamp
    times = [packet.timestamp - started for packet in packets if packet.HasField("stack_sample")]
    assert min(times) >= 0
    assert max(times) <= report["run"]["wall_s"] * 1e9


def test_otlp_says_whose_profile_it_is(recording: Path, report: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "out.otlp"
    zond("export", "--format", "otlp", "--metric", "cpu", "-o", out, recording)
    data = otlp_data(out)
    text = data.dictionary.string_table
    found = {}
    for resource in data.resource_profiles:
        about = {one.key: otlp_value(one.value) for one in resource.resource.attributes}
        found[about["process.pid"]] = (about["process.command_args"], about["process.runtime.version"])
        (scope,) = resource.scope_profiles
        (profile,) = scope.profiles
        assert scope.scope.name == "zond"
        assert text[profile.sample_type.type_strindex] == "cpu"
        assert text[profile.sample_type.unit_strindex] == "nanoseconds"
        assert profile.period == 1_000_000
        assert profile.duration_nano > 0
    assert found == {p["pid"]: (p["command"], p["python"]) for p in report["processes"] if p["threads"]}
    kinds = {
        otlp_value(one.value)
        for one in data.dictionary.attribute_table
        if text[one.key_strindex] == "profile.frame.type"
    }
    assert kinds == {"cpython"}


def test_arrow_is_one_table_of_all(recording: Path, report: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "out.arrow"
    zond("export", "--format", "arrow", "--metric", "cpu", "-o", out, recording)
    table = arrow_table(out)
    assert table.schema.metadata[b"zond.metric"] == b"cpu"
    texts = {field.name for field in table.schema if pyarrow.types.is_dictionary(field.type)}
    assert texts == {"command", "thread", "function", "file", "stack"}
    assert {row["pid"]: row["command"] for row in table.to_pylist()} == {
        p["pid"]: " ".join(p["command"]) for p in report["processes"] if p["threads"]
    }
    started = min(row["time"] for row in table.to_pylist())
    assert abs(started.timestamp() - datetime.fromisoformat(report["run"]["started"]).timestamp()) < 60


def test_polars_and_duckdb_query_it(recording: Path, report: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "out.arrow"
    zond("export", "--format", "arrow", "-o", out, recording)
    spin = sum(f["self_wall_s"] for f in report["functions"] if f["name"] == "spin")
    lazy = polars.scan_ipc(out).filter(polars.col("function") == "spin").select(polars.col("weight_ns").sum())
    assert lazy.collect().item() / 1e9 == pytest.approx(spin, abs=1e-6)
    connection = duckdb.connect()
    connection.register("samples", arrow_table(out))
    query = "select sum(weight_ns) / 1e9 from samples where function = 'spin' and stack like '%;spin (%'"
    assert connection.sql(query).fetchall() == [(pytest.approx(spin, abs=1e-6),)]
