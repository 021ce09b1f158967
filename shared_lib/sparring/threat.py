"""What an attacker may do, as a value."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sparring.errors import InputError, ThreatError
from sparring.inputs import check_samples
from sparring.projections import PROJECTIONS, Frame, exact_dtype, frame, land, norms, stretch_to_radius
from sparring.randomness import draw_seed, given_or_zero, unit_ball

NORMS = tuple(PROJECTIONS)


@dataclass(frozen=True, eq=False)
class ThreatModel:
    """All points within distance eps of a sample, in a norm, and within bounds.

    `norm` is "linf", "l2" or "l1". `eps` is the radius in the data's own units: a number, or a tensor of shape
    (n,) with one radius per sample. `bounds` is the smallest and the largest value that a feature can have
    (either may be infinite). An infinite eps means any distance, which only a minimum-norm attack can use. Raises
    ThreatError for an unknown norm, an eps that is negative or NaN, and bounds out of order.
    """

    norm: str
    eps: float | Tensor
    bounds: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if self.norm not in NORMS:
            raise ThreatError(f"norm {self.norm!r} is unknown; choose one of {', '.join(map(repr, NORMS))}")
        object.__setattr__(self, "eps", _valid_eps(self.eps))
        object.__setattr__(self, "bounds", _valid_bounds(self.bounds))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ThreatModel):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[object, ...]:
        eps = tuple(self.eps.tolist()) if isinstance(self.eps, Tensor) else self.eps
        return self.norm, eps, self.bounds

    def radii(self, x: Tensor) -> Tensor:
        """Return eps for each sample of `x`, shape (n,); ThreatError if eps was given for another number."""
        if isinstance(self.eps, Tensor) and len(self.eps) != len(x):
            raise ThreatError(
                f"eps holds {len(self.eps)} radii but x holds {len(x)} samples; "
                "give one radius per sample, or a single number for all"
            )
        return torch.as_tensor(self.eps, dtype=exact_dtype(x.device), device=x.device).expand(len(x))

    def finite_radii(self, x: Tensor) -> Tensor:
        """Return `radii(x)`; ThreatError if one is infinite, for what can only be done in a ball of some size."""
        radii = self.radii(x)
        if bool(radii.isinf().any()):
            raise ThreatError(
                "eps is inf, but this needs a finite radius; give one, or use a minimum-norm attack such as fmn"
            )
        return radii

    def project(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Return the point of the threat model around `x` that is nearest to `x_adv`, in l2 distance.

        Both have one shape (n, ...). The result lies in the ball and in the bounds without a tolerance, and a point
        that did so already comes back bit for bit. Raises InputError for shapes that differ, an `x` out of bounds, or
        an `x_adv` with NaN or infinity in it.
        """
        self._check_pair(x_adv, x)
        if not bool(x_adv.isfinite().all()):
            raise InputError(
                "x_adv holds NaN or infinity, which is near to nothing; look for a zero norm or a bad step"
            )
        return PROJECTIONS[self.norm](x_adv.detach(), x.detach(), self.radii(x), self.bounds)

    def random_start(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return a point drawn uniformly from the ball around `x`, then projected into the bounds.

        One number is drawn from the generator; a sample's point depends on that number and on the sample's own
        values only, not on its batch. Without a generator the points are the same on every call. Raises ThreatError
        for an infinite eps.
        """
        check_samples(x, self.bounds)
        if x.numel() == 0:
            return x.detach().clone()
        radii = self.finite_radii(x)
        delta = unit_ball(x, self.norm, draw_seed(given_or_zero(generator))) * radii.unsqueeze(1)
        start = (x.detach().flatten(1).to(delta.dtype) + delta).to(x.dtype).reshape(x.shape)
        return PROJECTIONS[self.norm](start, x.detach(), radii, self.bounds)

    def worst_case(self, gradient: Tensor, x: Tensor) -> Tensor:
        """Return the point of the threat model around `x` that maximizes <gradient, x_adv>, exactly.

        On a linear objective this is the worst case there is: without bounds it gains eps times the dual norm of the
        gradient. For linf it is a sign step; for l2 a gradient step, for l1 the coordinates with the largest gradient
        one after the other, each as far as the bounds have room. A coordinate with gradient zero stays. Raises
        ThreatError for an infinite eps.
        """
        self._check_pair(gradient, x)
        x = x.detach()
        if x.numel() == 0:
            return x.clone()
        ball = frame(x, self.finite_radii(x), self.bounds)
        slope = gradient.detach().flatten(1).to(ball.x.dtype)
        slope = slope / slope.abs().amax(1, keepdim=True).clamp_min(torch.finfo(slope.dtype).tiny)
        if self.norm == "linf":
            delta = (ball.radius * slope.sign()).clamp(ball.low, ball.high)
        elif self.norm == "l2":
            delta = stretch_to_radius(slope, ball, limit=math.inf)
        else:
            delta = _fill(slope, ball)
        x_adv = land(delta, x, self.bounds)
        return PROJECTIONS[self.norm](x_adv, x, self.radii(x), self.bounds)

    def distance(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Return how far each `x_adv` is from its `x` in this norm, shape (n,), measured in float64."""
        if x_adv.shape != x.shape:
            raise InputError(
                f"x_adv has shape {tuple(x_adv.shape)} but x has {tuple(x.shape)}; they must be equal"
            )
        exact = exact_dtype(x.device)
        delta = x_adv.detach().flatten(1).to(exact) - x.detach().flatten(1).to(exact)
        return norms(delta, self.norm).squeeze(1)

    def contains(self, x_adv: Tensor, x: Tensor, tol: float = 1e-6) -> Tensor:
        """Say for each sample, shape (n,), whether `x_adv` lies in the ball around `x` and in the bounds.

        `tol` is what rounding may add to the distance and to the bounds; results of sparring's attacks and
        projections pass with tol=0. NaN is nowhere inside.
        """
        near = self.distance(x_adv, x) <= self.radii(x) + tol
        low, high = self.bounds
        rows = x_adv.detach().flatten(1)
        return near & ((rows >= low - tol) & (rows <= high + tol)).all(1)

    def describe(self) -> str:
        """Return the threat model in words, for a caption or a report."""
        if isinstance(self.eps, Tensor):
            eps = (
                f"{len(self.eps)} radii" if not len(self.eps) else f"{self.eps.min():g} to {self.eps.max():g}"
            )
        elif math.isinf(self.eps):
            return f"any {self.norm} distance, values in [{self.bounds[0]:g}, {self.bounds[1]:g}]"
        else:
            eps = f"{self.eps:g}"
        low, high = self.bounds
        return f"{self.norm} distance at most {eps}, values in [{low:g}, {high:g}]"

    def _check_pair(self, other: Tensor, x: Tensor) -> None:
        check_samples(x, self.bounds)
        if other.shape != x.shape or other.dtype != x.dtype or other.device != x.device:
            raise InputError(
                f"two tensors of one shape, dtype and device are needed; got {tuple(other.shape)} {other.dtype} on "
                f"{other.device} for an x of {tuple(x.shape)} {x.dtype} on {x.device}"
            )


def _fill(slope: Tensor, ball: Frame) -> Tensor:
    """Spend the radius on the coordinates with the largest slope, on each as far as the bounds have room."""
    room = torch.where(slope > 0, ball.high, -ball.low).masked_fill(slope == 0, 0.0)
    order = slope.abs().sort(dim=1, descending=True, stable=True).indices
    room = room.gather(1, order)
    before = torch.cat([torch.zeros_like(room[:, :1]), room.cumsum(1)[:, :-1]], dim=1)
    filled = torch.minimum(room, (ball.radius - before).clamp_min(0))
    return torch.zeros_like(slope).scatter(1, order, filled) * slope.sign()


def _valid_eps(eps: object) -> float | Tensor:
    if isinstance(eps, Tensor) and eps.ndim > 0:
        if eps.ndim != 1:
            raise ThreatError(
                f"eps must be a number or have shape (n,), got {tuple(eps.shape)}; pass eps.flatten()"
            )
        radii = eps.detach().to(exact_dtype(eps.device)).clone()
        bad = ~(radii >= 0)
        if bad.any():
            first = int(bad.nonzero()[0])
            raise ThreatError(
                f"eps[{first}] is {float(radii[first]):g}; every radius must be 0 or more (inf: any distance)"
            )
        return radii
    try:
        if isinstance(eps, bool):
            raise TypeError
        radius = float(eps)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ThreatError(
            f"eps must be a number or a tensor of shape (n,), got {type(eps).__name__}; "
            "for one radius per sample pass torch.tensor([...])"
        ) from None
    if not radius >= 0:
        raise ThreatError(f"eps is {radius:g}; it must be 0 or more (inf: any distance), in the units of x")
    return radius


def _valid_bounds(bounds: object) -> tuple[float, float]:
    try:
        low, high = (float(bound) for bound in bounds)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        raise ThreatError(
            f"bounds must be two numbers (low, high), got {bounds!r}; images have (0.0, 1.0)"
        ) from None
    if not low < high:
        raise ThreatError(f"bounds are ({low:g}, {high:g}); the first must be below the second")
    return low, high
