"""What the Square attack asks about: squares at random places, for linf and for l2."""

import torch
from torch import Tensor

from sparring.attacks.hunt import Hunt
from sparring.projections import project_l2, project_linf
from sparring.randomness import uniform


class Stripes:
    """Linf: each value of the perturbation is eps or -eps, from vertical stripes on (algorithm 2)."""

    def __init__(self, hunt: Hunt) -> None:
        self.hunt, x = hunt, hunt.x
        eps = hunt.radii.to(x.dtype).view(-1, *[1] * (x.ndim - 1))
        # All values that a point can have, so that no point needs a projection of its own.
        self.upper, self.lower = (
            as_images(project_linf(corner, x, hunt.radii, hunt.threat.bounds))
            for corner in (x + eps, x - eps)
        )

    def start(self, rows: Tensor) -> Tensor:
        """Return vertical stripes for each of these samples, each channel with its own."""
        _, channels, _, width = self.upper.shape
        up = uniform(self.hunt.marks(rows), self.hunt.seed(), channels * width) < 0.5
        points = torch.where(up.view(-1, channels, 1, width), self.upper[rows], self.lower[rows])
        return points.reshape(-1, *self.hunt.x.shape[1:])

    def next(self, rows: Tensor, share: float) -> Tensor:
        """Return the samples' points, each with one sign for each channel in a square that has others so far."""
        _, channels, height, width = self.upper.shape
        tall, wide = side_lengths(share, height, width)
        drawn = uniform(self.hunt.marks(rows), self.hunt.seed(), 2 + channels)
        top, left = place(drawn[:, 0], height - tall), place(drawn[:, 1], width - wide)
        down, across = (torch.arange(length, device=rows.device) for length in (height, width))
        inside = ((down >= top) & (down < top + tall)).unsqueeze(2) & (
            (across >= left) & (across < left + wide)
        ).unsqueeze(1)
        inside = inside.unsqueeze(1)
        up = (drawn[:, 2:] < 0.5).view(-1, channels, 1, 1)
        here, upper, lower = as_images(self.hunt.x_adv[rows]), self.upper[rows], self.lower[rows]
        points = torch.where(inside, torch.where(up, upper, lower), here)
        known = (points == here).flatten(1).all(1).view(-1, 1, 1, 1)
        points = torch.where(inside, torch.where(up ^ known, upper, lower), here)
        return points.reshape(-1, *self.hunt.x.shape[1:])


