"""Every attack in a short setting, by the norms it has: the table that the tests of promises run over."""

import warnings

import pytest
import torch
from torch import nn

from sparring import (
    ThreatModel,
    apgd,
    apgd_t,
    cw_l2,
    ddn,
    deepfool,
    fgsm,
    fmn,
    mi_fgsm,
    nes,
    pgd,
    r_fgsm,
    simba,
    spsa,
    square,
)
from sparring.objectives import lead, margin

EPS = {"linf": 0.1, "l2": 0.8, "l1": 2.0}


def pgd_once(model, x, y, threat, **settings):
    """Run a short pgd with a generator of its own."""
    return pgd(model, x, y, threat, steps=5, generator=torch.Generator().manual_seed(1), **settings)


def pgd_restarted(model, x, y, threat, **settings):
    """Run pgd from several starts."""
    return pgd_once(model, x, y, threat, restarts=3, **settings)


def pgd_from_x(model, x, y, threat, **settings):
    """Run pgd without a random start."""
    return pgd_once(model, x, y, threat, random_start=False, **settings)


def r_fgsm_restarted(model, x, y, threat, **settings):
    """Run R-FGSM from two starts."""
    return r_fgsm(model, x, y, threat, restarts=2, **settings)


def mi_fgsm_short(model, x, y, threat, **settings):
    """Run a few steps with momentum."""
    return mi_fgsm(model, x, y, threat, steps=4, **settings)


def apgd_restarted(model, x, y, threat, **settings):
    """Run a short apgd from two starts; its pace is reviewed after most of its steps."""
    return apgd(model, x, y, threat, steps=6, restarts=2, **settings)


def apgd_stopping(model, x, y, threat, **settings):
    """Let samples leave as soon as they are done."""
    return apgd_restarted(model, x, y, threat, stop_on_success=True, **settings)


def apgd_t_short(model, x, y, threat, *, targets=None, objective=lead, **settings):
    """Run apgd toward two classes, which it chooses itself."""
    return apgd_t(model, x, y, threat, top=2, steps=4, objective=objective, **settings)


def square_short(model, x, y, threat, **settings):
    """Try some squares."""
    return square(model, x, y, threat, max_queries=30, **settings)


def simba_short(model, x, y, threat, **settings):
    """Try some pixels, with steps that are small enough to be taken in every norm."""
    return simba(model, x, y, threat, max_queries=40, **settings)


def nes_short(model, x, y, threat, **settings):
    """Take three steps along estimates of twelve answers each."""
    return nes(model, x, y, threat, max_queries=40, pairs=6, **settings)


def spsa_short(model, x, y, threat, **settings):
    """Take three steps along estimates of twelve answers each."""
    return spsa(model, x, y, threat, max_queries=40, pairs=6, **settings)


def deepfool_short(model, x, y, threat, *, objective=margin, **settings):
    """Take at most four steps; the objective is always the margin."""
    return deepfool(model, x, y, threat, steps=4, **settings)


def ddn_short(model, x, y, threat, **settings):
    """Run a short ddn."""
    return ddn(model, x, y, threat, steps=8, **settings)


def fmn_short(model, x, y, threat, *, objective=margin, **settings):
    """Run a short fmn; the objective is always the margin."""
    return fmn(model, x, y, threat, steps=8, **settings)


def cw_short(model, x, y, threat, *, objective=margin, **settings):
    """Run two searches of four steps; the objective is always the margin."""
    return cw_l2(model, x, y, threat, steps=4, searches=2, **settings)


ATTACKS = [fgsm, pgd_once, pgd_restarted, pgd_from_x]
ATTACKS += [r_fgsm, r_fgsm_restarted, mi_fgsm_short, apgd_restarted, apgd_stopping, apgd_t_short]
# These look for the nearest success: where they find none, x comes back, at an infinite distance.
NEAREST = [deepfool_short, ddn_short, fmn_short, cw_short]
MARGIN_ONLY = [deepfool_short, fmn_short, cw_short]
ATTACKS += NEAREST
climbing = pytest.mark.parametrize("attack", list(ATTACKS), ids=lambda a: a.__name__)
QUERYING = [square_short, simba_short, nes_short, spsa_short]
ATTACKS += QUERYING
attacks = pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: a.__name__)
norms = pytest.mark.parametrize("norm", list(EPS))
LACKS = {(square_short, "l1"), (deepfool_short, "l1")}
LACKS |= {(attack, norm) for attack in (ddn_short, cw_short) for norm in ("linf", "l1")}
cases = pytest.mark.parametrize(
    ("attack", "norm"),
    [(a, n) for a in ATTACKS for n in EPS if (a, n) not in LACKS],
    ids=lambda v: getattr(v, "__name__", v),
)


def small(attack):
    """Return a small threat model in a norm that the attack has."""
    return ThreatModel("l2" if (attack, "linf") in LACKS else "linf", 0.1)


def samples(n=6, classes=3, dtype=torch.float32, seed=0):
    """Return images in [0, 1], some pixels on the bounds, and labels."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(n, 1, 8, 8, generator=generator, dtype=dtype)
    x = torch.where(torch.rand(x.shape, generator=generator) < 0.3, x.round(), x)
    return x, torch.randint(classes, (n,), generator=generator)


def moody():
    """Return a model whose answer depends on its mode, with submodules in different modes and odd weights' flags."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(144, 3)
    )
    model(torch.rand(16, 1, 8, 8))  # running statistics that differ from the batch's
    model[1].eval()
    model[0].bias.requires_grad_(False)
    for p in model.parameters():
        p.grad = torch.full_like(p, 7.0)
    return model


class Spy(nn.Module):
    """A model that remembers what it was asked, and how."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.asked, self.answers, self.free, self.modes = inner, [], [], [], []

    def forward(self, x):
        logits = self.inner(x)
        self.asked.append(x.detach().clone())
        self.answers.append(logits.detach().clone())
        self.free.append(any(p.requires_grad for p in self.parameters()))
        self.modes.append(any(m.training for m in self.modules()))
        return logits


def quietly(attack, *arguments, **settings):
    """Run an attack on a model in train mode without its warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return attack(*arguments, **settings)
