"""Projections onto a norm ball and a box together."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from sparring import ThreatModel
from sparring.projections import PROJECTIONS, project_l1, project_l2

ORDERS = {"linf": float("inf"), "l2": 2, "l1": 1}
NORMS = list(ORDERS)


def rows_like(n, d, seed, spread, dtype):
    """Return x inside [0, 1] and points around it, with some coordinates on the bounds and some untouched."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(n, d, generator=generator, dtype=dtype)
    x = torch.where(torch.rand(n, d, generator=generator) < 0.2, x.round(), x)
    v = spread * torch.randn(n, d, generator=generator, dtype=dtype)
    v = torch.where(torch.rand(n, d, generator=generator) < 0.1, torch.zeros_like(v), v)
    return x, x + v


cases = st.fixed_dictionaries(
    {
        "n": st.integers(1, 4),
        "d": st.integers(1, 40),
        "seed": st.integers(0, 2**31),
        "spread": st.sampled_from([1e-3, 0.1, 1.0, 100.0]),
        "dtype": st.sampled_from([torch.float32, torch.float64]),
    }
)
radii = st.one_of(st.just(0.0), st.floats(1e-6, 50.0))


@pytest.mark.parametrize("norm", NORMS)
@settings(max_examples=60, deadline=None)
@given(case=cases, eps=radii)
def test_a_projection_lies_in_the_ball_and_the_box_without_a_tolerance(norm, case, eps):
    """Measured exactly, in float64, no distance exceeds eps and no value a bound: not even by a rounding error."""
    x, x_adv = rows_like(**case)
    p = PROJECTIONS[norm](x_adv, x, eps)
    assert p.dtype == x.dtype
    assert (torch.linalg.vector_norm(p.double() - x.double(), ORDERS[norm], dim=1) <= eps).all()
    assert ((p >= 0) & (p <= 1)).all()


@pytest.mark.parametrize("norm", NORMS)
@settings(max_examples=60, deadline=None)
@given(case=cases, eps=st.floats(0.5, 50.0), low=st.floats(-3.0, 0.0), width=st.floats(0.1, 5.0))
def test_bounds_that_no_float_meets_hold_exactly(norm, case, eps, low, width):
    """x + (high - x) may round to just above high; what is returned doesn't, for any bounds."""
    x, x_adv = rows_like(**case)
    high = low + width
    x, x_adv = (low + width * x).clamp(low, high), low + 3 * width * x_adv
    p = PROJECTIONS[norm](x_adv, x, eps, (low, high))
    assert ((p >= low) & (p <= high)).all()
    worst = ThreatModel(norm, eps, (low, high)).worst_case(x_adv, x)
    assert ((worst >= low) & (worst <= high)).all()


@pytest.mark.parametrize("norm", NORMS)
@settings(max_examples=60, deadline=None)
@given(case=cases, eps=radii)
def test_projecting_twice_changes_no_bit(norm, case, eps):
    """A projection is idempotent: what is inside stays where it is, exactly."""
    x, x_adv = rows_like(**case)
    p = PROJECTIONS[norm](x_adv, x, eps)
    assert torch.equal(PROJECTIONS[norm](p, x, eps), p)


@pytest.mark.parametrize("norm", NORMS)
@settings(max_examples=60, deadline=None)
@given(case=cases, eps=st.floats(1e-3, 5.0), other=st.integers(0, 2**31))
def test_projecting_brings_no_two_points_farther_apart(norm, case, eps, other):
    """A Euclidean projection onto a convex set is non-expansive; clipping after scaling to l1 need not be."""
    x, a = rows_like(**case)
    b = a + torch.randn(a.shape, generator=torch.Generator().manual_seed(other), dtype=a.dtype)
    moved = (PROJECTIONS[norm](a, x, eps) - PROJECTIONS[norm](b, x, eps)).double().norm(dim=1)
    assert (moved <= (a - b).double().norm(dim=1) + 1e-5).all()


@settings(max_examples=200, deadline=None)
@given(case=cases, eps=st.floats(1e-3, 5.0))
def test_the_l2_projection_meets_its_optimality_conditions(case, eps):
    """One factor t scales all coordinates but those that it would push out of the box, which are on the box."""
    case["dtype"] = torch.float64
    x, v = rows_like(**case)
    p = project_l2(v, x, eps)
    clipped = v.clamp(0, 1)
    fits = (clipped - x).norm(dim=1) <= eps
    assert torch.equal(p[fits], clipped[fits])
    x, v, p = x[~fits], v[~fits], p[~fits]
    torch.testing.assert_close(
        (p - x).norm(dim=1), torch.full((len(p),), eps, dtype=p.dtype), rtol=1e-9, atol=0
    )
    free = (p > 0) & (p < 1) & (v != x)
    for row in range(len(p)):
        if free[row].any():
            ratios = ((p - x) / (v - x))[row, free[row]]
            t = ratios.max()
            torch.testing.assert_close(
                p[row], (x[row] + t * (v[row] - x[row])).clamp(0, 1), rtol=0, atol=1e-9
            )


