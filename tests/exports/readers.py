"""What each format's own reader finds in an export, brought to one form."""

from __future__ import annotations

import csv
import gzip
import json
import os
import pstats
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import matrix
import pyarrow
import pyarrow.feather
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from opentelemetry.proto.profiles.v1development import profiles_pb2
from perfetto.protos.perfetto.trace import perfetto_trace_pb2

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Frame:
    name: str
    file: str
    line: int


@dataclass(frozen=True)
class Sample:
    """Time in one stack, the outermost frame first. What a format does not keep is None."""

    ns: float
    stack: tuple[Frame, ...]
    pid: int | None = None
    tid: int | None = None
    thread: str | None = None


def missing(message: str) -> NoReturn:
    """Skips a test aloud (in CI: fails it)."""
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


def need(program: str) -> str:
    """The path of a reader that a test cannot do without."""
    found = shutil.which(program)
    return found or missing(f"no `{program}` here: `./dev test` installs what Debian and Ubuntu have")


def collapsed(path: Path) -> list[Sample]:
    found = []
    for line in path.read_bytes().decode("utf-8", "replace").splitlines():
        stack, weight = line.rsplit(" ", 1)
        found.append(Sample(int(weight) * 1e3, tuple(map(_collapsed_frame, stack.split(";")))))
    return found


def _collapsed_frame(text: str) -> Frame:
    match = re.fullmatch(r"(.*) \((.*):(\d+)\)", text)
    return Frame(match[1], match[2], int(match[3])) if match else Frame(text, "", 0)


@cache
def _pprof_schema() -> Callable[[], Any]:
    """The message Profile of the published profile.proto."""
    protoc = need("protoc")
    made = subprocess.run(
        [protoc, f"--proto_path={HERE}", "--descriptor_set_out=/dev/stdout", "profile.proto"],
        capture_output=True,
        check=True,
    )
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(made.stdout).file:
        pool.Add(file)
    found: Callable[[], Any] = message_factory.GetMessageClass(pool.FindMessageTypeByName("perftools.profiles.Profile"))
    return found


def pprof_profile(path: Path) -> Any:
    profile = _pprof_schema()()
    profile.ParseFromString(gzip.decompress(path.read_bytes()))
    return profile


def pprof(path: Path) -> list[Sample]:
    profile = pprof_profile(path)
    text = profile.string_table
    assert text[0] == ""
    functions = {function.id: function for function in profile.function}
    locations = {}
    for location in profile.location:
        (line,) = location.line
        function = functions[line.function_id]
        locations[location.id] = Frame(text[function.name], text[function.filename], line.line)
    assert 0 not in functions
    assert 0 not in locations
    assert len(functions) == len(profile.function)
    assert len(locations) == len(profile.location)
    found = []
    for sample in profile.sample:
        labels = {text[label.key]: text[label.str] for label in sample.label}
        looks, ns = sample.value
        assert looks > 0
        found.append(
            Sample(
                ns,
                tuple(locations[i] for i in reversed(sample.location_id)),
                int(labels["pid"]),
                int(labels["tid"]),
                labels["thread"],
            )
        )
    return found


def csv_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def csv_table(path: Path) -> list[Sample]:
    return [
        Sample(
            float(row["self_s"]) * 1e9,
            (Frame(row["function"], row["file"], int(row["line"] or 0)),),
            int(row["pid"]),
            int(row["tid"]),
            row["thread"],
        )
        for row in csv_rows(path)
        if float(row["self_s"])
    ]


def pstats_table(path: Path) -> Any:
    """(file, line, name) -> (calls, calls, own, total, callers), as the standard library has loaded it."""
    return vars(pstats.Stats(str(path)))["stats"] if path.stat().st_size > 2 else {}


def pstats_own(path: Path) -> list[Sample]:
    return [
        Sample(own * 1e9, (Frame(name, "" if file == "~" else file, line),))
        for (file, line, name), (_, _, own, _, _) in pstats_table(path).items()
        if own
    ]


def _table(table: dict[str, Any], *columns: str) -> dict[str, Any]:
    """A table of the processed format: these columns, all of one length."""
    assert set(table) == {*columns, "length"}
    assert {len(table[column]) for column in columns} == {table["length"]}
    return table


