"""The idx format and CIFAR-10's binary layout."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sparring.data.cifar import RECORD, parse_cifar
from sparring.data.idx import parse_idx
from sparring.errors import DataError


def idx(values: np.ndarray) -> bytes:
    """Write an array as idx, by the format's description."""
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return bytes([0, 0, 8, values.ndim]) + sizes + values.tobytes()


def test_a_known_idx_file_is_read() -> None:
    """Two images of one row and three columns, written byte by byte."""
    raw = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 3, 1, 2, 3, 4, 5, 255])
    assert parse_idx(raw, "toy").tolist() == [[[1, 2, 3]], [[4, 5, 255]]]


@given(arrays.arrays(np.uint8, arrays.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5)))
def test_what_was_written_is_read(values: np.ndarray) -> None:
    """Any array of bytes comes back, empty ones too."""
    got = parse_idx(idx(values), "toy")
    assert got.shape == values.shape
    assert np.array_equal(got, values)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "toy is no idx file"),
        (b"\x1f\x8b\x08\x00abc", "starts with .*not with two zero bytes"),
        (bytes([0, 0, 0x0D, 1, 0, 0, 0, 1]) + b"abcd", r"idx type 0x0d; only unsigned bytes \(0x08\)"),
        (bytes([0, 0, 8, 3, 0, 0, 0, 1]), "ends inside its header: 8 bytes, 16 are needed"),
        (bytes([0, 0, 8, 1, 0, 0, 0, 4]) + b"abc", r"announces shape \(4,\), 4 bytes, but 3 follow"),
        (bytes([0, 0, 8, 1, 0, 0, 0, 2]) + b"abc", r"announces shape \(2,\), 2 bytes, but 3 follow"),
        (bytes([0, 0, 8, 4]) + b"\xff" * 16, "announces shape .* but 0 follow"),
    ],
)
def test_a_damaged_idx_file_is_refused(raw: bytes, message: str) -> None:
    """Each kind of damage has its own message; an absurd announced size reserves no memory."""
    with pytest.raises(DataError, match=message):
        parse_idx(raw, "toy")


@given(raw=st.binary(max_size=40))
def test_noise_is_read_or_refused_but_never_crashes(raw: bytes) -> None:
    """Whatever the bytes, the answer is an array of just those values, or DataError."""
    try:
        got = parse_idx(raw, "noise")
    except DataError:
        return
    assert got.tobytes() == raw[4 + 4 * raw[3] :]


def test_cifar_planes_and_rows_come_in_the_documented_order() -> None:
    """One record with a marked pixel: label first, then red, green and blue, each row by row."""
    record = bytearray(RECORD)
    record[0] = 7
    record[1] = 10  # red, row 0, column 0
    record[1 + 1024 + 32] = 20  # green, row 1, column 0
    record[1 + 2048 + 5] = 30  # blue, row 0, column 5
    images, labels = parse_cifar(bytes(record) + bytes(RECORD), "toy")
    assert images.shape == (2, 3, 32, 32)
    assert labels.tolist() == [7, 0]
    assert (images[0, 0, 0, 0], images[0, 1, 1, 0], images[0, 2, 0, 5]) == (10, 20, 30)
    assert int(images.sum()) == 60


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "0 bytes, no multiple of the 3073"),
        (bytes(RECORD + 1), "3074 bytes, no multiple of the 3073"),
        (bytes(RECORD) + b"\x0a" + bytes(RECORD - 1), "record 1 has label 10, the highest is 9"),
    ],
)
def test_a_damaged_cifar_batch_is_refused(raw: bytes, message: str) -> None:
    """Cut in a record, or with a label that no class has."""
    with pytest.raises(DataError, match=message):
        parse_cifar(raw, "toy")
