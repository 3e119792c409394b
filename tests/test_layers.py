"""The check of the layers finds what breaks them."""

from __future__ import annotations

from pathlib import Path

import pytest
from layers import read_layers, violations

TABLE = """# The folders.
layers = {
  'base': [],
  'os': ['base'],
}
subdir('base')
"""


@pytest.mark.parametrize(
    ("include", "message"),
    [
        ('#include "base/buf.h"', None),
        ('#include "os/proc.h"', None),
        ("#include <cli/x.h>", None),
        ('#include "cli/options.h"', "os may not use cli"),
        ('#  include "cli/options.h"', "os may not use cli"),
        ('#include "../base/buf.h"', "write the path from src/"),
        ('#include "proc.h"', "write the path from src/"),
    ],
)
def test_include(tmp_path: Path, include: str, message: str | None) -> None:
    (tmp_path / "meson.build").write_text(TABLE)
    (tmp_path / "os").mkdir()
    (tmp_path / "os" / "proc.c").write_text(f"/* One line. */\n{include}\n")
    found = violations(tmp_path, read_layers(tmp_path / "meson.build"))
    if message is None:
        assert found == []
    else:
        assert len(found) == 1
        assert found[0].startswith(f"{tmp_path}/os/proc.c:2: ")
        assert message in found[0]


def test_folder_outside_the_table(tmp_path: Path) -> None:
    (tmp_path / "meson.build").write_text(TABLE)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "file.c").write_text("")
    assert violations(tmp_path, read_layers(tmp_path / "meson.build")) == [f"{tmp_path}/new: not in the table `layers`"]
