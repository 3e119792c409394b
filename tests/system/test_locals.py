"""`zond stack --locals`: the local variables of each Python frame, whatever they are and whatever happens to them."""

from __future__ import annotations

import json
import re
import subprocess
import time
from typing import Any

import pytest
from system.drive import (
    PYTHON,
    end_of,
    every_version,
    interpreter_of,
    process_state,
    started,
    version_of,
    wait_until,
    zond,
)

# Functions with variables of every kind; {rest} is what the innermost one does.
KNOWN = """\
import collections, enum, sys, time

class Text(str): pass
class Number(enum.IntEnum): SEVEN = -7
class Real(float): pass
class Group(set): pass
class Meta(type): pass
class Odd(metaclass=Meta): pass
class Naïve: pass
Point = collections.namedtuple("Point", "x y")

def scalars(first, *rest, key=None, **more):
    none, yes, no, dots = None, True, False, ...
    zero, small, digit, digits, negative = 0, 42, 2**30, 2**60, -12345678901234567890
    googol, huge, below = 10**70, 10**30102, -(1 << 1000)
    one, minus, large, tenth, tiny = 1.0, -0.0, 1e100, 0.1, 1e-7
    infinite, nan, exact, whole = float("-inf"), float("nan"), 123456789.125, 1e15
    both, imaginary = 1+2j, 1.5j
    derived, real = Number.SEVEN, Real(2.5)
    if zero:
        unbound = 1
    return strings(key)

def strings(argument):
    empty, quotes, escapes = "", "it's", 'it\\'s "q" \\n\\t\\\\ \\x7f'
    two, four, hidden = "é €", "😀", "a\\u202eb\\xa0\\u200b"
    surrogates = "a\\udc80\\ud800"
    megabyte = "x" * (1 << 20)
    derived = Text("derived")
    derived_wide = Text("é€")
    data, much = b"a'\\x00\\xff", bytes(1000)
    return containers()

def containers():
    tuples, lists, sets = ((), (1,), (1, "a")), [[], [1]], [set(), {{1}}, frozenset(), frozenset({{2}})]
    dicts = [{{}}, {{"a": 1}}]
    ring = [1]
    ring.append(ring)
    deep = [[[1, 2], {{3: [4]}}], (5,)]
    odd = {{None: 1, (1, 2): "two", frozenset({{1}}): 3.5}}
    many, longest = list(range(1000)), {{i: str(i) for i in range(100)}}
    del longest[0], longest[1]
    removed = set(range(100))
    for i in range(98):
        removed.discard(i)
    wide = ["x" * 50] * 5
    default, ordered = collections.defaultdict(list, a=[1]), collections.OrderedDict(b=2)
    point, group = Point(1, "y"), Group()
    return objects()

class Plain:
    def __init__(self):
        self.attribute = 1

def objects():
    plain, odd, named = Plain(), Odd(), Naïve()
    kind, odd_kind, builtin = Plain, Odd, int
    function, queue, instance = objects, collections.deque([1]), object()
    vars(plain)
    mapping = plain.__dict__
    return next(generator(3))

def generator(n):
    inside = "in a generator"
    yield cells(n)

def cells(shared):
    celled = "in a cell"
    empty_cell = 1
    del empty_cell
    def middle(x):
        def innermost():
            y = celled
            return shared, x
        def uses():
            return empty_cell
        z = 1
        {rest}
        return innermost()
    return middle(2)

scalars(1, 2, 3, key="word", other=4)
"""

SLEEPS = KNOWN.format(rest='print("ready", flush=True); time.sleep(1000)')
RUNS = KNOWN.format(rest='print("ready", flush=True)\n        while True: z = 1')