def gecko_profile(path: Path) -> dict[str, Any]:
    """The file, checked against the processed profile format, version 60."""
    profile: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    assert profile["meta"]["preprocessedProfileVersion"] == 60
    assert any(category["color"] == "grey" for category in profile["meta"]["categories"])
    assert all(category["subcategories"] for category in profile["meta"]["categories"])
    assert profile["libs"] == []
    shared = profile["shared"]
    stacks = _table(shared["stackTable"], "frame", "prefix")
    frames = _table(
        shared["frameTable"],
        *(
            "address",
            "inlineDepth",
            "category",
            "subcategory",
            "func",
            "nativeSymbol",
            "innerWindowID",
            "line",
            "column",
        ),
    )
    funcs = _table(
        shared["funcTable"], "name", "isJS", "relevantForJS", "resource", "source", "lineNumber", "columnNumber"
    )
    sources = _table(shared["sources"], "uuid", "filename")
    _table(shared["resourceTable"], "lib", "name", "host", "type")
    _table(shared["nativeSymbols"], "libIndex", "address", "name", "functionSize")
    assert all(prefix is None or prefix < i for i, prefix in enumerate(stacks["prefix"]))
    assert all(frame < frames["length"] for frame in stacks["frame"])
    assert all(func < funcs["length"] for func in frames["func"])
    assert all(category < len(profile["meta"]["categories"]) for category in frames["category"])
    assert all(source is None or source < sources["length"] for source in funcs["source"])
    assert all(name < len(shared["stringArray"]) for name in (*funcs["name"], *sources["filename"]))
    return profile


def gecko(path: Path) -> list[Sample]:
    profile = gecko_profile(path)
    shared = profile["shared"]
    text, stacks, frames, funcs = (shared[key] for key in ("stringArray", "stackTable", "frameTable", "funcTable"))

    def frame_of(frame: int) -> Frame:
        func = frames["func"][frame]
        source = funcs["source"][func]
        file = "" if source is None else text[shared["sources"]["filename"][source]]
        return Frame(text[funcs["name"][func]], file, frames["line"][frame] or 0)

    paths: list[tuple[Frame, ...]] = []
    for frame, prefix in zip(stacks["frame"], stacks["prefix"], strict=True):
        paths.append((*(() if prefix is None else paths[prefix]), frame_of(frame)))
    found = []
    for thread in profile["threads"]:
        samples = thread["samples"]
        assert samples["weightType"] == "tracing-ms"
        assert {len(samples[column]) for column in ("stack", "timeDeltas", "weight")} == {samples["length"]}
        assert min(samples["timeDeltas"]) >= 0
        for stack, weight in zip(samples["stack"], samples["weight"], strict=True):
            found.append(Sample(weight * 1e6, paths[stack], int(thread["pid"]), thread["tid"], thread["name"]))
    return found


def perfetto_packets(path: Path) -> list[Any]:
    trace = perfetto_trace_pb2.Trace()
    trace.ParseFromString(path.read_bytes())
    return list(trace.packet)


def perfetto(path: Path) -> list[Sample]:
    """Follows the packets as an importer does: what is interned must have come before its use."""
    found = []
    names: dict[int, str] = {}
    files: dict[int, str] = {0: ""}
    frames: dict[int, Frame] = {}
    stacks: dict[int, tuple[Frame, ...]] = {}
    tasks: dict[int, tuple[int, int]] = {}
    mappings: set[int] = set()
    threads: dict[tuple[int, int], str] = {}
    cleared = False
    for packet in perfetto_packets(path):
        assert packet.trusted_packet_sequence_id == 1
        cleared |= bool(packet.sequence_flags & packet.SEQ_INCREMENTAL_STATE_CLEARED)
        thread = packet.track_descriptor.thread
        if thread.tid:
            threads[thread.pid, thread.tid] = thread.thread_name
        interned = packet.interned_data
        names |= {name.iid: name.str.decode() for name in interned.function_names}
        files |= {source.iid: source.str.decode() for source in interned.source_paths}
        tasks |= {task.iid: (task.pid, task.tid) for task in interned.stack_sample_task_contexts}
        mappings |= {mapping.iid for mapping in interned.mappings}
        for frame in interned.frames:
            assert frame.mapping_id in mappings
            frames[frame.iid] = Frame(names[frame.function_name_id], files[frame.source_path_iid], frame.line_number)
        for stack in interned.callstacks:
            stacks[stack.iid] = tuple(frames[frame] for frame in stack.frame_ids)
        if packet.HasField("stack_sample"):
            sample = packet.stack_sample
            assert cleared
            assert packet.sequence_flags == packet.SEQ_NEEDS_INCREMENTAL_STATE
            assert packet.timestamp
            pid, tid = tasks[sample.task_context_iid]
            found.append(Sample(sample.primary_weight, stacks[sample.callstack_iid], pid, tid, threads[pid, tid]))
    assert 0 not in names.keys() | frames.keys() | stacks.keys() | tasks.keys() | mappings
    return found


