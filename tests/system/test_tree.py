"""The whole tree of processes is in one recording: kept apart, and summed on demand."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
from system.drive import (
    PYTHON,
    Report,
    Word,
    attached,
    check_readable,
    functions,
    interpreter_of,
    pythons,
    report,
    run,
    started,
    version_of,
    view,
)

# A module that every process of a test imports: `spin_as(name)` keeps a CPU busy in a function of that name and
# notes the process in the folder NOTES.
COMMON = """\
import os, sys, time

def spin_as(name, seconds=0.3):
    with open(os.path.join(os.environ["NOTES"], name + "." + str(os.getpid())), "w"):
        pass
    space = {"time": time}
    exec("def " + name + "(end):\\n    while time.monotonic() < end:\\n        sum(range(50))\\n", space)
    space[name](time.monotonic() + seconds)
    return name
"""

FORK = """\
import os
from common import spin_as
child = os.fork()
if child == 0:
    grandchild = os.fork()
    spin_as("in_child" if grandchild else "in_grandchild")
    if grandchild:
        os.waitpid(grandchild, 0)
    os._exit(0)
spin_as("in_parent")
os.waitpid(child, 0)
"""

FORK_OF_A_THREAD = """\
import os, threading
from common import spin_as
def fork():
    child = os.fork()
    if child == 0:
        spin_as("in_child")
        os._exit(0)
    os.waitpid(child, 0)
threading.Thread(target=fork).start()
spin_as("in_parent")
"""

EXEC = """\
import os, sys
from common import spin_as
if len(sys.argv) > 1:
    spin_as("after_exec")
else:
    spin_as("before_exec")
    os.execv(sys.executable, [sys.executable, __file__, "again"])
"""

SUBPROCESS = """\
import subprocess, sys
from common import spin_as
code = "from common import spin_as; spin_as('in_%s')"
children = [
    subprocess.Popen([sys.executable, "-c", code % "direct"]),
    subprocess.Popen('"' + sys.executable + '" -c "' + code % "shell" + '"; true', shell=True),
    subprocess.Popen(["env", sys.executable, "-c", code % "env"]),
]
spin_as("in_parent")
for child in children:
    child.wait()
"""

MULTIPROCESSING = """\
import multiprocessing, sys
from common import spin_as
if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    children = [context.Process(target=spin_as, args=("in_child_%d" % i,)) for i in range(2)]
    for child in children:
        child.start()
    spin_as("in_parent")
    for child in children:
        child.join()
"""

POOL = """\
import multiprocessing
from common import spin_as
if __name__ == "__main__":
    with multiprocessing.Pool(2) as pool:
        print(sorted(pool.map(spin_as, ["in_worker_a", "in_worker_b"], 1)))
"""

FUTURES = """\
import concurrent.futures
from common import spin_as
if __name__ == "__main__":
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        print(sorted(pool.map(spin_as, ["in_worker_a", "in_worker_b"])))
"""

# Leaves its session and its parent behind. (A parent that ends at once takes its children out of the tree.)
DAEMON = """\
import os, time
from common import spin_as
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        spin_as("in_daemon")
    else:
        time.sleep(0.1)
    os._exit(0)
spin_as("in_parent", 0.6)
"""

TREES: dict[str, tuple[str, list[str]]] = {
    "fork": (FORK, ["in_parent", "in_child", "in_grandchild"]),
    "fork of a thread": (FORK_OF_A_THREAD, ["in_parent", "in_child"]),
    "exec": (EXEC, ["before_exec", "after_exec"]),
    "subprocess": (SUBPROCESS, ["in_parent", "in_direct", "in_shell", "in_env"]),
    "multiprocessing fork": (MULTIPROCESSING, ["in_parent", "in_child_0", "in_child_1"]),
    "multiprocessing spawn": (MULTIPROCESSING, ["in_parent", "in_child_0", "in_child_1"]),
    "multiprocessing forkserver": (MULTIPROCESSING, ["in_parent", "in_child_0", "in_child_1"]),
    "pool": (POOL, ["in_worker_a", "in_worker_b"]),
    "futures": (FUTURES, ["in_worker_a", "in_worker_b"]),
    "daemon": (DAEMON, ["in_parent", "in_daemon"]),
}


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which each process notes itself."""
    (tmp_path / "common.py").write_text(COMMON)
    folder = tmp_path / "notes"
    folder.mkdir()
    monkeypatch.setenv("NOTES", str(folder))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return folder


def noted(notes: Path) -> dict[str, int]:
    """The process of each function that spun."""
    return {path.name.split(".")[0]: int(path.name.split(".")[1]) for path in notes.iterdir()}


def recorded(folder: Path, *command: Word) -> Path:
    ran = run(folder, "--", *command)
    assert ran.status == 0, ran.err
    return ran.recording


