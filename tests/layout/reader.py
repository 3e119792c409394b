"""Reads the objects of another Python process by a layout: dicts, strings, attributes, modules.

It is the description of docs/cpython-notes.md as code; test_process.py runs it on every version.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

MANAGED_DICT, INLINE_VALUES = 1 << 4, 1 << 2
INSTANCE_VALUES, INSTANCE_TAGGED, INSTANCE_INLINE = 1, 2, 3


class Process:
    """The memory of a process and where its Python keeps what. Absent fields raise KeyError."""

    def __init__(self, pid: int, fields: dict[str, str]) -> None:
        self._memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
        self.at = {key: int(value) for key, value in fields.items()}

    def close(self) -> None:
        os.close(self._memory)

    def read(self, address: int, size: int) -> bytes:
        return os.pread(self._memory, size, address)

    def number(self, address: int, kind: str) -> int:
        """One number; `kind` is a letter of struct."""
        value: int = struct.unpack(f"<{kind}", self.read(address, struct.calcsize(kind)))[0]
        return value

    def pointer(self, address: int) -> int:
        return self.number(address, "Q")

    def field(self, address: int, key: str) -> int:
        return self.pointer(address + self.at[key])

    def text(self, address: int) -> str:
        """A compact str."""
        state = self.number(address + self.at["unicode.state"], "I")
        kind = state >> self.at["unicode.kind_shift"] & 7
        assert state >> self.at["unicode.compact_shift"] & 1
        is_ascii = state >> self.at["unicode.ascii_shift"] & 1
        data = address + self.at["unicode.ascii_data" if is_ascii else "unicode.data"]
        size = self.field(address, "unicode.length") * kind
        return self.read(data, size).decode({1: "latin-1", 2: "utf-16-le", 4: "utf-32-le"}[kind])

    def type_name(self, address: int) -> str:
        name = self.field(self.field(address, "object.type"), "object.type_name")
        return self.read(name, 64).split(b"\0")[0].decode()

    def keys(self, keys: int) -> Iterator[tuple[int, int, int]]:
        """Address of the key, address of the value and position, of each entry of a dict's keys."""
        if "keys.size" in self.at:
            size = self.field(keys, "keys.size")
            index_bytes = size * (1 if size <= 0xFF else 2 if size <= 0xFFFF else 4)
            general = True
        else:
            index_bytes = 1 << self.number(keys + self.at["keys.log2_index_bytes"], "B")
            general = self.number(keys + self.at["keys.kind"], "B") == self.at["kind.general"]
        entries = keys + self.at["keys.indices"] + index_bytes
        stride = 24 if general else 16
        for position in range(self.field(keys, "keys.nentries")):
            value = entries + (position + 1) * stride - 8
            if key := self.pointer(value - 8):
                yield key, self.pointer(value), position

    def items(self, address: int) -> Iterator[tuple[int, int]]:
        """Key and value of each item of a dict."""
        values = self.field(address, "dict.values")
        for key, value, position in self.keys(self.field(address, "dict.keys")):
            if values:
                value = self.value(values, position)
            if value:
                yield key, value

    def value(self, values: int, position: int) -> int:
        return self.pointer(values + self.at["keys.values_first"] + 8 * position)

    def lookup(self, address: int, name: str) -> int:
        """The value of a dict of names; 0 if there is none."""
        return next((v for k, v in self.items(address) if self.type_name(k) == "str" and self.text(k) == name), 0)

    def attribute(self, address: int, name: str) -> int:
        """The value in an instance's own attributes; 0 if there is none."""
        cls = self.field(address, "object.type")
        flags = self.field(cls, "instance.flags")
        if not flags & MANAGED_DICT:
            return self.lookup(self.pointer(address + self.field(cls, "instance.dictoffset")), name)
        dict_, values = self._managed(address, cls, flags)
        if dict_:
            return self.lookup(dict_, name)
        for key, _, position in self.keys(self.field(cls, "instance.cached_keys")):
            if self.text(key) == name:
                return self.value(values, position)
        return 0

    def _managed(self, address: int, cls: int, flags: int) -> tuple[int, int]:
        """The dict of an instance, or its values."""
        before = self.pointer(address - self.at["instance.dict_before"])
        if self.at["instance_kind"] == INSTANCE_VALUES:
            return before, self.pointer(address - self.at["instance.values_before"])
        if self.at["instance_kind"] == INSTANCE_TAGGED:
            return (0, before + 1) if before & 1 else (before, 0)
        inline = address + self.field(cls, "instance.basicsize") if flags & INLINE_VALUES else 0
        return before, inline

    def frames(self, tstate: int) -> Iterator[tuple[int, int]]:
        """Code object and byte offset of the instruction of each frame, the innermost first."""
        frame = self.field(tstate, "tstate.frame")
        if "cframe.current_frame" in self.at:
            frame = self.field(frame, "cframe.current_frame")
        shims = {self.at.get("owners.interpreter"), self.at.get("owners.c_stack")}
        while frame:
            if "frame.owner" not in self.at or self.number(frame + self.at["frame.owner"], "B") not in shims:
                code = self.field(frame, "frame.code") & ~self.at["frame.code_tag_mask"]
                yield code, self._instruction(frame, code)
            frame = self.field(frame, "frame.previous")

    def _instruction(self, frame: int, code: int) -> int:
        if unit := self.at["frame.lasti_unit"]:
            return unit * self.number(frame + self.at["frame.instr"], "i")
        return self.field(frame, "frame.instr") - self._bytecode(frame, code)

    def _bytecode(self, frame: int, code: int) -> int:
        if index := self.number(frame + self.at["frame.tlbc_index"], "i") if "frame.tlbc_index" in self.at else 0:
            return self.pointer(self.field(code, "code.tlbc") + 8 + 8 * index)
        return code + self.at["code.bytecode"]

    def opcode(self, code: int, at: int) -> int:
        """The opcode of an instruction, as it stands in memory."""
        if self.at["code.bytecode_inline"]:
            return self.number(code + self.at["code.bytecode"] + at, "B")
        return self.number(self.field(code, "code.bytecode") + self.at["bytes.data"] + at, "B")
