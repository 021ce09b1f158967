"""Gradient steps where gradients are estimated by natural evolution strategies."""

import torch
from torch import Tensor

from sparring.attacks.estimate import check_estimate, follow, lengths_of_steps
from sparring.attacks.hunt import Hunt, no_hunt
from sparring.attacks.query import attacking
from sparring.attacks.result import AttackResult
from sparring.inputs import Model
from sparring.objectives import Objective, cross_entropy
from sparring.randomness import normal
from sparring.threat import ThreatModel


def nes(
    model: Model,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    max_queries: int = 5000,
    pairs: int = 25,
    radius: float = 0.001,
    step_size: float | Tensor | None = None,
    targets: Tensor | None = None,
    objective: Objective = cross_entropy,
    generator: torch.Generator | None = None,
) -> AttackResult:
    """Climb the objective like pgd, along gradients estimated from answers at normally distributed points.

    Ilyas et al., "Black-box adversarial attacks with limited queries and information", ICML 2018, algorithm 1
    (NES with antithetic pairs) and equation 2. One estimate takes `pairs` normal directions u, and asks about
    x_adv + radius u and x_adv - radius u, moved into the bounds, where x's neighbors may lie a little outside of
    the ball. Then comes a step of `step_size` (as in pgd; None means 2.5 eps over the number of steps), the
    projection, and one query about where that led. Of these points, and x, each sample keeps the best.

    `x` has shape (n, ...), in the threat model's units; `y` and `targets` are int64 of shape (n,). The model is
    only called, so any function that returns logits will do. Each sample takes at most `max_queries` queries, x
    included (see `AttackResult.queries`), in steps of 2 pairs + 1, and is asked about no more once it has
    succeeded. One number is drawn from `generator`. Raises InputError, ThreatError or ModelError for what it
    can't work with.
    """
    check_estimate(max_queries, pairs, radius)
    with attacking(model, x, y, threat, targets, objective) as query:
        lengths = lengths_of_steps(step_size, threat, x, max_queries, pairs)
        if len(x) == 0:
            return no_hunt(x, y)
        hunt = Hunt(query, x.detach(), threat, max_queries, generator)
        follow(hunt, normal, lengths, pairs, radius, momentum=0.0)
        return hunt.result()
