"""The fast minimum-norm attack."""

import math

import torch
from torch import Tensor

from sparring.attacks.nearest import (
    Nearest,
    annealed,
    direction,
    reach,
    to_boundary,
)
from sparring.attacks.query import attacking, nothing_to_do
from sparring.attacks.result import AttackResult
from sparring.inputs import Model, check_count, check_positive
from sparring.objectives import margin
from sparring.projections import PROJECTIONS
from sparring.threat import ThreatModel


def fmn(
    model: Model,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    steps: int = 100,
    step_size: float = 1.0,
    gamma: float = 0.05,
    targets: Tensor | None = None,
) -> AttackResult:
    """Find the nearest success by gradient steps in a ball that grows until it holds one and then shrinks.

    Pintor, Roli, Brendel and Biggio, "Fast minimum-norm adversarial attacks through adaptive norm constraints",
    NeurIPS 2021, algorithm 1, for linf, l2 and l1. Until a sample has a success, its ball reaches to where the
    linearization puts the boundary; from then on it shrinks by `gamma` after a success and grows by it after a
    failure, a fraction that falls to a fiftieth along a cosine. A step has an l2 length of `step_size` times the
    radius (linf: times the ball's l2 radius), falling to a hundredth: the paper counts it in units of x instead.
    The projection is the exact one on ball and bounds together.

    eps is the largest distance that counts, and may be infinite. Where nothing was found within it, `success` is
    false, `x_adv` is x and `distance` is infinite. The objective is the margin. `x` has shape (n, ...), in the
    threat model's units; `y` and `targets` are int64 of shape (n,). Costs steps + 1 forward and steps backward
    passes. Raises InputError, ThreatError or ModelError for what it can't work with.
    """
    check_count("steps", steps, 0)
    check_positive("step_size", step_size)
    check_positive("gamma", gamma, below=1)
    with attacking(model, x, y, threat, targets, margin, any_distance=True) as query:
        if len(x) == 0:
            return nothing_to_do(x, y, threat, query)
        x = x.detach()
        nearest, project, limit = Nearest(x, threat), PROJECTIONS[threat.norm], reach(x, threat)
        x_adv, radius = x, torch.zeros_like(limit)
        widen = math.sqrt(x[0].numel()) if threat.norm == "linf" else 1.0
        for step in range(steps):
            answer, gradient = query.gradient(x_adv)
            nearest.offer(x_adv, answer)
            rate = annealed(gamma, gamma / 50, step / steps)
            here = threat.distance(x_adv, x)
            guess = (here + to_boundary(answer.objective, gradient, threat.norm, x)) * (1 + rate)
            outward = torch.where(nearest.found, radius * (1 + rate), guess)
            inward = torch.minimum(radius * (1 - rate), nearest.distance)
            radius = torch.where(answer.success, inward, outward).minimum(limit)
            length = annealed(step_size, step_size / 100, step / steps) * radius * widen
            move = (length.unsqueeze(1) * direction(gradient)).to(x.dtype).reshape(x.shape)
            x_adv = project(x_adv + move, x, radius, threat.bounds)
        nearest.offer(x_adv, query.value(x_adv))
        return nearest.result(query)
