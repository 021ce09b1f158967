"""Threat models as values."""

import math

import pytest
import torch

from sparring import SparringError, ThreatModel
from sparring.errors import InputError, ThreatError

NORMS = ["linf", "l2", "l1"]
ORDERS = {"linf": float("inf"), "l2": 2, "l1": 1}


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("l3", 0.1), ["'l3'", "'linf', 'l2', 'l1'"]),
        (("linf", -0.1), ["-0.1", "0 or more"]),
        (("linf", float("nan")), ["nan", "0 or more"]),
        (("linf", float("-inf")), ["-inf", "0 or more"]),
        (("linf", "much"), ["str", "number"]),
        (("linf", True), ["bool", "number"]),
        (("linf", [0.1, 0.2]), ["list", "torch.tensor"]),
        (("linf", torch.tensor([0.1, -2.0])), ["eps[1]", "-2", "0 or more"]),
        (("linf", torch.tensor([0.1, float("nan")])), ["eps[1]", "nan"]),
        (("linf", torch.ones(2, 2)), ["(2, 2)", "eps.flatten()"]),
        (("linf", 0.1, (1.0, 0.0)), ["(1, 0)", "below"]),
        (("linf", 0.1, (0.0, float("nan"))), ["nan", "below"]),
        (("linf", 0.1, 1.0), ["1.0", "(low, high)"]),
    ],
)
def test_a_threat_model_that_makes_no_sense_is_refused(arguments, parts):
    """The message names the value, the limit and the remedy."""
    with pytest.raises(ThreatError) as caught:
        ThreatModel(*arguments)
    assert all(part in str(caught.value) for part in parts), caught.value
    assert isinstance(caught.value, SparringError)


def test_a_threat_model_is_a_value():
    """Equal contents are equal and hash alike; nothing can be changed, not even through the tensor given."""
    assert ThreatModel("l2", 1) == ThreatModel("l2", 1.0, (0, 1))
    assert ThreatModel("l2", 1) != ThreatModel("l1", 1)
    radii = torch.tensor([0.1, 0.2])
    threat = ThreatModel("linf", radii)
    assert hash(threat) == hash(ThreatModel("linf", radii.clone()))
    radii.zero_()
    assert threat == ThreatModel("linf", torch.tensor([0.1, 0.2]))
    with pytest.raises(AttributeError):
        threat.eps = 3.0


def test_a_threat_model_describes_itself():
    """In words that a caption can use."""
    assert ThreatModel("linf", 0.1).describe() == "linf distance at most 0.1, values in [0, 1]"
    assert "0.1 to 0.5" in ThreatModel("l2", torch.tensor([0.1, 0.5])).describe()


def test_eps_of_the_wrong_length_is_refused_by_every_method():
    """Three radii can't belong to five samples."""
    threat, x = ThreatModel("l2", torch.tensor([0.1, 0.2, 0.3])), torch.rand(5, 2)
    for use in (
        lambda: threat.project(x, x),
        lambda: threat.random_start(x),
        lambda: threat.contains(x, x),
        lambda: threat.worst_case(x, x),
    ):
        with pytest.raises(ThreatError, match="eps holds 3 radii but x holds 5 samples"):
            use()


def test_projecting_what_has_another_shape_or_no_value_is_refused():
    """Neither broadcasting nor NaN passes silently."""
    threat, x = ThreatModel("l2", 0.1), torch.rand(3, 4)
    with pytest.raises(InputError, match=r"\(3, 1\)"):
        threat.project(x[:, :1], x)
    with pytest.raises(InputError, match="NaN"):
        threat.project(x * float("nan"), x)
    with pytest.raises(InputError, match=r"sample 1 reaches 7; divide by 255 or pass bounds="):
        threat.project(x, torch.tensor([[0.5] * 4, [7.0] * 4, [8.0] * 4]))
    with pytest.raises(InputError, match=r"\(4,\)"):
        threat.distance(x[0], x)


def test_contains_knows_ball_bounds_and_nan():
    """One point inside, one too far, one out of bounds, one NaN."""
    threat, x = ThreatModel("l2", 0.5), torch.tensor([[0.2, 0.2]] * 4, dtype=torch.float64)
    x_adv = torch.tensor([[0.6, 0.5], [0.7, 0.5], [-0.01, 0.2], [math.nan, 0.2]], dtype=torch.float64)
    assert threat.contains(x_adv, x).tolist() == [True, False, False, False]
    assert threat.contains(x_adv, x, tol=0.2).tolist() == [True, True, True, False]


def test_distance_is_the_norm():
    """3-4-5 in each norm, whatever the shape."""
    x = torch.zeros(1, 1, 2)
    x_adv = torch.tensor([[[0.3, -0.4]]])
    for norm, expected in (("linf", 0.4), ("l2", 0.5), ("l1", 0.7)):
        assert ThreatModel(norm, 1.0).distance(x_adv, x).tolist() == pytest.approx([expected])


