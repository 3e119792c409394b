"""A disk that takes no more, or two zonds that want one file: whole blocks are left, and the program runs on."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path

import pytest
from recording.compare import check, taken
from recording.craft import recording
from system.drive import BUSY, PYTHON, ZOND, attach, end_of, needs_root, run, started, tool, wait_until, zond
from system.test_survive import MANY_STACKS, small_disk

# Its output, its file and its exit status are its own, whatever becomes of the recording.
PROGRAM = MANY_STACKS.replace("raise SystemExit(5)", "print('done', flush=True); raise SystemExit(5)")


def check_stopped(path: Path, limit: int) -> None:
    """Nothing of the block that did not fit is there."""
    assert path.stat().st_size <= limit
    if path.stat().st_size <= 16:
        assert b"it ends before its header is whole" in zond("report", path).stderr
        return
    left = check(path)
    assert (left.end, left.offset) == ("cut", path.stat().st_size)


@pytest.mark.parametrize("limit", [0, 1, 16, 17, 100, 300, 2000, 5000])
def test_limit_in_the_middle_of_a_block(tmp_path: Path, limit: int) -> None:
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    ran = run(tmp_path, PYTHON, "-c", PROGRAM, "1.5", options=["-r", "max"], preexec=limited)
    assert (ran.status, ran.out) == (5, b"done\n")
    assert f"the recording is incomplete: writing {ran.recording} stopped: File too large" in ran.err
    check_stopped(ran.recording, limit)


@needs_root
@pytest.mark.parametrize("free", [0, 4096, 8192])
def test_disk_that_others_have_filled(tmp_path: Path, free: int) -> None:
    """Also the program writes there: it gets what is its own."""
    with small_disk(tmp_path, "1m") as disk:
        space = os.statvfs(disk)
        (disk / "full").write_bytes(bytes(space.f_bavail * space.f_frsize - free))
        path = disk / "run.zond"
        ran = run(tmp_path, PYTHON, "-c", PROGRAM, "1.5", options=["-r", "max", "-o", path])
        assert (ran.status, ran.out) == (5, b"done\n")
        assert f"the recording is incomplete: writing {path} stopped: No space left on device" in ran.err
        check_stopped(path, free)


@needs_root
def test_disk_that_has_room_again(tmp_path: Path) -> None:
    """What did not fit is missing for good: nothing is written behind the gap."""
    with small_disk(tmp_path, "64k") as disk:
        path, other = disk / "run.zond", disk / "other"
        words = (
            "run",
            "-q",
            "-r",
            "max",
            "-o",
            path,
            "--",
            PYTHON,
            "-c",
            f"print('ready', flush=True)\n{PROGRAM}",
            "4",
        )
        with started(ZOND, *words) as process:
            other.write_bytes(bytes(48 << 10))
            wait_until(lambda: path.stat().st_size > 0, "beginning")
            space = os.statvfs(disk)
            with other.open("ab") as file:
                file.write(bytes(space.f_bavail * space.f_frsize))
            os.sync()
            sizes = [path.stat().st_size]
            wait_until(lambda: _still(path, sizes), "full disk")
            other.unlink()
            assert end_of(process) == 5
        assert path.stat().st_size == sizes[-1]
        check_stopped(path, 64 << 10)


def _still(path: Path, sizes: list[int]) -> bool:
    """The file has not grown while some two chunks were made."""
    sizes.append(path.stat().st_size)
    return len(sizes) > 200 and len(set(sizes[-200:])) == 1


def test_a_second_zond_leaves_the_file_of_the_first(tmp_path: Path) -> None:
    """Whatever it is asked to record, it says what is wrong and does not begin."""
    path = tmp_path / "attach.zond"
    with started(PYTHON, "-c", f"print('ready', flush=True)\n{MANY_STACKS}", "100") as process:
        with started(ZOND, "attach", "-q", "-o", path, str(process.pid), ready=False) as first:
            wait_until(lambda: path.exists() and path.stat().st_size > 100, "recording")
            second = attach(tmp_path, process.pid)
            third = zond("run", "-o", path, "touch", tmp_path / "started")
            first.send_signal(signal.SIGINT)
            assert end_of(first) == 0
    says = f"another zond is writing {path}; choose another name with -o FILE"
    assert (second.status, third.returncode) == (125, 125)
    assert says in second.err
    assert says in third.stderr.decode()
    assert not (tmp_path / "started").exists()
    assert check(path).end == "complete"


def test_a_recording_that_another_reads_meanwhile(tmp_path: Path) -> None:
    """A reader takes whole blocks of a file that still grows."""
    path = tmp_path / "run.zond"
    words = ("run", "-q", "-o", path, "--", PYTHON, "-c", f"print('ready', flush=True)\n{PROGRAM}", "3")
    with started(ZOND, *words) as process:
        wait_until(lambda: path.stat().st_size > 1000, "recording")
        early = taken(path)
        shown = zond("report", path)
        assert (shown.returncode, b"Still being written: " in shown.stdout) == (0, True)
        assert end_of(process) == 5
    late = check(path)
    assert (early.end, late.end) == ("cut", "complete")
    assert len(early.samples) < len(late.samples)


def test_an_old_recording_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """Nothing of a longer one that was there is left behind the new one."""
    old = tmp_path / "run.zond"
    old.write_bytes(recording() * 1000)
    ran = run(tmp_path, PYTHON, "-c", "pass")
    assert ran.status == 0
    assert check(old).offset == old.stat().st_size


@pytest.mark.parametrize("writes", [1, 2, 3])
def test_a_quota(tmp_path: Path, writes: int) -> None:
    """Few kernels have quotas: strace answers the calls that zond writes its recording with, as one that has would."""
    path = tmp_path / "attach.zond"
    refused = f"inject=write:error=EDQUOT:when={writes}+"
    through = [tool("strace"), "-f", "-qq", "-o", "/dev/null", "-P", str(path), "-e", "trace=write", "-e", refused]
    with started(PYTHON, "-c", BUSY, "60") as process:
        ran = attach(tmp_path, process.pid, "-d", "2", through=through)
        assert process.poll() is None
    assert f"the recording is incomplete: writing {path} stopped: Disk quota exceeded" in ran.err
    check_stopped(path, path.stat().st_size)
