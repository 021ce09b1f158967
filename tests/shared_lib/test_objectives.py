"""What attacks climb."""

import pytest
import torch

from sparring.errors import InputError
from sparring.objectives import cross_entropy, dlr, lead, margin, succeeded

LOGITS = torch.tensor([[3.0, 1.0, 0.0, -1.0], [0.0, 5.0, 2.0, 4.0]], dtype=torch.float64)
Y = torch.tensor([0, 2])
TARGETS = torch.tensor([1, 3])


def test_known_values():
    """Worked by hand: the margin is a difference of logits, dlr divides it by the spread of the largest ones."""
    assert margin(LOGITS, Y).tolist() == [-2.0, 3.0]
    assert margin(LOGITS, Y, TARGETS).tolist() == [-2.0, -1.0]
    assert lead(LOGITS, Y).tolist() == margin(LOGITS, Y).tolist()
    assert lead(LOGITS, Y, TARGETS).tolist() == [-2.0, 2.0]
    assert dlr(LOGITS, Y).tolist() == pytest.approx([-2 / 3, 3 / 3])
    assert dlr(LOGITS, Y, TARGETS).tolist() == pytest.approx([-2 / (3 + 0.5), 2 / (5 - 1)])
    expected = LOGITS.logsumexp(1) - LOGITS.gather(1, Y[:, None])[:, 0]
    torch.testing.assert_close(cross_entropy(LOGITS, Y), expected)
    torch.testing.assert_close(cross_entropy(LOGITS, Y, TARGETS), -cross_entropy(LOGITS, TARGETS))


@pytest.mark.parametrize("objective", [cross_entropy, margin, lead, dlr])
@pytest.mark.parametrize("targets", [None, TARGETS])
def test_each_example_has_its_own_value_and_a_right_gradient(objective, targets):
    """Shape (n,), no value mixes with its neighbor's, and finite differences agree with autograd."""
    logits = LOGITS.clone().requires_grad_(True)
    extra = () if targets is None else (targets,)
    assert objective(logits, Y, *extra).shape == (2,)
    alone = objective(logits[:1], Y[:1], *(t[:1] for t in extra))
    torch.testing.assert_close(objective(logits, Y, *extra)[:1], alone)
    assert torch.autograd.gradcheck(lambda z: objective(z, Y, *extra), logits)


def test_dlr_ignores_shift_and_scale():
    """That is what it is for: a model can't hide behind large logits."""
    for extra in ((), (TARGETS,)):
        torch.testing.assert_close(dlr(1000 * LOGITS + 7, Y, *extra), dlr(LOGITS, Y, *extra))


def test_the_margin_is_positive_exactly_at_success():
    """For labels and for targets, over random logits."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(500, 5, generator=generator)
    y = torch.randint(5, (500,), generator=generator)
    targets = (y + 1) % 5
    assert torch.equal(margin(logits, y) > 0, succeeded(logits, y))
    assert torch.equal(margin(logits, y, targets) > 0, succeeded(logits, y, targets))
    assert 0 < succeeded(logits, y, targets).sum() < succeeded(logits, y).sum()


def test_dlr_says_where_it_is_not_defined_and_what_to_use_instead():
    """With two classes the ratio is constant, so an attack on it would go nowhere without a word."""
    two = torch.randn(3, 2)
    with pytest.raises(InputError, match="at least 3 classes, the model has 2; use objective=margin"):
        dlr(two, torch.zeros(3, dtype=torch.int64))
    three = torch.randn(3, 3)
    with pytest.raises(InputError, match="at least 4 classes, the model has 3; use objective=margin"):
        dlr(three, torch.zeros(3, dtype=torch.int64), torch.ones(3, dtype=torch.int64))
    assert margin(two, torch.zeros(3, dtype=torch.int64)).shape == (3,)
