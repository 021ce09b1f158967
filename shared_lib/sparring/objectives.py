"""What an attack climbs: one number per example, the higher the closer to the attacker's goal.

Each takes `logits` of shape (n, classes) and labels `y` of shape (n,), and returns shape (n,). Given `targets`, also
of shape (n,), it measures how close each example is to being taken for its target instead.
"""

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from sparring.errors import InputError


class Objective(Protocol):
    """A function of logits and labels, and of targets where an attack has them."""

    def __call__(self, logits: Tensor, y: Tensor, /) -> Tensor:
        """Return what to climb, shape (n,)."""
        ...


def cross_entropy(logits: Tensor, y: Tensor, targets: Tensor | None = None) -> Tensor:
    """Return the cross-entropy with the labels, or minus that with the targets.

    Where the model is sure of itself its gradient vanishes in float32; `margin` doesn't saturate.
    """
    if targets is not None:
        return -F.cross_entropy(logits, targets, reduction="none")
    return F.cross_entropy(logits, y, reduction="none")


def margin(logits: Tensor, y: Tensor, targets: Tensor | None = None) -> Tensor:
    """Return by how much the best other class beats the label, or the target beats the best other class.

    Positive exactly where the attack has succeeded (Carlini and Wagner, S&P 2017, f_6 without its floor).
    """
    chosen = y if targets is None else targets
    here = logits.gather(1, chosen.unsqueeze(1)).squeeze(1)
    others = logits.scatter(1, chosen.unsqueeze(1), float("-inf")).amax(1)
    return others - here if targets is None else here - others


def lead(logits: Tensor, y: Tensor, targets: Tensor | None = None) -> Tensor:
    """Return by how much the target beats the label, whatever the other classes do; without targets the margin.

    The margin is the largest lead of all wrong classes, so climbing one lead after the other climbs the margin.
    """
    if targets is None:
        return margin(logits, y)
    return (logits.gather(1, targets.unsqueeze(1)) - logits.gather(1, y.unsqueeze(1))).squeeze(1)


def dlr(logits: Tensor, y: Tensor, targets: Tensor | None = None) -> Tensor:
    """Return the difference of logits ratio: a margin that doesn't change when logits are shifted or scaled.

    Croce and Hein, "Reliable evaluation", ICML 2020, equations 6 and 7. It needs three classes, with targets four;
    below that it would be constant, and an InputError says so.
    """
    least = 3 if targets is None else 4
    if logits.shape[1] < least:
        kind = "dlr" if targets is None else "targeted dlr"
        raise InputError(
            f"{kind} needs at least {least} classes, the model has {logits.shape[1]}; use objective=margin instead"
        )
    ordered = logits.sort(dim=1, descending=True).values
    if targets is None:
        return margin(logits, y) / (ordered[:, 0] - ordered[:, 2] + 1e-12)
    return lead(logits, y, targets) / (ordered[:, 0] - (ordered[:, 2] + ordered[:, 3]) / 2 + 1e-12)


def succeeded(logits: Tensor, y: Tensor, targets: Tensor | None = None) -> Tensor:
    """Say for each example whether the predicted class is another than the label, or is the target."""
    predicted = torch.argmax(logits, dim=1)
    return predicted != y if targets is None else predicted == targets
