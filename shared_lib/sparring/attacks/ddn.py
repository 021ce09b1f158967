"""Decoupled direction and norm."""

import math

import torch
from torch import Tensor

from sparring.attacks.nearest import (
    Nearest,
    annealed,
    check_norm,
    direction,
    reach,
    to_boundary,
)
from sparring.attacks.query import attacking, nothing_to_do
from sparring.attacks.result import AttackResult
from sparring.inputs import Model, check_count, check_positive
from sparring.objectives import Objective, margin
from sparring.projections import frame, land, stretch_to_radius
from sparring.threat import ThreatModel


def ddn(
    model: Model,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    steps: int = 100,
    step_size: float = 2.0,
    gamma: float = 0.05,
    targets: Tensor | None = None,
    objective: Objective = margin,
) -> AttackResult:
    """Find the nearest success in l2 on a sphere around x that shrinks after a success and grows after a failure.

    Rony et al., "Decoupling direction and norm for efficient gradient-based L2 adversarial attacks and defenses",
    CVPR 2019, algorithm 1. A step of l2 length `step_size` times the radius turns the direction; then the point
    goes to the sphere, whose radius changes by the fraction `gamma`. Where the paper clips to the bounds, here
    the other coordinates make up for what clipping takes, so that the point stays on the sphere. Other than in
    the paper, the first radius is where the margin's linearization at x puts the boundary, and steps are relative
    to the radius (there it is 1, and steps are in units of x); `gamma` falls to a fiftieth along a cosine as the
    step falls to a hundredth; and the objective is the margin, since cross-entropy leads past the nearest
    boundary where a third class is near.

    eps is the largest distance that counts, and may be infinite. Where nothing was found within it, `success` is
    false, `x_adv` is x and `distance` is infinite. `x` has shape (n, ...), in the threat model's units; `y` and
    `targets` are int64 of shape (n,). Costs steps + 2 forward and steps + 1 backward passes. Raises InputError,
    ThreatError or ModelError for what it can't work with.
    """
    check_count("steps", steps, 0)
    check_positive("step_size", step_size)
    check_positive("gamma", gamma, below=1)
    with attacking(model, x, y, threat, targets, objective, any_distance=True) as query:
        check_norm("ddn", threat, ("l2",), "fmn")
        if len(x) == 0:
            return nothing_to_do(x, y, threat, query)
        x = x.detach()
        # Rounding must not put a point on the largest sphere outside of it, where it wouldn't count.
        nearest, limit = Nearest(x, threat), reach(x, threat) * (1 - 1e-12)
        radius = to_boundary(*query.margin_gradient(x), "l2", x).minimum(limit)
        x_adv = x
        for step in range(steps):
            answer, gradient = query.gradient(x_adv)
            nearest.offer(x_adv, answer)
            if step:
                rate = annealed(gamma, gamma / 50, step / steps)
                factor = torch.where(answer.success, 1 - rate, 1 + rate)
                radius = (radius * factor).minimum(limit)
            length = annealed(step_size, step_size / 100, step / steps) * radius.unsqueeze(1)
            ball = frame(x, radius, threat.bounds)
            delta = x_adv.flatten(1).to(ball.x.dtype) - ball.x + length * direction(gradient)
            x_adv = land(stretch_to_radius(delta, ball, limit=math.inf), x, threat.bounds)
        nearest.offer(x_adv, query.value(x_adv))
        return nearest.result(query)
