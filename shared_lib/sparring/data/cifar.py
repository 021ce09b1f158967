"""CIFAR-10's binary version."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sparring.errors import DataError

SHAPE = (3, 32, 32)
RECORD = 1 + 3 * 32 * 32
CLASSES = 10


def parse_cifar(raw: bytes, name: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Return images, shape (n, 3, 32, 32), and labels, shape (n,), of a batch in CIFAR-10's binary layout.

    A record is a label byte, then 1,024 red, 1,024 green and 1,024 blue bytes, row by row
    (https://www.cs.toronto.edu/~kriz/cifar.html). `name` is for messages. Raises DataError.
    """
    if not raw or len(raw) % RECORD:
        raise DataError(
            f"{name} has {len(raw)} bytes, no multiple of the {RECORD} of one record; fetch it again"
        )
    records = np.frombuffer(raw, dtype=np.uint8).reshape(-1, RECORD)
    labels = records[:, 0]
    if labels.max() >= CLASSES:
        row = int((labels >= CLASSES).argmax())
        raise DataError(
            f"{name}: record {row} has label {labels[row]}, the highest is {CLASSES - 1}; fetch it again"
        )
    return records[:, 1:].reshape(-1, *SHAPE), labels
