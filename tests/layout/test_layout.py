"""What src/python/layout.c and opcodes.c say, against the headers and the processes of real interpreters."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from layout import tools
from matrix import VERSIONS, Interpreter

HERE = Path(__file__).parent

# Fields of our own making, which no header has; the walker's tests cover the kinds.
OURS_ONLY = {"frame_kind", "lines_kind", "instance_kind", "generator.awaited_slot", "code.size", "frame.size"}
OURS_ONLY |= {"tstate.size", "interp.size", "limit.tstate", "limit.frame", "limit.code"}
HEADERS_ONLY = {"version_hex", "debug_offsets"}

# These are the same in every version that has them: a version without them has nothing to compare.
CONSTANTS = ("bit.", "state.", "chunk.", "kind.", "flag.")


@pytest.fixture(params=VERSIONS)
def interpreter(request: pytest.FixtureRequest) -> Interpreter:
    return tools.interpreter_with_headers(request.param)


def differences(ours: dict[str, str], headers: dict[str, str]) -> dict[str, tuple[str | None, str | None]]:
    return {
        key: (headers.get(key), ours.get(key))
        for key in (headers.keys() | ours.keys()) - OURS_ONLY - HEADERS_ONLY
        if headers.get(key) != ours.get(key) and not (key.startswith(CONSTANTS) and key not in headers)
    }


def test_every_field_is_that_of_the_headers(
    interpreter: Interpreter, dump_layout: Path, dump_headers: tools.DumpHeaders
) -> None:
    ours = tools.parse(tools.our_layout(interpreter, dump_layout))
    headers = dump_headers(interpreter, free_threaded=interpreter.free_threaded)
    # Headers and interpreter are of one patch release, or this would compare two.
    assert ours.get("version_hex", headers["version_hex"]) == headers["version_hex"]
    assert differences(ours, headers) == {}


@pytest.mark.parametrize("version", ["3.14", "3.15"])
def test_every_field_is_that_of_the_headers_without_the_gil(
    version: str, dump_layout: Path, dump_headers: tools.DumpHeaders
) -> None:
    """The headers of a build with the GIL, compiled for one without, tell the table that it would publish."""
    headers = dump_headers(tools.interpreter_with_headers(version), free_threaded=True)
    ours = tools.parse(tools.dump_debug(dump_layout, bytes.fromhex(headers["debug_offsets"])))
    assert headers["free_threaded"] == "1"
    assert differences(ours, headers) == {}


def test_sizes_cover_their_fields(interpreter: Interpreter, dump_layout: Path) -> None:
    ours = tools.parse(tools.our_layout(interpreter, dump_layout))
    beyond = {"interp.tlbc_generation", "tstate.holds_gil_mask", "frame.locals", "frame.lasti_unit"}
    beyond |= {"frame.local_tag_mask", "frame.code_tag_mask", "code.bytecode_inline", "code.bytecode"}
    for name in ("interp", "tstate", "frame", "code"):
        size = int(ours[f"{name}.size"])
        fields = {k: int(v) for k, v in ours.items() if k.startswith(f"{name}.") and k not in beyond}
        del fields[f"{name}.size"]
        assert {k: v for k, v in fields.items() if v >= size} == {}
        assert f"limit.{name}" not in ours or size <= int(ours[f"limit.{name}"])


def test_calling_opcodes_are_those_of_the_interpreter(interpreter: Interpreter, dump_opcodes: Path) -> None:
    version = f"3.{tools.minor(interpreter)}"
    theirs = tools.run(*interpreter.command(str(HERE / "opcodes.py"), str(interpreter.headers)))
    assert tools.run(dump_opcodes, version).split() == theirs.split()


def test_a_version_without_a_table_is_refused(dump_layout: Path) -> None:
    for version in ("3.7", "3.13"):
        assert "error ENOENT" in tools.run(dump_layout, version, status=1)


VERSION_AT, FREE_THREADED_AT, FINALIZING_AT = 8, 16, 32
TABLE_TO_FINALIZING = 24


def put(table: bytes, at: int, word: int) -> bytes:
    return table[:at] + struct.pack("<Q", word) + table[at + 8 :]


def with_version(table: bytes, minor: int, level: int, serial: int) -> bytes:
    return put(table, VERSION_AT, 3 << 24 | minor << 16 | level << 4 | serial)


@pytest.fixture(params=[v for v in VERSIONS if int(v.rstrip("t").split(".")[1]) >= 13])
def table(request: pytest.FixtureRequest) -> bytes:
    """The first bytes of the runtime of an interpreter that publishes its offsets."""
    return tools.runtime_bytes(tools.interpreter_with_headers(request.param))


def test_tables_that_are_not_known_are_refused(table: bytes, dump_layout: Path) -> None:
    minor = table[VERSION_AT + 2]
    finalizing = struct.unpack_from("<Q", table, FINALIZING_AT)[0]
    cases = [
        (b"", "EINVAL"),
        (table[:39], "EINVAL"),
        (table[:512], "EINVAL"),
        (b"xdebugpx" + table[8:], "EINVAL"),
        (with_version(table, minor, 0xA, 7), "EPROTONOSUPPORT"),
        (with_version(table, minor, 0xB, 4), "EPROTONOSUPPORT"),
        (with_version(table, 12, 0xF, 0), "EPROTONOSUPPORT"),
        (with_version(table, 16, 0xF, 0), "EPROTONOSUPPORT"),
        (put(table, VERSION_AT, 0x020D00F0), "EPROTONOSUPPORT"),
        (put(table, FINALIZING_AT, finalizing + 8), "EPROTONOSUPPORT"),
        (put(table, VERSION_AT, 1 << 32), "ERANGE"),
        (put(table, FREE_THREADED_AT, 2), "ERANGE"),
    ]
    refusals = [tools.refusal(tools.dump_debug(dump_layout, case)) for case, _ in cases]
    assert refusals == [error for _, error in cases]


def test_a_release_candidate_with_the_table_of_the_final_is_accepted(table: bytes, dump_layout: Path) -> None:
    candidate = with_version(table, table[VERSION_AT + 2], 0xC, 2)
    assert tools.refusal(tools.dump_debug(dump_layout, candidate)) is None


def test_absurd_offsets_are_refused_or_harmless(table: bytes, dump_layout: Path) -> None:
    """Any one word may hold anything: no size gets beyond its limit, and no number beyond 32 bits is taken."""
    table_bytes = struct.unpack_from("<Q", table, FINALIZING_AT)[0] - TABLE_TO_FINALIZING
    for at in range(24, table_bytes, 8):
        for word in (1 << 63, 300):
            ours = tools.parse(tools.dump_debug(dump_layout, put(table, at, word)))
            if "error" in ours:
                assert ours["error"] in ("ERANGE", "EPROTONOSUPPORT")
                continue
            for name in ("tstate", "frame", "code"):
                assert int(ours[f"{name}.size"]) <= int(ours[f"limit.{name}"])
