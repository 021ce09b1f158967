"""Gradient steps where gradients are estimated by simultaneous perturbation."""

import torch
from torch import Tensor

from sparring.attacks.estimate import check_estimate, follow, lengths_of_steps
from sparring.attacks.hunt import Hunt, no_hunt
from sparring.attacks.query import attacking
from sparring.attacks.result import AttackResult
from sparring.inputs import Model
from sparring.objectives import Objective, margin
from sparring.randomness import uniform
from sparring.threat import ThreatModel


def spsa(
    model: Model,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    max_queries: int = 5000,
    pairs: int = 25,
    radius: float = 0.01,
    step_size: float | Tensor | None = None,
    targets: Tensor | None = None,
    objective: Objective = margin,
    generator: torch.Generator | None = None,
) -> AttackResult:
    """Climb the objective like pgd, along gradients estimated from answers at points with random signs.

    Uesato et al., "Adversarial risk and the dangers of evaluating against weak attacks", ICML 2018, algorithm 1;
    the estimate is Spall's, IEEE Transactions on Automatic Control, 1992. It takes `pairs` directions v of signs,
    and asks about x_adv + radius v and x_adv - radius v, moved into the bounds; these may lie a little outside of
    the ball. The authors hand the estimates to Adam; here a running mean with Adam's 0.9 smooths them, and the
    step of `step_size` (as in pgd; None means 2.5 eps over the number of steps) is the norm's own. The projection
    follows, and one query about where that led. Of these points, and x, each sample keeps the best.

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
        follow(hunt, _signs, lengths, pairs, radius, momentum=0.9)
        return hunt.result()


def _signs(x: Tensor, seed: int, columns: int) -> Tensor:
    """Return 1 or -1, shape (n, columns), each row a function of that row of `x` and the seed."""
    return torch.where(uniform(x, seed, columns) < 0.5, -1.0, 1.0)
