"""Decodes the message of slow.py with the same cbor2, but takes the array in one go, without a copy."""

from __future__ import annotations

import sys
from io import SEEK_CUR, BytesIO
from typing import Any

import cbor2
import numpy as np
import numpy.typing as npt

FLOAT32_LITTLE_ENDIAN = 85
TYPED_ARRAY = bytes([0xD8, FLOAT32_LITTLE_ENDIAN])  # the tag as it is encoded
MAP = 5
LENGTH_BYTES = {24: 1, 25: 2, 26: 4, 27: 8}
MIB = 1024 * 1024
SIZE = 33  # MiB, as in slow.py


class Reader:
    """Reads maps and typed arrays itself, and leaves everything else to cbor2."""

    def __init__(self, blob: bytes) -> None:
        self.blob = blob
        self.stream = BytesIO(blob)
        self.decoder = cbor2.CBORDecoder(self.stream)

    def read(self) -> Any:
        start = self.stream.tell()
        if self.blob.startswith(TYPED_ARRAY, start):
            self.stream.seek(start + len(TYPED_ARRAY))
            return self.read_array()
        if self.blob[start] >> 5 == MAP:
            return {self.read(): self.read() for _ in range(self.read_length())}
        return self.decoder.decode()

    def read_array(self) -> npt.NDArray[np.float32]:
        count = self.read_length() // np.dtype(np.float32).itemsize
        array = np.frombuffer(self.blob, dtype=np.float32, count=count, offset=self.stream.tell())
        self.stream.seek(array.nbytes, SEEK_CUR)
        return array

    def read_length(self) -> int:
        """The definite length in the head of an item."""
        info = self.stream.read(1)[0] & 31
        return int.from_bytes(self.stream.read(LENGTH_BYTES[info]), "big") if info in LENGTH_BYTES else info


def encode_array(encoder: Any, value: npt.NDArray[np.float32]) -> None:
    encoder.encode(cbor2.CBORTag(FLOAT32_LITTLE_ENDIAN, value.tobytes()))


def pack(values: npt.NDArray[np.float32]) -> bytes:
    return cbor2.dumps({"values": values}, default=encode_array)


def unpack(blob: bytes) -> Any:
    return Reader(blob).read()


def main() -> None:
    size = int(sys.argv[1]) if len(sys.argv) > 1 else SIZE
    values = np.random.default_rng(0).random(size * MIB // 4, dtype=np.float32)
    unpacked = unpack(pack(values))
    print(f"{size} MiB, {unpacked['values'].size:,} numbers")


if __name__ == "__main__":
    main()
