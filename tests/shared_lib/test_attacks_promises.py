"""What every attack promises, in one table: attacks by norms."""

import copy
import warnings

import attack_cases
import pytest
import torch
from attack_cases import (
    EPS,
    MARGIN_ONLY,
    NEAREST,
    Spy,
    apgd_restarted,
    apgd_stopping,
    apgd_t_short,
    attacks,
    cases,
    climbing,
    cw_short,
    ddn_short,
    deepfool_short,
    fmn_short,
    mi_fgsm_short,
    moody,
    norms,
    pgd_from_x,
    pgd_once,
    pgd_restarted,
    quietly,
    r_fgsm_restarted,
    samples,
    small,
)
from torch import nn

from sparring import ThreatModel, fgsm, pgd, r_fgsm
from sparring.models import CNN, MLP, Linear, Normalized
from sparring.objectives import cross_entropy, margin, succeeded


@cases
def test_nothing_of_the_callers_changes(attack, norm):
    """Inputs, weights, buffers, .grad, requires_grad, each module's mode, the global and numpy's random state."""
    model, (x, y) = moody(), samples()
    targets, eps = (y + 1) % 3, torch.full((6,), EPS[norm])
    x.requires_grad_(True)
    held = [t.detach().clone() for t in (x, y, targets, eps)]
    state = copy.deepcopy(model.state_dict())
    grads = [(p.grad, p.grad.clone(), p.requires_grad) for p in model.parameters()]
    modes = [m.training for m in model.modules()]
    assert len(set(modes)) == 2
    random_state = torch.get_rng_state()
    quietly(attack, model, x, y, ThreatModel(norm, eps), targets=targets)
    assert all(torch.equal(a, b) for a, b in zip(held, (x, y, targets, eps), strict=True))
    assert x.grad is None
    assert x.requires_grad
    assert all(torch.equal(state[k], v) for k, v in model.state_dict().items())
    for p, (grad, value, flag) in zip(model.parameters(), grads, strict=True):
        assert p.grad is grad
        assert torch.equal(grad, value)
        assert p.requires_grad is flag
    assert [m.training for m in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), random_state)
    assert torch.is_grad_enabled()