# Of each function: variables and what they are shown as. A pattern where it begins with ^.
VALUES = {
    "scalars": {
        "first": "1",
        "rest": "(2, 3)",
        "key": "'word'",
        "more": "{'other': 4}",
        "none": "None",
        "yes": "True",
        "no": "False",
        "dots": "Ellipsis",
        "zero": "0",
        "small": "42",
        "digit": str(2**30),
        "digits": str(2**60),
        "negative": "-12345678901234567890",
        "googol": str(10**70),
        "huge": "<int of 99997 bits>",
        "below": "<negative int of 1001 bits>",
        "one": "1.0",
        "minus": "-0.0",
        "large": "1e+100",
        "tenth": "0.1",
        "tiny": "1e-07",
        "infinite": "-inf",
        "nan": "nan",
        "exact": "123456789.125",
        "whole": "1000000000000000.0",
        "both": "(1+2j)",
        "imaginary": "1.5j",
        "derived": "Number(-7)",
        "real": "Real(2.5)",
    },
    "strings": {
        "argument": "'word'",
        "empty": "''",
        "quotes": '"it\'s"',
        "escapes": "'it\\'s \"q\" \\n\\t\\\\ \\x7f'",
        "two": "'é €'",
        "four": "'😀'",
        "hidden": "'a\\u202eb\\xa0\\u200b'",
        "surrogates": "'a\\udc80\\ud800'",
        "megabyte": "'" + "x" * 60 + "…' len=1048576",
        "derived": "Text('derived')",
        "derived_wide": "Text('é€')",
        "data": 'b"a\'\\x00\\xff"',
        "much": "^b'(\\\\x00){19}… len=1000",
    },
    "containers": {
        "tuples": "((), (1,), (1, 'a'))",
        "lists": "[[], [1]]",
        "sets": "[set(), {1}, frozenset(), frozenset({2})]",
        "dicts": "[{}, {'a': 1}]",
        "ring": "[1, [1, […]]]",
        "deep": "[[[…], {…}], (5,)]",
        "odd": "{None: 1, (1, 2): 'two', frozenset({1}): 3.5}",
        "many": "[0, 1, 2, 3, 4, …] len=1000",
        "longest": "{2: '2', 3: '3', 4: '4', 5: '5', 6: '6', …} len=98",
        "removed": "^{(98, 99|99, 98)}",
        "i": "97",
        "wide": "^\\['x{24}…' len=50, 'x{24}…' len=50, '?x*… len=5",
        "default": "collections.defaultdict({'a': [1]})",
        "ordered": "collections.OrderedDict({'b': 2})",
        "point": "Point((1, 'y'))",
        "group": "Group()",
    },
    "objects": {
        "plain": "^<Plain at 0x[0-9a-f]+>",
        "odd": "^<Odd at 0x[0-9a-f]+>",
        "named": "^<Naïve at 0x[0-9a-f]+>",
        "kind": "<class Plain>",
        "odd_kind": "<class Odd>",
        "builtin": "<class int>",
        "function": "^<function at 0x[0-9a-f]+>",
        "queue": "^<collections.deque at 0x[0-9a-f]+>",
        "instance": "^<object at 0x[0-9a-f]+>",
        "mapping": "{'attribute': 1}",
    },
    "generator": {"n": "3", "inside": "'in a generator'"},
    "cells": {"shared": "3", "celled": "'in a cell'", "middle": "^<function at 0x[0-9a-f]+>"},
    "middle": {
        "x": "2",
        "z": "1",
        "innermost": "^<function at 0x[0-9a-f]+>",
        "uses": "^<function at 0x[0-9a-f]+>",
        "celled": "'in a cell'",
        "shared": "3",
    },
    "<module>": {},
}

# Changes what its variables hold all the time, in several threads; ends when its input ends, and says how it went.
HOSTILE = """\
import random, sys, threading

class Thing:
    def __init__(self, value):
        self.value = value

over = False
failed = []

def mutates(seed):
    chance = random.Random(seed)
    numbers, table, group, text, nested = [], {}, set(), "", []
    while not over:
        kind = chance.randrange(8)
        value = [None, 1 << chance.randrange(2000), "é" * chance.randrange(100), [1] * chance.randrange(50),
                 {i: i for i in range(chance.randrange(50))}, Thing(seed), (1.5, b"x" * 70), {1, 2}][kind]
        numbers.append(value)
        table[chance.randrange(1000)] = value
        if len(numbers) > 50: numbers = numbers[40:]
        if len(table) > 500: table = dict(list(table.items())[400:])
        group ^= {chance.randrange(100)}
        nested = [nested, value] if chance.randrange(20) else []
        text = (text + "x") if len(text) < 1000 else ""
        kinds = type("Made%d" % kind, (Thing,), {})(value)
        recurses(chance.randrange(20), [value], kinds)
        del kinds

def recurses(n, held, *rest, **more):
    copy = list(held)
    if n: recurses(n - 1, copy, n, key=held)
    return sum(i for i in range(3))

def guarded(seed):
    try: mutates(seed)
    except BaseException as error: failed.append(error)

threads = [threading.Thread(target=guarded, args=(i,)) for i in range(3)]
for thread in threads: thread.start()
print("ready", flush=True)
sys.stdin.read()
over = True
for thread in threads: thread.join()
print("failed", failed, flush=True)
"""

Found = dict[str, Any]


def stack(pid: int, *options: str) -> Found:
    done = zond("stack", "--json", "--locals", *options, str(pid))
    assert (done.returncode, done.stderr) == (0, b"")
    found: Found = json.loads(done.stdout)
    return found


def frames(found: Found) -> list[Found]:
    """The Python frames of all threads."""
    threads = [thread for process in found["processes"] for thread in process["threads"]]
    return [frame for thread in threads for frame in thread["frames"] if frame["kind"] == "python"]


def values(frame: Found) -> dict[str, str]:
    assert len({one["name"] for one in frame["locals"]}) == len(frame["locals"]), frame
    return {one["name"]: one["value"] for one in frame["locals"]}


def check_known(found: Found) -> None:
    seen = {frame["name"].rpartition(".")[2]: values(frame) for frame in frames(found)}
    for function, wanted in VALUES.items():
        wrong = {
            name: (seen[function].get(name), value)
            for name, value in wanted.items()
            if not re.fullmatch(value[1:] if value[0] == "^" else re.escape(value), seen[function].get(name, ""))
        }
        assert wrong == {}, function
        assert set(seen[function]) == set(wanted), function


