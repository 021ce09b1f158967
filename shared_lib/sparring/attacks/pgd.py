"""Projected gradient ascent."""

import torch
from torch import Tensor

from sparring.attacks.ascent import ascend, better, step_lengths
from sparring.attacks.query import Answer, attacking, nothing_to_do, report
from sparring.attacks.result import AttackResult
from sparring.errors import InputError
from sparring.inputs import Model, check_count
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
        length = step_lengths(step_size, threat, x, steps)
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
                best, best_answer = better(best, best_answer, x_adv, answer)
                x_adv = project(x_adv + ascend(gradient, length, threat.norm), x, radii, threat.bounds)
            best, best_answer = better(best, best_answer, x_adv, query.value(x_adv))
        return report(best, x, best_answer, threat, query)


def _check_counts(steps: int, restarts: int, random_start: bool) -> None:
    check_count("steps", steps, least=0)
    check_count("restarts", restarts, least=1)
    if restarts > 1 and not random_start:
        raise InputError(
            f"restarts is {restarts} but all would start at x; use random_start=True, or restarts=1"
        )