@attacks
def test_a_model_that_fails_is_put_back_as_well(attack):
    """An exception in the middle leaves modes and flags as they were."""

    class Failing(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.calls = nn.Linear(64, 3), 0

        def forward(self, x):
            self.calls += 1
            if self.calls == 2:
                raise RuntimeError("out of order")
            return self.layer(x.flatten(1))

    model, (x, _) = Failing(), samples()
    y = model.layer(x.flatten(1)).argmax(1)
    with pytest.raises(RuntimeError, match="out of order"):
        quietly(attack, model, x, y, small(attack))
    assert model.training
    assert model.layer.training
    assert all(p.requires_grad for p in model.parameters())


@attacks
def test_a_model_in_train_mode_is_attacked_in_eval_mode_with_a_warning(attack):
    """The result is that of the model in eval mode, and the warning points at the caller's own line."""
    model, (x, y) = moody(), samples()
    threat = small(attack)
    with pytest.warns(UserWarning, match="train mode") as caught:
        spied = attack(Spy(model), x, y, threat)
    # The short settings call their attack in a file of their own.
    assert caught[0].filename == (attack_cases.__file__ if attack.__module__ == "attack_cases" else __file__)
    calm = copy.deepcopy(model).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(attack(calm, x, y, threat).x_adv, spied.x_adv)


@attacks
def test_weights_take_no_part_in_autograd(attack):
    """During every forward pass all weights are frozen and every module is in eval mode."""
    spy, (x, y) = Spy(moody()), samples()
    quietly(attack, spy, x, y, small(attack))
    assert not any(spy.free)
    assert not any(spy.modes)


@cases
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_result_lies_in_the_threat_model_without_a_tolerance(attack, norm, dtype):
    """Ball and bounds hold exactly, in float32 and float64, for a model that pushes hard against both."""
    x, y = samples(n=20, dtype=dtype)
    model = MLP([64, 32, 3]).to(dtype).eval()
    for eps in (1e-3, EPS[norm], 100.0):
        threat = ThreatModel(norm, eps)
        result = attack(model, x, y, threat)
        assert result.x_adv.dtype == dtype
        assert threat.contains(result.x_adv, x, tol=0).all()
        order = {"linf": float("inf"), "l2": 2, "l1": 1}[norm]
        size = torch.linalg.vector_norm((result.x_adv.double() - x.double()).flatten(1), order, dim=1)
        assert size.max() <= eps
        if attack in NEAREST:
            assert torch.equal(result.x_adv[~result.success], x[~result.success])
            size = size.masked_fill(~result.success, float("inf"))
        torch.testing.assert_close(result.distance, size)
        assert result.x_adv.min() >= 0
        assert result.x_adv.max() <= 1
        assert not result.x_adv.requires_grad


@cases
def test_eps_zero_gives_x_back_bit_for_bit(attack, norm):
    """Also a negative zero keeps its sign; and with one eps per sample only those with eps 0 stay."""
    x, y = samples()
    x[0, 0, 0, 0] = -0.0
    model = MLP([64, 16, 3]).eval()
    y = model(x).argmax(1)  # a sample that is wrong before may stay where it is
    result = attack(model, x, y, ThreatModel(norm, 0.0))
    assert torch.equal(result.x_adv.view(torch.int32), x.view(torch.int32))
    assert (result.distance == (float("inf") if attack in NEAREST else 0)).all()
    mixed = attack(model, x, y, ThreatModel(norm, torch.tensor([0.0, 0.3] * 3)))
    assert torch.equal(mixed.x_adv[::2].view(torch.int32), x[::2].view(torch.int32))
    assert (mixed.distance[1::2] > 0).all()


@cases
def test_a_samples_result_does_not_depend_on_its_batch(attack, norm):
    """Alone, in a batch, in a reversed batch, each with its own eps: the same point.

    In float64, since a model's own sums may differ in the last bit between batch sizes.
    """
    x, y = samples(dtype=torch.float64)
    model = CNN(1, 3, 4, 8).double().eval()
    eps = EPS[norm] * torch.tensor([0.0, 0.2, 0.5, 1.0, 2.0, 3.0])
    together = attack(model, x, y, ThreatModel(norm, eps))
    back = torch.arange(5, -1, -1)
    turned = attack(model, x[back], y[back], ThreatModel(norm, eps[back]))
    torch.testing.assert_close(turned.x_adv[back], together.x_adv, rtol=0, atol=1e-9)
    for i in range(6):
        one = attack(model, x[i : i + 1], y[i : i + 1], ThreatModel(norm, float(eps[i])))
        torch.testing.assert_close(one.x_adv[0], together.x_adv[i], rtol=0, atol=1e-9)
        torch.testing.assert_close(one.objective[0], together.objective[i])
        assert one.success[0] == together.success[i]


@cases
def test_success_and_objective_are_those_of_what_is_returned(attack, norm):
    """Asking the model again about x_adv gives the same verdict and the same value."""
    x, y = samples(n=30)
    model = MLP([64, 32, 3], generator=torch.Generator().manual_seed(4)).eval()
    for objective in [margin] if attack in MARGIN_ONLY else [cross_entropy, margin]:
        result = attack(model, x, y, ThreatModel(norm, EPS[norm] / 4), objective=objective)
        with torch.no_grad():
            logits = model(result.x_adv)
        assert torch.equal(result.success, succeeded(logits, y))
        assert 0 < result.success.sum() < 30
        torch.testing.assert_close(result.objective, objective(logits, y))


@climbing
def test_every_call_of_the_model_is_counted(attack):
    """forwards is what the model saw; backwards is as small as the method allows."""
    x, y = samples()
    spy = Spy(MLP([64, 16, 3])).eval()
    result = attack(spy, x, y, ThreatModel("l2", 0.5))
    assert result.forwards == len(spy.asked)
    expected = {
        fgsm: (2, 1),
        pgd_once: (6, 5),
        pgd_restarted: (18, 15),
        pgd_from_x: (6, 5),
        r_fgsm: (2, 1),
        r_fgsm_restarted: (3, 1),
        mi_fgsm_short: (5, 4),
        apgd_restarted: (8, 6),
        apgd_stopping: (8, 6),
        apgd_t_short: (8, 4),
        ddn_short: (10, 9),
        fmn_short: (9, 8),
        cw_short: (9, 9),
        # Two other classes, until all samples have succeeded.
        deepfool_short: (result.forwards, 2 * min(result.forwards, 4)),
    }[attack]
    assert (result.forwards, result.backwards) == expected


@pytest.mark.parametrize("restarts", [1, 3])
@pytest.mark.parametrize("objective", [cross_entropy, lambda logits, y: logits[:, 0]])
def test_pgd_returns_the_best_point_it_visited_not_the_last(restarts, objective):
    """With far too long steps it hops about; each sample keeps its best: a success first, then the objective.

    The second objective is at odds with success, so both halves of the order matter.
    """
    x, y = samples(n=40)
    spy = Spy(MLP([64, 32, 32, 3], generator=torch.Generator().manual_seed(2))).eval()
    result = pgd(
        spy, x, y, ThreatModel("linf", 0.15), steps=8, step_size=0.3, restarts=restarts, objective=objective
    )
    assert len(spy.asked) == 9 * restarts
    keys = torch.stack([1e6 * succeeded(a, y) + objective(a, y).double() for a in spy.answers])
    best = keys.argmax(0)
    assert (best != len(keys) - 1).any()
    expected = torch.stack(spy.asked)[best, torch.arange(40)]
    assert torch.equal(result.x_adv, expected)


def test_no_point_visited_leaves_the_threat_model():
    """The model is never asked about a point that the attacker may not use."""
    x, y = samples()
    for norm, eps in EPS.items():
        spy, threat = Spy(MLP([64, 16, 3])).eval(), ThreatModel(norm, eps)
        pgd(spy, x, y, threat, steps=6, step_size=eps)
        assert all(threat.contains(point, x, tol=0).all() for point in spy.asked)


@norms
def test_pgd_follows_its_generator(norm):
    """Same generator state, same result; another state, another start; restarts differ among themselves."""
    x, y = samples()
    spy, threat = Spy(MLP([64, 16, 3])).eval(), ThreatModel(norm, EPS[norm])
    generator = torch.Generator().manual_seed(3)
    first = pgd(spy, x, y, threat, steps=2, restarts=2, generator=generator)
    assert not torch.equal(spy.asked[0], spy.asked[3])
    again = pgd(spy, x, y, threat, steps=2, restarts=2, generator=torch.Generator().manual_seed(3))
    assert torch.equal(first.x_adv, again.x_adv)
    pgd(spy, x, y, threat, steps=2, restarts=2, generator=generator)
    assert not torch.equal(spy.asked[0], spy.asked[12])
    unseeded = [pgd(spy, x, y, threat, steps=2).x_adv for _ in range(2)]
    assert torch.equal(*unseeded)


@cases
def test_odd_batches_are_batches(attack, norm):
    """No sample, one sample, two classes, a transposed image, a plain function as model, eps in pixels."""
    threat = ThreatModel(norm, EPS[norm])
    model = Linear(64, 2).eval()
    x, y = samples(classes=2)
    for n in (0, 1):
        result = attack(model, x[:n], y[:n], threat, objective=margin)
        assert result.x_adv.shape == x[:n].shape
        assert result.success.shape == result.distance.shape == result.objective.shape == (n,)
        assert result.success.dtype == torch.bool
    turned = x.transpose(2, 3)
    assert not turned.is_contiguous()
    straight = attack(model, turned.contiguous(), y, threat).x_adv
    assert torch.equal(attack(lambda z: model(z), turned, y, threat).x_adv, straight)
    scaled = Normalized(model, mean=0.5, std=0.25).eval()
    assert threat.contains(attack(scaled, x, y, threat).x_adv, x, tol=0).all()


@attacks
def test_attacks_work_where_autograd_is_switched_off(attack):
    """Inside no_grad and inference_mode, as in an evaluation loop, and the switch is left as it was."""
    x, y = samples()
    model = MLP([64, 16, 3]).eval()
    expected = attack(model, x, y, small(attack)).x_adv
    for off in (torch.no_grad(), torch.inference_mode()):
        with off:
            assert torch.equal(attack(model, x.clone(), y.clone(), small(attack)).x_adv, expected)
            assert not torch.is_grad_enabled()


@cases
def test_a_flat_or_broken_gradient_moves_nothing_out_of_place(attack, norm):
    """Where the gradient is zero, tiny or NaN no NaN appears and the result stays inside."""
    x, _ = samples()
    inner = MLP([64, 16, 3]).eval()
    y = inner(x).argmax(1)  # a sample that is wrong before may stay where it is
    threat = ThreatModel(norm, EPS[norm])
    broken = lambda z: inner(z) + (z - z.detach()).flatten(1).sum(1, keepdim=True).abs().sqrt()  # noqa: E731
    for model in (lambda z: 0 * inner(z), lambda z: 1e-30 * inner(z), broken):
        result = attack(model, x, y, threat)
        assert result.x_adv.isfinite().all()
        assert threat.contains(result.x_adv, x, tol=0).all()
    tiny = attack(lambda z: 1e-30 * inner(z), x, y, threat, objective=margin)
    assert (tiny.distance > 0).all()
