"""Climb a model that gives no gradient, by gradients estimated from its answers."""

from collections.abc import Callable

import torch
from torch import Tensor

from sparring.attacks.ascent import ascend, step_lengths
from sparring.attacks.hunt import Hunt, check_budget
from sparring.errors import InputError
from sparring.inputs import check_count
from sparring.projections import PROJECTIONS
from sparring.threat import ThreatModel

Draw = Callable[[Tensor, int, int], Tensor]

# So many values are asked about in one forward pass, unless a single pair has more.
_AT_ONCE = 2**22


def check_estimate(max_queries: int, pairs: int, radius: float) -> None:
    """Refuse settings with which there is no estimate, or no step along it."""
    check_count("pairs", pairs, least=1)
    if isinstance(radius, bool) or not isinstance(radius, int | float) or not 0 < radius < float("inf"):
        raise InputError(f"radius is {radius!r}; it must be a finite number above 0, in the units of x")
    check_budget(max_queries, 2 * pairs + 1, f"{2 * pairs} + 1 for a step with pairs={pairs}")


def lengths_of_steps(
    step_size: float | Tensor | None, threat: ThreatModel, x: Tensor, max_queries: int, pairs: int
) -> Tensor:
    """Return the length of a step for each sample, shape (n, 1): 2.5 eps over their number where none is given."""
    return step_lengths(step_size, threat, x, steps=(max_queries - 1) // (2 * pairs + 1))


def follow(hunt: Hunt, draw: Draw, lengths: Tensor, pairs: int, radius: float, momentum: float) -> None:
    """Take projected steps along estimated gradients until all samples succeeded or spent their budget."""
    trend = torch.zeros_like(hunt.x)
    project = PROJECTIONS[hunt.threat.norm]
    here = hunt.x.clone()
    while len(rows := hunt.rows(2 * pairs + 1)):
        slope = _estimate(hunt, here, rows, draw, pairs, radius)
        trend[rows] = momentum * trend[rows] + (1 - momentum) * slope
        moved = here[rows] + ascend(trend[rows], lengths[rows], hunt.threat.norm)
        points = project(moved, hunt.x[rows], hunt.radii[rows], hunt.threat.bounds)
        here[rows] = points
        hunt.climb(points, rows, hunt.ask(points, rows))


def _estimate(hunt: Hunt, here: Tensor, rows: Tensor, draw: Draw, pairs: int, radius: float) -> Tensor:
    """Return the mean over random directions of the difference across x, times the direction."""
    seed, x = hunt.seed(), here[rows]
    low, high = hunt.threat.bounds
    marks, size = hunt.marks(rows), x[0].numel()
    slope = torch.zeros_like(x)
    at_once = max(_AT_ONCE // (2 * x.numel()), 1)
    for first in range(0, pairs, at_once):
        numbers = torch.arange(first, min(first + at_once, pairs), device=x.device)
        # A direction belongs to its sample and its number, so it is the same however many are asked about at once.
        own = torch.cat(
            [
                marks.repeat(len(numbers), 1),
                numbers.to(marks.dtype).repeat_interleave(len(rows)).unsqueeze(1),
            ],
            dim=1,
        )
        way = draw(own, seed, size).to(x.dtype).reshape(len(numbers), *x.shape)
        points = torch.cat([x + radius * way, x - radius * way]).clamp(low, high).flatten(0, 1)
        up, down = hunt.ask(points, rows.repeat(2 * len(numbers))).objective.nan_to_num().chunk(2)
        rise = (up - down).reshape(len(numbers), len(rows)).to(x.dtype)
        slope += torch.einsum("kn,kn...->n...", rise, way)
    return slope / (2 * radius * pairs)
