"""`--rotate`: a recording in pieces, each complete by itself."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from system.drive import (
    BUSY,
    PYTHON,
    ZOND,
    Report,
    check_readable,
    end_of,
    functions,
    pythons,
    report,
    run_code,
    started,
    wait_until,
    zond,
)

NAME = re.compile(r"run\.\d{8}T\d{6}Z\.zond")


def pieces(folder: Path) -> list[Path]:
    """In the order of their names, which is that of their times."""
    found = sorted(folder.glob("run.*.zond"))
    assert [path.name for path in found if not NAME.fullmatch(path.name)] == []
    return found


def check_follow(found: list[Report]) -> None:
    """Each piece begins after the one before, and the end of the command is in the last."""
    times = [one["run"]["started"] for one in found]
    assert times == sorted(times)
    assert all(one["run"]["complete"] for one in found)
    assert [one["run"]["exit"] for one in found[:-1]] == [{"code": None, "signal": None}] * (len(found) - 1)


# A thread and a process that end at once, then two that last.
CHANGES = """\
import os, sys, threading, time
def spin(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end: sum(range(100))
early = threading.Thread(target=spin, args=(0.1,), name="early")
early.start()
early.join()
child = os.fork()
if child == 0:
    spin(0.1)
    os._exit(0)
os.waitpid(child, 0)
child = os.fork()
if child == 0:
    spin(3.2)
    os._exit(0)
threading.Thread(target=spin, args=(3.2,), name="late").start()
spin(3.4)
os.waitpid(child, 0)
os._exit(5)
"""


@pytest.mark.parametrize("rate", ["1000", "max", "20"])
def test_by_time(tmp_path: Path, rate: str) -> None:
    ran = run_code(tmp_path, CHANGES, options=["--rotate", "1s", "-r", rate])
    assert ran.status == 5, ran.err
    found = [check_readable(path) for path in pieces(tmp_path)]
    assert len(found) >= 3
    assert f"zond: recorded in {len(found)} pieces, the last in {pieces(tmp_path)[-1]}\n" in ran.err
    check_follow(found)
    assert found[-1]["run"]["exit"] == {"code": 5, "signal": None}
    names = [{thread["name"] for process in pythons(one) for thread in process["threads"]} for one in found]
    assert "early" in names[0]
    assert all("early" not in later and {"late", "MainThread"} <= later for later in names[1:3])
    assert [len(pythons(one)) for one in found[:3]] == [3, 2, 2]
    for one in found:
        assert one["run"]["cpu_s"] <= 3 * one["run"]["wall_s"]
        assert one["run"]["command"] == [PYTHON, "-c", CHANGES]
        assert "spin" in functions(one) or one is found[-1]
        threads = [thread for process in one["processes"] for thread in process["threads"]]
        assert all(thread["wall_s"] <= one["run"]["wall_s"] + 0.1 for thread in threads)
    whole = sum(one["run"]["wall_s"] for one in found)
    main = [thread for one in found for thread in pythons(one)[0]["threads"] if thread["name"] == "MainThread"]
    assert sum(thread["wall_s"] for thread in main) == pytest.approx(whole, abs=0.3)


# Ever new stacks, which do not compress to nothing, until there are three pieces in the folder argv[1].
MANY_STACKS = """\
import os, random, sys, time
def f(n):
    return g(n - 1) if n and random.random() < 0.5 else f(n - 1) if n else random.random()
def g(n):
    return f(n - 1) if n else random.random()
while len(os.listdir(sys.argv[1])) < 3:
    for _ in range(1000): f(30)
"""


def test_by_size(tmp_path: Path) -> None:
    ran = run_code(tmp_path, MANY_STACKS, tmp_path, options=["--rotate", "100kB", "-r", "max"])
    assert ran.status == 0, ran.err
    made = pieces(tmp_path)
    assert len(made) >= 3
    assert [path for path in made[:-1] if path.stat().st_size < 100_000] == []
    check_follow([check_readable(path) for path in made])


def test_one_piece(tmp_path: Path) -> None:
    """A program that ends before it is time for another has its summary."""
    done = zond("run", "--rotate", "1d", "-o", tmp_path / "run.zond", PYTHON, "-c", BUSY, "0.3")
    (made,) = pieces(tmp_path)
    assert done.returncode == 0
    assert "Work.inner" in done.stderr.decode()
    assert done.stderr.decode().endswith(f"zond: recorded in {made}\n")


def test_name_of_the_process(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(BUSY)
    done = zond("run", "-q", "--rotate", "1s", "--python", PYTHON, "app.py", "1.5", cwd=tmp_path)
    assert done.returncode == 0
    made = list(tmp_path.glob("*.zond"))
    assert len(made) == 2
    assert all(re.fullmatch(r"app-\d+\.\d{8}T\d{6}Z\.zond", path.name) for path in made)


@pytest.mark.parametrize(
    ("number", "complete"), [(signal.SIGTERM, True), (signal.SIGINT, True), (signal.SIGKILL, False)]
)
def test_end_of_an_attachment(tmp_path: Path, number: signal.Signals, complete: bool) -> None:
    with started(PYTHON, "-c", BUSY, "60") as process:
        command = [ZOND, "attach", "-q", "--rotate", "1s", "-o", str(tmp_path / "run.zond"), str(process.pid)]
        with subprocess.Popen(command, stderr=subprocess.PIPE) as attached:
            wait_until(lambda: len(pieces(tmp_path)) == 3, "third piece")
            attached.send_signal(number)
            assert end_of(attached) == (0 if complete else -number)
    made = pieces(tmp_path)
    found = [report(path) for path in made[:2]]
    check_follow(found)
    assert all("Work.inner" in functions(one) for one in found)
    if complete:
        assert check_readable(made[-1])["run"]["complete"]


def test_two_at_once_share_no_piece(tmp_path: Path) -> None:
    with started(PYTHON, "-c", BUSY, "60") as process:
        command = [ZOND, "attach", "-q", "-d", "2.5", "--rotate", "1s"]
        command += ["-o", str(tmp_path / "run.zond"), str(process.pid)]
        with (
            subprocess.Popen(command, stderr=subprocess.PIPE) as one,
            subprocess.Popen(command, stderr=subprocess.PIPE) as other,
        ):
            said = [taken.communicate(timeout=60)[1].decode() for taken in (one, other)]
    counts = [int(re.findall(r"recorded in (\d+) pieces", text)[0]) for text in said]
    assert len(pieces(tmp_path)) == sum(counts) >= 4
    assert all(check_readable(path)["run"]["complete"] for path in pieces(tmp_path))


OTHER_FILES = [
    "run.zond",
    "run.20010101T000000Z.zond.bak",
    "run.20010101T000000Z",
    "run.2001-101T000000Z.zond",
    "rerun.20010101T000000Z.zond",
    "run.x.20010101T000000Z.zond",
]


def test_keep(tmp_path: Path) -> None:
    """The newest stay, whichever run they are of; nothing else is touched."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    earlier = [f"run.2001010{day}T000000Z.zond" for day in range(1, 6)]
    for name in [*earlier, *OTHER_FILES]:
        (folder / name).write_text("earlier")
    keep = ["--rotate", "1s", "--rotate-keep", "4"]
    ran = run_code(tmp_path, BUSY, "2.5", options=[*keep, "-o", folder / "run.zond"])
    assert ran.status == 0, ran.err
    left = {path.name for path in folder.iterdir()}
    assert set(OTHER_FILES) <= left
    ours = sorted(left - set(OTHER_FILES))
    assert ours[0] == "run.20010105T000000Z.zond"
    assert len(ours) == 4
    assert all(report(folder / name)["run"]["complete"] for name in ours[1:])


def test_folder_that_goes_away(tmp_path: Path) -> None:
    """The program goes on, and that there is no other piece is said once."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    with started(
        *("sh", "-c", '"$@" 2>"$0"', tmp_path / "said"),
        *(ZOND, "run", "-q", "--rotate", "1s", "-o", folder / "run.zond", PYTHON, "-c", BUSY, "3.5"),
    ) as process:
        wait_until(lambda: len(list(folder.iterdir())) == 1, "first piece")
        shutil.rmtree(folder)
        assert end_of(process) == 0
    said = (tmp_path / "said").read_text()
    assert said.count("zond: cannot begin another piece, and goes on in ") == 1
    assert "No such file or directory" in said


def test_no_python(tmp_path: Path) -> None:
    done = zond("run", "-q", "--rotate", "1s", "-o", tmp_path / "run.zond", "sleep", "1.5")
    assert done.returncode == 0
    found = [check_readable(path) for path in pieces(tmp_path)]
    assert [one["functions"] for one in found] == [[], []]
    assert all(process["command"] == ["sleep", "1.5"] for one in found[1:] for process in one["processes"])
