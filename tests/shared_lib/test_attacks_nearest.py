"""Minimum-norm attacks: distances known in closed form, what counts as found, and what is refused."""

import math

import pytest
import torch
from torch import nn

from sparring import ThreatModel, apgd, cw_l2, ddn, deepfool, fgsm, fmn, mi_fgsm, pgd, r_fgsm
from sparring.attacks.nearest import to_plane
from sparring.errors import InputError, ModelError, ThreatError
from sparring.models import MLP, Linear, Normalized
from sparring.objectives import cross_entropy, margin

WIDE = (-math.inf, math.inf)
PAIRS = [(deepfool, "linf"), (deepfool, "l2"), (ddn, "l2"), (cw_l2, "l2")]
PAIRS += [(fmn, norm) for norm in ("linf", "l2", "l1")]
pairs = pytest.mark.parametrize(("attack", "norm"), PAIRS, ids=[f"{a.__name__}-{n}" for a, n in PAIRS])
SETTINGS = {deepfool: {}, ddn: {"steps": 60}, fmn: {"steps": 60}, cw_l2: {"steps": 60, "searches": 2}}


def run(attack, model, x, y, threat, **settings):
    """Run with as many steps as a linear model needs."""
    return attack(model, x, y, threat, **SETTINGS[attack], **settings)


def linear_case(n=8, shape=(12,), classes=2, seed=0, dtype=torch.float64):
    """Return a linear model, samples in [0, 1], many on the bounds, and labels that it predicts."""
    generator = torch.Generator().manual_seed(seed)
    model = Linear(math.prod(shape), classes, generator=generator).to(dtype).eval()
    x = torch.rand(n, *shape, generator=generator, dtype=torch.float64)
    x = torch.where(torch.rand(x.shape, generator=generator) < 0.4, x.round(), x).to(dtype)
    with torch.no_grad():
        return model, x, model(x).argmax(1)


def least_distances(model, x, y, norm, bounds):
    """Return the radius at which the worst case of a linear model first changes a label, by bisection."""
    weight = model.layer.weight.detach()
    least = torch.full((len(x),), math.inf, dtype=torch.float64)
    for other in range(len(weight)):
        slope = (weight[other] - weight[y]).reshape(x.shape)
        low, high = torch.zeros_like(least), torch.full_like(least, 100.0)
        for _ in range(50):
            radius = (low + high) / 2
            with torch.no_grad():
                logits = model(ThreatModel(norm, radius, bounds).worst_case(slope, x))
            ahead = logits[:, other] > logits.gather(1, y.unsqueeze(1)).squeeze(1)
            low, high = torch.where(ahead, low, radius), torch.where(ahead, radius, high)
        least = torch.where((other != y) & (high < 100), least.minimum(high), least)
    return least


@pairs
@pytest.mark.parametrize("bounds", [(0.0, 1.0), WIDE], ids=["bounded", "unbounded"])
@pytest.mark.parametrize(
    ("n", "shape", "classes"),
    [(1, (12,), 2), (3, (3, 4), 2), (8, (1, 3, 4), 2), (8, (12,), 3)],
)
def test_a_linear_models_smallest_perturbation_is_found(attack, norm, bounds, n, shape, classes):
    """Every sample is flipped, and no farther away than 1.05 times the optimum; nor nearer than it."""
    model, x, y = linear_case(n, shape, classes)
    least = least_distances(model, x, y, norm, bounds)
    result = run(attack, model, x, y, ThreatModel(norm, math.inf, bounds))
    assert least.isfinite().all()
    assert result.success.all()
    assert (model(result.x_adv).argmax(1) != y).all()
    assert (result.distance <= 1.05 * least).all()
    assert (result.distance >= least * (1 - 1e-9)).all()


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_the_bounds_stand_in_the_way_in_these_cases(norm):
    """What holds with bounds above is not what holds without them."""
    model, x, y = linear_case()
    with_bounds, without = (least_distances(model, x, y, norm, bounds) for bounds in ((0.0, 1.0), WIDE))
    assert (with_bounds > 1.02 * without).sum() >= 3


@pairs
def test_among_many_classes_the_nearest_is_found_by_aiming_at_each(attack, norm):
    """Untargeted, a search may end at the boundary to another class than the nearest; deepfool compares them all."""
    model, x, y = linear_case(3, (2, 2, 5), 4)
    least, threat = least_distances(model, x, y, norm, (0.0, 1.0)), ThreatModel(norm, math.inf)
    aims = [None] if attack is deepfool else [(y + k) % 4 for k in (1, 2, 3)]
    found = torch.stack([run(attack, model, x, y, threat, targets=aim).distance for aim in aims]).amin(0)
    assert (found <= 1.05 * least).all()


