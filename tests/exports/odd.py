"""A program of two processes and two threads whose names are hard on a file format."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

NAMES = ['new\nline, "quoted"', "</script>;\t\\'", "\u6e2c\u5b9a\U0001f600", "not UTF-8: \udcff\udcfe"]


def spin(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        sum(range(50))


def odd(name: str) -> Callable[[], None]:
    """A function of that name, in a file whose name is as odd."""
    scope: dict[str, Any] = {"spin": spin}
    exec(compile("def f():\n    spin(0.08)\n", b'/tmp/odd \xff,\n"</script>.py', "exec"), scope)
    function: Any = scope["f"]
    names = {"co_name": name}
    if sys.version_info >= (3, 11):
        names["co_qualname"] = name
    function.__code__ = function.__code__.replace(**names)
    found: Callable[[], None] = function
    return found


def recurse(depth: int) -> None:
    if depth:
        recurse(depth - 1)
    else:
        spin(0.1)


def collect() -> None:
    kept: list[list[int]] = [[] for _ in range(200_000)]
    for _ in range(5):
        gc.collect()
    kept.clear()


def main() -> None:
    child = subprocess.Popen([sys.executable, __file__, "child"])
    other = threading.Thread(target=spin, args=(0.2,), name='other\n</script>"\u6e2c')
    other.start()
    for name in NAMES:
        odd(name)()
    recurse(5)
    collect()
    other.join()
    child.wait()


if len(sys.argv) > 1:
    spin(0.2)
else:
    main()
