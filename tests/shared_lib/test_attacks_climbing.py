"""R-FGSM, MI-FGSM and APGD: known answers, and what sets each of them apart."""

import pytest
import torch
from torch import nn

from sparring import ThreatModel, apgd, apgd_t, fgsm, mi_fgsm, pgd, r_fgsm
from sparring.attacks.climb import Climb
from sparring.attacks.halving import Halving, checkpoints
from sparring.errors import InputError, ModelError
from sparring.models import MLP, Linear
from sparring.objectives import cross_entropy, dlr, lead, margin, succeeded

NORMS = ["linf", "l2", "l1"]
EPS = {"linf": 0.1, "l2": 0.5, "l1": 1.2}
norms = pytest.mark.parametrize("norm", NORMS)


def linear_case(classes=2, n=6, shape=(12,), seed=0):
    """Return a linear model in float64, samples in [0, 1] of which many touch a bound, and its own labels."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.Size(shape).numel()
    model = Linear(features, classes, generator=generator).double().eval()
    x = torch.rand(n, *shape, generator=generator, dtype=torch.float64)
    x = torch.where(torch.rand(x.shape, generator=generator) < 0.2, x.round(), x)
    return model, x, model(x).argmax(1)


def bent_case(n=8, seed=3):
    """Return a small network in float64 with samples and labels."""
    generator = torch.Generator().manual_seed(seed)
    model = MLP([12, 24, 24, 4], generator=generator).double().eval()
    x = torch.rand(n, 12, generator=generator, dtype=torch.float64)
    return model, x, model(x).argmax(1)


def worst_margins(model, x, y, threat):
    """Return the largest margin within reach: for each wrong class a linear worst case, known exactly."""
    worst = torch.full((len(x),), float("-inf"), dtype=torch.float64)
    for other in range(len(model.layer.weight)):
        slope = (model.layer.weight[other] - model.layer.weight[y]).detach().reshape(x.shape)
        reached = lead(model(threat.worst_case(slope, x)), y, torch.full_like(y, other)).detach()
        worst = torch.where(y == other, worst, torch.maximum(worst, reached))
    return worst


class Spy(nn.Module):
    """A model that remembers what it was asked and what it answered."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.asked, self.answers = inner.eval(), [], []
        self.eval()

    def forward(self, x):
        logits = self.inner(x)
        self.asked.append(x.detach().clone())
        self.answers.append(logits.detach().clone())
        return logits


LONG_STEPS = {mi_fgsm: lambda eps: {"steps": 40, "step_size": 20 * eps}}


@norms
@pytest.mark.parametrize("attack", [r_fgsm, mi_fgsm, apgd])
@pytest.mark.parametrize(("n", "shape"), [(1, (12,)), (3, (3, 4)), (8, (1, 4, 3))])
def test_the_worst_case_of_a_linear_model_is_reached(attack, norm, n, shape):
    """Exactly, bounds included, over batch sizes and ranks; `worst_case` itself is held to linear programming elsewhere."""
    model, x, y = linear_case(n=n, shape=shape)
    threat = ThreatModel(norm, EPS[norm])
    settings = LONG_STEPS.get(attack, lambda eps: {})(EPS[norm])
    result = attack(model, x, y, threat, objective=margin, **settings)
    worst = worst_margins(model, x, y, threat)
    torch.testing.assert_close(result.objective, worst, atol=1e-9, rtol=0)
    assert torch.equal(result.success, worst > 0)


@norms
@pytest.mark.parametrize("seed", [0, 1])
def test_apgd_t_reaches_the_worst_of_many_classes_from_one_start(norm, seed):
    """Each class has its own lane, in which the lead is a linear form: nothing is left to the luck of a start."""
    model, x, y = linear_case(classes=5, seed=seed)
    threat = ThreatModel(norm, EPS[norm])
    result = apgd_t(model, x, y, threat, steps=60, objective=lead)
    torch.testing.assert_close(result.objective, worst_margins(model, x, y, threat), atol=1e-9, rtol=0)


def test_apgd_t_looks_at_the_likeliest_classes_only():
    """With top=1 it climbs toward the runner-up; the result carries the untargeted objective."""
    model, x, y = linear_case(classes=5)
    threat = ThreatModel("linf", 0.05)
    runner_up = model(x).scatter(1, y[:, None], float("-inf")).argmax(1)
    one = apgd_t(model, x, y, threat, top=1, steps=20, objective=lead)
    towards = apgd(model, x, y, threat, targets=runner_up, steps=20, objective=lead)
    torch.testing.assert_close(one.x_adv, towards.x_adv, atol=1e-12, rtol=0)
    torch.testing.assert_close(one.objective, margin(model(one.x_adv), y))
    default = apgd_t(model, x, y, threat, steps=5)
    torch.testing.assert_close(default.objective, dlr(model(default.x_adv), y))