@pytest.mark.parametrize("norm", NORMS)
def test_a_random_start_lies_inside_and_belongs_to_its_sample(norm):
    """Inside exactly; and a sample starts at the same point alone, in a batch, and in the reversed batch."""
    x = torch.rand(6, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    eps = torch.tensor([0.0, 0.1, 0.5, 1.0, 3.0, 0.2])
    threat = ThreatModel(norm, eps)
    start = threat.random_start(x, torch.Generator().manual_seed(5))
    assert threat.contains(start, x, tol=0).all()
    assert torch.equal(start[0], x[0])
    assert (start[1:] != x[1:]).flatten(1).any(1).all()
    back = torch.arange(5, -1, -1)
    turned = ThreatModel(norm, eps[back]).random_start(x[back], torch.Generator().manual_seed(5))
    assert torch.equal(turned[back], start)
    one = ThreatModel(norm, 0.5).random_start(x[2:3], torch.Generator().manual_seed(5))
    assert torch.equal(one, start[2:3])


@pytest.mark.parametrize("norm", NORMS)
def test_a_random_start_follows_its_generator_and_nothing_else(norm):
    """Same state, same start; the next draw differs; without a generator it is fixed; the global state rests."""
    x, threat = torch.full((2, 8), 0.5), ThreatModel(norm, 0.3)
    before = torch.get_rng_state()
    generator = torch.Generator().manual_seed(1)
    first, second = threat.random_start(x, generator), threat.random_start(x, generator)
    assert torch.equal(first, threat.random_start(x, torch.Generator().manual_seed(1)))
    assert not torch.equal(first, second)
    assert torch.equal(threat.random_start(x), threat.random_start(x))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("norm", NORMS)
def test_random_starts_are_uniform_in_the_ball(norm):
    """Where the bounds are far: radius^d is uniform on [0, 1], the mean is 0, coordinates are uncorrelated.

    4000 samples; the limits are more than five standard errors wide, and the seed is fixed.
    """
    d, n = 3, 4000
    x = torch.rand(n, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    threat = ThreatModel(norm, 2.0, bounds=(-10, 10))
    delta = (threat.random_start(x, torch.Generator().manual_seed(3)) - x) / 2
    radius = torch.linalg.vector_norm(delta, ORDERS[norm], dim=1) ** d
    deciles = torch.quantile(radius, torch.linspace(0.1, 0.9, 9, dtype=torch.float64))
    torch.testing.assert_close(deciles, torch.linspace(0.1, 0.9, 9, dtype=torch.float64), atol=0.04, rtol=0)
    assert delta.mean(0).abs().max() < 0.05
    off_diagonal = torch.corrcoef(delta.T) - torch.eye(d, dtype=torch.float64)
    assert off_diagonal.abs().max() < 0.1


@pytest.mark.parametrize(("norm", "dual"), [("linf", 1), ("l2", 2), ("l1", float("inf"))])
def test_without_bounds_the_worst_case_gains_eps_times_the_dual_norm(norm, dual):
    """Hölder's inequality, with equality; per-sample eps included."""
    generator = torch.Generator().manual_seed(0)
    gradient = torch.randn(5, 2, 4, generator=generator, dtype=torch.float64)
    x = torch.randn(5, 2, 4, generator=generator, dtype=torch.float64)
    eps = torch.tensor([0.0, 0.1, 1.0, 2.0, 30.0], dtype=torch.float64)
    worst = ThreatModel(norm, eps, bounds=(float("-inf"), float("inf"))).worst_case(gradient, x)
    gain = ((worst - x) * gradient).flatten(1).sum(1)
    torch.testing.assert_close(gain, eps * torch.linalg.vector_norm(gradient.flatten(1), dual, dim=1))


@pytest.mark.parametrize("norm", NORMS)
def test_within_bounds_no_feasible_point_beats_the_worst_case(norm):
    """Against a thousand random feasible points, most of them pushed to the surface along the gradient."""
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(3, 6, generator=generator, dtype=torch.float64)
    gradient = torch.randn(3, 6, generator=generator, dtype=torch.float64)
    threat = ThreatModel(norm, 0.8)
    worst = threat.worst_case(gradient, x)
    assert threat.contains(worst, x, tol=0).all()
    gain = ((worst - x) * gradient).sum(1)
    for _ in range(1000):
        push = gradient * torch.rand(3, 6, generator=generator, dtype=torch.float64)
        rival = threat.project(x + 5 * push + torch.randn(3, 6, generator=generator, dtype=torch.float64), x)
        assert (((rival - x) * gradient).sum(1) <= gain + 1e-9).all()


@pytest.mark.parametrize("norm", NORMS)
def test_where_the_gradient_is_zero_the_worst_case_is_x(norm):
    """Nothing is gained by moving, and zero divided by zero moves nothing."""
    x = torch.rand(2, 3)
    assert torch.equal(ThreatModel(norm, 0.5).worst_case(torch.zeros(2, 3), x), x)


@pytest.mark.parametrize("norm", NORMS)
def test_an_infinite_eps_means_any_distance(norm):
    """Only the bounds are left to project on; what needs a ball of some size says so, and how to go on."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(3, 4, generator=generator)
    far = x + 5 * torch.randn(3, 4, generator=generator)
    wide = (float("-inf"), float("inf"))
    for eps in (math.inf, torch.tensor([0.0, 0.1, math.inf])):
        threat = ThreatModel(norm, eps)
        point = threat.project(far, x)
        assert torch.equal(point[2], far[2].clamp(0, 1))
        assert threat.contains(point, x, tol=0).all()
        assert torch.equal(ThreatModel(norm, eps, wide).project(far, x)[2], far[2])
        for use in (lambda t=threat: t.random_start(x), lambda t=threat: t.worst_case(far, x)):
            with pytest.raises(ThreatError, match=r"eps is inf.*finite radius; give one"):
                use()
    assert ThreatModel(norm, math.inf) == ThreatModel(norm, float("inf"))
    assert "any distance" not in ThreatModel(norm, 3.0).describe()
    assert ThreatModel(norm, math.inf).describe() == f"any {norm} distance, values in [0, 1]"
