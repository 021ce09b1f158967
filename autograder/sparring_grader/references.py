"""What a call's arguments and results refer to: white-box models and oracles that go in, handles that come back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from sparring_grader import wire
from sparring_grader.wire import Handle, Oracle

# What a question may cost the grader: its size, and how many answers' graphs are kept for their gradients.
MAX_QUESTION = 16 << 20
KEPT_ANSWERS = 16


class References:
    """The references of one call: white-box models and oracles that go in, handles that come back."""

    def __init__(self) -> None:
        self._oracles: list[tuple[Oracle, list[Any]]] = []

    def refer(self, value: Any) -> dict[str, Any] | None:
        """Return the reference under which an argument crosses."""
        if isinstance(value, Handle):
            return {"$": "handle", "id": value.id}
        config = getattr(value, "config", None)
        if isinstance(value, torch.nn.Module) and isinstance(config, dict):
            training = {name: module.training for name, module in value.named_modules()}
            return {"$": "model", "config": config, "state": dict(value.state_dict()), "training": training}
        if isinstance(value, Oracle) or callable(value):
            oracle = value if isinstance(value, Oracle) else Oracle(value)
            self._oracles.append((oracle, []))
            number = len(self._oracles) - 1
            return {"$": "oracle", "id": number, "name": oracle.name, "gradient": oracle.gradient}
        return None

    def resolve(self, kind: str, fields: dict[str, Any], tensors: Mapping[str, torch.Tensor]) -> Any:
        """Only handles come back; they are numbers to us and mean something behind the wall alone."""
        number, name = fields.get("id"), fields.get("type")
        if kind != "handle" or not isinstance(number, int) or not isinstance(name, str):
            raise wire.WireError(f"a reference of kind {kind[:40]!r} is not allowed here")
        return Handle(number, name[:200])

    def answer(
        self, question: dict[str, Any], tensors: dict[str, torch.Tensor]
    ) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """Answer a call of an oracle, or of the gradient of an earlier answer."""
        try:
            number = question["oracle"]
            if not isinstance(number, int) or not 0 <= number < len(self._oracles):
                raise IndexError("no such oracle was given")
            oracle, answers = self._oracles[number]
            args = wire.decode(question["args"], tensors)
            kwargs = wire.decode(question["kwargs"], tensors)
            if question["op"] == "gradient":
                value: Any = _gradient(oracle, answers, *args)
                position = len(answers) - 1
            else:
                if len(answers) >= oracle.max_calls:
                    message = f"{oracle.name} may be called {oracle.max_calls} times, and it was"
                    return {"op": "spent", "message": message}, {}
                _refuse_too_large(oracle, [*args, *kwargs.values()])
                value, kept = _query(oracle, args, kwargs)
                answers.append(kept)
                if len(answers) > KEPT_ANSWERS:
                    answers[-KEPT_ANSWERS - 1] = None
                position = len(answers) - 1
            encoder = wire.Encoder()
            return {"op": "answer", "value": encoder.value(value), "number": position}, encoder.tensors
        except Exception as error:  # noqa: BLE001 - a question may be anything; the other side waits for an answer
            return {"op": "refused", "message": f"{type(error).__name__}: {str(error)[:500]}"}, {}


def _refuse_too_large(oracle: Oracle, values: list[Any]) -> None:
    size = sum(value.numel() * value.element_size() for value in values if isinstance(value, torch.Tensor))
    if size > MAX_QUESTION:
        raise ValueError(
            f"{oracle.name} was asked about {size >> 20} MiB at once, and the limit is {MAX_QUESTION >> 20} MiB; "
            "ask in smaller batches"
        )


def _query(oracle: Oracle, args: list[Any], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    if not oracle.gradient:
        with torch.no_grad():
            return oracle.fn(*args, **kwargs), None
    leaf = args[0].detach().requires_grad_(True)
    with torch.enable_grad():
        value = oracle.fn(leaf, *args[1:], **kwargs)
    return value.detach(), (leaf, value)


def _gradient(oracle: Oracle, answers: list[Any], position: Any, upstream: Any) -> torch.Tensor:
    if not oracle.gradient:
        raise ValueError(f"{oracle.name} is a black box: it answers, and gives no gradient")
    if answers[position] is None:
        raise ValueError(
            f"{oracle.name} keeps its last {KEPT_ANSWERS} answers for gradients; call backward sooner after the call"
        )
    leaf, value = answers[position]
    gradient: torch.Tensor = torch.autograd.grad(value, leaf, upstream.to(value.dtype), retain_graph=True)[0]
    return gradient
