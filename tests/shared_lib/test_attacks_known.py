"""Attacks on problems whose worst case is known in closed form, or by another solver."""

from itertools import pairwise

import pytest
import torch
from scipy.optimize import linprog

from sparring import ThreatModel, apgd, fgsm, mi_fgsm, pgd, r_fgsm
from sparring.models import MLP, Linear
from sparring.objectives import cross_entropy, dlr, margin

NORMS = ["linf", "l2", "l1"]
EPS = {"linf": 0.1, "l2": 0.5, "l1": 1.2}
DUAL = {"linf": 1, "l2": 2, "l1": float("inf")}
WIDE = (float("-inf"), float("inf"))


def linear_case(classes=2, n=7, features=12, seed=0):
    """Return a linear model in float64, samples in [0, 1] and labels that it predicts."""
    generator = torch.Generator().manual_seed(seed)
    model = Linear(features, classes, generator=generator).double().eval()
    x = torch.rand(n, features, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        y = model(x).argmax(1)
    return model, x, y


def worst_gain(g, x, norm, eps):
    """Return max <g, delta> over ball and box by a route of its own: closed form, bisection, linear programming."""
    room = torch.where(g > 0, 1 - x, x)
    if norm == "linf":
        return float((g.abs() * room.clamp_max(eps)).sum())
    if norm == "l1":
        size = len(g)
        solution = linprog(
            -g.abs().numpy(),
            A_ub=[[1.0] * size],
            b_ub=[eps],
            bounds=list(zip([0.0] * size, room.tolist(), strict=True)),
        )
        return float(-solution.fun)
    low, high = 0.0, 1e9
    for _ in range(200):
        t = (low + high) / 2
        low, high = (t, high) if torch.minimum(t * g.abs(), room).norm() < eps else (low, t)
    return float((g.abs() * torch.minimum(low * g.abs(), room)).sum())


def worst_margins(model, x, y, norm, eps):
    """Return the largest margin that any allowed point has, over all wrong classes."""
    weight, bias = model.layer.weight.detach(), model.layer.bias.detach()
    worst = []
    for sample, label in zip(x, y.tolist(), strict=True):
        candidates = []
        for other in set(range(len(weight))) - {label}:
            g = weight[other] - weight[label]
            base = float(g @ sample + bias[other] - bias[label])
            candidates.append(base + worst_gain(g, sample, norm, eps))
        worst.append(max(candidates))
    return torch.tensor(worst, dtype=torch.float64)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("objective", [cross_entropy, margin])
def test_fgsm_finds_the_worst_case_of_a_binary_linear_model(norm, objective):
    """One step is enough where the objective is a function of one linear form; the bounds bind on many pixels."""
    model, x, y = linear_case()
    result = fgsm(model, x, y, ThreatModel(norm, EPS[norm]), objective=objective)
    worst = worst_margins(model, x, y, norm, EPS[norm])
    torch.testing.assert_close(margin(model(result.x_adv), y), worst, atol=1e-7, rtol=0)
    assert torch.equal(result.success, worst > 0)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("random_start", [False, True])
def test_pgd_finds_the_worst_case_of_a_linear_model(norm, random_start):
    """With steps as long as the ball is wide, from x and from anywhere, bounds included."""
    model, x, y = linear_case()
    threat = ThreatModel(norm, EPS[norm])
    worst = worst_margins(model, x, y, norm, EPS[norm])
    result = pgd(
        model, x, y, threat, steps=60, step_size=20 * EPS[norm], random_start=random_start, objective=margin
    )
    torch.testing.assert_close(result.objective, worst, atol=1e-5, rtol=0)
    assert torch.equal(result.success, worst > 0)


@pytest.mark.parametrize("norm", NORMS)
def test_pgd_gets_there_with_its_own_step_size(norm):
    """The default length, 2.5 eps / steps, gains all but a twentieth of what there is to gain."""
    model, x, y = linear_case()
    before = margin(model(x), y).detach()
    worst = worst_margins(model, x, y, norm, EPS[norm])
    for random_start in (False, True):
        result = pgd(model, x, y, ThreatModel(norm, EPS[norm]), random_start=random_start, objective=margin)
        assert ((worst - result.objective) <= 0.05 * (worst - before)).all()


@pytest.mark.parametrize("norm", NORMS)
def test_pgd_with_restarts_finds_the_worst_of_many_classes(norm):
    """The margin to several classes has a local maximum for each; the best of some restarts is the global one."""
    model, x, y = linear_case(classes=3)
    worst = worst_margins(model, x, y, norm, EPS[norm])
    result = pgd(
        model,
        x,
        y,
        ThreatModel(norm, EPS[norm]),
        steps=30,
        step_size=20 * EPS[norm],
        restarts=10,
        objective=margin,
    )
    torch.testing.assert_close(result.objective, worst, atol=1e-4, rtol=0)
    assert (result.objective <= worst + 1e-9).all()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("attack", [fgsm, pgd, r_fgsm, mi_fgsm, apgd])
def test_the_smallest_perturbation_that_flips_a_linear_model_is_known(norm, attack):
    """Without bounds it is margin / dual norm: a hair more eps succeeds everywhere, a hair less nowhere."""
    model, x, y = linear_case()
    weight = model.layer.weight.detach()
    slope = torch.linalg.vector_norm(weight[0] - weight[1], DUAL[norm])
    needed = -margin(model(x), y).detach() / slope
    more = attack(model, x, y, ThreatModel(norm, needed * 1.001, WIDE), **steps_for(attack, needed))
    less = attack(model, x, y, ThreatModel(norm, needed * 0.999, WIDE), **steps_for(attack, needed))
    assert more.success.all()
    assert not less.success.any()
    assert torch.allclose(more.distance, needed * 1.001)


def steps_for(attack, eps):
    """Return settings with which an attack with a step size converges on a linear model; the others have none."""
    return {"steps": 20, "step_size": 30 * eps} if attack in (pgd, mi_fgsm) else {}


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("attack", [fgsm, pgd, mi_fgsm, apgd])
@pytest.mark.parametrize("objective", [cross_entropy, margin, dlr])
def test_a_targeted_attack_moves_toward_its_target(norm, attack, objective):
    """A small step raises the objective for every sample, and with a large budget every sample is taken for its target."""
    model, x, y = linear_case(classes=4, n=6, features=30)
    targets = (y + 2) % 4
    before = objective(model(x), y, targets)
    small = attack(model, x, y, ThreatModel(norm, EPS[norm] / 100), targets=targets, objective=objective)
    assert (objective(model(small.x_adv), y, targets) > before).all()
    threat = ThreatModel(norm, EPS[norm] * 100, WIDE)
    large = attack(model, x, y, threat, targets=targets, objective=cross_entropy)
    assert torch.equal(model(large.x_adv).argmax(1), targets)
    assert large.success.all()


def test_a_targeted_attack_is_not_content_with_any_other_class():
    """Success means the target, nothing else: a small budget that leaves the label need not be one."""
    model, x, y = linear_case(classes=4, n=40, features=30)
    targets = (y + 1) % 4
    threat = ThreatModel("linf", 0.06)
    result = pgd(model, x, y, threat, targets=targets)
    assert torch.equal(result.success, model(result.x_adv).argmax(1) == targets)
    free = pgd(model, x, y, threat)
    assert free.success.sum() > result.success.sum()


@pytest.mark.parametrize("norm", NORMS)
def test_pgd_is_at_least_as_strong_as_fgsm_on_a_bent_model(norm):
    """On a multilayer perceptron the linearization is wrong farther out; iterating finds more."""
    generator = torch.Generator().manual_seed(0)
    model = MLP([12, 32, 32, 4], generator=generator).double().eval()
    x = torch.rand(40, 12, generator=generator, dtype=torch.float64)
    y = model(x).argmax(1)
    threat = ThreatModel(norm, 2 * EPS[norm])
    once = fgsm(model, x, y, threat)
    many = pgd(model, x, y, threat, steps=40, random_start=False)
    assert many.objective.mean() > once.objective.mean()
    assert many.success.sum() >= once.success.sum()


def test_a_larger_budget_never_leaves_a_linear_model_safer():
    """The objective reached is monotone in eps."""
    model, x, y = linear_case()
    for norm in NORMS:
        reached = [fgsm(model, x, y, ThreatModel(norm, eps)).objective for eps in (0.0, 0.05, 0.2, 1.0, 4.0)]
        assert all((b >= a - 1e-12).all() for a, b in pairwise(reached))
