"""What crosses the wall: frames of JSON and safetensors, with a cap on everything.

One side of the wall is hostile. So nothing here ever unpickles, imports a name that was sent, or trusts a
length: a frame is a fixed prefix, a JSON header and a safetensors payload, each of a limited size, and every
JSON object says by its "$" key what it stands for. The same code runs on both sides; the grader's side
decides what a reference (an oracle, a handle, a model) may become by handing `decode` its own `Resolver`.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import safetensors.torch
import torch

MAGIC = b"SPR1"
PREFIX = struct.Struct(">4sIQ")
MAX_HEADER = 8 << 20
MAX_PAYLOAD = 128 << 20
MAX_TENSORS = 1024
MAX_NODES = 50_000
MAX_DEPTH = 32
MAX_TEXT = 1 << 20
MAX_INT = 2**63

DTYPES = {
    name: getattr(torch, name)
    for name in (
        "bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64",
    )
}  # fmt: skip
DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}


class WireError(Exception):
    """What came over the wire is not what the protocol allows; the message says what was wrong."""


class CannotCross(Exception):
    """A value has no form on the wire; the message names its type and what can cross instead."""


@dataclass(frozen=True)
class Handle:
    """A learner's object that stays behind the wall; the grader holds its number and its type's name."""

    id: int
    type: str


@dataclass(frozen=True)
class Oracle:
    """A function that stays with the grader while the learner's code calls it across the wall.

    `fn` takes and returns what can cross. After `max_calls` calls the learner's code gets an exception that
    names the budget. With `gradient=True` the tensor that `fn` returns can be backpropagated through to the
    first tensor argument; without, no gradient crosses. `calls` counts, exactly, what was asked.
    """

    fn: Callable[..., Any]
    max_calls: int = 200
    gradient: bool = False
    name: str = "oracle"


@dataclass(frozen=True)
class ModelState:
    """A white-box model as it is after a learner's code had it: weights, `.grad` of each, mode of each module."""

    state: dict[str, torch.Tensor]
    grads: dict[str, torch.Tensor | None]
    training: dict[str, bool]
    requires_grad: dict[str, bool]


class Resolver(Protocol):
    """Turns references on one side of the wall into the objects they stand for, and back."""

    def refer(self, value: Any) -> dict[str, Any] | None:
        """Return the JSON object that stands for `value`, or None if this side has no reference for it."""
        ...

    def resolve(self, kind: str, fields: dict[str, Any], tensors: Mapping[str, torch.Tensor]) -> Any:
        """Return the object that a reference of this kind stands for; raises WireError if it may not."""
        ...


