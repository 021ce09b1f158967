"""The Square attack: random search with square changes."""

import torch
from torch import Tensor

from sparring.attacks.hunt import Hunt, check_budget, no_hunt
from sparring.attacks.query import attacking
from sparring.attacks.result import AttackResult
from sparring.attacks.squares import Bumps, Stripes
from sparring.errors import InputError, ThreatError
from sparring.inputs import Model
from sparring.objectives import Objective, margin
from sparring.threat import ThreatModel

# Of 10,000 queries, after how many the changed share of the image is halved (section 5 of the paper).
_HALVINGS = (10, 50, 200, 1000, 2000, 4000, 6000, 8000)


def square(
    model: Model,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    max_queries: int = 5000,
    share: float = 0.8,
    targets: Tensor | None = None,
    objective: Objective = margin,
    generator: torch.Generator | None = None,
) -> AttackResult:
    """Change the perturbation in a random square of the image at a time, and keep what raises the objective.

    Andriushchenko et al., "Square attack: a query-efficient black-box adversarial attack via random search", ECCV
    2020, algorithm 1, with algorithm 2 for linf (squares of x + eps or x - eps per channel, from vertical
    stripes) and algorithm 3 for l2 (perturbation moves from one square to another and takes the shape of two
    bumps, from a grid of bumps). The square covers `share` of the image, which is halved eight times as the
    budget is spent. For linf no query is lost on a square that has these values already: its signs are turned.
    There is no l1.

    `x` has shape (n, ...), in the threat model's units, the last two dimensions being height and width and those
    before them channels; a table (n, features) is taken for images of height 1. `y` and `targets` are int64 of
    shape (n,). The model is only called, so any function that returns logits will do. Each sample takes at most
    `max_queries` queries, x included (see `AttackResult.queries`), and is asked about no more once it has
    succeeded. One number is drawn from `generator`. Raises InputError, ThreatError or ModelError for what it
    can't work with.
    """
    check_budget(max_queries, 1, "one for a first perturbation")
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
        raise InputError(
            f"share is {share!r}; it must be above 0 and at most 1, the share of the image to change"
        )
    with attacking(model, x, y, threat, targets, objective) as query:
        if threat.norm not in ("linf", "l2"):
            raise ThreatError(
                f"square has no {threat.norm}, only linf and l2; for {threat.norm} use simba, nes or spsa"
            )
        if len(x) == 0:
            return no_hunt(x, y)
        hunt = Hunt(query, x.detach(), threat, max_queries, generator)
        propose = Stripes(hunt) if threat.norm == "linf" else Bumps(hunt)
        rows = hunt.rows()
        if len(rows):
            points = propose.start(rows)
            hunt.move(points, rows, hunt.ask(points, rows))
        for step in range(max_queries - 2):
            rows = hunt.rows()
            if len(rows) == 0:
                break
            halved = sum(10_000 * step >= mark * max_queries for mark in _HALVINGS)
            points = propose.next(rows, share / 2**halved)
            hunt.climb(points, rows, hunt.ask(points, rows))
        return hunt.result()
