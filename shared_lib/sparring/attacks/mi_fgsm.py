"""The momentum iterative fast gradient sign method."""

import math

import torch
from torch import Tensor

from sparring.attacks.ascent import ascend, better, step_lengths
from sparring.attacks.query import attacking, nothing_to_do, report
from sparring.attacks.result import AttackResult
from sparring.errors import InputError
from sparring.inputs import Model, check_count
from sparring.objectives import Objective, cross_entropy
from sparring.projections import PROJECTIONS
from sparring.threat import ThreatModel


def mi_fgsm(
    model: Model,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    steps: int = 10,
    step_size: float | Tensor | None = None,
    decay: float = 1.0,
    targets: Tensor | None = None,
    objective: Objective = cross_entropy,
) -> AttackResult:
    """Climb from x along a running sum of normalized gradients, of which a share is kept at each step.

    Dong et al., "Boosting adversarial attacks with momentum", CVPR 2018, algorithm 1 and equations 6 to 8: each
    gradient is divided by its l1 norm and added to `decay` times the sum so far, along which a step is taken, with
    lengths as in `pgd`. `step_size` is a number or has shape (n,); None means eps / steps, the paper's. Each sample
    keeps the best point visited: first a success, then the higher objective. Made for transfer to other models;
    against the model itself `apgd` is stronger.

    `x` has shape (n, ...), in the threat model's units; `y` and `targets` are int64 of shape (n,). Nothing is random.
    Costs steps + 1 forward and steps backward passes. Raises InputError, ThreatError or ModelError for what it can't
    work with.
    """
    check_count("steps", steps, least=1)
    if not (isinstance(decay, int | float) and math.isfinite(decay) and decay >= 0):
        raise InputError(f"decay is {decay!r}; it must be a finite number, 0 or more; 1.0 is the paper's")
    with attacking(model, x, y, threat, targets, objective) as query:
        if step_size is None:
            length = (threat.radii(x) / steps).to(x.dtype).unsqueeze(1)
        else:
            length = step_lengths(step_size, threat, x, steps)
        if len(x) == 0:
            return nothing_to_do(x, y, threat, query)
        x = x.detach()
        radii, project = threat.radii(x), PROJECTIONS[threat.norm]
        x_adv, momentum = x, torch.zeros_like(x)
        answer, gradient = query.gradient(x)
        best, held = x, answer
        for step in range(1, steps + 1):
            momentum = decay * momentum + _of_length_one(gradient)
            x_adv = project(x_adv + ascend(momentum, length, threat.norm), x, radii, threat.bounds)
            if step < steps:
                answer, gradient = query.gradient(x_adv)
            else:
                answer = query.value(x_adv)
            best, held = better(best, held, x_adv, answer)
        return report(best, x, held, threat, query)


def _of_length_one(gradient: Tensor) -> Tensor:
    """Return each sample's gradient divided by its l1 norm; zero stays zero."""
    slope = gradient.flatten(1)
    # Scaled to a largest value of 1 first, so that no sum overflows or vanishes.
    slope = slope / slope.abs().amax(1, keepdim=True).clamp_min(torch.finfo(slope.dtype).tiny)
    return (slope / slope.abs().sum(1, keepdim=True).clamp_min(1)).reshape(gradient.shape)
