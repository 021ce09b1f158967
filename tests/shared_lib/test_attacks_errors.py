"""What attacks refuse, in words that name the value, the limit and the remedy."""

import pytest
import torch
from torch import nn

from sparring import ThreatModel, apgd, fgsm, mi_fgsm, nes, pgd, r_fgsm, simba, spsa, square
from sparring.errors import InputError, ModelError, SparringError, ThreatError
from sparring.models import MLP, Linear
from sparring.objectives import dlr

THREAT = ThreatModel("linf", 0.1)
MODEL = Linear(4, 3).eval()
X = torch.full((5, 4), 0.5)
Y = torch.tensor([0, 1, 2, 0, 1])
CLIMBING = [fgsm, pgd, r_fgsm, mi_fgsm, apgd]
climbing = pytest.mark.parametrize("attack", CLIMBING)
every = pytest.mark.parametrize("attack", [*CLIMBING, square, simba, nes, spsa])


def put(tensor, index, value):
    """Return a copy with one value replaced."""
    tensor = tensor.clone()
    tensor[index] = value
    return tensor


BAD_INPUT = {
    "above": ((put(X, (3, 1), 1.07), Y), ["[0, 1]", "sample 3", "1.07", "divide by 255 or pass bounds="]),
    "below": ((put(X, (2, 0), -0.5), Y), ["[0, 1]", "sample 2", "-0.5", "bounds="]),
    "nan": ((put(X, (1, 1), float("nan")), Y), ["NaN", "sample 1"]),
    "infinite": ((put(X, (1, 1), float("inf")), Y), ["infinity", "sample 1"]),
    "bytes": (((X * 255).to(torch.uint8), Y), ["uint8", "float32", "x.float()", "255"]),
    "half": ((X.half(), Y), ["float16", "float32"]),
    "other precision": ((X.double(), Y), ["float64", "float32", "x.to(torch.float32)"]),
    "list": (([[0.5] * 4] * 5, Y), ["list", "torch.as_tensor"]),
    "one sample": ((X[0], Y[:1]), ["(4,)", "x.unsqueeze(0)"]),
    "no features": ((X[:, :0], Y), ["(5, 0)", "feature"]),
    "labels short": ((X, Y[:4]), ["(4,)", "(5,)"]),
    "labels one-hot": ((X, torch.eye(3)[Y]), ["(5, 3)", "argmax(1)"]),
    "labels column": ((X, Y[:, None]), ["(5, 1)", "(5,)"]),
    "labels float": ((X, Y.float()), ["float32", "int64", "y.long()"]),
    "labels int32": ((X, Y.int()), ["int32", "int64", "y.long()"]),
    "labels list": ((X, [0, 1, 2, 0, 1]), ["y", "list", "torch.as_tensor"]),
    "labels negative": ((X, put(Y, 4, -1)), ["y[4]", "-1", "at least 0"]),
    "labels large": ((X, put(Y, 1, 3)), ["y[1] is 3", "below 3", "number of classes"]),
}


@every
@pytest.mark.parametrize("name", BAD_INPUT)
def test_samples_and_labels_that_make_no_sense_are_refused(attack, name):
    """Each message names the value, the limit and the remedy."""
    (x, y), parts = BAD_INPUT[name]
    with pytest.raises(InputError) as caught:
        attack(MODEL, x, y, THREAT)
    assert all(part in str(caught.value) for part in parts), caught.value
    assert isinstance(caught.value, SparringError)


@every
@pytest.mark.parametrize(
    ("targets", "parts"),
    [
        (put((Y + 1) % 3, 2, 2), ["targets[2] equals y[2] = 2", "another class"]),
        (put((Y + 1) % 3, 2, 9), ["targets[2] is 9", "below 3"]),
        (Y[:2], ["targets", "(2,)", "(5,)"]),
        (Y.float(), ["targets", "float32"]),
    ],
)
def test_targets_that_make_no_sense_are_refused(attack, targets, parts):
    """A target is a label of another class."""
    with pytest.raises(InputError) as caught:
        attack(MODEL, X, Y, THREAT, targets=targets)
    assert all(part in str(caught.value) for part in parts), caught.value


