"""The training loop."""

import pytest
import torch
from torch import nn

from sparring import ThreatModel, pgd
from sparring.errors import InputError, ModelError
from sparring.models import MLP, Linear
from sparring.training import accuracy, fit


def blobs(n=200, d=4):
    """Return two clouds that a line almost separates, inside [0, 1]."""
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(2, (n,), generator=generator)
    x = 0.35 + 0.3 * y[:, None] + 0.08 * torch.randn(n, d, generator=generator)
    return x.clamp(0, 1), y


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def diverged():
    """Return a model with a weight that is no number any more."""
    model = MLP([4, 8, 2])
    with torch.no_grad():
        model.layers[0].weight[0, 0] = float("nan")
    return model


def test_training_learns_and_leaves_a_model_ready_for_use():
    """Loss falls, accuracy rises, the history has an entry per epoch, no gradient is left, eval mode is on."""
    x, y = blobs()
    model = MLP([4, 16, 2], generator=seeded(0))
    before = accuracy(model, x, y)
    history = fit(model, x, y, epochs=15, batch_size=32, lr=1e-2, generator=seeded(0))
    assert len(history.loss) == len(history.accuracy) == 15
    assert history.loss[-1] < history.loss[0] / 2
    assert accuracy(model, x, y) > max(before, 0.97)
    assert not model.training
    assert all(p.grad is None for p in model.parameters())


def test_the_same_generator_gives_the_same_weights():
    """To the bit on a CPU; another seed gives others; the global random state is left alone."""
    x, y = blobs()

    def train(seed):
        model = MLP([4, 16, 2], generator=seeded(0))
        history = fit(model, x, y, epochs=2, batch_size=32, generator=seeded(seed))
        return weights(model), history.loss

    torch.manual_seed(11)
    state = torch.get_rng_state()
    first, losses = train(1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(12)
    again, losses_again = train(1)
    assert torch.equal(first, again)
    assert losses == losses_again
    assert not torch.equal(first, train(2)[0])


def test_the_first_step_is_the_one_worked_by_hand():
    """Adam's first step moves every weight by lr against the sign of its gradient."""
    x, y = blobs(8)
    model = Linear(4, 2, generator=seeded(0))
    start = weights(model)
    loss = nn.functional.cross_entropy(model(x), y)
    grads = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])
    history = fit(model, x, y, epochs=1, batch_size=8, lr=0.01)
    assert history.loss == [pytest.approx(loss.item(), rel=1e-6)]
    torch.testing.assert_close(weights(model), start - 0.01 * grads.sign(), atol=1e-6, rtol=0)


def test_a_step_is_taken_in_train_mode():
    """Dropout and batch normalization do their work while learning, also after an attack's turn."""
    x, y = blobs(10)
    modes = []

    class Watching(MLP):
        def forward(self, x):
            if torch.is_grad_enabled():
                modes.append(self.training)
            return super().forward(x)

    for attack in (None, lambda m, x, y: x):
        modes.clear()
        fit(Watching([4, 2]).eval(), x, y, epochs=2, batch_size=5, attack=attack)
        assert modes == [True] * 4


def test_each_epoch_sees_every_sample_once():
    """The last, smaller batch included, in a new order each time."""
    x, y = blobs(10)
    seen = []

    def spy(model, samples, labels):
        assert not model.training
        seen.append(samples)
        return samples

    fit(MLP([4, 2]), x, y, epochs=2, batch_size=4, attack=spy)
    assert [len(batch) for batch in seen] == [4, 4, 2] * 2
    epochs = torch.cat(seen[:3]), torch.cat(seen[3:])
    for epoch in epochs:
        assert torch.equal(epoch.sort(0).values, x.sort(0).values)
    assert not torch.equal(*epochs)


@pytest.mark.filterwarnings("error")
def test_adversarial_training_buys_robustness():
    """A network trained on perturbed batches withstands the attack better than one trained on clean ones."""
    x, y = blobs(300, 20)
    # One strong feature and many that are predictive but brittle, as in Tsipras et al., ICLR 2019.
    x = 0.5 + torch.cat([0.3 * (2 * y[:, None] - 1) * (1 - 2 * (x[:, :1] > 0.9)), 0.3 * (x[:, 1:] - 0.5)], 1)
    threat = ThreatModel("linf", 0.12)
    robust = []
    for attack in (None, lambda m, x, y: pgd(m, x, y, threat, steps=5).x_adv):
        model = MLP([20, 32, 2], generator=seeded(0))
        fit(model, x, y, epochs=10, batch_size=50, lr=1e-2, attack=attack)
        robust.append(1 - pgd(model, x, y, threat).success.float().mean())
    assert robust[1] > robust[0] + 0.1


