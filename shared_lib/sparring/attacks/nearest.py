"""What minimum-norm attacks share: the nearest success so far, the room there is, and lengths of steps."""

import math

import torch
from torch import Tensor

from sparring.attacks.query import Answer, Query
from sparring.attacks.result import AttackResult
from sparring.errors import ThreatError
from sparring.projections import exact_dtype, frame, norms
from sparring.threat import ThreatModel

DUAL = {"linf": "l1", "l2": "l2", "l1": "linf"}


class Nearest:
    """The nearest point within eps, for each sample, at which the attack has succeeded so far."""

    def __init__(self, x: Tensor, threat: ThreatModel) -> None:
        self.x, self.threat, self.radii = x, threat, threat.radii(x)
        self.x_adv = x.clone()
        self.distance = torch.full_like(self.radii, math.inf)
        self.objective: Tensor | None = None

    @property
    def found(self) -> Tensor:
        """Say for each sample whether there is such a point, shape (n,)."""
        return self.distance.isfinite()

    def offer(self, x_adv: Tensor, answer: Answer) -> Tensor:
        """Take a point that succeeds nearer than any before; return where, shape (n,). The first to offer is x."""
        distance = self.threat.distance(x_adv, self.x)
        wins = answer.success & (distance < self.distance) & (distance <= self.radii)
        if self.objective is None:
            self.objective = answer.objective
        self.x_adv = torch.where(per_sample(wins, self.x), x_adv, self.x_adv)
        self.distance = torch.where(wins, distance, self.distance)
        self.objective = torch.where(wins, answer.objective, self.objective)
        return wins

    def result(self, query: Query) -> AttackResult:
        """Put together what the attack returns: x, failure and infinity where nothing was found."""
        objective = self.objective if self.objective is not None else self.x.new_zeros(len(self.x))
        return AttackResult(
            x_adv=self.x_adv,
            success=self.found,
            distance=self.distance,
            objective=objective,
            forwards=query.forwards,
            backwards=query.backwards,
        )


def check_norm(attack: str, threat: ThreatModel, known: tuple[str, ...], instead: str) -> None:
    """Refuse a threat model whose norm the attack does not have."""
    if threat.norm not in known:
        raise ThreatError(
            f"{attack} has no {threat.norm}, only {' and '.join(known)}; for {threat.norm} use {instead}"
        )


def per_sample(value: Tensor, x: Tensor) -> Tensor:
    """View one value per sample, shape (n,), so that it broadcasts over the features of `x`."""
    return value.view(-1, *[1] * (x.ndim - 1))


def reach(x: Tensor, threat: ThreatModel) -> Tensor:
    """Return how far from each sample any allowed point can be, shape (n,): eps, or the farthest corner."""
    ball = frame(x, threat.radii(x), threat.bounds)
    corner = norms(torch.maximum(ball.high, -ball.low), threat.norm)
    return torch.minimum(corner, ball.radius).squeeze(1)


def direction(gradient: Tensor) -> Tensor:
    """Return the gradient as rows scaled to length 1 in l2; zero stays zero."""
    # Scaled to a largest value of 1 first, since the squares of a small gradient underflow.
    slope = gradient.flatten(1).to(exact_dtype(gradient.device))
    slope = slope / slope.abs().amax(1, keepdim=True).clamp_min(torch.finfo(slope.dtype).tiny)
    return slope / norms(slope, "l2").clamp_min(1e-12)


def to_boundary(objective: Tensor, gradient: Tensor, norm: str, x: Tensor) -> Tensor:
    """Return how far from the objective's zero its linearization says that we are, in a norm, shape (n,).

    Never quite zero, so that a tie between two classes is left behind; 1 where the gradient vanishes.
    """
    slope = norms(gradient.flatten(1).to(exact_dtype(gradient.device)), DUAL[norm]).squeeze(1)
    far = objective.abs().to(slope.dtype) / slope
    return torch.where(far.isfinite(), far.maximum(least_step(x)), torch.ones_like(far))


def least_step(x: Tensor) -> Tensor:
    """Return a distance that is next to nothing and yet more than rounding, shape (n,)."""
    scale = 1 + x.flatten(1).abs().amax(1)
    return (4 * torch.finfo(x.dtype).eps * scale).to(exact_dtype(x.device))


def to_plane(slope: Tensor, gap: Tensor, low: Tensor, high: Tensor, norm: str) -> Tensor:
    """Return the shortest step (linf or l2) with <slope, step> = gap and low <= step <= high, as rows.

    `slope`, `low` and `high` have shape (n, features), low <= 0 <= high, and `gap` shape (n,), 0 or more. The
    optimality conditions say step = clip(t * course) for one t per sample, where course is the slope (l2) or its
    sign (linf); t is found among the sorted values at which a coordinate meets its limit. Where the gap is out of
    reach, the step that comes nearest to it is returned.
    """
    scale = slope.abs().amax(1, keepdim=True).clamp_min(torch.finfo(slope.dtype).tiny)
    slope, gap = slope / scale, gap.unsqueeze(1) / scale
    still = slope == 0
    course = slope.sign() if norm == "linf" else slope
    edge = torch.where(slope > 0, high, low)
    meets, order = torch.where(still, 0.0, edge / course).sort(dim=1, stable=True)
    won = torch.where(still, 0.0, slope * edge).gather(1, order)
    won = torch.cat([torch.zeros_like(won[:, :1]), won.cumsum(1)[:, :-1]], dim=1)
    free = (slope * course).gather(1, order).flip(1).cumsum(1).flip(1)
    reached = won + torch.where(free > 0, meets * free, 0.0)
    piece = (reached < gap).sum(1, keepdim=True).clamp_max(meets.shape[1] - 1)
    t = (gap - won.gather(1, piece)) / free.gather(1, piece).clamp_min(torch.finfo(free.dtype).tiny)
    return torch.where(still, 0.0, (t * course).clamp(low, high))


def annealed(first: float, last: float, done: float) -> float:
    """Go from the first value to the last along half a cosine, as `done` goes from 0 to 1."""
    return last + (first - last) * (1 + math.cos(math.pi * done)) / 2