def check_kept_apart(recording: Path, where: dict[str, int]) -> None:
    """Each function is in its process and in no other, with its time; the sum holds all of them."""
    whole = functions(check_readable(recording))
    for pid in set(where.values()):
        alone = functions(report(recording, "--pid", str(pid)))
        assert {name for name in alone if name in where} == {name for name in where if where[name] == pid}
        for name in where:
            if where[name] == pid:
                assert alone[name]["total_wall_s"] == pytest.approx(whole[name]["total_wall_s"])
                assert alone[name]["total_wall_s"] > 0.05


def seen_processes(found: Report) -> set[int]:
    return {process["pid"] for process in pythons(found)}


@pytest.mark.parametrize("version", ["3.8", "3.11", "3.15"])
@pytest.mark.parametrize("tree", TREES)
def test_tree(tmp_path: Path, notes: Path, tree: str, version: str) -> None:
    program, names = TREES[tree]
    script = tmp_path / "program.py"
    script.write_text(program)
    interpreter = interpreter_of(version)
    recording = recorded(tmp_path, *interpreter.command(str(script)), *tree.split()[1:2])
    where = noted(notes)
    assert set(where) == set(names)
    found = report(recording)
    assert set(where.values()) <= seen_processes(found)
    check_kept_apart(recording, where)
    if version_of(interpreter) >= (3, 11):
        assert all(process["python"].startswith(version) for process in pythons(found))


def test_shell_script(tmp_path: Path, notes: Path) -> None:
    """Pythons that a script starts, one after another and side by side."""
    script = tmp_path / "script.sh"
    script.write_text(
        "#!/bin/sh\n"
        'spin() { "$PY" -c "from common import spin_as; spin_as(\'$1\')"; }\n'
        "spin first\n"
        "spin second & spin third & wait\n"
        "(cd /; spin fourth) | cat\n"
        "exit 3\n"
    )
    script.chmod(0o755)
    ran = run(tmp_path, "env", f"PY={PYTHON}", script)
    assert ran.status == 3, ran.err
    where = noted(notes)
    assert set(where) == {"first", "second", "third", "fourth"}
    check_kept_apart(ran.recording, where)


def test_short_life(tmp_path: Path) -> None:
    """Ten Pythons that each work for 50 ms: none is missed."""
    code = "import time, os; end = time.monotonic() + 0.05\ndef spin():\n while time.monotonic() < end: pass\nspin()"
    script = f"for i in 1 2 3 4 5 6 7 8 9 10; do '{PYTHON}' -S -E -c '{code}'; done"
    found = check_readable(recorded(tmp_path, "sh", "-c", script))
    assert len(pythons(found)) == 10
    for process in pythons(found):
        assert "spin" in functions(report(tmp_path / "run.zond", "--pid", str(process["pid"])))


def test_every_process_in_turn(tmp_path: Path, notes: Path) -> None:
    """--per-process shows each with its own functions, and the shares of one do not count the others."""
    script = tmp_path / "program.py"
    script.write_text(FORK)
    recording = recorded(tmp_path, PYTHON, script)
    where = noted(notes)
    parts = re.split(r"^--- process (\d+)\n", view(recording, "--per-process"), flags=re.M)
    shown = dict(zip(map(int, parts[1::2]), parts[2::2], strict=True))
    assert set(where.values()) <= set(shown)
    for name, pid in where.items():
        assert {n for n in where if n in shown[pid]} == {n for n in where if where[n] == pid}, name


def test_parents_and_commands(tmp_path: Path, notes: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(FORK)
    found = report(recorded(tmp_path, PYTHON, script))
    where = noted(notes)
    by_pid = {process["pid"]: process for process in found["processes"] if process["python"]}
    assert by_pid[where["in_child"]]["ppid"] == where["in_parent"]
    assert by_pid[where["in_grandchild"]]["ppid"] == where["in_child"]
    assert {tuple(process["command"]) for process in by_pid.values()} == {(PYTHON, str(script))}
    assert {process["python"].split()[0] for process in by_pid.values()} == {"%d.%d.%d" % sys.version_info[:3]}


def test_children_of_an_attached_process(tmp_path: Path, notes: Path) -> None:
    """Those that run already when zond comes, and those that are born later."""
    program = """\
import os, time
from common import spin_as
def child(name):
    if os.fork() == 0:
        spin_as(name, 60)
child("before")
print("ready", flush=True)
time.sleep(0.5)
child("later")
spin_as("in_parent", 60)
"""
    script = tmp_path / "program.py"
    script.write_text(program)
    with started(PYTHON, script) as process:
        found = attached(tmp_path, process.pid, "-d", "2")
        where = noted(notes)
    try:
        assert set(where) == {"before", "later", "in_parent"}
        assert {"before", "later", "in_parent"} <= set(functions(found))
        check_kept_apart(tmp_path / "attach.zond", where)
    finally:
        for pid in where.values():
            if pid != process.pid:
                os.kill(pid, 9)