def test_progress_writes_a_line_per_epoch_and_silence_is_the_default(capsys):
    """On standard output, not on standard error, which lessons keep clean."""
    x, y = blobs(20)
    fit(MLP([4, 2]), x, y, epochs=3)
    assert capsys.readouterr() == ("", "")
    fit(MLP([4, 2]), x, y, epochs=3, progress=True)
    out, err = capsys.readouterr()
    assert [line.split("  ")[0] for line in out.splitlines()] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert err == ""


def test_accuracy_is_that_of_eval_mode_and_leaves_no_trace():
    """Dropout of everything would leave chance; modes and random state stay."""
    x, y = blobs()
    core = MLP([4, 16, 2])
    fit(core, x, y, epochs=20, batch_size=32, lr=1e-2)
    model = nn.Sequential(nn.Dropout(1.0), core)
    model.train()
    core.eval()
    modes, state = [m.training for m in model.modules()], torch.get_rng_state()
    expected = (core(x).argmax(1) == y).float().mean().item()
    assert accuracy(model, x, y, batch_size=7) == pytest.approx(expected)
    assert expected > 0.9
    assert [m.training for m in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)


def test_accuracy_of_what_is_no_classifier_or_of_labels_beyond_its_classes_is_refused():
    """Without a word it would be a share of something else, or fail deep inside torch."""
    x = torch.rand(4, 3)
    with pytest.raises(ModelError, match=r"\(batch, classes\), here \(4, 2 or more\), got \(4,\)"):
        accuracy(nn.Sequential(nn.Linear(3, 1), nn.Flatten(0)), x, torch.zeros(4, dtype=torch.int64))
    with pytest.raises(InputError, match=r"y\[3\] is 5 but labels must be below 2"):
        accuracy(nn.Linear(3, 2), x, torch.tensor([0, 1, 0, 5]))


@pytest.mark.parametrize(
    ("change", "error", "parts"),
    [
        ({"y": torch.zeros(3, dtype=torch.int64)}, InputError, ["(3,)", "(20,)"]),
        ({"y": torch.full((20,), 2)}, InputError, ["y[0] is 2", "below 2"]),
        ({"x": torch.zeros(20, 4, dtype=torch.uint8)}, InputError, ["uint8", "x.float()"]),
        ({"x": torch.zeros(20, 4).double()}, InputError, ["float64", "float32"]),
        ({"x": torch.full((20, 4), float("nan"))}, InputError, ["NaN", "sample 0"]),
        ({"x": torch.zeros(0, 4), "y": torch.zeros(0, dtype=torch.int64)}, InputError, ["no samples"]),
        ({"epochs": -1}, InputError, ["epochs is -1", "0 or more"]),
        ({"batch_size": 0}, InputError, ["batch_size is 0", "1 or more"]),
        ({"lr": 0.0}, InputError, ["lr is 0.0", "above 0"]),
        ({"model": diverged()}, ModelError, ["nan", "epoch 1", "lower lr"]),
        ({"attack": lambda m, x, y: x[:1]}, InputError, ["(1, 4)", ".x_adv"]),
        (
            {"attack": lambda m, x, y: pgd(m, x, y, ThreatModel("linf", 0.1))},
            InputError,
            ["AttackResult", ".x_adv"],
        ),
        ({"model": nn.Flatten(0)}, ModelError, ["(4,)", "(batch, classes)"]),
    ],
)
def test_training_refuses_what_it_can_not_work_with(change, error, parts):
    """The message names the value, the limit and the remedy."""
    x, y = blobs(20)
    settings = {"model": MLP([4, 8, 2]), "x": x, "y": y, "epochs": 3, "batch_size": 5} | change
    with pytest.raises(error) as caught:
        fit(settings.pop("model"), settings.pop("x"), settings.pop("y"), **settings)
    assert all(part in str(caught.value) for part in parts), caught.value