@every
def test_a_model_on_another_device_is_named(attack):
    """The meta device stands in for a GPU: both devices and the remedy are in the message."""
    with pytest.raises(InputError, match=r"x is on cpu but the model is on meta.*x\.to\('meta'\)"):
        attack(MLP([4, 3]).to("meta"), X, Y, THREAT)
    with pytest.raises(InputError, match="x is on meta, a device without values; move"):
        attack(MODEL, X.to("meta"), Y, THREAT)
    with pytest.raises(InputError, match="y is on meta but x is on cpu"):
        attack(MODEL, X, torch.zeros(5, dtype=torch.int64, device="meta"), THREAT)


@every
@pytest.mark.parametrize(
    ("model", "got"),
    [
        (lambda x: x.sum(1), "(5,)"),
        (lambda x: x.sum(1, keepdim=True), "(5, 1)"),
        (lambda x: x[:3], "(3, 4)"),
        (lambda x: x[:, :, None], "(5, 4, 1)"),
        (lambda x: (x, x), "tuple"),
    ],
)
def test_a_model_that_is_no_classifier_is_refused(attack, model, got):
    """What it returned is told, and what it must return."""
    with pytest.raises(ModelError) as caught:
        attack(model, X, Y, THREAT)
    assert got in str(caught.value)
    assert "(batch, classes)" in str(caught.value)


@every
def test_a_model_that_returns_nan_is_refused(attack):
    """Not attacked to no effect and called robust."""
    broken = put(torch.ones(5, 1), 2, float("nan"))
    with pytest.raises(ModelError, match="NaN for sample 2"):
        attack(lambda x: MODEL(x) * broken, X, Y, THREAT)


@climbing
def test_a_model_without_a_gradient_is_refused(attack):
    """A detached output, a constant one and a count of steps: there is nothing to climb, and it is said."""
    for model in (
        lambda x: MODEL(x).detach(),
        lambda x: torch.zeros(5, 3, requires_grad=True),
        lambda x: nn.functional.one_hot(MODEL(x).argmax(1), 3).float(),
    ):
        with pytest.raises(ModelError, match="does not depend on x"):
            attack(model, X, Y, THREAT)


@every
def test_an_objective_that_mixes_the_batch_is_refused(attack):
    """The mean over the batch would make a sample's result depend on its neighbors."""
    with pytest.raises(InputError, match=r"one number per example.*reduction='none'"):
        attack(MODEL, X, Y, THREAT, objective=nn.functional.cross_entropy)


@every
def test_eps_of_the_wrong_length_and_other_things_than_a_threat_model_are_refused(attack):
    """Before the model is asked."""
    with pytest.raises(ThreatError, match="eps holds 2 radii but x holds 5 samples"):
        attack(MODEL, X, Y, ThreatModel("linf", torch.tensor([0.1, 0.2])))
    with pytest.raises(InputError, match=r"threat must be a ThreatModel, got float"):
        attack(MODEL, X, Y, 0.1)
    with pytest.raises(InputError, match="model must be callable, got str"):
        attack("model", X, Y, THREAT)


@every
def test_dlr_on_two_classes_says_what_to_use(attack):
    """Where it is undefined an attack on it stops instead of standing still."""
    with pytest.raises(InputError, match="use objective=margin"):
        attack(Linear(4, 2).eval(), X, Y.clamp_max(1), THREAT, objective=dlr)


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"steps": -1}, ["steps is -1", "0 or more"]),
        ({"steps": 2.5}, ["steps is 2.5", "whole number"]),
        ({"restarts": 0}, ["restarts is 0", "1 or more"]),
        ({"restarts": 2, "random_start": False}, ["restarts is 2", "random_start=True"]),
        ({"step_size": 0.0}, ["step_size is 0.0", "above 0"]),
        ({"step_size": float("nan")}, ["nan", "above 0"]),
        ({"step_size": torch.ones(2)}, ["(2,)", "(5,)"]),
    ],
)
def test_pgd_refuses_settings_that_make_no_sense(settings, parts):
    """Counts are whole numbers, lengths are positive."""
    with pytest.raises(InputError) as caught:
        pgd(MODEL, X, Y, THREAT, **settings)
    assert all(part in str(caught.value) for part in parts), caught.value
