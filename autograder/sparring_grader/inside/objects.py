"""What references on the wire become in the learner's process: white-box models, oracles, kept objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

import sparring.models
from sparring_grader import wire
from sparring_grader.inside.channel import Channel


class QueryBudgetExceeded(RuntimeError):
    """The grader's model has been called as often as the exercise allows."""


class RemoteFunction:
    """A function of the grader's: each call goes across the wall, is answered there, and counted there."""

    def __init__(self, channel: Channel, number: int, name: str, gradient: bool) -> None:
        self._channel = channel
        self._number = number
        self._gradient = gradient
        self.__name__ = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Ask the grader and return its answer; raises QueryBudgetExceeded when the budget is spent."""
        first = args[0] if args else None
        if (
            self._gradient
            and isinstance(first, torch.Tensor)
            and first.requires_grad
            and torch.is_grad_enabled()
        ):
            return _Remote.apply(first, self, args[1:], kwargs)  # type: ignore[no-untyped-call]
        return self.ask("oracle", *args, **kwargs)[0]

    def ask(self, operation: str, *args: Any, **kwargs: Any) -> tuple[Any, int]:
        """Send one question and return the answer and its number, by which a gradient may be asked for."""
        encoder = wire.Encoder()
        header = {
            "op": operation,
            "oracle": self._number,
            "args": encoder.value(list(args)),
            "kwargs": encoder.value(kwargs),
        }
        self._channel.send(header, encoder.tensors)
        reply, tensors = self._channel.receive()
        if reply["op"] == "spent":
            raise QueryBudgetExceeded(str(reply["message"]))
        if reply["op"] != "answer":
            raise ValueError(str(reply.get("message", "the grader's model could not answer")))
        return wire.decode(reply["value"], tensors), int(reply["number"])

    def __repr__(self) -> str:
        return f"<{self.__name__}: a function of the grader's>"


class _Remote(torch.autograd.Function):
    """Carries a gradient through a function that the grader computes."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, remote: RemoteFunction, args: Any, kwargs: Any) -> torch.Tensor:
        value, number = remote.ask("oracle", x, *args, **kwargs)
        ctx.remote, ctx.number = remote, number
        assert isinstance(value, torch.Tensor)
        return value

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        value, _ = ctx.remote.ask("gradient", ctx.number, grads[0])
        return value, None, None, None


class Objects:
    """Keeps the objects that can't cross, and builds those that the grader refers to."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._kept: list[Any] = []

    def refer(self, value: Any) -> dict[str, Any]:
        """Keep an object here and return a handle for it."""
        self._kept.append(value)
        return {"$": "handle", "id": len(self._kept) - 1, "type": type(value).__name__[:200]}

    def resolve(self, kind: str, fields: dict[str, Any], tensors: Mapping[str, torch.Tensor]) -> Any:
        """Return what the grader's reference stands for."""
        if kind == "handle":
            return self._kept[fields["id"]]
        if kind == "oracle":
            return RemoteFunction(self._channel, fields["id"], fields["name"], fields["gradient"])
        if kind == "model":
            model = sparring.models.build(fields["config"])
            state = {name: tensors[key] for name, key in fields["state"].items()}
            dtypes = {tensor.dtype for tensor in state.values() if tensor.is_floating_point()}
            if len(dtypes) == 1:
                model = model.to(dtypes.pop())
            model.load_state_dict(state)
            for name, module in model.named_modules():
                module.training = fields["training"][name]
            return model
        raise wire.WireError(f"a reference of kind {kind!r} is unknown")


def after(value: Any) -> Any:
    """Return how an argument is after a call, in a form that can cross; None where there is none."""
    if isinstance(value, torch.nn.Module):
        return wire.ModelState(
            state=dict(value.state_dict()),
            grads={name: parameter.grad for name, parameter in value.named_parameters()},
            training={name: module.training for name, module in value.named_modules()},
            requires_grad={name: parameter.requires_grad for name, parameter in value.named_parameters()},
        )
    if isinstance(value, (torch.Tensor, torch.Generator, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return type(value)(after(item) for item in value)
    if isinstance(value, dict):
        return {key: after(item) for key, item in value.items()}
    return None
