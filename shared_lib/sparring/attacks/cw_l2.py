"""Carlini and Wagner's attack in l2."""

import math

import torch
from torch import Tensor

from sparring.attacks.nearest import (
    Nearest,
    annealed,
    check_norm,
    reach,
    to_boundary,
)
from sparring.attacks.query import attacking, nothing_to_do
from sparring.attacks.result import AttackResult
from sparring.inputs import Model, check_count, check_positive
from sparring.objectives import margin
from sparring.projections import frame, land, norms
from sparring.threat import ThreatModel


def cw_l2(
    model: Model,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    steps: int = 100,
    searches: int = 5,
    step_size: float = 1.0,
    first_c: float | None = None,
    targets: Tensor | None = None,
) -> AttackResult:
    """Minimize the squared l2 distance plus c times a hinge of the margin, and search for the best c.

    Carlini and Wagner, "Towards evaluating the robustness of neural networks", S&P 2017, sections V and VI-A with
    f_6: |delta|^2 + c max(-margin, 0), by Adam, `searches` times from x with `steps` steps each. c is sought for
    each sample by itself: ten times more until it succeeds, or less until it fails, then by halving the interval.
    It starts at `first_c`, or twice that at which the margin's linearization at x has its optimum. Bounds are
    kept by projection, the first of the ways in section V-B; behind the tanh of the third, pixels that are black
    or white hardly move. Adam's rate is `step_size` times the distance to the linearized boundary over the root
    of the number of features, and falls to a hundredth along a cosine, so that the unit of x doesn't matter.

    eps is the largest distance that counts, and may be infinite. Where nothing was found within it, `success` is
    false, `x_adv` is x and `distance` is infinite. The objective is the margin. `x` has shape (n, ...), in the
    threat model's units; `y` and `targets` are int64 of shape (n,). Costs searches * steps + 1 forward and as
    many backward passes. Raises InputError, ThreatError or ModelError for what it can't work with.
    """
    check_count("steps", steps, 0)
    check_count("searches", searches, 1)
    check_positive("step_size", step_size)
    if first_c is not None:
        check_positive("first_c", first_c)
    with attacking(model, x, y, threat, targets, margin, any_distance=True) as query:
        check_norm("cw_l2", threat, ("l2",), "fmn")
        if len(x) == 0:
            return nothing_to_do(x, y, threat, query)
        x = x.detach()
        nearest, box = Nearest(x, threat), frame(x, 0.0, threat.bounds)
        answer, gradient = query.gradient(x)
        nearest.offer(x, answer)
        far = to_boundary(answer.objective, gradient, "l2", x).minimum(reach(x, threat))
        # Adam adds 1e-8 to what it divides by, which should be little beside any slope.
        unit = torch.where(far > 0, far, 1.0).unsqueeze(1)
        rate = step_size * far.unsqueeze(1) / math.sqrt(x[0].numel())
        c = _linear_c(far, gradient) if first_c is None else torch.full_like(far, first_c)
        low, high = torch.zeros_like(c), torch.full_like(c, math.inf)
        for _ in range(searches):
            delta, adam = torch.zeros_like(box.x), Adam(box.x)
            won = torch.zeros_like(y, dtype=torch.bool)
            for step in range(steps):
                x_adv = land(delta, x, threat.bounds)
                answer, gradient = query.gradient(x_adv)
                nearest.offer(x_adv, answer)
                won = won | answer.success
                # The hinge is flat beyond the boundary.
                pull = torch.where(answer.success, 0.0, c).unsqueeze(1)
                slope = (2 * delta - pull * gradient.flatten(1)) / unit
                delta = delta - annealed(1.0, 0.01, step / steps) * rate * adam.direction(slope)
                delta = delta.clamp(box.low, box.high)
            high = torch.where(won, high.minimum(c), high)
            low = torch.where(won, low, low.maximum(c))
            c = torch.where(high.isinf(), 10 * c, torch.where(low == 0, c / 10, (low + high) / 2))
        return nearest.result(query)


def _linear_c(far: Tensor, gradient: Tensor) -> Tensor:
    """Return twice the c for which, on a linear margin, the minimum lies on the boundary, shape (n,)."""
    slope = norms(gradient.flatten(1).to(far.dtype), "l2").squeeze(1)
    # With delta = t g, t |g|^2 being the way to the boundary, the derivative 2 t g - c g vanishes for c = 2 t.
    return torch.where(slope > 0, 4 * far / slope, 1.0)


class Adam:
    """Adam's direction for each sample by itself (Kingma and Ba, ICLR 2015, algorithm 1)."""

    def __init__(self, like: Tensor) -> None:
        self.first, self.second, self.step = torch.zeros_like(like), torch.zeros_like(like), 0

    def direction(self, slope: Tensor) -> Tensor:
        """Take in a gradient; return the moment, without its bias, over the root of the second one."""
        self.step += 1
        self.first = 0.9 * self.first + 0.1 * slope
        self.second = 0.999 * self.second + 0.001 * slope.square()
        first, second = self.first / (1 - 0.9**self.step), self.second / (1 - 0.999**self.step)
        return first / (second.sqrt() + 1e-8)
