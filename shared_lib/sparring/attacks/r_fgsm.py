"""The fast gradient sign method from a random start."""

import torch
from torch import Tensor

from sparring.attacks.ascent import ascend, better, step_lengths
from sparring.attacks.lanes import random_starts, repeated, settle
from sparring.attacks.query import attacking, nothing_to_do
from sparring.attacks.result import AttackResult
from sparring.inputs import Model, check_count
from sparring.objectives import Objective, cross_entropy
from sparring.projections import PROJECTIONS
from sparring.threat import ThreatModel


def r_fgsm(
    model: Model,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    step_size: float | Tensor | None = None,
    restarts: int = 1,
    targets: Tensor | None = None,
    objective: Objective = cross_entropy,
    generator: torch.Generator | None = None,
) -> AttackResult:
    """Start at a random point of the threat model and take one gradient step from there.

    Tramer et al., "Ensemble adversarial training", ICLR 2018, section 4.1, with the uniform start of Wong, Rice and
    Kolter, "Fast is better than free", ICLR 2020, algorithm 3. Steps have lengths as in `pgd`, which are 1.25 eps in
    the latter; None means as far as the threat model allows: to the worst case of the linearization at the start.
    Each sample keeps the best point of all restarts, starts included: first a success, then the higher objective.

    `x` has shape (n, ...), in the threat model's units; `y` and `targets` are int64 of shape (n,); `step_size` is a
    number or has shape (n,). All restarts run in one batch. One number per restart is drawn from `generator`; without
    a generator the starts are the same on every call. Costs two forward passes and one backward pass, and one more
    forward pass with restarts. Raises InputError, ThreatError or ModelError for what it can't work with.
    """
    check_count("restarts", restarts, least=1)
    with attacking(model, x, y, threat, targets, objective) as query:
        length = step_lengths(step_size, threat, x, steps=1)
        if len(x) == 0:
            return nothing_to_do(x, y, threat, query)
        x = x.detach()
        start = random_starts(x, threat, restarts, generator)
        query.about(torch.arange(len(x), device=x.device).repeat(restarts))
        answer, gradient = query.gradient(start)
        if step_size is None:
            x_adv = torch.cat([threat.worst_case(lane, x) for lane in torch.split(gradient, len(x))])
        else:
            step = ascend(gradient, length.repeat(restarts, 1), threat.norm)
            radii = threat.radii(x).repeat(restarts)
            x_adv = PROJECTIONS[threat.norm](start + step, repeated(x, restarts), radii, threat.bounds)
        best, answer = better(start, answer, x_adv, query.value(x_adv))
        return settle(best, answer, x, threat, query, again=restarts > 1)
