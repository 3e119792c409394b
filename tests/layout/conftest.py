"""The programs that print layouts, built once a session."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from layout import tools
from matrix import Interpreter


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("layout")


@pytest.fixture(scope="session")
def dump_layout(programs: Path) -> Path:
    return tools.compile_ours(programs, "dump_layout", "layout.c")


@pytest.fixture(scope="session")
def dump_opcodes(programs: Path) -> Path:
    return tools.compile_ours(programs, "dump_opcodes", "opcodes.c")


@pytest.fixture(scope="session")
def dump_headers(programs: Path) -> tools.DumpHeaders:
    @cache
    def fields(interpreter: Interpreter, *, free_threaded: bool) -> dict[str, str]:
        program = tools.compile_headers(programs, interpreter, free_threaded=free_threaded)
        return tools.parse(tools.run(program))

    return fields
