"""The wire: what goes in comes out equal, and nothing that the protocol does not allow comes out at all."""

import io
import json
import math

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparring_grader import wire


def there_and_back(value):
    encoder = wire.Encoder()
    frame = io.BytesIO(wire.pack({"op": "x", "value": encoder.value(value)}, encoder.tensors))
    header, tensors = wire.read(frame.read)
    return wire.decode(header["value"], tensors)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(PLAIN)
@settings(max_examples=150, deadline=None)
def test_plain_values_come_back_equal_and_of_the_same_type(value):
    def clean(item):
        if isinstance(item, str):
            return item.encode("utf-8", "replace").decode()
        if isinstance(item, dict):
            return {str(key): clean(value) for key, value in item.items()}
        return type(item)(clean(part) for part in item) if isinstance(item, (list, tuple)) else item

    back = there_and_back(clean(value))
    assert back == clean(value)
    assert type(back) is type(value)


@pytest.mark.parametrize("dtype", wire.DTYPES.values(), ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 4), (2, 3)])
def test_tensors_keep_dtype_shape_and_values(dtype, shape):
    value = torch.arange(math.prod(shape), dtype=torch.float32).reshape(shape).to(dtype)
    back = there_and_back(value)
    assert back.dtype == dtype
    assert back.shape == value.shape
    assert torch.equal(back, value)


def test_nan_and_infinities_cross_as_answers_to_be_judged():
    back = there_and_back([math.nan, math.inf, -math.inf, torch.tensor([math.nan, math.inf])])
    assert math.isnan(back[0])
    assert back[1:3] == [math.inf, -math.inf]
    assert torch.isnan(back[3][0])


def test_views_that_share_memory_and_transposed_tensors_cross():
    base = torch.arange(6.0).reshape(2, 3)
    first, second = there_and_back([base, base.t()])
    assert torch.equal(first, base)
    assert torch.equal(second, base.t())


def test_a_generator_goes_on_where_it_stood():
    generator = torch.Generator().manual_seed(3)
    torch.rand(5, generator=generator)
    copy = there_and_back(generator)
    assert torch.equal(torch.rand(4, generator=copy), torch.rand(4, generator=generator))


def test_numpy_arrays_and_scalars_cross():
    array = np.arange(4, dtype=np.float64).reshape(2, 2)
    assert np.array_equal(there_and_back(array), array)
    assert there_and_back(np.float32(0.5)) == 0.5


@pytest.mark.parametrize(
    "value",
    [
        object(),
        {1: 2},
        2**70,
        torch.zeros(2, dtype=torch.complex64),
        {1, 2},
        lambda: 0,
        "x" * (wire.MAX_TEXT + 1),
    ],
    ids=["object", "dict with int keys", "huge int", "complex", "set", "function", "long text"],
)
def test_what_has_no_form_on_the_wire_is_refused_by_name(value):
    with pytest.raises(wire.CannotCross, match="can't cross"):
        wire.Encoder().value(value)


def test_a_list_that_holds_itself_is_refused():
    endless: list = []
    endless.append(endless)
    with pytest.raises(wire.CannotCross, match="nested"):
        wire.Encoder().value(endless)


def frame_of(head: bytes, body: bytes = b"") -> io.BytesIO:
    return io.BytesIO(wire.PREFIX.pack(wire.MAGIC, len(head), len(body)) + head + body)


@pytest.mark.parametrize(
    "frame",
    [
        io.BytesIO(b"GET / HTTP/1.1\r\n\r\n"),
        io.BytesIO(wire.PREFIX.pack(wire.MAGIC, wire.MAX_HEADER + 1, 0)),
        io.BytesIO(wire.PREFIX.pack(wire.MAGIC, 2, wire.MAX_PAYLOAD + 1) + b"{}"),
        frame_of(b"not json"),
        frame_of(b"[" * 100_000),
        frame_of(b'{"op": NaN}'),
        frame_of(b'["op"]'),
        frame_of(b'{"no": "op"}'),
        frame_of(b'{"op": "x"}', b"\xff" * 40),
        frame_of(b'{"op": "x"}', (10**9).to_bytes(8, "little") + b"{}"),
        frame_of(b"\xff\xfe"),
    ],
)
def test_a_frame_that_is_not_of_the_protocol_is_refused(frame):
    with pytest.raises(wire.WireError):
        wire.read(frame.read)


@pytest.mark.parametrize(
    "tree",
    [
        {},
        {"$": 3},
        {"$": "tensor", "t": "7"},
        {"$": "tensor", "t": ["0"]},
        {"$": "float", "v": "1e9"},
        {"$": "tuple", "v": "ab"},
        {"$": "dict", "v": []},
        {"$": "dtype", "v": "__class__"},
        {"$": "handle", "id": 0},
        {"$": "oracle", "id": 0},
        {"$": "model", "config": {}},
        {"$": "model_state", "v": [1, 2, 3, 4]},
        {"$": "generator", "t": "0"},
    ],
    ids=json.dumps,
)
def test_a_tree_that_is_not_of_the_protocol_is_refused(tree):
    with pytest.raises(wire.WireError):
        wire.decode(tree, {"0": torch.zeros(3)})


def test_a_pickle_in_place_of_safetensors_is_refused_and_not_run(tmp_path):
    import pickle

    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    with pytest.raises(wire.WireError):
        wire.read(frame_of(b'{"op": "x"}', pickle.dumps(Bomb())).read)
    assert not (tmp_path / "ran").exists()


def test_more_tensors_than_allowed_are_refused():
    many = {str(i): torch.zeros(1) for i in range(wire.MAX_TENSORS + 1)}
    with pytest.raises(wire.WireError, match="too many"):
        wire.read(frame_of(b'{"op": "x"}', safetensors.torch.save(many)).read)


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_random_bytes_never_do_more_than_raise_the_protocol_error(noise):
    frame = io.BytesIO(wire.PREFIX.pack(wire.MAGIC, min(len(noise), 40), max(len(noise) - 40, 0)) + noise)
    with pytest.raises(wire.WireError):
        wire.read(frame.read)
