"""A training loop that gives the same weights for the same generator."""

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sparring.errors import InputError, ModelError
from sparring.guard import evaluating
from sparring.inputs import check_labels, check_logits, check_model, check_range, check_samples
from sparring.randomness import given_or_zero

Attack = Callable[[nn.Module, Tensor, Tensor], Tensor]
_ANY = (-math.inf, math.inf)


@dataclass
class History:
    """What happened in training: mean loss and accuracy on the batches trained on, one entry per epoch."""

    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)


def fit(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    epochs: int,
    batch_size: int = 128,
    lr: float = 1e-3,
    weight_decay: float = 0.0,
    generator: torch.Generator | None = None,
    attack: Attack | None = None,
    progress: bool = False,
) -> History:
    """Train a classifier with Adam on the cross-entropy, and leave it in eval mode, ready to be used or attacked.

    `x` has shape (n, ...) and `y` is int64 of shape (n,); batches are moved to where the model is. The order of the
    samples is drawn from `generator` (seeded with 0 if None), so on a CPU the same generator gives the same weights.
    With `attack(model, x, y) -> x_adv`, every batch is replaced by its perturbed version before the step (Madry et
    al., ICLR 2018); it is called with the model in eval mode. `progress` writes a line per epoch to standard output.
    Raises InputError for data that doesn't fit, ModelError when the loss is no longer finite.
    """
    check_samples(x, _ANY)
    check_labels(y, x)
    if len(x) == 0:
        raise InputError("x holds no samples; training needs one at least")
    for name, value, least in (("epochs", epochs, 0), ("batch_size", batch_size, 1)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InputError(f"{name} is {value!r}; it must be a whole number, {least} or more")
    if not lr > 0:
        raise InputError(f"lr is {lr!r}; it must be above 0")
    generator = given_or_zero(generator)
    device = _device(model, x)
    first = x[:1].to(device)
    check_model(model, first)
    with evaluating(model), torch.no_grad():
        check_range(y, check_logits(model(first), 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, weight_decay=weight_decay)
    history = History()
    for epoch in range(epochs):
        total, right = torch.zeros((), device=device), torch.zeros((), device=device)
        order = torch.randperm(len(x), generator=generator, device=generator.device).to(x.device)
        for index in torch.split(order, batch_size):
            samples, labels = x[index].to(device), y[index].to(device)
            if attack is not None:
                model.eval()
                samples = _attacked(attack, model, samples, labels)
            model.train()
            logits = model(samples)
            loss = F.cross_entropy(logits, labels)
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimizer.step()
            total += loss.detach() * len(index)
            right += (logits.detach().argmax(1) == labels).sum()
        history.loss.append(float(total) / len(x))
        history.accuracy.append(float(right) / len(x))
        if not torch.isfinite(total):
            raise ModelError(
                f"the loss is {history.loss[-1]} after epoch {epoch + 1}; lower lr (it is {lr:g})"
            )
        if progress:
            sys.stdout.write(
                f"epoch {epoch + 1}/{epochs}  loss {history.loss[-1]:.4f}  accuracy {history.accuracy[-1]:.4f}\n"
            )
    optimizer.zero_grad(set_to_none=True)
    model.eval()
    return history


def accuracy(model: nn.Module, x: Tensor, y: Tensor, batch_size: int = 512) -> float:
    """Return the share of samples that the model, in eval mode, classifies as `y`; the model is left as it was.

    `x` has shape (n, ...) and `y` is int64 of shape (n,); batches are moved to where the model is.
    Raises InputError for labels that don't fit, ModelError for a model that is no classifier.
    """
    check_labels(y, x)
    if len(x) == 0:
        raise InputError("x holds no samples; accuracy is a share of at least one")
    device = _device(model, x)
    right = torch.zeros((), dtype=torch.int64, device=device)
    with evaluating(model), torch.no_grad():
        for samples, labels in zip(torch.split(x, batch_size), torch.split(y, batch_size), strict=True):
            logits = model(samples.to(device))
            check_range(labels, check_logits(logits, len(samples)))
            right += (logits.argmax(1) == labels.to(device)).sum()
    return int(right) / len(x)


def _attacked(attack: Attack, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    x_adv = attack(model, x, y)
    if not isinstance(x_adv, Tensor) or x_adv.shape != x.shape:
        got = tuple(x_adv.shape) if isinstance(x_adv, Tensor) else type(x_adv).__name__
        raise InputError(
            f"attack must return a tensor of x's shape {tuple(x.shape)}, got {got}; of an AttackResult, return .x_adv"
        )
    return x_adv.detach()


def _device(model: nn.Module, x: Tensor) -> torch.device:
    return next((p.device for p in model.parameters()), x.device)