class Bumps:
    """L2: perturbation moves from one square to another, from a grid of bumps on (algorithm 3)."""

    def __init__(self, hunt: Hunt) -> None:
        self.hunt = hunt
        self.x = as_images(hunt.x)
        self.turn = 0

    def start(self, rows: Tensor) -> Tensor:
        """Return a grid of about five by five pairs of bumps, with random signs, of length eps altogether."""
        _, channels, height, width = self.x.shape
        tall, wide = max(height // 5, 1), max(width // 5, 1)
        down, across = -(-height // tall), -(-width // wide)
        signs = (uniform(self.hunt.marks(rows), self.hunt.seed(), channels * down * across) < 0.5).to(
            self.x.dtype
        )
        signs = (2 * signs - 1).view(-1, channels, down, across)
        signs = signs.repeat_interleave(tall, 2).repeat_interleave(wide, 3)[:, :, :height, :width]
        tiles = bumps(tall, wide).to(self.x).repeat(down, across)[:height, :width]
        return self._inside(rows, _unit(signs * tiles, (1, 2, 3)) * self._eps(rows))

    def next(self, rows: Tensor, share: float) -> Tensor:
        """Return the samples' points, each with what two squares hold, and what eps has left, all in the first."""
        _, channels, height, width = self.x.shape
        # A pixel alone has no shape to take; but where all squares are larger than that, small images get stuck.
        self.turn += 1
        tall, wide = side_lengths(share, height, width, least=1 + self.turn % 2)
        drawn = uniform(self.hunt.marks(rows), self.hunt.seed(), 5 + channels)
        delta = (as_images(self.hunt.x_adv[rows]) - self.x[rows]).flatten(2)
        unused = (self._eps(rows).square().flatten(1) - delta.square().sum((1, 2)).unsqueeze(1)).clamp_min(0)
        first, second = (
            self._places(drawn[:, 2 * i], drawn[:, 2 * i + 1], tall, wide).expand(-1, channels, -1)
            for i in (0, 1)
        )
        held = delta.gather(2, first)
        delta = delta.scatter(2, first, 0.0)
        room = held.square().sum(2) + delta.gather(2, second).square().sum(2) + unused / channels
        delta = delta.scatter(2, second, 0.0)
        shape = torch.stack([bumps(tall, wide), bumps(wide, tall).T]).to(self.x).flatten(1)
        shape = shape[(drawn[:, 4] < 0.5).long()].unsqueeze(1)
        signs = torch.where(drawn[:, 5:] < 0.5, -1.0, 1.0).to(self.x.dtype).unsqueeze(2)
        wanted = _unit(signs * _unit(shape, (2,)) + _unit(held, (2,)), (2,))
        delta = delta.scatter(2, first, wanted * room.sqrt().unsqueeze(2))
        return self._inside(rows, delta)

    def _eps(self, rows: Tensor) -> Tensor:
        return self.hunt.radii[rows].to(self.x.dtype).view(-1, 1, 1, 1)

    def _places(self, down: Tensor, across: Tensor, tall: int, wide: int) -> Tensor:
        """Return the flat positions in a square at a place, shape (n, 1, tall * wide)."""
        _, _, height, width = self.x.shape
        corner = place(down, height - tall) * width + place(across, width - wide)
        steps = torch.arange(tall, device=down.device).unsqueeze(1) * width + torch.arange(
            wide, device=down.device
        )
        return (corner + steps.flatten()).unsqueeze(1)

    def _inside(self, rows: Tensor, delta: Tensor) -> Tensor:
        x = self.hunt.x[rows]
        return project_l2(x + delta.reshape(x.shape), x, self.hunt.radii[rows], self.hunt.threat.bounds)


def as_images(x: Tensor) -> Tensor:
    """View a batch as (n, channels, height, width); what has no height has height 1."""
    height = x.shape[-2] if x.ndim > 2 else 1
    return x.reshape(len(x), -1, height, x.shape[-1])


def place(drawn: Tensor, last: int) -> Tensor:
    """Turn numbers in (0, 1) into whole ones from 0 to the last, as a column."""
    return (drawn * (last + 1)).long().clamp_max(last).unsqueeze(1)


def side_lengths(share: float, height: int, width: int, least: int = 1) -> tuple[int, int]:
    """Return the sides of a square with this share of an image's area; a rectangle where a square is too large."""
    side = max(round((share * height * width) ** 0.5), least)
    if side <= min(height, width):
        return side, side
    if height < width:
        return height, min(max(round(share * width), least), width)
    return min(max(round(share * height), least), height), width


def bumps(tall: int, wide: int) -> Tensor:
    """Return two bumps side by side, one up and one down, as in equation 2 and below it."""
    left = wide // 2
    return torch.cat([_bump(tall, left), -_bump(tall, wide - left)], dim=1)


def _bump(tall: int, wide: int) -> Tensor:
    """Return sums of 1 / (n + 1 - k)^2 for k from 0 up to how many rings from the edge a pixel is."""
    half = max(tall, wide) // 2
    down, across = (torch.arange(length) for length in (tall, wide))
    ring = torch.maximum((down - tall // 2).abs().unsqueeze(1), (across - wide // 2).abs().unsqueeze(0))
    heights = (1 / torch.arange(half + 1, 0, -1, dtype=torch.float64).square()).cumsum(0)
    return heights[(half - ring).clamp_min(0)]


def _unit(rows: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Return rows scaled to length 1 over these dimensions; zero stays zero."""
    length: Tensor = torch.linalg.vector_norm(rows, dim=dims, keepdim=True)
    return rows / length.clamp_min(torch.finfo(rows.dtype).tiny)
