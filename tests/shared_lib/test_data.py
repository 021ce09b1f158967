"""`load`: what every set promises, the tables' split and scale, and what a mistake is told."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparring import data
from sparring.data.tables import scale, stratified_split
from sparring.errors import DataError, SparringError

AT_HAND = ("digits", "breast_cancer", "wine", "mnist", "fashion_mnist")
TABLES = ("digits", "breast_cancer", "wine")
SHAPES = {
    "digits": (1347, 450, (1, 8, 8), 10),
    "breast_cancer": (427, 142, (30,), 2),
    "wine": (133, 45, (13,), 3),
    "mnist": (10_000, 2_000, (1, 28, 28), 10),
    "fashion_mnist": (10_000, 2_000, (1, 28, 28), 10),
}


@pytest.mark.parametrize("name", AT_HAND)
def test_every_set_at_hand_has_the_promised_form(name: str) -> None:
    """Shapes, types, bounds, labels and names are what the reference page says."""
    got = data.load(name)
    train, test, shape, classes = SHAPES[name]
    assert got.x_train.shape == (train, *shape)
    assert got.x_test.shape == (test, *shape)
    assert got.y_train.shape == (train,)
    assert got.y_test.shape == (test,)
    for x in (got.x_train, got.x_test):
        assert x.dtype == torch.float32
        assert x.is_contiguous()
        assert got.bounds == (0.0, 1.0)
        assert x.min() >= 0
        assert x.max() <= 1
    assert got.x_train.min() == 0
    assert got.x_train.max() == 1
    for y in (got.y_train, got.y_test):
        assert y.dtype == torch.int64
        assert y.unique().tolist() == list(range(classes))
    assert len(got.class_names) == classes
    assert len(got.feature_names) == (shape[0] if len(shape) == 1 else 0)
    assert got.name == name
    assert got.source


@pytest.mark.parametrize("name", AT_HAND)
def test_what_one_caller_changes_no_other_sees(name: str) -> None:
    """Each call gives tensors of its own, that may be written to."""
    first = data.load(name)
    first.x_train.zero_()
    first.y_train.zero_()
    again = data.load(name)
    assert again.x_train.max() == 1
    assert again.y_train.max() > 0


@pytest.mark.parametrize("name", TABLES)
def test_the_seed_draws_the_split(name: str) -> None:
    """One seed, one split; another seed, another split; the global generator is left alone."""
    state = torch.get_rng_state()
    one, same, other = data.load(name, seed=1), data.load(name, seed=1), data.load(name, seed=2)
    assert torch.equal(one.x_train, same.x_train)
    assert torch.equal(one.y_test, same.y_test)
    assert not torch.equal(one.y_train, other.y_train)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", TABLES)
def test_training_and_test_examples_together_are_the_whole_set(name: str) -> None:
    """Labels add up to scikit-learn's own, class by class, a quarter of each (rounded) for testing."""
    datasets = pytest.importorskip("sklearn.datasets")
    labels = torch.from_numpy(getattr(datasets, f"load_{name}")().target)
    got = data.load(name, seed=3)
    both = torch.cat([got.y_train, got.y_test])
    assert torch.equal(both.bincount(), labels.bincount())
    assert got.y_test.bincount().tolist() == [round(count / 4) for count in labels.bincount().tolist()]


def test_digits_are_scikit_learns_divided_by_sixteen() -> None:
    """Every image is one of scikit-learn's, under its own label, no more and no less often."""
    datasets = pytest.importorskip("sklearn.datasets")
    bundle = datasets.load_digits()
    rows = sorted((tuple(image), int(label)) for image, label in zip(bundle.data, bundle.target, strict=True))
    got = data.load("digits")
    x = torch.cat([got.x_train, got.x_test]).flatten(1) * 16
    y = torch.cat([got.y_train, got.y_test])
    assert sorted((tuple(image), label) for image, label in zip(x.tolist(), y.tolist(), strict=True)) == rows


@pytest.mark.parametrize("name", ["breast_cancer", "wine"])
def test_feature_ranges_give_back_the_units_of_a_table(name: str) -> None:
    """x * (high - low) + low is a row of scikit-learn's table, for every training example."""
    datasets = pytest.importorskip("sklearn.datasets")
    bundle = getattr(datasets, f"load_{name}")()
    table = torch.from_numpy(bundle.data).float()
    got = data.load(name)
    assert got.feature_ranges is not None
    assert got.feature_ranges.shape == (2, table.shape[1])
    assert got.feature_names == tuple(bundle.feature_names)
    low, high = got.feature_ranges
    raw = got.x_train * (high - low) + low
    off = ((raw[:, None] - table) / (high - low)).abs().amax(dim=2)
    nearest = off.min(dim=1)
    assert nearest.values.max() < 1e-5
    assert torch.equal(torch.from_numpy(bundle.target)[nearest.indices], got.y_train)


