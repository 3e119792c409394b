"""Recordings that go through a pipe, and recordings that are looked at while they grow."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from system.drive import (
    BUSY,
    PYTHON,
    TIMEOUT,
    ZOND,
    check_readable,
    check_sane,
    end_of,
    functions,
    process_state,
    report,
    run_code,
    started,
    wait_until,
    zond,
)

TALKS = """\
import os, sys, time
print("to standard output", flush=True)
print("to standard error", file=sys.stderr, flush=True)
def spin(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(100))
spin(0.5)
os._exit(6)
"""
SAID = "to standard output\nto standard error\n"


def piped(*words: str | Path) -> subprocess.CompletedProcess[bytes]:
    return zond(*words)


def redirected(*words: str | Path) -> subprocess.CompletedProcess[bytes]:
    """Standard output is a file, which stands in the working folder."""
    with open("out.zond", "wb") as out:
        done = subprocess.run([ZOND, *words], stdout=out, stderr=subprocess.PIPE, timeout=TIMEOUT, check=False)
    check_sane(done.stderr.decode())
    return subprocess.CompletedProcess(done.args, done.returncode, Path("out.zond").read_bytes(), done.stderr)


STREAMS: dict[str, tuple[Callable[..., subprocess.CompletedProcess[bytes]], str]] = {
    "- into a pipe": (piped, "-"),
    "/dev/stdout into a pipe": (piped, "/dev/stdout"),
    "- into a file": (redirected, "-"),
    "a file into itself": (redirected, "out.zond"),
}


@pytest.mark.parametrize("stream", STREAMS)
def test_recording_on_standard_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: str) -> None:
    """The recording has it for itself; what the program prints there comes on standard error."""
    monkeypatch.chdir(tmp_path)
    launch, output = STREAMS[stream]
    done = launch("run", "-o", output, "--", PYTHON, "-c", TALKS)
    assert done.returncode == 6
    said, where = done.stderr.decode().split("zond: recorded ")
    assert said == SAID
    assert where == ("to standard output\n" if output == "-" else f"in {output}\n")
    (tmp_path / "through.zond").write_bytes(done.stdout)
    found = check_readable(tmp_path / "through.zond")
    assert found["run"]["complete"]
    assert found["run"]["exit"]["code"] == 6
    assert "spin" in functions(found)


def test_attachment_on_standard_output(tmp_path: Path) -> None:
    with started(PYTHON, "-c", BUSY, "60") as process:
        done = zond("attach", "-d", "0.5", "-o", "-", str(process.pid))
    assert (done.returncode, done.stderr) == (0, b"zond: recorded to standard output\n")
    (tmp_path / "through.zond").write_bytes(done.stdout)
    assert "Work.inner" in functions(check_readable(tmp_path / "through.zond"))


@pytest.mark.parametrize("verb", ["report", "calls", "lines"])
def test_view_has_standard_output_for_itself(tmp_path: Path, verb: str) -> None:
    done = zond(verb, "--json", "-o", tmp_path / "x.zond", "--python", PYTHON, "-c", TALKS)
    assert done.returncode == 6
    assert done.stderr.decode() == f"{SAID}zond: recorded in {tmp_path / 'x.zond'}\n"
    assert "spin" in functions(json.loads(done.stdout))


def test_output_stays_the_programs_otherwise(tmp_path: Path) -> None:
    ran = run_code(tmp_path, TALKS)
    assert (ran.out.decode() + ran.target_err, ran.status) == (SAID, 6)


def terminal(*words: str) -> tuple[int, str]:
    """The end of zond on a terminal, and what stood there."""
    pid, ours = pty.fork()
    if pid == 0:
        try:
            os.execv(ZOND, [ZOND, *words])
        finally:
            os._exit(126)
    said = b""
    try:
        while chunk := os.read(ours, 4096):
            said += chunk
    except OSError:  # EIO: the other end is closed
        pass
    os.close(ours)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("output", ["-", "/dev/stdout"])
def test_no_recording_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str) -> None:
    monkeypatch.chdir(tmp_path)
    status, said = terminal("run", "-o", output, "touch", "started")
    assert status == 2
    assert said.startswith("zond run: standard output is a terminal: send the recording into a file or a pipe\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["run", "-o", "-", "--json"], "--json and the recording cannot both go to standard output"),
        (["run", "-o", "/dev/stdout", "--json"], "--json and the recording cannot both go to standard output"),
        (["run", "-o", "-", "--rotate", "1h"], "--rotate makes files: standard output is none"),
        (["run", "-o", "fifo", "--rotate", "1h"], "--rotate makes files: fifo is none"),
        (["run", "-o", "x.zond", "--rotate", "1h", "--json"], "--json shows one recording, and --rotate makes several"),
        (["run", "-o", "x.zond", "--rotate-keep", "3"], "--rotate-keep needs --rotate"),
        (["report", "-o", "-"], "it reads the recording again, so that standard output cannot take it"),
        (["report", "-o", "/dev/stdout"], "it reads the recording again, so that standard output cannot take it"),
        (["lines", "-o", "fifo"], "it reads the recording again, so that fifo cannot take it"),
        (["report", "--rotate", "1h"], "it takes no option '--rotate'"),
        (["run", "--rotate", "10"], "--rotate takes a time from 1s on (s, m, h, d) or a size from 100kB on"),
        (["run", "--rotate", "0.5s"], "--rotate takes a time from 1s on"),
        (["run", "--rotate", "99kB"], "--rotate takes a time from 1s on"),
        (["run", "--rotate", "nanm"], "--rotate takes a time from 1s on"),
        (["run", "--rotate", "MB"], "--rotate takes a time from 1s on"),
        (["run", "--rotate", "10M"], "--rotate takes a time from 1s on"),
    ],
    ids=str,
)
def test_wrong_use(tmp_path: Path, args: list[str], says: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    done = zond(*args, "touch", "started", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, b"")
    assert f"zond {args[0]}: {says}" in done.stderr.decode()
    assert [path.name for path in tmp_path.iterdir()] == ["fifo"]


def bare(view: bytes) -> bytes:
    """A view without the line that names the recording."""
    return view.split(b"\nNext ")[0].rstrip(b"\n")


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    ran = run_code(tmp_path_factory.mktemp("recording"), TALKS)
    assert ran.status == 6
    return ran.recording


@pytest.mark.parametrize("source", ["pipe", "named pipe", "file"])
@pytest.mark.parametrize(
    "view",
    [
        ["report"],
        ["report", "--json"],
        ["report", "--per-process"],
        ["calls"],
        ["lines"],
        ["export", "-f", "collapsed"],
        ["export", "-f", "collapsed", "-o", "-"],
    ],
    ids=" ".join,
)
def test_view_of_standard_input(recording: Path, view: list[str], source: str) -> None:
    """The same as of the file, but for its name."""
    named = zond(*view, recording)
    if source == "file":
        with recording.open("rb") as file:
            done = subprocess.run([ZOND, *view, "-"], stdin=file, capture_output=True, timeout=TIMEOUT, check=False)
    else:
        done = zond(*view, "-" if source == "pipe" else "/dev/stdin", stdin=recording.read_bytes())
    assert (done.returncode, done.stderr) == (0, b"")
    assert bare(done.stdout) == bare(named.stdout)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "cannot read standard input: it ends before its header is whole, so there is nothing in it"),
        (b"no recording, but longer than its header", "cannot read standard input: it is not a zond recording"),
    ],
)
def test_no_recording_on_standard_input(data: bytes, says: str) -> None:
    done = zond("report", "-", stdin=data)
    assert (done.returncode, done.stdout) == (125, b"")
    assert says in done.stderr.decode()


def test_terminal_as_input() -> None:
    status, said = terminal("report", "-")
    assert status == 125
    assert said == "zond report: cannot read standard input: it is a terminal, and takes no recording\n"


def test_from_one_zond_to_the_next() -> None:
    """Recorded here, shown there, as over ssh."""
    words = [ZOND, "run", "-o", "-", PYTHON, "-c", TALKS]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as first:
        shown = subprocess.run(
            [ZOND, "report", "--json", "-"], stdin=first.stdout, capture_output=True, timeout=TIMEOUT, check=True
        )
        assert end_of(first) == 6
    assert "spin" in functions(json.loads(shown.stdout))


def full_pipe() -> tuple[int, int]:
    """One that takes not a byte more until it is read."""
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    for size in (1 << 16, 1):
        try:
            while True:
                os.write(theirs, bytes(size))
        except BlockingIOError:
            pass
    os.set_blocking(theirs, True)
    return ours, theirs


def test_nobody_reads(tmp_path: Path) -> None:
    """The program runs to its end as if somebody did; then a signal ends the wait."""
    ours, theirs = full_pipe()
    code = TALKS.replace("os._exit(6)", f"open({str(tmp_path / 'done')!r}, 'w').close()")
    command = [ZOND, "run", "-o", "-", "--", PYTHON, "-c", code]
    with subprocess.Popen(command, stdout=theirs, stderr=subprocess.DEVNULL) as process:
        wait_until((tmp_path / "done").exists, "end of the program")
        wait_until(lambda: not children(process.pid), "end of its process")
        wait_until(lambda: catches_sigterm(process.pid), "wait for the pipe")
        process.send_signal(signal.SIGTERM)
        assert end_of(process) == -signal.SIGTERM
    os.close(ours)
    os.close(theirs)


def children(pid: int) -> str:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text()


def catches_sigterm(pid: int) -> bool:
    """Is SIGTERM no longer blocked in the first thread?"""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return not int(fields["SigBlk"], 16) >> (signal.SIGTERM - 1) & 1


def test_reader_of_an_attachment_goes_away() -> None:
    """There is nothing left to do: zond ends, the program goes on."""
    with started(PYTHON, "-c", BUSY, "60") as process:
        ours, theirs = os.pipe()
        command = [ZOND, "attach", "-o", "-", str(process.pid)]
        with subprocess.Popen(command, stdout=theirs, stderr=subprocess.PIPE) as attached:
            os.close(theirs)
            os.read(ours, 1)
            os.close(ours)
            _, said = attached.communicate(timeout=TIMEOUT)
        assert process_state(process.pid) == ("R", 0)
    assert "the recording is incomplete: writing - stopped: Broken pipe" in said.decode()


def test_recording_that_grows(tmp_path: Path) -> None:
    """It is shown as far as it goes, and said to go on; when it has ended, that is not said."""
    growing = tmp_path / "grows.zond"
    with started(ZOND, "run", "-q", "-o", growing, "--", PYTHON, "-c", BUSY, "60") as process:
        wait_until(lambda: zond("report", growing).returncode == 0, "first part")
        wait_until(lambda: "Work.inner" in functions(report(growing)), "function")
        for verb in ("report", "calls", "lines"):
            text = zond(verb, growing).stdout.decode()
            assert "Still being written: shown is what there is so far, up to " in text
            assert "Incomplete" not in text
        run = report(growing)["run"]
        assert (run["complete"], run["growing"]) == (False, True)
        process.send_signal(signal.SIGTERM)
        assert end_of(process) == -signal.SIGTERM
    assert "Still being written" not in zond("report", growing).stdout.decode()
    run = check_readable(growing)["run"]
    assert (run["complete"], run["growing"]) == (True, False)


def test_recording_that_grew_until_zond_was_killed(tmp_path: Path) -> None:
    growing = tmp_path / "grows.zond"
    with started(PYTHON, "-c", BUSY, "60") as process:
        command = [ZOND, "attach", "-q", "-o", str(growing), str(process.pid)]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as attached:
            wait_until(lambda: growing.exists() and zond("report", growing).returncode == 0, "first part")
            attached.kill()
    text = zond("report", growing).stdout.decode()
    assert "Incomplete: the recording ends without its end mark" in text
    assert "Still being written" not in text
    assert not report(growing)["run"]["growing"]


def test_recording_that_is_being_begun(tmp_path: Path) -> None:
    """Its lock is there before its first byte."""
    path = tmp_path / "begun.zond"
    with path.open("wb") as file:
        ofd_setlk = 37
        fcntl.fcntl(file, ofd_setlk, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))
        done = zond("report", path)
    assert done.returncode == 125
    assert f"cannot read {path}: it is being begun, and there is nothing in it yet" in done.stderr.decode()
