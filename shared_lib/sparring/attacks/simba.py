"""SimBA, the simple black-box attack."""

import torch
from torch import Tensor

from sparring.attacks.ascent import step_lengths
from sparring.attacks.hunt import Hunt, check_budget, no_hunt
from sparring.attacks.query import attacking
from sparring.attacks.result import AttackResult
from sparring.inputs import Model
from sparring.objectives import Objective, cross_entropy
from sparring.projections import PROJECTIONS
from sparring.randomness import uniform
from sparring.threat import ThreatModel


def simba(
    model: Model,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    max_queries: int = 1000,
    step_size: float | Tensor | None = None,
    targets: Tensor | None = None,
    objective: Objective = cross_entropy,
    generator: torch.Generator | None = None,
) -> AttackResult:
    """Try one coordinate after the other, up and then down, and keep what raises the objective.

    Guo et al., "Simple black-box adversarial attacks", ICML 2019, algorithm 1 with the standard basis:
    coordinates come in random order without replacement, and anew when all have had their turn. Each point is
    projected into the threat model before the model is asked about it. A step that the threat model undoes is not
    asked about, as its answer is known. `step_size`, a number or of shape (n,), is the length of a step in the
    units of x; None means eps for linf, where that is the largest move a coordinate has, and eps / 4 for l2 and
    l1.

    `x` has shape (n, ...), in the threat model's units; `y` and `targets` are int64 of shape (n,). The model is
    only called, so any function that returns logits will do. Each sample takes at most `max_queries` queries, x
    included (see `AttackResult.queries`), and is asked about no more once it has succeeded. One number is drawn
    from `generator`. Raises InputError, ThreatError or ModelError for what it can't work with.
    """
    check_budget(max_queries, 1, "one for a step")
    with attacking(model, x, y, threat, targets, objective) as query:
        lengths = _lengths(step_size, threat, x)
        if len(x) == 0:
            return no_hunt(x, y)
        x = x.detach()
        hunt = Hunt(query, x, threat, max_queries, generator)
        features = x[0].numel()
        order = torch.zeros(len(x), features, dtype=torch.int64, device=x.device)
        for step in range(max_queries):
            rows = hunt.rows()
            if len(rows) == 0:
                break
            if step % features == 0:
                order[rows] = uniform(hunt.marks(rows), hunt.seed(), features).argsort(dim=1, stable=True)
            place = order[:, step % features]
            gained = _try(hunt, rows, place, lengths)
            rest = rows[~gained]
            _try(hunt, rest[hunt.queries[rest] < max_queries], place, -lengths)
        return hunt.result()


def _try(hunt: Hunt, rows: Tensor, place: Tensor, lengths: Tensor) -> Tensor:
    """Move a coordinate of each of these samples; return which of them gained by it."""
    gained = torch.zeros_like(rows, dtype=torch.bool)
    if len(rows) == 0:
        return gained
    here = hunt.x_adv[rows]
    points = here.flatten(1).scatter_add(1, place[rows].unsqueeze(1), lengths[rows]).reshape(here.shape)
    project = PROJECTIONS[hunt.threat.norm]
    points = project(points, hunt.x[rows], hunt.radii[rows], hunt.threat.bounds)
    (new,) = (points != here).flatten(1).any(1).nonzero(as_tuple=True)
    if len(new):
        points, rows = points[new], rows[new]
        gained[new] = hunt.climb(points, rows, hunt.ask(points, rows))
    return gained


def _lengths(step_size: float | Tensor | None, threat: ThreatModel, x: Tensor) -> Tensor:
    if step_size is not None:
        return step_lengths(step_size, threat, x, steps=1)
    share = 1.0 if threat.norm == "linf" else 0.25
    return (share * threat.radii(x)).to(x.dtype).unsqueeze(1)
