"""What each format's own reader finds in an export, brought to one form."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

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


def need(program: str) -> str:
    """The path of a reader; a test without it is skipped aloud (in CI: failed)."""
    found = shutil.which(program)
    if found is None:
        message = f"no `{program}` here: `./dev test` installs it on Debian and Ubuntu"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return found


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


READERS: dict[str, Callable[[Path], list[Sample]]] = {"collapsed": collapsed, "pprof": pprof}
