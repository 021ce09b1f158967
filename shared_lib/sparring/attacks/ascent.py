"""What climbing attacks have in common: the step, its length, and which of two points is the better one."""

import torch
from torch import Tensor

from sparring.attacks.query import Answer
from sparring.errors import InputError
from sparring.threat import ThreatModel


def better(best: Tensor, held: Answer, x_adv: Tensor, answer: Answer) -> tuple[Tensor, Answer]:
    """Keep for each sample the better of two points: a success before a failure, then the higher objective."""
    higher = answer.objective > held.objective
    wins = (answer.success & ~held.success) | ((answer.success == held.success) & higher)
    return (
        torch.where(wins.view(-1, *[1] * (best.ndim - 1)), x_adv, best),
        Answer(
            torch.where(wins, answer.objective, held.objective),
            torch.where(wins, answer.success, held.success),
        ),
    )


def ascend(gradient: Tensor, length: Tensor, norm: str) -> Tensor:
    """Return the step: for linf and l2 steepest ascent, of the given length in that norm.

    For l1, steepest ascent would move one coordinate at a time. Along the whole gradient the projection, which keeps
    the largest coordinates, does the choosing; there the coordinate with the largest gradient moves by the length.
    In each norm a linear objective's worst case is a fixed point of step and projection.
    """
    slope = gradient.flatten(1)
    # Scaled to a largest value of 1, since the squares of a small gradient underflow.
    step = slope / slope.abs().amax(1, keepdim=True).clamp_min(torch.finfo(slope.dtype).tiny)
    if norm == "linf":
        step = step.sign()
    elif norm == "l2":
        step = step / torch.linalg.vector_norm(step, dim=1, keepdim=True).clamp_min(1e-12)
    return (length * step).reshape(gradient.shape)


def step_lengths(step_size: float | Tensor | None, threat: ThreatModel, x: Tensor, steps: int) -> Tensor:
    """Return the length of a step for each sample, shape (n, 1), in x's precision."""
    if step_size is None:
        return (2.5 * threat.radii(x) / max(steps, 1)).to(x.dtype).unsqueeze(1)
    lengths = torch.as_tensor(step_size, dtype=x.dtype, device=x.device)
    if lengths.shape not in ((), (len(x),)):
        raise InputError(
            f"step_size must be a number or have shape ({len(x)},), one per sample, got {tuple(lengths.shape)}"
        )
    if not bool((lengths.isfinite() & (lengths > 0)).all()):
        raise InputError(f"step_size is {step_size}; it must be finite and above 0, in the units of x")
    return lengths.expand(len(x)).unsqueeze(1)