@pairs
def test_float32_comes_as_near(attack, norm):
    """Rounding costs next to nothing."""
    model, x, y = linear_case(dtype=torch.float32)
    least = least_distances(model, x, y, norm, (0.0, 1.0))
    result = run(attack, model, x, y, ThreatModel(norm, math.inf))
    assert result.x_adv.dtype == torch.float32
    assert (result.distance <= 1.05 * least).all()


@pairs
def test_the_unit_of_x_does_not_matter(attack, norm):
    """Pixels from 0 to 255, and tiny ones, give the same distances in their own unit."""
    model, x, y = linear_case()
    expected = run(attack, model, x, y, ThreatModel(norm, math.inf)).distance
    for unit in (255.0, 1e-7):
        scaled = Normalized(model, mean=0.0, std=unit).double().eval()
        found = run(attack, scaled, unit * x, y, ThreatModel(norm, math.inf, (0.0, unit))).distance
        torch.testing.assert_close(found / unit, expected, rtol=1e-2, atol=0)


@pairs
def test_a_target_is_reached_at_the_same_distance_where_it_is_the_only_other_class(attack, norm):
    """With two classes targeted and untargeted are one problem; with four, success means the target."""
    model, x, y = linear_case()
    least = least_distances(model, x, y, norm, (0.0, 1.0))
    result = run(attack, model, x, y, ThreatModel(norm, math.inf), targets=1 - y)
    assert result.success.all()
    assert (result.distance <= 1.05 * least).all()
    model, x, y = linear_case(classes=4)
    free = run(attack, model, x, y, ThreatModel(norm, math.inf, WIDE)).distance
    result = run(attack, model, x, y, ThreatModel(norm, math.inf, WIDE), targets=(y + 2) % 4)
    assert result.success.all()
    assert torch.equal(model(result.x_adv).argmax(1), (y + 2) % 4)
    assert (result.distance >= free / 1.05).all()
    assert result.distance.median() > free.median()


@pairs
def test_eps_is_the_largest_distance_that_counts(attack, norm):
    """A little less than the optimum finds nothing: x comes back, at an infinite distance. A little more suffices."""
    model, x, y = linear_case()
    least = least_distances(model, x, y, norm, (0.0, 1.0))
    near = run(attack, model, x, y, ThreatModel(norm, 0.999 * least))
    assert not near.success.any()
    assert torch.equal(near.x_adv, x)
    assert near.distance.isinf().all()
    torch.testing.assert_close(near.objective, margin(model(x), y).detach())
    far = run(attack, model, x, y, ThreatModel(norm, 1.03 * least))
    assert far.success.all()
    assert (far.distance <= 1.03 * least).all()


@pairs
def test_what_was_wrong_before_needs_no_perturbation(attack, norm):
    """Distance 0, x bit for bit; its neighbors in the batch are attacked as ever."""
    model, x, y = linear_case(classes=3)
    right = run(attack, model, x, y, ThreatModel(norm, math.inf))
    y = torch.cat([(y[:4] + 1) % 3, y[4:]])
    result = run(attack, model, x, y, ThreatModel(norm, math.inf))
    assert result.success.all()
    assert (result.distance[:4] == 0).all()
    assert torch.equal(result.x_adv[:4], x[:4])
    torch.testing.assert_close(result.x_adv[4:], right.x_adv[4:])


@pairs
def test_the_nearest_success_of_all_points_visited_is_returned(attack, norm):
    """Not the last one: the model's own record of what it was asked says which was nearest."""
    asked = []
    inner = MLP([12, 32, 32, 3], generator=torch.Generator().manual_seed(1)).double().eval()

    def model(points):
        asked.append(points.detach().clone())
        return inner(points)

    _, x, _ = linear_case(20)
    y = inner(x).argmax(1)
    threat = ThreatModel(norm, math.inf)
    result = run(attack, model, x, y, threat)
    with torch.no_grad():
        distances = torch.stack(
            [threat.distance(p, x).masked_fill(inner(p).argmax(1) == y, math.inf) for p in asked]
        )
    assert torch.equal(result.distance, distances.amin(0))
    best = distances.argmin(0)
    if attack is not deepfool:
        assert (best < len(asked) - 1).any()
        expected = torch.stack(asked)[best, torch.arange(20)]
        assert torch.equal(result.x_adv[result.success], expected[result.success])