@every_version()
def test_known_values_of_what_sleeps(version: str) -> None:
    interpreter = interpreter_of(version)
    with started(*interpreter.command("-c", SLEEPS)) as process:
        wait_until(lambda: process_state(process.pid)[0] == "S", "sleep")
        found = stack(process.pid)
        check_known(found)
        names = [one["name"] for frame in frames(found) for one in frame["locals"] if "middle" in frame["name"]]
        order = ["x", "z", "innermost", "uses", "celled", "shared"]
        if version_of(interpreter) >= (3, 11):
            assert names[0] == "x"
        assert sorted(names) == sorted(order)


@every_version()
def test_known_values_of_what_runs(version: str) -> None:
    interpreter = interpreter_of(version)
    with started(*interpreter.command("-c", RUNS)) as process:
        check_known(stack(process.pid))
        assert process_state(process.pid)[1] == 0


def test_what_runs_and_is_not_held() -> None:
    """Nothing is said of frames that may have been others by the time that they were read."""
    with started(PYTHON, "-c", RUNS) as process:
        seen = frames(stack(process.pid, "--no-native"))
    assert values(seen[0]) == {"…": "the thread runs: not read"}
    assert all(values(frame) == {} for frame in seen[1:])


def test_the_text_fits() -> None:
    with started(PYTHON, "-c", SLEEPS) as process:
        for width in (50, 120):
            done = zond("stack", "--locals", "--width", str(width), str(process.pid))
            text = done.stdout.decode()
            assert max(map(len, text.splitlines())) <= width
            assert re.search(r"^ +py +(\S*\.)?generator .*\n +n = 3\n +inside = 'in a generator'$", text, re.MULTILINE)
            assert [c for c in text if not c.isprintable() and c != "\n"] == []
        plain = zond("stack", str(process.pid)).stdout.decode()
    assert "inside" not in plain


def test_only_when_asked() -> None:
    with started(PYTHON, "-c", SLEEPS) as process:
        plain = json.loads(zond("stack", "--json", str(process.pid)).stdout)
    assert all("locals" not in frame for frame in frames(plain))


# So many variables, so many frames of them.
MANY = """\
import sys, time
names = ["v%d" % i for i in range(300)]
exec("def many():\\n" + "".join("    %s = %d\\n" % (name, i) for i, name in enumerate(names)) + "    deep(150)")
def deep(n):
    here = n
    if n: deep(n - 1)
    else: print("ready", flush=True); time.sleep(1000)
many()
"""


def test_how_much_is_shown() -> None:
    with started(PYTHON, "-c", MANY) as process:
        done = zond("stack", "--json", "--locals", str(process.pid))
        found = json.loads(done.stdout)
    deep = [values(frame) for frame in frames(found) if frame["name"] == "deep"]
    assert deep[:100] == [{"n": str(n), "here": str(n)} for n in range(100)]
    assert deep[100:] == [{}] * 51
    assert any("of its 100 innermost frames" in loss for loss in found["losses"])
    with started(PYTHON, "-c", MANY.replace("deep(150)", "deep(1)")) as process:
        found = stack(process.pid)
    many = next(values(frame) for frame in frames(found) if frame["name"] == "many")
    assert many == {**{f"v{i}": str(i) for i in range(50)}, "…": "250 more"}


def check_hostile(found: Found) -> int:
    """What is said of a frame that changes is true of it or says that it could not be read. How many were."""
    count = 0
    for frame in frames(found):
        shown = values(frame)
        assert all(len(value) <= 80 + len("… len=") + 20 for value in shown.values())
        assert all(value.isprintable() for value in shown.values())
        for name, value in shown.items():
            if "<changed" in value or "<unreadable>" in value or name == "…":
                continue
            count += 1
            allowed = {"seed": r"\d", "n": r"\d+", "kind": r"\d", "group": r"set\(\)|{.*", "numbers": r"\[.*"}
            assert re.fullmatch(allowed.get(name, ".*"), value), (frame["name"], name, value)
    return count


@every_version()
@pytest.mark.parametrize("options", [(), ("--no-native",)])
def test_what_changes_all_the_time(version: str, options: tuple[str, ...]) -> None:
    interpreter = interpreter_of(version)
    with started(*interpreter.command("-c", HOSTILE)) as process:
        end, shown, looks = time.monotonic() + 2, 0, 0
        while time.monotonic() < end:
            shown += check_hostile(stack(process.pid, *options))
            looks += 1
        out, _ = process.communicate(b"", timeout=60)
        assert end_of(process) == 0
    assert out == b"failed []\n"
    assert looks >= 2
    assert shown > looks or (interpreter.free_threaded and options)


def test_a_target_that_ends_meanwhile() -> None:
    """zond ends as it does without --locals."""
    for delay in (0, 0.005, 0.01, 0.02, 0.03):
        with started(PYTHON, "-c", RUNS) as process:
            look = subprocess.Popen(["sh", "-c", f"sleep {delay}; kill -9 {process.pid}"])
            done = zond("stack", "--json", "--locals", str(process.pid))
            look.wait(timeout=60)
        assert done.returncode in (0, 125), done
        if done.returncode == 0:
            json.loads(done.stdout)
