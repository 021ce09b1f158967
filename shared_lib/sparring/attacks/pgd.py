"""Projected gradient ascent."""

import torch
from torch import Tensor

from sparring.attacks.query import Answer, attacking, nothing_to_do, report
from sparring.attacks.result import AttackResult
from sparring.errors import InputError
from sparring.inputs import Model
from sparring.objectives import Objective, cross_entropy
from sparring.projections import PROJECTIONS
from sparring.randomness import given_or_zero
from sparring.threat import ThreatModel


def pgd(
    model: Model,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    steps: int = 40,
    step_size: float | Tensor | None = None,
    restarts: int = 1,
    random_start: bool = True,
    targets: Tensor | None = None,
    objective: Objective = cross_entropy,
    generator: torch.Generator | None = None,
) -> AttackResult:
    """Climb the objective by gradient steps, each projected back into the threat model around x.

    Madry et al., "Towards deep learning models resistant to adversarial attacks", ICLR 2018, section 2.1. A step
    moves every coordinate by `step_size` (linf), or the sample by that distance (l2), or the coordinate with the
    largest gradient by it and the others in proportion (l1). It is a number or has shape (n,); None means
    2.5 eps / steps. Of all points visited in all restarts, each sample keeps the best: first a success, then the
    higher objective.

    `x` has shape (n, ...), in the threat model's units; `y` and `targets` are int64 of shape (n,). One number per
    restart is drawn from `generator`, and a sample's start depends on it and on that sample only; without a generator
    it is the same on every call. Costs steps + 1 forward and steps backward passes per restart. Raises InputError,
    ThreatError or ModelError for what it can't work with.
    """
    _check_counts(steps, restarts, random_start)
    with attacking(model, x, y, threat, targets, objective) as query:
        length = _step_lengths(step_size, threat, x, steps)
        if len(x) == 0:
            return nothing_to_do(x, y, threat, query)
        x = x.detach()
        radii, project = threat.radii(x), PROJECTIONS[threat.norm]
        best = x.clone()
        best_answer = Answer(
            torch.full(y.shape, float("-inf"), dtype=x.dtype, device=x.device),
            torch.zeros_like(y, dtype=torch.bool),
        )
        generator = given_or_zero(generator)
        for _restart in range(restarts):
            x_adv = threat.random_start(x, generator) if random_start else x
            for _ in range(steps):
                answer, gradient = query.gradient(x_adv)
                best, best_answer = _better(best, best_answer, x_adv, answer)
                x_adv = project(x_adv + _ascend(gradient, length, threat.norm), x, radii, threat.bounds)
            best, best_answer = _better(best, best_answer, x_adv, query.value(x_adv))
        return report(best, x, best_answer, threat, query)


def _better(best: Tensor, held: Answer, x_adv: Tensor, answer: Answer) -> tuple[Tensor, Answer]:
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


def _ascend(gradient: Tensor, length: Tensor, norm: str) -> Tensor:
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


def _step_lengths(step_size: float | Tensor | None, threat: ThreatModel, x: Tensor, steps: int) -> Tensor:
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


def _check_counts(steps: int, restarts: int, random_start: bool) -> None:
    for name, value, least in (("steps", steps, 0), ("restarts", restarts, 1)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InputError(f"{name} is {value!r}; it must be a whole number, {least} or more")
    if restarts > 1 and not random_start:
        raise InputError(
            f"restarts is {restarts} but all would start at x; use random_start=True, or restarts=1"
        )