@pytest.mark.parametrize("attack", [ddn, fmn, cw_l2])
def test_attacks_that_go_on_searching_come_nearer_than_deepfool(attack):
    """On a bent model, in the mean over samples; and about as near as the best of them all."""
    model = MLP([12, 64, 64, 4], generator=torch.Generator().manual_seed(1)).double().eval()
    _, x, _ = linear_case(40)
    y, threat = model(x).argmax(1), ThreatModel("l2", math.inf, WIDE)
    first = run(deepfool, model, x, y, threat).distance
    found = {a: run(a, model, x, y, threat).distance for a in (ddn, fmn, cw_l2)}
    best = torch.stack(list(found.values())).amin(0)
    assert found[attack].mean() < first.mean()
    assert found[attack].median() <= 1.05 * best.median()


@pytest.mark.parametrize("overshoot", [0.02, 0.5])
def test_deepfool_goes_beyond_the_boundary_by_its_overshoot(overshoot):
    """On a linear model without bounds that is all there is to its distance."""
    model, x, y = linear_case()
    threat = ThreatModel("l2", math.inf, WIDE)
    result = deepfool(model, x, y, threat, overshoot=overshoot)
    least = least_distances(model, x, y, "l2", WIDE)
    torch.testing.assert_close(result.distance, (1 + overshoot) * least)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_deepfool_leaves_out_a_class_that_the_bounds_put_out_of_reach(norm):
    """The boundary to class 1 would be near, were it not for the bounds; that to class 2 is far, and can be had."""
    weight = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    bias = torch.tensor([0.0, -1.1, -0.5], dtype=torch.float64)
    x = torch.tensor([[0.9, 0.0]], dtype=torch.float64)
    y = torch.tensor([0])
    result = deepfool(lambda z: z @ weight.T + bias, x, y, ThreatModel(norm, math.inf))
    assert result.success.all()
    assert result.x_adv.tolist() == [pytest.approx([0.9, 0.51])]
    assert result.forwards == 2


@pytest.mark.parametrize(("attack", "norm"), [(ddn, "l2"), (fmn, "linf"), (fmn, "l2"), (fmn, "l1")])
def test_the_search_keeps_to_eps(attack, norm):
    """No query is spent on a point that wouldn't count."""
    model, x, y = linear_case()
    threat, asked = ThreatModel(norm, 0.5 * least_distances(model, x, y, norm, (0.0, 1.0))), []
    run(attack, lambda z: (asked.append(z.detach().clone()), model(z))[1], x, y, threat)
    assert all(threat.contains(point, x, tol=1e-9).all() for point in asked)


def test_ddn_takes_the_objective_of_its_paper():
    """Cross-entropy turns the direction; the distance stays the one asked for."""
    model, x, y = linear_case()
    result = ddn(model, x, y, ThreatModel("l2", math.inf), steps=60, objective=cross_entropy)
    assert (result.distance <= 1.05 * least_distances(model, x, y, "l2", (0.0, 1.0))).all()
    torch.testing.assert_close(result.objective, cross_entropy(model(result.x_adv), y).detach())


def test_cw_finds_its_c_from_far_off():
    """Per sample and in both directions: a first c far too small, and one far too large."""
    model, x, y = linear_case()
    least = least_distances(model, x, y, "l2", (0.0, 1.0))
    for first_c in (1e-3, 1e3):
        result = cw_l2(model, x, y, ThreatModel("l2", math.inf), steps=80, searches=8, first_c=first_c)
        assert (result.distance <= 1.05 * least).all()


@pairs
def test_a_model_that_cannot_be_fooled_is_left_alone(attack, norm):
    """The gradient is zero everywhere: x comes back, not found, not NaN."""
    _, x, _ = linear_case(4)
    constant = torch.tensor([1.0, 0.0], dtype=torch.float64)
    for bounds in ((0.0, 1.0), WIDE):
        result = run(
            attack,
            lambda z: constant + 0 * z.flatten(1)[:, :2],
            x,
            torch.zeros(4, dtype=torch.int64),
            ThreatModel(norm, math.inf, bounds),
        )
        assert not result.success.any()
        assert torch.equal(result.x_adv, x)
        assert result.distance.isinf().all()