@settings(max_examples=200, deadline=None)
@given(case=cases, eps=st.floats(1e-3, 5.0))
def test_the_l1_projection_meets_its_optimality_conditions(case, eps):
    """One shift shrinks all coordinates, to zero at most, but those that stay out of the box, which are on it."""
    case["dtype"] = torch.float64
    x, v = rows_like(**case)
    p = project_l1(v, x, eps)
    clipped = v.clamp(0, 1)
    fits = (clipped - x).abs().sum(1) <= eps
    assert torch.equal(p[fits], clipped[fits])
    x, v, p = x[~fits], v[~fits], p[~fits]
    torch.testing.assert_close(
        (p - x).abs().sum(1), torch.full((len(p),), eps, dtype=p.dtype), rtol=1e-9, atol=0
    )
    free = (p > 0) & (p < 1) & (p != x)
    for row in range(len(p)):
        if free[row].any():
            shift = ((v - x).abs() - (p - x).abs())[row, free[row]].min()
            moved = ((v[row] - x[row]).abs() - shift).clamp_min(0) * (v[row] - x[row]).sign()
            torch.testing.assert_close(p[row], (x[row] + moved).clamp(0, 1), rtol=0, atol=1e-9)


@pytest.mark.parametrize(("norm", "project"), [("l2", project_l2), ("l1", project_l1)])
@pytest.mark.parametrize("seed", range(25))
def test_a_general_solver_finds_the_same_point(norm, project, seed):
    """SciPy's SLSQP, which knows nothing of our shortcuts, agrees to its own precision."""
    rng = np.random.default_rng(seed)
    d = int(rng.integers(2, 7))
    x, eps = rng.random(d), float(rng.uniform(0.1, 1.0))
    v = x + rng.normal(size=d)
    if norm == "l2":
        constraint = {"type": "ineq", "fun": lambda z: eps**2 - ((z - x) ** 2).sum()}
        solution = minimize(
            lambda z: ((z - v) ** 2).sum(), x, bounds=[(0, 1)] * d, constraints=[constraint], tol=1e-14
        ).x
    else:  # |z - x| is not smooth, so it is split into what goes up and what goes down
        solution = minimize(
            lambda s: ((x + s[:d] - s[d:] - v) ** 2).sum(),
            np.zeros(2 * d),
            bounds=[(0, b) for b in np.concatenate([1 - x, x])],
            constraints=[{"type": "ineq", "fun": lambda s: eps - s.sum()}],
            tol=1e-14,
        ).x
        solution = x + solution[:d] - solution[d:]
    got = project(torch.tensor(v)[None], torch.tensor(x)[None], eps)[0].numpy()
    np.testing.assert_allclose(got, solution, atol=2e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_a_point_a_last_bit_out_of_bounds_is_brought_in(norm):
    """Its difference to x rounds to just the room there is, which is not the same as being inside."""
    inside, _ = rows_like(4, 50, 0, 1.0, torch.float64)
    for x, beyond, bounds in ((inside, -1e-20, (0.0, 1.0)), (-inside, 1e-20, (-1.0, 0.0))):
        x_adv = torch.full_like(x, beyond)
        assert ((x_adv - x) == -x).any()
        assert (PROJECTIONS[norm](x_adv, x, 100.0, bounds) == 0).all()


def test_the_budget_that_clipping_frees_is_spent_elsewhere():
    """Scaling to the ball and then clipping stops short; the joint projection ends on the ball's surface."""
    x = torch.tensor([[0.95, 0.5]], dtype=torch.float64)
    x_adv = torch.tensor([[2.0, 1.0]], dtype=torch.float64)
    p = project_l2(x_adv, x, 0.3)
    assert p[0, 0] == 1.0
    assert (p - x).norm().item() == pytest.approx(0.3, abs=1e-9)
    naive = (x + 0.3 * (x_adv - x) / (x_adv - x).norm()).clamp(0, 1)
    assert (x_adv - p).norm() < (x_adv - naive).norm()


def test_known_projections_without_a_box():
    """Where the bounds are out of reach: l2 scales, l1 shifts every coordinate by one amount, linf clips."""
    x, far = torch.zeros(1, 3, dtype=torch.float64), (float("-inf"), float("inf"))
    v = torch.tensor([[3.0, -4.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(project_l2(v, x, 1.0, far), v / 5, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(project_l1(v, x, 3.0, far), torch.tensor([[1.0, -2.0, 0.0]]).double())
    torch.testing.assert_close(PROJECTIONS["linf"](v, x, 3.5, far), torch.tensor([[3.0, -3.5, 0.0]]).double())


@pytest.mark.parametrize("norm", NORMS)
def test_a_row_is_projected_as_if_it_were_alone(norm):
    """With one radius per row, projecting rows together and one by one gives the same bits, in any order."""
    x, x_adv = rows_like(5, 30, 0, 1.0, torch.float32)
    eps = torch.tensor([0.0, 0.05, 0.3, 1.0, 40.0])
    together = PROJECTIONS[norm](x_adv, x, eps)
    alone = [PROJECTIONS[norm](x_adv[i : i + 1], x[i : i + 1], float(eps[i])) for i in range(5)]
    assert torch.equal(together, torch.cat(alone))
    back = torch.arange(4, -1, -1)
    assert torch.equal(PROJECTIONS[norm](x_adv[back], x[back], eps[back])[back], together)


@pytest.mark.parametrize("norm", NORMS)
def test_images_and_strides_make_no_difference(norm):
    """A transposed batch of images gives what its contiguous copy gives, in its shape."""
    x = torch.rand(4, 5, 3, 2, generator=torch.Generator().manual_seed(0)).permute(3, 2, 0, 1)
    x_adv = x + 0.5 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    p = PROJECTIONS[norm](x_adv, x, 0.4)
    assert p.shape == x.shape
    assert torch.equal(p, PROJECTIONS[norm](x_adv.contiguous(), x.contiguous(), 0.4))


@pytest.mark.parametrize("norm", NORMS)
def test_an_empty_batch_projects_to_an_empty_batch(norm):
    """No sample is a batch, too."""
    assert PROJECTIONS[norm](torch.zeros(0, 3), torch.zeros(0, 3), 0.1).shape == (0, 3)