@norms
def test_apgd_is_stronger_than_pgd_at_equal_cost(norm):
    """On a bent model, on average; and all four kinds end in the ball at every step of the way."""
    model, x, y = bent_case(n=24)
    threat, spy = ThreatModel(norm, 2 * EPS[norm]), Spy(model)
    found = apgd(spy, x, y, threat, steps=40, objective=margin)
    usual = pgd(model, x, y, threat, steps=40, objective=margin)
    assert found.objective.mean() > usual.objective.mean()
    mi_fgsm(spy, x, y, threat)
    r_fgsm(spy, x, y, threat, step_size=EPS[norm])
    assert len(spy.asked) == 41 + 11 + 2
    assert all(threat.contains(point, x, tol=0).all() for point in spy.asked)


@norms
@pytest.mark.parametrize("objective", [margin, lambda logits, y: logits[:, 0]])
def test_apgd_returns_the_best_point_of_all_it_visited(norm, objective):
    """Over all steps and both lanes: a success first, then the objective, which may be at odds with it."""
    model, x, y = bent_case(n=20)
    spy = Spy(model)
    result = apgd(spy, x, y, ThreatModel(norm, EPS[norm]), steps=10, restarts=2, objective=objective)
    points = torch.cat([p.reshape(2, 20, 12) for p in spy.asked[:-1]])
    answers = torch.cat([a.reshape(2, 20, 4) for a in spy.answers[:-1]])
    keys = torch.stack([1e6 * succeeded(a, y) + objective(a, y) for a in answers])
    torch.testing.assert_close(result.objective + 1e6 * result.success, keys.amax(0))
    best = points[keys.argmax(0), torch.arange(20)]
    ties = (keys == keys.amax(0)).sum(0) > 1
    assert torch.equal(result.x_adv[~ties], best[~ties])
    assert torch.equal(spy.asked[-1], result.x_adv)


@norms
@pytest.mark.parametrize("attack", [r_fgsm, apgd])
def test_restarts_in_one_batch_are_restarts(attack, norm):
    """Three lanes find what three calls with the same generator find, and each draws one number."""
    model, x, y = bent_case()
    threat, settings = ThreatModel(norm, EPS[norm]), {"steps": 8} if attack is apgd else {}
    together, apart = torch.Generator().manual_seed(5), torch.Generator().manual_seed(5)
    result = attack(model, x, y, threat, restarts=3, generator=together, **settings)
    single = [attack(model, x, y, threat, generator=apart, **settings) for _ in range(3)]
    assert torch.equal(together.get_state(), apart.get_state())
    assert not torch.equal(single[0].x_adv, single[1].x_adv)
    keys = torch.stack([1e6 * s.success + s.objective for s in single])
    torch.testing.assert_close(1e6 * result.success + result.objective, keys.amax(0))


def test_every_class_is_tried_from_every_start():
    """Two classes and two restarts are four lanes, no two of them alike, and each as if it ran by itself."""
    model, x, y = bent_case()
    threat, spy, starts = ThreatModel("linf", 0.1), Spy(model), torch.Generator().manual_seed(7)
    apgd_t(spy, x, y, threat, top=2, steps=5, restarts=2, objective=lead, generator=starts)
    ranked = model(x).scatter(1, y[:, None], float("-inf")).topk(2).indices
    lanes = spy.asked[6].reshape(4, 8, 12)
    for column in range(2):
        starts = torch.Generator().manual_seed(7)
        for restart in range(2):
            alone = Spy(model)
            apgd(alone, x, y, threat, targets=ranked[:, column], steps=5, objective=lead, generator=starts)
            torch.testing.assert_close(lanes[2 * column + restart], alone.asked[5])


@norms
@pytest.mark.parametrize("attack", [apgd, apgd_t])
def test_samples_that_are_done_leave_the_batch_and_nothing_is_lost(attack, norm):
    """The same samples fall as without leaving, the batch shrinks on the way, and every kept point is the caller's."""
    model, x, y = bent_case(n=24)
    threat, spy = ThreatModel(norm, EPS[norm]), Spy(model)
    stopped = attack(spy, x, y, threat, steps=24, restarts=2, objective=lead, stop_on_success=True)
    full = attack(model, x, y, threat, steps=24, restarts=2, objective=lead)
    assert torch.equal(stopped.success, full.success)
    assert 0 < stopped.success.sum() < 24
    torch.testing.assert_close(stopped.objective[~full.success], full.objective[~full.success])
    sizes = [len(point) for point in spy.asked[1 if attack is apgd_t else 0 : -1]]
    lanes = 2 if attack is apgd else 6
    assert sizes[0] == 24 * lanes
    assert sizes[24] == int((~full.success).sum()) * lanes
    assert torch.equal(stopped.success, succeeded(model(stopped.x_adv), y))


