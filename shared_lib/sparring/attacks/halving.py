"""The pace of apgd in linf and l2: long steps with momentum, halved where they stop paying."""

import math

import torch
from torch import Tensor

from sparring.attacks.ascent import ascend
from sparring.attacks.climb import Climb
from sparring.projections import PROJECTIONS
from sparring.threat import ThreatModel

_MOMENTUM = 0.75  # alpha, the weight of the new step against the last one
_RISING = 0.75  # rho, the share of steps that must raise the objective


def checkpoints(steps: int) -> list[int]:
    """Return the steps after which the pace is reviewed (Croce and Hein, ICML 2020, section 4.2).

    The first comes after 22% of all steps; the distances shrink by 3% of all each time, to 6%.
    """
    shares = [0.0, 0.22]
    while shares[-1] < 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    # Rounded first, so that an exact product is not pushed up by its last bit.
    return sorted({math.ceil(round(share * steps, 6)) for share in shares[1:] if share <= 1})


class Halving:
    """Step lengths and their history, for each row."""

    def __init__(self, climb: Climb, threat: ThreatModel, steps: int) -> None:
        self.norm, self.bounds = threat.norm, threat.bounds
        self.checkpoints = checkpoints(steps)
        self.last = 0
        self.length = (2 * climb.radii).to(climb.x.dtype)
        self.rises = torch.zeros_like(climb.samples)
        self.reached = climb.highest
        self.halved = torch.zeros_like(climb.samples, dtype=torch.bool)

    def keep(self, rows: Tensor) -> None:
        """Drop all other rows."""
        self.length, self.rises = self.length[rows], self.rises[rows]
        self.reached, self.halved = self.reached[rows], self.halved[rows]

    def advance(self, climb: Climb, step: int) -> Tensor:
        """Return the next point: a projected gradient step, mixed with the last move (algorithm 1, lines 7 and 8)."""
        project = PROJECTIONS[self.norm]
        stride = ascend(climb.gradient, self.length.unsqueeze(1), self.norm)
        ahead = project(climb.point + stride, climb.x, climb.radii, self.bounds)
        if step == 1:
            return ahead
        mixed = (
            climb.point + _MOMENTUM * (ahead - climb.point) + (1 - _MOMENTUM) * (climb.point - climb.before)
        )
        return project(mixed, climb.x, climb.radii, self.bounds)

    def review(self, climb: Climb, step: int, rose: Tensor) -> Climb:
        """At a checkpoint, halve the steps of rows that make no headway and put them back at their highest point.

        Condition 1: fewer than 75% of the steps since the last checkpoint raised the objective. Condition 2: neither
        the step length was changed at the last checkpoint nor the highest value since.
        """
        self.rises = self.rises + rose
        if step not in self.checkpoints:
            return climb
        slow = self.rises < _RISING * (step - self.last)
        stuck = ~self.halved & (climb.highest == self.reached)
        self.last, self.rises = step, torch.zeros_like(self.rises)
        self.halved, self.reached = slow | stuck, climb.highest
        self.length = torch.where(self.halved, self.length / 2, self.length)
        return climb.back_to_top(self.halved)
