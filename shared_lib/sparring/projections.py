"""The nearest point in a norm ball and a box at once, exactly.

Clipping to the box after scaling to the ball gives a point in both, but not the nearest one for l2 and l1: the
budget that clipping frees is lost. The functions here solve the joint problem by its optimality conditions.

Everything is computed in float64 and rounded toward `x`, so each result lies in the ball and in the box
without a tolerance, in whatever precision the batch is kept. Rows are treated each on its own.
"""

from typing import NamedTuple

import torch
from torch import Tensor

# Sums of squares carry a relative rounding error of about 1e-14 for a million terms. A point that ends up
# outside by rounding is drawn in by more than that, so that measuring it again finds it inside.
_DRAW_IN = 1 - 1e-12


class Frame(NamedTuple):
    """A batch seen from `x`: the room of each coordinate below and above, and the radius, as float64 rows."""

    x: Tensor
    low: Tensor
    high: Tensor
    radius: Tensor


def exact_dtype(device: torch.device) -> torch.dtype:
    """Return float64, or float32 on a device that has nothing finer."""
    return torch.float32 if device.type == "mps" else torch.float64


def frame(x: Tensor, eps: float | Tensor, bounds: tuple[float, float]) -> Frame:
    """Describe the ball of radius `eps` (a number, or one per sample) around `x` within `bounds`."""
    exact = exact_dtype(x.device)
    rows = x.flatten(1).to(exact)
    radius = torch.as_tensor(eps, dtype=exact, device=x.device).expand(len(x)).unsqueeze(1)
    # The largest number of x's own precision that is not above eps: then even a difference computed in that
    # precision can't exceed eps, and 0.3 means 0.3 rather than float32's 0.30000001.
    coarse = radius.to(x.dtype)
    coarse = torch.where(coarse.to(exact) > radius, torch.nextafter(coarse, torch.zeros_like(coarse)), coarse)
    low, high = (torch.tensor(bound, dtype=x.dtype, device=x.device).to(exact) for bound in bounds)
    return Frame(rows, low - rows, high - rows, coarse.to(exact))


def norms(delta: Tensor, norm: str) -> Tensor:
    """Return the norm of each row, shape (n, 1)."""
    order = {"linf": float("inf"), "l2": 2.0, "l1": 1.0}[norm]
    if delta.shape[1] == 0:
        return delta.new_zeros(len(delta), 1)
    size: Tensor = torch.linalg.vector_norm(delta, order, dim=1, keepdim=True)
    return size


def land(delta: Tensor, x: Tensor, bounds: tuple[float, float]) -> Tensor:
    """Return x + delta in x's own precision and shape, each coordinate rounded toward x."""
    start = x.flatten(1)
    exact = start.to(delta.dtype)
    moved = (exact + delta).to(x.dtype)
    too_far = (moved.to(delta.dtype) - exact).abs() > delta.abs()
    moved = torch.where(too_far, torch.nextafter(moved, start), moved).clamp(*bounds)
    return torch.where(delta == 0, start, moved).reshape(x.shape)


def _finish(delta: Tensor, wanted: Tensor, x_adv: Tensor, x: Tensor, bounds: tuple[float, float]) -> Tensor:
    """Land, leaving bit for bit alone what didn't have to move."""
    kept = ((delta == wanted) & (delta != 0)).reshape(x.shape)
    # In float64 the difference to x may round to all the room there is while the point itself is a bit beyond.
    kept &= (x_adv >= bounds[0]) & (x_adv <= bounds[1])
    return torch.where(kept, x_adv, land(delta, x, bounds))


def _draw_in(delta: Tensor, radius: Tensor, norm: str) -> Tensor:
    size = norms(delta, norm)
    return torch.where(
        size > radius, delta * (radius / size.clamp_min(torch.finfo(size.dtype).tiny)) * _DRAW_IN, delta
    )


def project_linf(
    x_adv: Tensor, x: Tensor, eps: float | Tensor, bounds: tuple[float, float] = (0.0, 1.0)
) -> Tensor:
    """Return the point nearest to `x_adv` with no coordinate farther than eps from `x` or out of bounds.

    `x_adv` and `x` have one shape (n, ...), and `x` lies in bounds; `eps` is a number or has shape (n,), in the
    units of `x`. The result is the nearest point in every lp norm.
    """
    if x.numel() == 0:
        return x_adv.clone()
    ball = frame(x, eps, bounds)
    wanted = x_adv.flatten(1).to(ball.x.dtype) - ball.x
    delta = wanted.clamp(-ball.radius, ball.radius).clamp(ball.low, ball.high)
    return _finish(delta, wanted, x_adv, x, bounds)


