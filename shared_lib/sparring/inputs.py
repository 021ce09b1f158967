"""Checks on what a caller hands over; each error names the value, the limit and the remedy."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from sparring.errors import InputError, ModelError

Model = Callable[[Tensor], Tensor]


def check_samples(x: Tensor, bounds: tuple[float, float]) -> None:
    """Refuse an `x` that is no batch (n, ...) of finite float32 or float64 samples inside the bounds."""
    if not isinstance(x, Tensor):
        raise InputError(
            f"x must be a torch.Tensor, got {type(x).__name__}; convert it with torch.as_tensor(x)"
        )
    if x.dtype not in (torch.float32, torch.float64):
        raise InputError(
            f"x must be float32 or float64, got {_short(x.dtype)}; "
            "convert it with x.float() (and divide by 255 if it holds bytes)"
        )
    if x.ndim < 2 or (len(x) and x.numel() == 0):
        raise InputError(
            f"x must be a batch of shape (n, ...) with at least one feature, got {tuple(x.shape)}; "
            "add the batch dimension with x.unsqueeze(0)"
        )
    if x.is_meta:
        raise InputError(
            "x is on meta, a device without values; move the samples that it stands for to the model's"
        )
    if x.numel() == 0:
        return
    rows = x.detach().flatten(1)
    low, high = bounds
    for wrong, extreme, remedy in (
        (~rows.isfinite(), None, "every value must be finite; remove or impute such samples"),
        (rows > high, rows.amax(1), "divide by 255 or pass bounds="),
        (
            rows < low,
            rows.amin(1),
            "rescale it, undo a normalization (see models.Normalized), or pass bounds=",
        ),
    ):
        bad = wrong.any(1)
        if bad.any():
            first = int(bad.nonzero()[0])
            if extreme is None:
                raise InputError(f"x holds NaN or infinity in sample {first}; {remedy}")
            raise InputError(
                f"x must lie in [{low:g}, {high:g}]; sample {first} reaches {float(extreme[first]):.6g}; {remedy}"
            )


def check_labels(labels: Tensor, x: Tensor, name: str = "y") -> None:
    """Refuse labels that are not int64 of shape (n,), on the device of `x` and at least 0."""
    if not isinstance(labels, Tensor):
        raise InputError(
            f"{name} must be a torch.Tensor, got {type(labels).__name__}; use torch.as_tensor({name})"
        )
    if labels.shape != x.shape[:1]:
        raise InputError(
            f"{name} must have shape ({len(x)},), one label per sample, got {tuple(labels.shape)}; "
            f"for one-hot labels pass {name}.argmax(1)"
        )
    if labels.dtype != torch.int64:
        raise InputError(f"{name} must be int64, got {_short(labels.dtype)}; convert it with {name}.long()")
    if labels.device != x.device:
        raise InputError(
            f"{name} is on {labels.device} but x is on {x.device}; move it with {name}.to({str(x.device)!r})"
        )
    check_range(labels, None, name)


def check_range(labels: Tensor, classes: int | None, name: str = "y") -> None:
    """Refuse labels below 0, or not below the number of classes where that is known."""
    bad = labels < 0 if classes is None else labels >= classes
    if bad.any():
        first = int(bad.nonzero()[0])
        limit = (
            "must be at least 0"
            if classes is None
            else f"must be below {classes}, the model's number of classes"
        )
        raise InputError(
            f"{name}[{first}] is {int(labels[first])} but labels {limit}; number the classes from 0"
            + ("" if classes is None else ", or use a model with more outputs")
        )


def check_targets(targets: Tensor, y: Tensor, x: Tensor) -> None:
    """Refuse targets that are no labels, or that name a sample's own class."""
    check_labels(targets, x, "targets")
    same = targets == y
    if same.any():
        first = int(same.nonzero()[0])
        raise InputError(
            f"targets[{first}] equals y[{first}] = {int(y[first])}; a target must be another class than the label"
        )


def check_model(model: Model, x: Tensor) -> None:
    """Refuse a model that lives on another device than `x`, or computes in another precision."""
    if not callable(model):
        raise InputError(
            f"model must be callable, got {type(model).__name__}; pass an nn.Module or a function"
        )
    if not isinstance(model, nn.Module):
        return
    weight = next((p for p in model.parameters() if p.is_floating_point()), None)
    if weight is None:
        return
    if weight.device != x.device:
        raise InputError(
            f"x is on {x.device} but the model is on {weight.device}; move one of them, "
            f"for example x = x.to({str(weight.device)!r})"
        )
    if weight.dtype != x.dtype:
        raise InputError(
            f"x is {_short(x.dtype)} but the model's weights are {_short(weight.dtype)}; "
            f"convert x with x.to({weight.dtype})"
        )


def check_logits(logits: object, samples: int) -> int:
    """Refuse a model's answer that is not of shape (samples, 2 or more); return the number of classes."""
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != samples or logits.shape[1] < 2:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        raise ModelError(
            f"the model must return logits of shape (batch, classes), here ({samples}, 2 or more), got {got}; "
            "wrap it in a module that returns that"
        )
    return logits.shape[1]


def check_count(name: str, value: int, least: int) -> None:
    """Refuse what is no whole number, or one below the least."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"{name} is {value!r}; it must be a whole number, {least} or more")


def check_positive(name: str, value: float, below: float = math.inf) -> None:
    """Refuse a setting that is not above 0 and finite, or not below a limit."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < below:
        limit = "a finite number above 0" if math.isinf(below) else f"a number between 0 and {below:g}"
        raise InputError(f"{name} is {value!r}; it must be {limit}")


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