def otlp_data(path: Path) -> Any:
    """The message, checked for what the specification asks of a dictionary."""
    data = profiles_pb2.ProfilesData()
    data.ParseFromString(path.read_bytes())
    dictionary = data.dictionary
    assert dictionary.string_table[0] == ""
    for table, zero in (
        (dictionary.mapping_table, profiles_pb2.Mapping()),
        (dictionary.location_table, profiles_pb2.Location()),
        (dictionary.function_table, profiles_pb2.Function()),
        (dictionary.link_table, profiles_pb2.Link()),
        (dictionary.stack_table, profiles_pb2.Stack()),
    ):
        assert table[0] == zero
    assert dictionary.attribute_table[0].key_strindex == 0
    for rows in (
        list(dictionary.string_table),
        [str(one) for one in dictionary.attribute_table],
        [str(one) for one in dictionary.stack_table],
    ):
        assert len(set(rows)) == len(rows)
    return data


def otlp_value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    return [otlp_value(one) for one in value.array_value.values] if kind == "array_value" else getattr(value, kind)


def otlp(path: Path) -> list[Sample]:
    data = otlp_data(path)
    dictionary = data.dictionary
    text = dictionary.string_table

    def attributes(indices: Iterable[int]) -> dict[str, Any]:
        assert 0 not in indices
        found = (dictionary.attribute_table[i] for i in indices)
        return {text[one.key_strindex]: otlp_value(one.value) for one in found}

    def frame_of(index: int) -> Frame:
        assert index
        (line,) = dictionary.location_table[index].lines
        function = dictionary.function_table[line.function_index]
        return Frame(text[function.name_strindex], text[function.filename_strindex], line.line)

    found = []
    for resource in data.resource_profiles:
        about = {one.key: otlp_value(one.value) for one in resource.resource.attributes}
        ((profile,),) = (scope.profiles for scope in resource.scope_profiles)
        for sample in profile.samples:
            thread = attributes(sample.attribute_indices)
            (ns,) = sample.values
            stack = dictionary.stack_table[sample.stack_index].location_indices
            frames = tuple(frame_of(index) for index in reversed(stack))
            found.append(Sample(ns, frames, about["process.pid"], thread["thread.id"], thread["thread.name"]))
    return found


def arrow_table(path: Path) -> pyarrow.Table:
    table = pyarrow.feather.read_table(path)
    table.validate(full=True)
    return table


def arrow(path: Path) -> list[Sample]:
    found = []
    for row in arrow_table(path).to_pylist():
        stack = tuple(map(_collapsed_frame, row["stack"].split(";")))
        leaf = Frame(row["function"], row["file"] or "", row["line"] or 0)
        found.append(Sample(row["weight_ns"], (*stack[:-1], leaf), row["pid"], row["tid"], row["thread"]))
    return found


def speedscope_import(path: Path) -> list[dict[str, Any]]:
    """The profiles that speedscope's own importer makes of a file, in any format that it knows."""
    folder = Path(os.environ.get("ZOND_NPM") or matrix.cache_dir() / "npm" / "node_modules") / "speedscope"
    node = need("node")
    if not folder.exists():
        missing("no npm package speedscope here: `./dev test` installs it where there is an npm")
    done = subprocess.run([node, HERE / "speedscope.cjs", folder, path], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def speedscope(path: Path) -> list[Sample]:
    """Own times by the importer, which sums them over equal frames."""
    found = []
    for profile in speedscope_import(path):
        assert profile["unit"] == "nanoseconds"
        match = re.fullmatch(r"(.*) \(process (\d+), thread (\d+)\)", profile["name"], re.DOTALL)
        assert match
        for frame in profile["frames"]:
            stack = (Frame(frame["name"], frame["file"], frame["line"]),)
            if frame["own"]:
                found.append(Sample(frame["own"], stack, int(match[2]), int(match[3]), match[1]))
    return found


READERS: dict[str, Callable[[Path], list[Sample]]] = {
    "collapsed": collapsed,
    "speedscope": speedscope,
    "pprof": pprof,
    "csv": csv_table,
    "pstats": pstats_own,
    "otlp": otlp,
    "gecko": gecko,
    "perfetto": perfetto,
    "arrow": arrow,
}
