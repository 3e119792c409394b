"""Two tasks that wait on one deeply, tells where, and runs until the end of stdin."""

import _asyncio
import asyncio
import ctypes
import sys


async def leaf() -> None:
    await asyncio.Event().wait()


async def inner() -> None:
    await leaf()


async def waiter(task: "asyncio.Task[None]") -> None:
    await task


def tell() -> None:
    runtime = ctypes.addressof(ctypes.c_char.in_dll(ctypes.pythonapi, "_PyRuntime"))
    print(runtime, getattr(_asyncio, "__file__", ""), flush=True)
    sys.stdin.read()


async def main() -> None:
    shared = asyncio.create_task(inner(), name="shared")
    waiters = [asyncio.create_task(waiter(shared), name=name) for name in ("first", "second", None)]
    # Everyone runs until it waits; then the loop itself stands still, inside this task.
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    tell()
    del waiters


asyncio.run(main())