def test_a_test_value_beyond_the_training_range_is_clipped() -> None:
    """Known answers: the range comes from training alone; a constant feature becomes 0, not NaN."""
    train = torch.tensor([[0.0, 5.0, 7.0], [10.0, 15.0, 7.0]])
    test = torch.tensor([[20.0, 10.0, 7.0], [-1.0, 5.0, 9.0]])
    x_train, x_test, ranges = scale(train, test)
    assert x_train.tolist() == [[0, 0, 0], [1, 1, 0]]
    assert x_test.tolist() == [[1, 0.5, 0], [0, 0, 1]]
    assert ranges.tolist() == [[0, 5, 7], [10, 15, 7]]


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(2, 40), min_size=1, max_size=6),
    share=st.floats(0.05, 0.95),
    seed=st.integers(0, 2**32),
)
def test_a_stratified_split_is_a_partition_that_keeps_proportions(
    counts: list[int], share: float, seed: int
) -> None:
    """Each row is on one side exactly; each class is within one example of its share, and on both sides."""
    y = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    train, test = stratified_split(y, share, torch.Generator().manual_seed(seed))
    assert sorted(torch.cat([train, test]).tolist()) == list(range(len(y)))
    for label, count in enumerate(counts):
        held_out = int((y[test] == label).sum())
        assert 1 <= held_out <= count - 1
        assert abs(held_out - share * count) <= 1


def test_a_dataset_shows_itself_in_one_line() -> None:
    """A learner who evaluates it in a cell sees what it is, not thousands of numbers."""
    assert repr(data.load("wine")) == (
        "Dataset('wine', 133 training and 45 test examples of shape (13,), 3 classes, bounds (0.0, 1.0))"
    )


def test_to_moves_every_tensor() -> None:
    """The meta device stands in for a GPU: no tensor is left behind, and the original stays where it was."""
    here = data.load("wine")
    there = here.to("meta")
    tensors = (there.x_train, there.y_train, there.x_test, there.y_test, there.feature_ranges)
    assert all(tensor is not None and tensor.device.type == "meta" for tensor in tensors)
    assert here.x_train.device.type == "cpu"
    assert data.load("digits").to("meta").feature_ranges is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "minst"}, r"no data set 'minst'; the names are digits, breast_cancer, wine, mnist"),
        ({"name": "digits", "seed": -1}, r"seed must be an integer from 0 to .*, not -1"),
        ({"name": "digits", "seed": 1.5}, r"not 1\.5"),
        ({"name": "digits", "seed": True}, r"not True"),
        ({"name": "digits", "seed": 2**63}, r"not 9223372036854775808"),
        ({"name": "wine", "folder": "/data"}, r"folder='/data' is of no use for wine"),
        ({"name": "mnist", "folder": "/data"}, r"full MNIST lies; pass full=True"),
        ({"name": "cifar10"}, r"CIFAR-10 has no shipped subset; pass full=True"),
    ],
)
def test_a_mistake_is_told_with_its_remedy(arguments: dict[str, object], message: str) -> None:
    """Value, limit and remedy are in the message, under the library's own exception."""
    with pytest.raises(DataError, match=message) as caught:
        data.load(**arguments)  # type: ignore[arg-type]
    assert isinstance(caught.value, SparringError)


@pytest.mark.parametrize("name", TABLES)
def test_without_scikit_learn_the_extra_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The remedy is a command to type."""
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(DataError, match=r"extra `course`: pip install 'sparring\[course\]'"):
        data.load(name)


LONELY = """
import sys
def deny(event, arguments):
    if event.startswith(("socket.connect", "socket.getaddrinfo", "socket.bind")):
        raise RuntimeError(event)
sys.addaudithook(deny)
sys.modules["sklearn"] = None
import sparring.data
sparring.data.load("mnist"), sparring.data.load("fashion_mnist")
print(sorted({"sklearn", "matplotlib", "IPython"} & {name for name, module in sys.modules.items() if module}))
"""


def test_the_shipped_subsets_need_neither_network_nor_extras() -> None:
    """In a fresh process that may not open a socket, nothing is missed and nothing optional is imported."""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", LONELY], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout == "[]\n"
    assert run.stderr == ""
