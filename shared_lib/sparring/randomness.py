"""Random numbers that belong to a sample, not to its place in a batch.

A generator is asked for one number, the seed. From it and from the sample's own values, each coordinate gets its
random number by hashing. So a sample starts at the same point whatever else is in its batch, in whatever order,
and on whatever device; two equal samples start at the same point; and no global state is read or written.
"""

import math

import torch
from torch import Tensor

from sparring.projections import exact_dtype


def given_or_zero(generator: torch.Generator | None) -> torch.Generator:
    """Return the generator, or a fresh one seeded with 0: without one, every call draws the same."""
    return torch.Generator().manual_seed(0) if generator is None else generator


def draw_seed(generator: torch.Generator) -> int:
    """Return a seed drawn from the generator."""
    return int(torch.randint(0, 2**62, (1,), generator=generator, device=generator.device))


def _signed(constant: int) -> int:
    return constant - (1 << 64) if constant >= 1 << 63 else constant


def _mix(z: Tensor) -> Tensor:
    """Finalize as splitmix64 does (Steele, Lea and Flood, OOPSLA 2014); integers wrap around."""
    z = (z ^ ((z >> 30) & ((1 << 34) - 1))) * _signed(0xBF58476D1CE4E5B9)
    z = (z ^ ((z >> 27) & ((1 << 37) - 1))) * _signed(0x94D049BB133111EB)
    return z ^ ((z >> 31) & ((1 << 33) - 1))


_GOLDEN = _signed(0x9E3779B97F4A7C15)


def uniform(x: Tensor, seed: int, columns: int) -> Tensor:
    """Return numbers in (0, 1), shape (n, columns), each row a function of that row of `x` and the seed."""
    rows = x.detach().flatten(1).contiguous()
    bits = rows.view(torch.int32 if x.dtype == torch.float32 else torch.int64).to(torch.int64)
    place = torch.arange(1, rows.shape[1] + 1, device=x.device) * _GOLDEN
    key = _mix(_mix(bits + place).sum(1, keepdim=True) + _signed(seed * 2 + 1))
    counter = torch.arange(1, columns + 1, device=x.device) * _GOLDEN
    hashed = _mix(_mix(key + counter) + counter)
    # 24 bits are what float32 holds; the half keeps 0 and 1 out, where logarithms end.
    return (((hashed >> 40) & ((1 << 24) - 1)).to(exact_dtype(x.device)) + 0.5) / (1 << 24)


def normal(x: Tensor, seed: int, columns: int) -> Tensor:
    """Return standard normal numbers, shape (n, columns), each row a function of that row of `x` and the seed."""
    u = uniform(x, seed, 2 * columns)
    return _bell(u[:, :columns], u[:, columns:])


def _bell(first: Tensor, second: Tensor) -> Tensor:
    """Make normal numbers of uniform ones (Box and Muller, 1958)."""
    return (-2 * first.log()).sqrt() * (2 * math.pi * second).cos()


def unit_ball(x: Tensor, norm: str, seed: int) -> Tensor:
    """Return one point per sample, uniform in the unit ball of the norm, as rows of shape (n, features)."""
    size = x.flatten(1).shape[1]
    if norm == "linf":
        return 2 * uniform(x, seed, size) - 1
    u = uniform(x, seed, 2 * size + 1)
    first, second, radius = u[:, :size], u[:, size : 2 * size], u[:, -1:] ** (1 / size)
    if norm == "l2":
        bell = _bell(first, second)
        length: Tensor = torch.linalg.vector_norm(bell, dim=1, keepdim=True)
        return radius * bell / length
    exponential = -first.log()
    sign = torch.where(second < 0.5, -1.0, 1.0).to(first.dtype)
    return radius * sign * exponential / exponential.sum(1, keepdim=True)