def project_l2(
    x_adv: Tensor, x: Tensor, eps: float | Tensor, bounds: tuple[float, float] = (0.0, 1.0)
) -> Tensor:
    """Return the point nearest to `x_adv` (in l2) within l2 distance eps of `x` and within bounds.

    The optimality conditions say delta = clip(t * (x_adv - x)) for one t in (0, 1] per sample; t is found among
    the sorted values at which a coordinate meets the box. Shapes and units as in `project_linf`.
    """
    if x.numel() == 0:
        return x_adv.clone()
    ball = frame(x, eps, bounds)
    wanted = x_adv.flatten(1).to(ball.x.dtype) - ball.x
    clipped = wanted.clamp(ball.low, ball.high)
    scaled = stretch_to_radius(wanted, ball, limit=1.0)
    delta = torch.where(norms(clipped, "l2") <= ball.radius, clipped, _draw_in(scaled, ball.radius, "l2"))
    return _finish(delta, wanted, x_adv, x, bounds)


def stretch_to_radius(direction: Tensor, ball: Frame, limit: float) -> Tensor:
    """Return clip(t * direction) for the t <= limit at which its l2 norm is the radius, or for t = limit.

    With f(t) = |clip(t * direction)|^2, sort the t at which coordinates meet the box. Between two neighbors,
    f(t) = (sum of squares of what is clipped) + t^2 (sum of squares of the rest), which is solved for t.
    """
    edge = torch.where(direction > 0, ball.high, ball.low)
    meets = torch.where(direction == 0, 0.0, edge / direction).clamp_max(limit)
    # A coordinate that meets the box only beyond the limit is held at the limit instead, so that f keeps growing.
    edge = torch.where(direction == 0, 0.0, torch.where(meets >= limit, limit * direction, edge))
    meets, order = meets.sort(dim=1, stable=True)
    squares = direction.square().gather(1, order)
    clipped = edge.square().gather(1, order)
    clipped = torch.cat([torch.zeros_like(clipped[:, :1]), clipped.cumsum(1)[:, :-1]], dim=1)
    free = squares.flip(1).cumsum(1).flip(1)
    reached = clipped + torch.where(free > 0, meets.square() * free, 0.0)
    piece = (reached < ball.radius.square()).sum(1, keepdim=True).clamp_max(meets.shape[1] - 1)
    rest = (ball.radius.square() - clipped.gather(1, piece)).clamp_min(0)
    t = (rest / free.gather(1, piece).clamp_min(torch.finfo(free.dtype).tiny)).sqrt().clamp_max(limit)
    return (t * direction).clamp(ball.low, ball.high)


def project_l1(
    x_adv: Tensor, x: Tensor, eps: float | Tensor, bounds: tuple[float, float] = (0.0, 1.0)
) -> Tensor:
    """Return the point nearest to `x_adv` (in l2) within l1 distance eps of `x` and within bounds.

    The optimality conditions say |delta| = min(max(|x_adv - x| - shift, 0), room) for one shift >= 0 per sample
    (Croce and Hein, "Mind the box", ICML 2021, section 2; without a box, Duchi et al., ICML 2008). As a function
    of the shift, the l1 norm is a sum of ramps; the shift is found among their sorted corners. Shapes and units
    as in `project_linf`.
    """
    if x.numel() == 0:
        return x_adv.clone()
    ball = frame(x, eps, bounds)
    wanted = x_adv.flatten(1).to(ball.x.dtype) - ball.x
    clipped = wanted.clamp(ball.low, ball.high)
    size = wanted.abs()
    room = torch.where(wanted > 0, ball.high, -ball.low)
    # min(max(a - s, 0), b) = max(a - s, 0) - max(a - b - s, 0): two ramps, of weights 1 and -1, for each coordinate.
    corners = torch.cat([size, (size - room).clamp_min(0)], dim=1)
    weights = torch.cat([torch.ones_like(size), -torch.ones_like(size)], dim=1)
    corners, order = corners.sort(dim=1, descending=True, stable=True)
    weights = weights.gather(1, order)
    slope = weights.cumsum(1)
    height = (weights * corners).cumsum(1)
    following = torch.cat([corners[:, 1:], torch.zeros_like(corners[:, :1])], dim=1)
    norm_there = height - following * slope
    piece = (norm_there < ball.radius).sum(1, keepdim=True).clamp_max(corners.shape[1] - 1)
    shift = (height.gather(1, piece) - ball.radius) / slope.gather(1, piece).clamp_min(1)
    shift = torch.minimum(torch.maximum(shift, following.gather(1, piece)), corners.gather(1, piece))
    shrunk = torch.minimum((size - shift).clamp_min(0), room) * wanted.sign()
    delta = torch.where(norms(clipped, "l1") <= ball.radius, clipped, _draw_in(shrunk, ball.radius, "l1"))
    return _finish(delta, wanted, x_adv, x, bounds)


PROJECTIONS = {"linf": project_linf, "l2": project_l2, "l1": project_l1}
