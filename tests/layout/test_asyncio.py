"""Tasks, what they wait for and who waits for them, read from outside by the layouts."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from layout import tools
from layout.reader import Process
from matrix import Interpreter

HERE = Path(__file__).parent


@pytest.fixture(scope="module", params=["3.14", "3.15"])
def interpreter(request: pytest.FixtureRequest) -> Interpreter:
    return tools.interpreter_with_headers(request.param)


class Tasks(Process):
    """A process whose main thread runs an event loop."""

    tstate: int

    def all(self) -> Iterator[int]:
        head = self.tstate + self.at["thread_tasks_head"]
        node = self.pointer(head)
        while node != head:
            yield node - self.at["task_node"]
            node = self.pointer(node)

    def name(self, task: int) -> str:
        name = self.field(task, "task_name")
        if self.type_name(name) == "int":
            assert self.field(name, "integer.tag") >> 3 == 1
            return f"Task-{self.number(name + self.at['integer.digits'], 'I')}"
        return self.text(name)

    def coroutines(self, task: int) -> Iterator[str]:
        """Names of the coroutines, the outermost first, then the type of what the innermost awaits."""
        coro = self.field(task, "task_coro")
        while self.type_name(coro) == "coroutine":
            yield self.text(self.field(coro, "generator.name"))
            if self.number(coro + self.at["generator.frame_state"], "b") != self.at["generator.awaiting"]:
                return
            top = self.field(coro + self.at["generator.iframe"], "frame.stackpointer")
            coro = self.pointer(top - 8 * self.at["generator.awaited_slot"]) & ~self.at["frame.code_tag_mask"]
        yield self.type_name(coro)

    def awaited_by(self, task: int) -> list[int]:
        waiters = self.field(task, "task_awaited_by")
        if not self.number(task + self.at["task_awaited_by_is_set"], "B"):
            return [waiters] if waiters else []
        table, entries = self.field(waiters, "set.table"), self.field(waiters, "set.mask") + 1
        keys = [self.pointer(table + 16 * i) for i in range(entries)]
        return [key for key in keys if key]


def section(folder: Path, image: str) -> bytes:
    content = folder / "AsyncioDebug"
    tools.run("objcopy", "-O", "binary", "--only-section=.AsyncioDebug", image, content)
    return content.read_bytes()


@pytest.fixture(scope="module")
def tasks(interpreter: Interpreter, dump_layout: Path, programs: Path) -> Iterator[Tasks]:
    fields = tools.parse(tools.our_layout(interpreter, dump_layout))
    command = interpreter.command(str(HERE / "target_asyncio.py"))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        runtime, *extension = child.stdout.readline().split()
        offsets = section(programs, extension[0] if extension else interpreter.path)
        fields |= tools.parse(tools.run(dump_layout, "asyncio", data=offsets))
        process = Tasks(child.pid, fields)
        interp = process.field(int(runtime), "runtime.interpreters_head")
        process.tstate = process.field(interp, "interp.threads_head")
        try:
            yield process
        finally:
            process.close()


def test_running_task(tasks: Tasks) -> None:
    running = tasks.field(tasks.tstate, "thread_running_task")
    assert tasks.name(running) == "Task-1"
    assert list(tasks.coroutines(running)) == ["main"]
    assert tasks.type_name(tasks.field(tasks.tstate, "thread_running_loop")) == "_UnixSelectorEventLoop"


def test_all_tasks_and_their_await_chains(tasks: Tasks) -> None:
    chains = {tasks.name(task): list(tasks.coroutines(task)) for task in tasks.all()}
    unnamed = next(name for name in chains if name.startswith("Task-") and name != "Task-1")
    assert chains == {
        "Task-1": ["main"],
        "shared": ["inner", "leaf", "wait", "_asyncio.FutureIter"],
        "first": ["waiter", "_asyncio.FutureIter"],
        "second": ["waiter", "_asyncio.FutureIter"],
        unnamed: ["waiter", "_asyncio.FutureIter"],
    }


def test_who_awaits_a_task(tasks: Tasks) -> None:
    by_name = {tasks.name(task): task for task in tasks.all()}
    waiters = tasks.awaited_by(by_name["shared"])
    assert {"first", "second"} < {tasks.name(task) for task in waiters}
    assert len(waiters) == 3
    assert {tasks.number(task + tasks.at["task_is_task"], "B") for task in by_name.values()} == {1}
    assert tasks.awaited_by(by_name["first"]) == []


def test_no_task_without_a_thread(tasks: Tasks) -> None:
    interp = tasks.field(tasks.tstate, "tstate.interp")
    head = interp + tasks.at["interp_tasks_head"]
    assert tasks.pointer(head) == head


def test_sections_that_cannot_be_are_refused(
    interpreter: Interpreter, tasks: Tasks, dump_layout: Path, programs: Path
) -> None:
    image = tools.run(*interpreter.command("-c", "import _asyncio as a; print(getattr(a, '__file__', ''))"))
    offsets = section(programs, image.strip() or interpreter.path)
    cases = [(offsets[:-8], "EINVAL"), (offsets + bytes(8), "EINVAL")]
    cases += [(offsets[:at] + b"\xff" * 8 + offsets[at + 8 :], "ERANGE") for at in range(0, len(offsets), 8)]
    refusals = [tools.parse(tools.run(dump_layout, "asyncio", data=case, status=1))["error"] for case, _ in cases]
    assert refusals == [error for _, error in cases]