def test_an_attack_ends_when_no_sample_is_left():
    """A budget that breaks every sample at once costs a few passes, not all; with targets too."""
    model, x, y = linear_case(classes=3)
    threat = ThreatModel("linf", 100.0, (float("-inf"), float("inf")))
    result = apgd(model, x, y, threat, targets=(y + 1) % 3, stop_on_success=True)
    assert result.success.all()
    assert result.forwards < 12
    wrong = apgd(model, x, (y + 1) % 3, ThreatModel("linf", 0.0), stop_on_success=True)
    assert wrong.success.all()
    assert (wrong.forwards, wrong.backwards) == (2, 1)


def test_apgd_reviews_its_steps_where_the_paper_says():
    """Shares of 0.22, then 0.19, 0.16, 0.13, 0.10, 0.07 more, then 0.06 each."""
    assert checkpoints(100) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert checkpoints(20) == [5, 9, 12, 14, 16, 18, 19, 20]
    assert checkpoints(1) == [1]


def test_steps_are_halved_on_either_of_two_grounds():
    """Too few rises, or no new height since the last review, unless the length was changed at that one."""
    x, flat = torch.full((3, 2), 0.5), torch.zeros(3)
    climb = Climb(x, torch.full((3,), 0.1), torch.arange(3), x, x, x, flat, x, x, flat)
    pace = Halving(climb, ThreatModel("linf", 0.1), steps=10)
    assert pace.checkpoints[:2] == [3, 5]
    higher = climb._replace(point=x + 0.1, highest=torch.tensor([1.0, 0.0, 1.0]))
    rising = torch.tensor([True, True, False])
    for step in range(1, 4):
        reviewed = pace.review(higher, step, rising)
    torch.testing.assert_close(pace.length, torch.tensor([0.2, 0.1, 0.1]))
    assert torch.equal(reviewed.point, torch.stack([x[0] + 0.1, x[1], x[2]]))
    for step in range(4, 6):
        pace.review(higher, step, torch.ones(3, dtype=torch.bool))
    torch.testing.assert_close(pace.length, torch.tensor([0.1, 0.1, 0.1]))


def climb_as_written(function, x, start, eps, steps):
    """Run algorithm 1 of Croce and Hein for one sample in linf without bounds, with lists; return all points."""

    def slope(point):
        point = point.clone().requires_grad_(True)
        return torch.autograd.grad(function(point), point)[0].sign()

    def into(point):
        return point.clamp(x - eps, x + eps)

    points, values, step_size, last = [start], [float(function(start).detach())], 2 * eps, 0
    top, highest, reached, halved = start, values[0], values[0], False
    now, before, rises = start, start, []
    for k in range(1, steps + 1):
        z = into(now + step_size * slope(now))
        new = z if k == 1 else into(now + 0.75 * (z - now) + 0.25 * (now - before))
        value = float(function(new).detach())
        rises.append(value > float(function(now).detach()))
        if value > highest:
            top, highest = new, value
        before, now = now, new
        points.append(new)
        values.append(value)
        if k in checkpoints(steps):
            short = sum(rises) < 0.75 * (k - last)
            stuck = not halved and highest == reached
            halved, reached, last, rises = short or stuck, highest, k, []
            if halved:
                step_size, now = step_size / 2, top
    return torch.stack(points)


def test_a_batch_climbs_as_the_paper_lets_each_sample_climb():
    """Point by point the same as algorithm 1 for one sample at a time: step lengths, momentum and way back included."""
    model, x, y = bent_case(n=5)
    spy, threat = Spy(model), ThreatModel("linf", 0.2, (float("-inf"), float("inf")))
    apgd(spy, x, y, threat, steps=30, objective=margin)
    visited = torch.stack(spy.asked)
    for i in range(5):
        alone = climb_as_written(
            lambda p, i=i: margin(model(p[None]), y[i : i + 1])[0], x[i], visited[0, i], 0.2, 30
        )
        torch.testing.assert_close(visited[:, i], alone, atol=1e-9, rtol=0)


def test_l1_steps_get_sparse():
    """The first moves a fifth of all coordinates; a linear model's worst case in the end needs a single one."""
    model, x, y = linear_case(shape=(60,))
    spy, threat = Spy(model), ThreatModel("l1", 0.2, (float("-inf"), float("inf")))
    result = apgd(spy, x, y, threat, objective=margin)
    raised = (spy.asked[1] - x).abs() > (spy.asked[0] - x).abs()
    assert (raised.sum(1) <= 12).all()
    assert ((result.x_adv != x).sum(1) == 1).all()