@pairs
def test_a_tie_is_left_behind(attack, norm):
    """On the boundary itself the label holds; a hair beyond it does not."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).eval()
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[1.0, -1.0, 2.0, 0.5], [-1.0, 1.0, -2.0, 0.5]]))
        model[1].bias.zero_()
    x = torch.tensor([[0.5, 0.5, 0.0, 0.3]])
    result = run(attack, model, x, torch.tensor([0]), ThreatModel(norm, math.inf, WIDE))
    assert result.success.all()
    assert 0 < result.distance < 1e-3


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("bounds", [(0.0, 1.0), WIDE])
def test_the_step_to_a_plane_is_the_shortest(norm, bounds):
    """It reaches the plane, keeps to its limits, and is as long as the worst case that gains as much."""
    model, x, y = linear_case(8)
    slope = model.layer.weight.detach()[1 - y] - model.layer.weight.detach()[y]
    gap = -margin(model(x), y).detach()
    low, high = bounds[0] - x, bounds[1] - x
    step = to_plane(slope, gap, low, high, norm)
    torch.testing.assert_close((slope * step).sum(1), gap)
    assert ((step >= low) & (step <= high)).all()
    length = ThreatModel(norm, 1.0).distance(x + step, x)
    torch.testing.assert_close(length, least_distances(model, x, y, norm, bounds))


def test_a_plane_out_of_reach_is_approached_as_far_as_the_limits_allow():
    """All coordinates end in their corner; one whose slope is zero stays."""
    slope = torch.tensor([[1.0, -2.0, 0.0]], dtype=torch.float64)
    low, high = -torch.ones(1, 3, dtype=torch.float64), torch.full((1, 3), 0.5, dtype=torch.float64)
    for norm in ("linf", "l2"):
        step = to_plane(slope, torch.tensor([9.0], dtype=torch.float64), low, high, norm)
        assert step.tolist() == [[0.5, -1.0, 0.0]]


@pytest.mark.parametrize(("attack", "norm"), [(deepfool, "l1"), (ddn, "linf"), (ddn, "l1"), (cw_l2, "linf")])
def test_a_norm_that_an_attack_lacks_is_refused(attack, norm):
    """The message says which it has, and which attack has the other."""
    model, x, y = linear_case()
    with pytest.raises(ThreatError) as caught:
        attack(model, x, y, ThreatModel(norm, 1.0))
    assert f"{attack.__name__} has no {norm}, only" in str(caught.value)
    assert f"for {norm} use fmn" in str(caught.value)


@pytest.mark.parametrize("attack", [fgsm, r_fgsm, mi_fgsm, pgd, apgd])
@pytest.mark.parametrize("eps", [math.inf, torch.tensor([1.0] * 7 + [math.inf])])
def test_attacks_with_a_fixed_budget_refuse_an_infinite_one(attack, eps):
    """Their steps would be infinitely long; the message says what can do without a budget."""
    model, x, y = linear_case()
    with pytest.raises(ThreatError, match=r"eps is inf.*finite radius.*minimum-norm attack"):
        attack(model, x, y, ThreatModel("linf", eps))


@pairs
def test_what_every_attack_refuses_is_refused_here(attack, norm):
    """Samples, labels, targets, models and threat models that make no sense."""
    model, x, y = linear_case(classes=3)
    threat = ThreatModel(norm, 1.0)
    for arguments, targets, error, part in (
        ((model, x + 1, y, threat), None, InputError, "divide by 255"),
        ((model, x, y[:3], threat), None, InputError, "one label per sample"),
        ((model, x, y + 3, threat), None, InputError, "number of classes"),
        ((model, x, y, threat), y, InputError, "another class"),
        ((model, x, y, 1.0), None, InputError, "must be a ThreatModel"),
        ((lambda z: model(z).detach(), x, y, threat), None, ModelError, "does not depend on x"),
        ((lambda z: model(z) * math.nan, x, y, threat), None, ModelError, "NaN for sample 0"),
    ):
        with pytest.raises(error, match=part):
            attack(*arguments, targets=targets)


@pytest.mark.parametrize(
    ("attack", "settings", "parts"),
    [
        (fmn, {"steps": -1}, ["steps is -1", "0 or more"]),
        (ddn, {"steps": 2.5}, ["steps is 2.5", "whole number"]),
        (cw_l2, {"searches": 0}, ["searches is 0", "1 or more"]),
        (deepfool, {"classes": True}, ["classes is True", "1 or more"]),
        (fmn, {"step_size": 0.0}, ["step_size is 0.0", "above 0"]),
        (ddn, {"gamma": math.nan}, ["gamma is nan", "between 0 and 1"]),
        (fmn, {"gamma": 1.0}, ["gamma is 1.0", "between 0 and 1"]),
        (deepfool, {"overshoot": math.inf}, ["overshoot is inf", "finite"]),
        (cw_l2, {"first_c": -1.0}, ["first_c is -1.0", "above 0"]),
    ],
)
def test_settings_that_make_no_sense_are_refused(attack, settings, parts):
    """Counts are whole numbers, lengths are positive."""
    model, x, y = linear_case()
    with pytest.raises(InputError) as caught:
        attack(model, x, y, ThreatModel("l2", 1.0), **settings)
    assert all(part in str(caught.value) for part in parts), caught.value
