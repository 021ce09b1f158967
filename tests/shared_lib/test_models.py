"""The reference models."""

import json

import pytest
import torch
from torch import nn

from sparring.errors import ModelError
from sparring.models import CNN, MLP, Linear, Normalized, build

MAKERS = {
    "linear": lambda g: Linear(64, 3, generator=g),
    "mlp": lambda g: MLP([64, 16, 8, 3], generator=g),
    "cnn": lambda g: CNN(1, 3, 4, 8, generator=g),
    "normalized": lambda g: Normalized(CNN(1, 3, 4, 8, generator=g), mean=[0.5], std=[0.25]),
}
every = pytest.mark.parametrize("name", MAKERS)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@every
def test_weights_come_from_the_generator_and_from_nothing_else(name):
    """Same seed, same weights; another seed, others; the global state is neither read nor moved."""
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = MAKERS[name](seeded(3)).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again, other, default = (MAKERS[name](g).state_dict() for g in (seeded(3), seeded(4), None))
    weights = [key for key in first if key.endswith("weight")]
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert all(not torch.equal(first[key], other[key]) for key in weights)
    assert all(torch.equal(default[key], v) for key, v in MAKERS[name](seeded(0)).state_dict().items())
    assert all(v.isfinite().all() for v in first.values())


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_model_is_rebuilt_from_its_description_and_its_weights(name, dtype):
    """Through JSON and a state_dict, without a pickle, to the last bit of its logits."""
    model = MAKERS[name](seeded(5)).to(dtype)
    copy = build(json.loads(json.dumps(model.config)))
    copy.load_state_dict(model.state_dict())
    x = torch.rand(4, 1, 8, 8, dtype=dtype)
    assert copy.config == model.config
    assert torch.equal(copy(x), model(x))
    assert copy(x).shape == (4, 3)


def test_hidden_layers_keep_the_size_of_their_signal():
    """He initialization: through ten ReLU layers the second moment stays within a factor of three."""
    model = MLP([256] * 11 + [2], generator=seeded(0))
    x = torch.randn(200, 256, generator=seeded(1))
    hidden = model.layers[:-1](x)
    assert 1 / 3 < 2 * hidden.square().mean() / x.square().mean() / 2 < 3


def test_normalized_standardizes_each_channel():
    """mean and std go by dimension 1, for images and for tables."""
    identity = nn.Flatten()
    x = torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1).expand(2, 3, 2, 2)
    z = Normalized(identity, [1.0, 1.0, 1.0], [1.0, 0.5, 2.0])(x)
    assert z[0].tolist() == [0.0] * 4 + [2.0] * 4 + [1.0] * 4
    table = Normalized(identity, torch.tensor([1.0, 0.0]), torch.tensor([2.0, 1.0]))(
        torch.tensor([[3.0, 5.0]])
    )
    assert table.tolist() == [[1.0, 5.0]]


@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (lambda: Linear(0, 3), ["in_features is 0", "1 or more"]),
        (lambda: Linear(4, 1), ["classes is 1", "2 or more"]),
        (lambda: MLP([5]), ["[5]", "classes"]),
        (lambda: MLP([5, 2.5, 3]), ["sizes[1] is 2.5", "whole number"]),
        (lambda: CNN(size=3), ["size is 3", "4 or more"]),
        (lambda: Normalized(Linear(4, 2), 0.0, 0.0), ["std is 0.0", "above 0"]),
        (lambda: Normalized(Linear(4, 2), [0.0, 0.0], 1.0)(torch.rand(2, 3, 4)), ["2 numbers", "3 channels"]),
        (lambda: Normalized(nn.Linear(4, 2), 0.0, 1.0).config, ["Linear has no config", "sparring.models"]),
        (lambda: build({"kind": "resnet"}), ["'resnet'", "linear, mlp, cnn, normalized"]),
        (lambda: build({}), ["None", "known are"]),
        (lambda: build({"kind": "mlp", "sizes": [4, 2], "depth": 3}), ["depth"]),
        (lambda: build({"kind": "mlp"}), ["sizes"]),
        (lambda: build({"kind": "normalized", "mean": 0, "std": 1}), ["model"]),
        (
            lambda: build({"kind": "linear", "in_features": 4, "classes": 2, "dtype": "int8"}),
            ["'int8'", "float32"],
        ),
    ],
)
def test_a_model_that_can_not_be_is_refused(make, parts):
    """The message names the value and the limit."""
    with pytest.raises(ModelError) as caught:
        make()
    assert all(part in str(caught.value) for part in parts), caught.value