def test_momentum_adds_up_gradients_of_length_one():
    """Point by point equation 6 of Dong et al., with a decay and a step size."""
    model, x, y = bent_case(n=4)
    spy, threat = Spy(model), ThreatModel("linf", 0.1)
    mi_fgsm(spy, x, y, threat, steps=5, step_size=0.03, decay=0.5)
    point, momentum = x, torch.zeros_like(x)
    for asked in spy.asked:
        torch.testing.assert_close(asked, point, atol=1e-12, rtol=0)
        point = point.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(cross_entropy(model(point), y).sum(), point)
        momentum = 0.5 * momentum + gradient / gradient.abs().sum(1, keepdim=True)
        point = (point.detach() + 0.03 * momentum.sign()).clamp(x - 0.1, x + 0.1).clamp(0, 1)
    first = mi_fgsm(model, x, y, threat, steps=1)
    assert torch.equal(first.x_adv, fgsm(model, x, y, threat).x_adv)


def test_r_fgsm_steps_from_its_start_as_far_as_it_is_told():
    """In linf by step_size along the sign, then back into the threat model; each sample may have its own."""
    model, x, y = bent_case(n=4)
    spy, threat = Spy(model), ThreatModel("linf", 0.1)
    length = torch.tensor([0.01, 0.05, 0.1, 0.125], dtype=torch.float64)
    r_fgsm(spy, x, y, threat, step_size=length)
    start, stepped = spy.asked
    assert torch.equal(start, threat.random_start(x))
    point = start.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(cross_entropy(model(point), y).sum(), point)
    expected = (start + length[:, None] * gradient.sign()).clamp(x - 0.1, x + 0.1).clamp(0, 1)
    torch.testing.assert_close(stepped, expected, atol=1e-12, rtol=0)


def test_r_fgsm_keeps_its_start_where_the_step_makes_it_worse():
    """A hill in the way: the step leads over its top and down again; one sample climbs, the others stay."""
    x = torch.full((3, 4), 0.5, dtype=torch.float64)
    tops = torch.tensor([0.5, 0.5, 1.0], dtype=torch.float64)

    def hill(z):
        height = -(z.sum(1) - 4 * tops).square()
        return torch.stack([torch.zeros_like(height), height], dim=1)

    spy = Spy(nn.Identity())
    spy.forward = lambda z: spy.asked.append(z.detach().clone()) or hill(z)
    result = r_fgsm(spy, x, torch.zeros(3, dtype=torch.int64), ThreatModel("linf", 0.2), objective=margin)
    start, stepped = spy.asked
    assert torch.equal(result.x_adv, torch.stack([start[0], start[1], stepped[2]]))


@pytest.mark.parametrize(
    ("attack", "settings", "parts"),
    [
        (apgd, {"steps": 0}, ["steps is 0", "1 or more"]),
        (apgd, {"restarts": 1.5}, ["restarts is 1.5", "whole number"]),
        (apgd_t, {"top": 0}, ["top is 0", "1 or more"]),
        (apgd_t, {"steps": True}, ["steps is True", "whole number"]),
        (apgd_t, {"objective": dlr}, ["targeted dlr", "4 classes", "3"]),
        (mi_fgsm, {"steps": 0}, ["steps is 0", "1 or more"]),
        (mi_fgsm, {"decay": -1.0}, ["decay is -1.0", "0 or more"]),
        (mi_fgsm, {"step_size": 0.0}, ["step_size is 0.0", "above 0"]),
        (r_fgsm, {"restarts": 0}, ["restarts is 0", "1 or more"]),
        (r_fgsm, {"step_size": torch.ones(2)}, ["(2,)", "(6,)"]),
    ],
)
def test_settings_that_make_no_sense_are_refused(attack, settings, parts):
    """The message names the value, the limit and the remedy."""
    model, x, y = linear_case(classes=3)
    with pytest.raises(InputError) as caught:
        attack(model, x, y, ThreatModel("linf", 0.1), **settings)
    assert all(part in str(caught.value) for part in parts), caught.value


@pytest.mark.parametrize("attack", [r_fgsm, apgd])
def test_nan_is_told_of_the_sample_not_of_the_row(attack):
    """Also where only a later lane meets it, in a batch several times as long."""
    model, x, y = linear_case()
    calls = []

    def broken(z):
        calls.append(len(z))
        row = torch.arange(len(z)) == 2 * len(x) + 4
        return model(z) * torch.where(row, float("nan"), 1.0)[:, None]

    with pytest.raises(ModelError, match="NaN for sample 4"):
        attack(broken, x, y, ThreatModel("linf", 0.1), restarts=3)
    assert calls == [18]