class Encoder:
    """Turns values into JSON and collects their tensors."""

    def __init__(self, resolver: Resolver | None = None) -> None:
        self.resolver = resolver
        self.tensors: dict[str, torch.Tensor] = {}
        self._nodes = 0
        self._bytes = 0

    def tensor(self, value: torch.Tensor) -> str:
        """Store a copy of a tensor on the CPU and return the key by which the JSON refers to it."""
        if value.dtype not in DTYPE_NAMES:
            raise CannotCross(f"a tensor of dtype {value.dtype} can't cross; convert it to torch.float32")
        if value.layout is not torch.strided:
            raise CannotCross(f"a tensor of layout {value.layout} can't cross; call .to_dense() on it")
        self._bytes += value.numel() * value.element_size()
        if len(self.tensors) >= MAX_TENSORS or self._bytes > MAX_PAYLOAD // 2:
            raise CannotCross(
                f"the tensors are too many or too large: at most {MAX_TENSORS} of {MAX_PAYLOAD >> 21} MiB "
                "together can cross; return only what was asked for"
            )
        key = str(len(self.tensors))
        # A clone, because safetensors refuses tensors that share memory, and contiguous, because it needs that.
        self.tensors[key] = value.detach().to("cpu", copy=True).contiguous().clone()
        return key

    def value(self, value: Any, depth: int = 0) -> Any:
        """Return the JSON that stands for `value`; raises CannotCross if it has no form on the wire."""
        self._nodes += 1
        if depth > MAX_DEPTH:
            raise CannotCross(f"the value is nested more than {MAX_DEPTH} deep; flatten it")
        if self._nodes > MAX_NODES:
            raise CannotCross(f"the value has more than {MAX_NODES} parts; use a tensor instead of a list")
        simple = self._simple(value)
        if simple is not NotImplemented:
            return simple
        if isinstance(value, torch.Tensor):
            return {"$": "tensor", "t": self.tensor(value)}
        if isinstance(value, np.ndarray):
            return {"$": "array", "t": self.tensor(_from_numpy(value))}
        if isinstance(value, torch.Generator):
            return {"$": "generator", "t": self.tensor(value.get_state())}
        if isinstance(value, torch.dtype):
            return {"$": "dtype", "v": str(value).removeprefix("torch.")}
        if isinstance(value, list):
            return [self.value(item, depth + 1) for item in value]
        if isinstance(value, tuple):
            return {"$": "tuple", "v": [self.value(item, depth + 1) for item in value]}
        if isinstance(value, Mapping):
            return {"$": "dict", "v": self._items(value, depth)}
        if isinstance(value, ModelState):
            fields = (value.state, value.grads, value.training, value.requires_grad)
            return {"$": "model_state", "v": [self.value(field, depth + 1) for field in fields]}
        reference = self.resolver.refer(value) if self.resolver else None
        if reference is None:
            raise CannotCross(
                f"an object of type {type(value).__name__} can't cross; use numbers, text, lists, tuples, "
                "dicts with text keys, tensors or arrays"
            )
        return self._with_state(reference)

    def _simple(self, value: Any) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, bool):
            return value
        if isinstance(value, int):
            if abs(value) >= MAX_INT:
                raise CannotCross(
                    f"an integer of {value.bit_length()} bits can't cross; the limit is 63 bits"
                )
            return int(value)
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else {"$": "float", "v": repr(float(value))}
        if isinstance(value, str):
            if len(value) > MAX_TEXT:
                raise CannotCross(f"a text of {len(value)} characters can't cross; the limit is {MAX_TEXT}")
            # Lone surrogates have no UTF-8 form; what can't be written is replaced rather than lost.
            return value.encode("utf-8", "replace").decode("utf-8")
        return NotImplemented

    def _items(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        for key in value:
            if not isinstance(key, str):
                raise CannotCross(
                    f"a dict with a key of type {type(key).__name__} can't cross; make every key a text, as in "
                    "{str(key): value}"
                )
        return {str(key): self.value(item, depth + 1) for key, item in value.items()}

    def _with_state(self, reference: dict[str, Any]) -> dict[str, Any]:
        """Replace a reference's tensors, under "state", by their keys."""
        if "state" in reference:
            keys = {name: self.tensor(item) for name, item in reference["state"].items()}
            reference = {**reference, "state": keys}
        return reference


def decode(
    tree: Any, tensors: Mapping[str, torch.Tensor], resolver: Resolver | None = None, depth: int = 0
) -> Any:
    """Return the value that `tree` stands for; raises WireError for anything the protocol does not allow."""
    if depth > MAX_DEPTH:
        raise WireError(f"a value is nested more than {MAX_DEPTH} deep")
    if tree is None or isinstance(tree, (bool, int, float, str)):
        return tree
    if isinstance(tree, list):
        return [decode(item, tensors, resolver, depth + 1) for item in tree]
    if not isinstance(tree, dict) or not isinstance(tree.get("$"), str):
        raise WireError("a JSON object does not say what it stands for")
    kind = tree["$"]
    if kind == "tensor":
        return _tensor(tree, tensors)
    if kind == "array":
        array = _tensor(tree, tensors)
        return array.float().numpy() if array.dtype is torch.bfloat16 else array.numpy()
    if kind == "float":
        if tree.get("v") not in ("nan", "inf", "-inf"):
            raise WireError(f"{str(tree.get('v'))[:40]!r} is not one of nan, inf, -inf")
        return float(tree["v"])
    if kind == "tuple" and isinstance(tree.get("v"), list):
        return tuple(decode(item, tensors, resolver, depth + 1) for item in tree["v"])
    if kind == "dict" and isinstance(tree.get("v"), dict):
        return {key: decode(item, tensors, resolver, depth + 1) for key, item in tree["v"].items()}
    if kind == "dtype" and tree.get("v") in DTYPES:
        return DTYPES[tree["v"]]
    if kind == "generator":
        return _generator(_tensor(tree, tensors))
    if kind == "model_state" and isinstance(tree.get("v"), list) and len(tree["v"]) == 4:
        fields = [decode(item, tensors, resolver, depth + 1) for item in tree["v"]]
        if not all(isinstance(field, dict) for field in fields):
            raise WireError("a model's state is not made of dicts")
        return ModelState(*fields)
    if resolver is None:
        raise WireError(f"a reference of kind {kind[:40]!r} is not allowed here")
    return resolver.resolve(kind, tree, tensors)


def pack(header: dict[str, Any], tensors: dict[str, torch.Tensor] | None = None) -> bytes:
    """Return one frame; raises CannotCross if it would be larger than the other side takes."""
    head = json.dumps(header, allow_nan=False).encode()
    body = safetensors.torch.save(tensors) if tensors else b""
    if len(head) > MAX_HEADER or len(body) > MAX_PAYLOAD:
        raise CannotCross(
            f"a message of {(len(head) + len(body)) >> 10} KiB can't cross; the limits are {MAX_HEADER >> 10} KiB "
            f"of text and {MAX_PAYLOAD >> 10} KiB of tensors"
        )
    return PREFIX.pack(MAGIC, len(head), len(body)) + head + body


def read(receive: Callable[[int], bytes]) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Read one frame with `receive`, which returns exactly as many bytes as it is asked for.

    Raises:
        WireError: the frame is not of the protocol, or larger than its caps.
    """
    magic, head_size, body_size = PREFIX.unpack(receive(PREFIX.size))
    if magic != MAGIC:
        raise WireError("a frame does not begin as the protocol says")
    if head_size > MAX_HEADER or body_size > MAX_PAYLOAD:
        raise WireError(f"a frame announces {head_size + body_size} bytes, more than the protocol allows")
    head = receive(head_size)
    body = receive(body_size)
    try:
        header = json.loads(head, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise WireError(f"a frame's header is not JSON: {str(error)[:80]}") from None
    if not isinstance(header, dict) or not isinstance(header.get("op"), str):
        raise WireError("a frame's header does not name its operation")
    if not body:
        return header, {}
    try:
        tensors = safetensors.torch.load(body)
    except Exception as error:  # noqa: BLE001 - the parser's own errors are several unrelated types
        raise WireError(f"a frame's payload is not safetensors: {str(error)[:80]}") from None
    if len(tensors) > MAX_TENSORS or any(tensor.dtype not in DTYPE_NAMES for tensor in tensors.values()):
        raise WireError("a frame carries too many tensors or one of a dtype that is not allowed")
    return header, tensors


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _tensor(fields: dict[str, Any], tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
    key = fields.get("t")
    if not isinstance(key, str) or key not in tensors:
        raise WireError("a tensor is named that the frame does not carry")
    return tensors[key]


def _from_numpy(array: np.ndarray[Any, Any]) -> torch.Tensor:
    if (
        array.dtype.kind not in "biuf"
        or array.dtype.itemsize > 8
        or array.dtype.str[1:] in ("u2", "u4", "u8")
    ):
        raise CannotCross(f"an array of dtype {array.dtype} can't cross; convert it with .astype('float32')")
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), copy=True, order="C"))


def _generator(state: torch.Tensor) -> torch.Generator:
    generator = torch.Generator()
    try:
        generator.set_state(state)
    except (RuntimeError, TypeError) as error:
        raise WireError(f"a generator's state is not one: {str(error)[:80]}") from None
    return generator
