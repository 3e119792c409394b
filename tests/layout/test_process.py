"""The layouts, used: objects and states of real processes, read from outside, on every version."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from layout import tools
from layout.reader import Process
from matrix import VERSIONS, Interpreter

HERE = Path(__file__).parent


@pytest.fixture(scope="module", params=VERSIONS)
def interpreter(request: pytest.FixtureRequest) -> Interpreter:
    return tools.interpreter_with_headers(request.param)


class Target:
    """A run of target_threads.py: its memory, its main interpreter, its threads as it knows them itself."""

    def __init__(self, child: subprocess.Popen[str], fields: dict[str, str]) -> None:
        self._child = child
        self.process = Process(child.pid, fields)
        self.runtime, self.waiting = map(int, self.line().split())
        self.interp = self.process.field(self.runtime, "runtime.interpreters_head")
        self.threads = {int(ident): int(native) for ident, native in (w.split(":") for w in self.line().split())}

    def line(self) -> str:
        assert self._child.stdout is not None
        return self._child.stdout.readline()

    def frames(self) -> list[str]:
        """What it says itself of the stack of a thread that waits, or is about to."""
        assert self._child.stdin is not None
        self._child.stdin.write("frames\n")
        self._child.stdin.flush()
        return self.line().split()

    def is_asleep(self) -> bool:
        stat = Path(f"/proc/{self._child.pid}/task/{self.threads[self.waiting]}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] == "S"

    def main_attribute(self, name: str) -> int:
        return self.module_attribute("__main__", name)

    def module_attribute(self, module: str, name: str) -> int:
        modules = self.process.field(self.interp, "interp.modules")
        found = self.process.lookup(modules, module)
        return self.process.lookup(self.process.field(found, "module.dict"), name)

    def tstates(self) -> Iterator[int]:
        tstate = self.process.field(self.interp, "interp.threads_head")
        while tstate:
            yield tstate
            tstate = self.process.field(tstate, "tstate.next")


@pytest.fixture(scope="module")
def target(interpreter: Interpreter, dump_layout: Path) -> Iterator[Target]:
    fields = tools.parse(tools.our_layout(interpreter, dump_layout))
    command = interpreter.command(str(HERE / "target_threads.py"))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        target = Target(child, fields)
        try:
            yield target
        finally:
            target.process.close()


def test_runtime_leads_to_the_threads_and_back(target: Target) -> None:
    process = target.process
    assert process.field(target.runtime, "runtime.interpreters_main") == target.interp
    assert process.number(target.runtime + process.at["runtime.initialized"], "i") == 1
    assert process.field(target.runtime, "runtime.finalizing") == 0
    assert process.field(target.interp, "interp.id") == 0
    tstates = list(target.tstates())
    assert {process.field(t, "tstate.interp") for t in tstates} == {target.interp}
    assert {process.field(t, "tstate.thread_id") for t in tstates} == set(target.threads)
    if "tstate.native_thread_id" in process.at:
        natives = {process.field(t, "tstate.native_thread_id") for t in tstates}
        assert natives == set(target.threads.values())


def test_nobody_holds_the_gil_when_all_wait(target: Target) -> None:
    process, at = target.process, target.process.at
    if "runtime.gil" in at:
        gil = target.runtime + at["runtime.gil"]
        assert process.field(target.runtime, "runtime.tstate_current") == 0
    else:
        gil = process.field(target.interp, "interp.gil_pointer")
    if not at["free_threaded"]:
        assert process.number(gil + at["gil.locked"], "i") == 0
        assert process.field(gil, "gil.last_holder") in set(target.tstates())
    for tstate in target.tstates():
        if "tstate.state" in at:
            assert process.number(tstate + at["tstate.state"], "i") == at["state.detached"]
            assert process.number(tstate + at["tstate.holds_gil"], "I") & at["tstate.holds_gil_mask"] == 0
        if "tstate.gil_requested" in at:
            assert process.number(tstate + at["tstate.gil_requested"], "i") == 0


def test_instructions_of_a_stack(target: Target, dump_opcodes: Path, interpreter: Interpreter) -> None:
    """Every frame is at the instruction that Python itself calls f_lasti, and the innermost at a call."""
    process = target.process
    tstate = next(t for t in target.tstates() if process.field(t, "tstate.thread_id") == target.waiting)
    said = target.frames()
    while not (target.is_asleep() and said[0].startswith("wait:") and said == target.frames()):
        said = target.frames()
    read = [(process.text(process.field(code, "code.name")), at) for code, at in process.frames(tstate)]
    assert [f"{name}:{at}" for name, at in read] == said
    code, at = next(process.frames(tstate))
    calls = tools.run(dump_opcodes, f"3.{tools.minor(interpreter)}").split()
    assert str(process.opcode(code, at)) in calls


def test_nobody_collects(target: Target) -> None:
    key = "runtime.gc_collecting" if "runtime.gc_collecting" in target.process.at else "interp.gc_collecting"
    start = target.runtime if key.startswith("runtime") else target.interp
    assert target.process.number(start + target.process.at[key], "i") == 0


def test_thread_names(target: Target) -> None:
    """threading._active -> Thread -> _name."""
    process = target.process
    active = list(process.items(target.module_attribute("threading", "_active")))
    names = {process.text(process.attribute(thread, "_name")) for _, thread in active}
    assert names == {"MainThread", "alpha", "bêta", "γάμμα", "😀"}


def test_attributes_of_instances(target: Target) -> None:
    process = target.process
    split, materialised = target.main_attribute("split"), target.main_attribute("materialised")
    assert process.text(process.attribute(split, "first")) == "one"
    assert process.text(process.attribute(split, "second")) == "two"
    assert process.attribute(split, "third") == 0
    assert process.text(process.attribute(materialised, "first")) == "uno"
    assert process.text(process.attribute(materialised, "third")) == "tre"


def test_a_large_dict(target: Target) -> None:
    process = target.process
    big = target.main_attribute("big")
    assert process.field(big, "dict.used") == 9_999
    assert {process.text(key): process.text(value) for key, value in process.items(big)} == {
        str(i): str(-i) for i in range(10_000) if i != 7
    }
