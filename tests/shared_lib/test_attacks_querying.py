"""Attacks that only query a model: known answers, exact counts, and models that have no gradient."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from sparring import ThreatModel, nes, simba, spsa, square
from sparring.attacks.squares import _bump, bumps, side_lengths
from sparring.errors import InputError, ThreatError
from sparring.models import MLP, Linear
from sparring.objectives import cross_entropy, margin

DUAL = {"linf": 1, "l2": 2, "l1": float("inf")}
WIDE = (float("-inf"), float("inf"))
ALL = [square, simba, nes, spsa]
everyone = pytest.mark.parametrize("attack", ALL, ids=lambda a: a.__name__)
cases = pytest.mark.parametrize(
    ("attack", "norm"),
    [(a, n) for a in ALL for n in DUAL if (a, n) != (square, "l1")],
    ids=lambda v: getattr(v, "__name__", v),
)


def linear_case(n, shape, classes=2, seed=0):
    """Return a linear model in float64, its weights, samples in [0, 1] and the labels it predicts."""
    generator = torch.Generator().manual_seed(seed)
    inner = Linear(int(np.prod(shape)), classes, generator=generator).double().eval()
    x = torch.rand(n, *shape, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        y = inner(x.flatten(1)).argmax(1)
    return inner, inner.layer.weight.detach(), x, y


class Counter:
    """A model that is no module and has no gradient, and remembers all points it was asked about."""

    def __init__(self, inner):
        self.inner, self.calls = inner, []

    def __call__(self, x):
        self.calls.append(x.clone())
        with torch.no_grad():
            return self.inner(x.flatten(1))

    def points_of(self, x):
        """Return for each sample of `x` the points near it, in the order in which they were asked about."""
        asked = torch.cat(self.calls)
        owner = torch.cdist(asked.flatten(1), x.flatten(1)).argmin(1)
        return [asked[owner == i] for i in range(len(x))]


@cases
@pytest.mark.parametrize(("n", "shape"), [(1, (12,)), (3, (2, 3, 3)), (8, (4, 5)), (3, (1, 2, 2, 4))])
def test_a_linear_model_flips_where_its_closed_form_says_that_it_can(attack, norm, n, shape):
    """A quarter more than margin / dual norm suffices everywhere, one percent less nowhere."""
    inner, weight, x, y = linear_case(n, shape)
    model = Counter(inner)
    slope = torch.linalg.vector_norm(weight[0] - weight[1], DUAL[norm])
    needed = -margin(inner(x.flatten(1)), y).detach() / slope
    more = ThreatModel(norm, needed * 1.25, WIDE)
    result = attack(model, x, y, more, max_queries=3000)
    assert result.success.all()
    assert more.contains(result.x_adv, x, tol=0).all()
    assert (result.distance > needed).all()
    assert not attack(model, x, y, ThreatModel(norm, needed * 0.99, WIDE), max_queries=200).success.any()


@pytest.mark.parametrize("attack", [square, simba])
def test_search_over_corners_ends_in_the_best_one(attack):
    """For linf the worst case of a linear model is a corner, bounds included; both find exactly that one."""
    inner, weight, x, y = linear_case(5, (1, 4, 4))
    threat = ThreatModel("linf", 0.01)
    other = (weight[1 - y] - weight[y]).reshape(x.shape)
    result = attack(Counter(inner), x, y, threat, max_queries=600, objective=margin)
    assert not result.success.any()
    torch.testing.assert_close(result.x_adv, threat.worst_case(other, x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("attack", [nes, spsa])
def test_with_many_pairs_the_estimate_is_the_gradient(attack):
    """One l2 step of length eps on a linear model goes where its weights point."""
    inner, weight, x, y = linear_case(4, (12,))
    threat = ThreatModel("l2", 1e-3, WIDE)
    result = attack(
        Counter(inner), x, y, threat, pairs=4000, max_queries=8002, step_size=1.0, objective=margin
    )
    slope = weight[1 - y] - weight[y]
    assert (result.queries == 8002).all()
    assert (torch.cosine_similarity(result.x_adv - x, slope) > 0.995).all()


@everyone
def test_each_samples_queries_are_counted_exactly(attack):
    """As many as the model saw of that sample; the last of them is the point returned, if it succeeded."""
    inner, _, x, y = linear_case(12, (1, 5, 5), classes=3)
    y[0] = (y[0] + 1) % 3
    model, budget = Counter(inner), 207
    result = attack(model, x, y, ThreatModel("linf", torch.linspace(0.0, 0.25, 12)), max_queries=budget)
    points = model.points_of(x)
    assert result.queries.tolist() == [len(own) for own in points]
    assert result.queries.dtype == torch.int64
    assert result.forwards == len(model.calls)
    assert result.backwards == 0
    assert 2 < result.success.sum() < 11
    for i in range(12):
        assert torch.equal(points[i][0], x[i])
        if result.success[i]:
            assert torch.equal(points[i][-1], result.x_adv[i])
    assert result.queries[0] == 1  # wrong before
    assert torch.equal(result.x_adv[0], x[0])
    step = {square: 1, simba: 1, nes: 51, spsa: 51}[attack]
    stubborn = result.queries[~result.success & (torch.arange(12) > 0)]
    assert (stubborn == 1 + (budget - 1) // step * step).all()
    assert result.queries.max() <= budget
    if attack is square:
        assert all(len(later) <= len(call) for call, later in pairwise(model.calls))
        assert len(model.calls[-1]) == len(stubborn)


@pytest.mark.parametrize("attack", [square, simba])
@pytest.mark.parametrize("budget", range(2, 9))
def test_a_search_ends_with_its_last_query(attack, budget):
    """Even if that comes between a step up and a step down."""
    inner, _, x, y = linear_case(8, (1, 5, 5))
    model = Counter(inner)
    result = attack(model, x, y, ThreatModel("linf", 1e-4), max_queries=budget)
    assert result.queries.tolist() == [budget] * 8 == [len(own) for own in model.points_of(x)]


@everyone
def test_no_query_is_spent_where_there_is_nothing_to_gain(attack):
    """A sample with eps 0 has no other point than x."""
    inner, _, x, y = linear_case(3, (1, 5, 5))
    result = attack(Counter(inner), x, y, ThreatModel("l2", 0.0))
    assert result.queries.tolist() == [1, 1, 1]
    assert result.forwards == 1
    empty = attack(Counter(inner), x[:0], y[:0], ThreatModel("l2", 0.1))
    assert (empty.forwards, empty.queries.shape) == (0, (0,))


@cases
def test_the_model_is_asked_only_about_what_it_could_be_sent(attack, norm):
    """Always within bounds; and within the threat model, but for the neighbors that an estimate needs."""
    inner, _, x, y = linear_case(4, (1, 5, 5))
    x = x.round()
    threat = ThreatModel(norm, 0.05)
    model = Counter(inner)
    attack(model, x, y, threat, max_queries=120)
    asked = torch.cat(model.calls)
    assert asked.min() >= 0
    assert asked.max() <= 1
    if attack in (square, simba):
        for own, sample in zip(model.points_of(x), x, strict=True):
            assert threat.contains(own, sample.expand_as(own), tol=0).all()


@everyone
def test_a_model_without_any_gradient_is_attacked(attack):
    """NumPy inside, answers rounded to two digits, one sample at a time."""
    inner, weight, x, y = linear_case(4, (1, 6, 6))
    weight, bias = weight.numpy(), inner.layer.bias.detach().numpy()

    def remote(batch):
        rows = [np.round(weight @ sample.numpy().ravel() + bias, 2) for sample in batch]
        return torch.from_numpy(np.stack(rows))

    radius = {"radius": 0.05} if attack in (nes, spsa) else {}
    result = attack(remote, x, y, ThreatModel("linf", 0.3), max_queries=1500, **radius)
    assert result.success.all()
    assert (remote(result.x_adv).argmax(1) != y).all()


@everyone
@pytest.mark.parametrize("objective", [cross_entropy, margin])
def test_a_targeted_attack_reaches_its_target(attack, objective):
    """Not just any other class."""
    inner, _, x, y = linear_case(5, (1, 5, 5), classes=4)
    targets = (y + 2) % 4
    result = attack(
        Counter(inner),
        x,
        y,
        ThreatModel("l2", 4.0, WIDE),
        targets=targets,
        objective=objective,
        max_queries=3000,
    )
    assert torch.equal(inner(result.x_adv.flatten(1)).argmax(1), targets)
    assert result.success.all()


@cases
def test_an_attack_follows_its_generator(attack, norm):
    """Same state, same bits; another state, other queries; one number drawn however long the search lasts."""
    inner, _, x, y = linear_case(4, (1, 5, 5))
    threat = ThreatModel(norm, 0.02)

    def run(generator, budget=110):
        model = Counter(inner)
        result = attack(model, x, y, threat, max_queries=budget, generator=generator)
        return result.x_adv, torch.cat(model.calls), generator

    first, second, third = (run(torch.Generator().manual_seed(s)) for s in (3, 3, 4))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[1], third[1])
    longer = run(torch.Generator().manual_seed(3), budget=170)
    assert torch.equal(longer[2].get_state(), first[2].get_state())
    once = torch.Generator().manual_seed(3)
    torch.randint(0, 2**62, (1,), generator=once)
    assert torch.equal(once.get_state(), first[2].get_state())
    assert torch.equal(run(None)[1], run(None)[1])


@pytest.mark.parametrize("attack", [nes, spsa])
def test_an_estimate_does_not_depend_on_how_much_is_asked_at_once(attack, monkeypatch):
    """Large batches are asked about in parts: other calls, the same queries."""
    inner, _, x, y = linear_case(3, (9,))
    threat = ThreatModel("l2", 0.05)
    whole = attack(Counter(inner), x, y, threat, max_queries=200)
    monkeypatch.setattr("sparring.attacks.estimate._AT_ONCE", 3 * 9 * 8)
    parts = attack(Counter(inner), x, y, threat, max_queries=200)
    assert parts.forwards > whole.forwards
    assert torch.equal(parts.queries, whole.queries)
    torch.testing.assert_close(parts.x_adv, whole.x_adv, rtol=0, atol=1e-9)


@everyone
def test_nan_on_the_way_is_no_success(attack):
    """A model that breaks down away from x has not been fooled."""
    inner, _, x, y = linear_case(6, (1, 5, 5), classes=3)
    assert y.any()  # argmax takes NaN for class 0, so only the others could pass for fooled

    def fragile(z):
        moved = (
            (z - x[torch.cdist(z.flatten(1), x.flatten(1)).argmin(1)]).flatten(1).abs().amax(1, keepdim=True)
        )
        return torch.where(moved > 1e-9, torch.nan, inner(z.flatten(1)).detach())

    result = attack(fragile, x, y, ThreatModel("linf", 0.05), max_queries=120)
    assert not result.success.any()


@everyone
def test_a_network_falls_to_queries_as_it_does_to_gradients(attack):
    """On a bent model in float32, with the budget that the attacks have by default, most samples fall."""
    generator = torch.Generator().manual_seed(0)
    model = MLP([64, 32, 4], generator=generator).eval()
    x = torch.rand(20, 1, 8, 8, generator=generator)
    y = model(x).argmax(1)
    result = attack(model, x, y, ThreatModel("linf", 0.1), max_queries=1000)
    assert result.success.sum() >= 18


def test_square_covers_the_share_it_is_asked_to():
    """A square where one fits, else a rectangle over the shorter side; at least one pixel, at most all."""
    assert side_lengths(0.25, 8, 8) == (4, 4)
    assert side_lengths(1.0, 8, 8) == (8, 8)
    assert side_lengths(1e-6, 8, 8) == (1, 1)
    assert side_lengths(0.5, 1, 12) == (1, 6)
    assert side_lengths(0.8, 10, 2) == (8, 2)


def test_squares_bumps_are_those_of_the_paper():
    """Equation 2 by hand: a ring more adds the next larger of 1/9, 1/4 and 1; the halves have opposite signs."""
    edge, ring, top = 1 / 9, 1 / 9 + 1 / 4, 1 / 9 + 1 / 4 + 1
    rows = torch.tensor([[edge] * 5, [edge, *[ring] * 3, edge], [edge, ring, top, ring, edge]]).double()
    torch.testing.assert_close(_bump(5, 5), torch.cat([rows, rows[:2].flip(0)]), rtol=0, atol=1e-7)
    pair = bumps(4, 4)
    assert (pair[:, :2] > 0).all()
    assert torch.equal(pair[:, 2:], -pair[:, :2])
    assert bumps(1, 1).tolist() == [[-1.0]]


@pytest.mark.parametrize(
    ("attack", "settings", "parts"),
    [
        (square, {"max_queries": 1}, ["max_queries is 1", "takes 2", "allow 2 or more"]),
        (simba, {"max_queries": 1}, ["max_queries is 1", "takes 2", "allow 2 or more"]),
        (nes, {"max_queries": 51}, ["max_queries is 51", "takes 52", "pairs=25"]),
        (spsa, {"max_queries": 8, "pairs": 4}, ["max_queries is 8", "takes 10", "pairs=4"]),
        (square, {"max_queries": 2.5}, ["max_queries is 2.5", "whole number"]),
        (square, {"share": 0.0}, ["share is 0.0", "above 0"]),
        (square, {"share": 1.5}, ["share is 1.5", "at most 1"]),
        (simba, {"step_size": -0.1}, ["step_size is -0.1", "above 0"]),
        (nes, {"radius": 0.0}, ["radius is 0.0", "above 0"]),
        (nes, {"radius": float("nan")}, ["radius is nan", "finite"]),
        (spsa, {"pairs": 0}, ["pairs is 0", "1 or more"]),
    ],
)
def test_settings_that_make_no_sense_are_refused(attack, settings, parts):
    """Before the model is asked even once: queries may cost money."""
    inner, _, x, y = linear_case(3, (1, 5, 5))
    model = Counter(inner)
    with pytest.raises(InputError) as caught:
        attack(model, x, y, ThreatModel("linf", 0.1), **settings)
    assert all(part in str(caught.value) for part in parts), caught.value
    assert model.calls == []


def test_square_says_which_norms_it_has():
    """And what to use instead."""
    inner, _, x, y = linear_case(3, (1, 5, 5))
    with pytest.raises(ThreatError, match="no l1, only linf and l2; for l1 use simba"):
        square(Counter(inner), x, y, ThreatModel("l1", 0.1))
