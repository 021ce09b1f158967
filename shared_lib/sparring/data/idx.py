"""The idx format, in which MNIST and its successors are published."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from sparring.errors import DataError

UNSIGNED_BYTE = 0x08


def parse_idx(raw: bytes, name: str) -> npt.NDArray[np.uint8]:
    """Return the array in an idx file of unsigned bytes, as a read-only view of `raw`.

    The format: two zero bytes, a type, the number of dimensions, each dimension as a big-endian 32-bit number,
    then the values in C order (https://yann.lecun.org/exdb/mnist/). `name` is for messages. Raises DataError.
    """
    if len(raw) < 4 or raw[:2] != b"\0\0":
        raise DataError(
            f"{name} is no idx file: it starts with {raw[:4]!r}, not with two zero bytes; fetch it again"
        )
    kind, dimensions = raw[2], raw[3]
    if kind != UNSIGNED_BYTE:
        raise DataError(f"{name} holds idx type 0x{kind:02x}; only unsigned bytes (0x08) are read here")
    start = 4 + 4 * dimensions
    if len(raw) < start:
        raise DataError(
            f"{name} ends inside its header: {len(raw)} bytes, {start} are needed; fetch it again"
        )
    shape = tuple(int.from_bytes(raw[i : i + 4], "big") for i in range(4, start, 4))
    if len(raw) - start != math.prod(shape):
        raise DataError(
            f"{name} announces shape {shape}, {math.prod(shape)} bytes, but {len(raw) - start} follow; fetch it again"
        )
    return np.frombuffer(raw, dtype=np.uint8, offset=start).reshape(shape)
