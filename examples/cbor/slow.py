"""Decodes one large typed array (RFC 8746) with cbor2 5.7.0, as a program would: by a tag hook."""

from __future__ import annotations

import sys
from typing import Any

import cbor2
import numpy as np
import numpy.typing as npt

FLOAT32_LITTLE_ENDIAN = 85
MIB = 1024 * 1024
SIZE = 33  # MiB; from 32 on, malloc gives and takes back fresh pages for every step of the decoder


def encode_array(encoder: Any, value: npt.NDArray[np.float32]) -> None:
    encoder.encode(cbor2.CBORTag(FLOAT32_LITTLE_ENDIAN, value.tobytes()))


def decode_array(_decoder: Any, tag: cbor2.CBORTag) -> Any:
    if tag.tag != FLOAT32_LITTLE_ENDIAN:
        return tag
    return np.frombuffer(tag.value, dtype="<f4")


def pack(values: npt.NDArray[np.float32]) -> bytes:
    return cbor2.dumps({"values": values}, default=encode_array)


def unpack(blob: bytes) -> Any:
    return cbor2.loads(blob, tag_hook=decode_array)


def main() -> None:
    size = int(sys.argv[1]) if len(sys.argv) > 1 else SIZE
    values = np.random.default_rng(0).random(size * MIB // 4, dtype=np.float32)
    unpacked = unpack(pack(values))
    print(f"{size} MiB, {unpacked['values'].size:,} numbers")


if __name__ == "__main__":
    main()
