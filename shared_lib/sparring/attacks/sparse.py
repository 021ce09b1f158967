"""The pace of apgd in l1: steps along few coordinates, as many as the best point so far gets by with."""

import torch
from torch import Tensor

from sparring.attacks.climb import Climb
from sparring.projections import PROJECTIONS
from sparring.threat import ThreatModel

_FIRST_SHARE = 0.2  # of all coordinates, in the first steps
_THINNING = 1.5  # the coordinates of the best point, divided by this, are those of the next steps
_SPARSER = 0.95  # what counts as having become sparser
_SHORTENING = 1.5
_SHORTEST = 0.1  # of eps


class Sparse:
    """Numbers of coordinates and step lengths, for each row."""

    def __init__(self, climb: Climb, threat: ThreatModel, steps: int) -> None:
        self.norm, self.bounds = threat.norm, threat.bounds
        self.every = max(int(0.04 * steps), 1)
        features = climb.x.flatten(1).shape[1]
        self.length = climb.radii.clone()
        self.coordinates = torch.full_like(self.length, max(_FIRST_SHARE * features, 1.0))

    def keep(self, rows: Tensor) -> None:
        """Drop all other rows."""
        self.length, self.coordinates = self.length[rows], self.coordinates[rows]

    def advance(self, climb: Climb, step: int) -> Tensor:
        """Return the next point: a signed step along the coordinates with the largest gradient, projected.

        Coordinates already at their bound in the gradient's direction don't use up the number of coordinates, and are
        pushed along with those that rank behind them: else a step would be spent where nothing can move, and the
        projection would take from them what they must get back.
        """
        slope, point = climb.gradient.flatten(1), climb.point.flatten(1)
        low, high = self.bounds
        free = (slope != 0) & torch.where(slope > 0, point < high, point > low)
        order = slope.abs().argsort(dim=1, descending=True, stable=True)
        ranked = free.gather(1, order).long()
        before = ranked.cumsum(1) - ranked
        chosen = torch.zeros_like(free).scatter(1, order, before < self.coordinates.floor().unsqueeze(1))
        direction = chosen * slope.sign()
        share = self.length.unsqueeze(1) / (chosen & free).sum(1, keepdim=True).clamp_min(1)
        ahead = (point + (share * direction).to(point.dtype)).reshape(climb.point.shape)
        return PROJECTIONS[self.norm](ahead, climb.x, climb.radii, self.bounds)

    def review(self, climb: Climb, step: int, rose: Tensor) -> Climb:
        """Every 4% of all steps, take the number of coordinates from the highest point.

        Where it has fallen by more than 5%, the row starts over from its highest point with steps of length eps; else
        its steps get shorter.
        """
        if step % self.every:
            return climb
        point = climb.top.flatten(1)
        delta = point - climb.x.flatten(1)
        low, high = self.bounds
        used = torch.where(delta > 0, point < high, point > low) & (delta != 0)
        coordinates = (used.sum(1).to(self.coordinates.dtype) / _THINNING).clamp_min(1)
        sparser = coordinates < _SPARSER * self.coordinates
        shorter = torch.maximum(self.length / _SHORTENING, _SHORTEST * climb.radii)
        self.length = torch.where(sparser, climb.radii, shorter)
        self.coordinates = coordinates
        return climb.back_to_top(sparser)
