"""The shipped subsets are what scripts/make_subsets.py draws from the published sets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sparring.data import subsets
from sparring.data.catalog import FASHION_MNIST
from sparring.data.full import read_arrays
from sparring.data.subsets import CONTENT, FOLDER, digest, read_subset
from sparring.errors import DataError

ROOT = Path(__file__).resolve().parents[2]
DEBIAN = FASHION_MNIST.system[0]

each = pytest.mark.parametrize("name", sorted(CONTENT))
needs_debian = pytest.mark.skipif(
    not DEBIAN.is_dir(), reason="Debian's dataset-fashion-mnist is not installed"
)


@each
def test_the_content_has_its_recorded_checksum(name: str) -> None:
    """Recomputed from names, types, shapes and values."""
    assert digest(read_subset(name)) == CONTENT[name]


@each
def test_one_changed_pixel_changes_the_checksum(name: str) -> None:
    """The digest sees values, labels, names and shapes."""
    arrays = read_subset(name)
    pixel = arrays | {"x_train": arrays["x_train"].copy()}
    pixel["x_train"][17, 3, 4] ^= 1
    swapped = arrays | {"x_train": arrays["x_test"], "x_test": arrays["x_train"]}
    flat = arrays | {"x_test": arrays["x_test"].reshape(2_000, 784)}
    assert len({digest(each) for each in (arrays, pixel, swapped, flat)}) == 4


@each
def test_the_arrays_are_bytes_of_the_promised_shapes(name: str) -> None:
    """Images and labels are uint8; each has the row that it had in the published set."""
    arrays = read_subset(name)
    kinds = {key: (value.dtype.str, value.shape) for key, value in arrays.items()}
    assert kinds == {
        "x_train": ("|u1", (10_000, 28, 28)),
        "y_train": ("|u1", (10_000,)),
        "train_index": ("<u2", (10_000,)),
        "x_test": ("|u1", (2_000, 28, 28)),
        "y_test": ("|u1", (2_000,)),
        "test_index": ("<u2", (2_000,)),
    }


@each
@pytest.mark.parametrize("part", ["train", "test"])
def test_every_ten_in_a_row_hold_each_class_once(name: str, part: str) -> None:
    """So the whole and every prefix of tens are balanced."""
    tens = read_subset(name)[f"y_{part}"].reshape(-1, 10)
    assert (np.sort(tens, axis=1) == np.arange(10)).all()
    assert len(np.unique(tens, axis=0)) > 100  # and not always in the same order


@each
@pytest.mark.parametrize(("part", "published"), [("train", 60_000), ("test", 10_000)])
def test_no_row_is_drawn_twice(name: str, part: str, published: int) -> None:
    """Drawn without replacement, from the rows that there are, all over the set."""
    index = read_subset(name)[f"{part}_index"]
    assert len(np.unique(index)) == len(index)
    assert index.max() < published
    assert index.min() < published * 0.01
    assert index.max() > published * 0.99


@each
def test_no_test_image_is_a_training_image(name: str) -> None:
    """The published sets are disjoint, and the draw keeps them so."""
    arrays = read_subset(name)
    train, test = ({image.tobytes() for image in arrays[f"x_{part}"]} for part in ("train", "test"))
    assert not train & test


def test_the_files_are_small() -> None:
    """Both together stay far below what a clone or a wheel would feel."""
    assert {path.name for path in FOLDER.iterdir()} == {f"{name}.npz" for name in CONTENT}
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 8_000_000


@needs_debian
def test_fashion_mnist_rows_are_the_published_ones() -> None:
    """Each image and label equals the row of Debian's copy that its index names."""
    arrays = read_subset("fashion_mnist")
    for part, (images, labels) in read_arrays("fashion_mnist", DEBIAN).items():
        index = arrays[f"{part}_index"]
        assert np.array_equal(images[index, 0], arrays[f"x_{part}"])
        assert np.array_equal(labels[index], arrays[f"y_{part}"])


def script(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "make_subsets.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@needs_debian
def test_the_script_draws_what_is_shipped() -> None:
    """--check draws again and finds no difference."""
    run = script("--check", "--fashion-mnist", str(DEBIAN))
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"is what the draw gives: {(FOLDER / 'fashion_mnist.npz').stat().st_size:,} bytes" in run.stdout
    assert CONTENT["fashion_mnist"] in run.stdout


def test_the_script_wants_a_folder() -> None:
    """Nothing to draw is a mistake, not a success."""
    run = script("--check")
    assert run.returncode == 2
    assert "--mnist or --fashion-mnist" in run.stderr


def test_a_damaged_shipped_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing, cut, or holding pickles: the file and the remedy are in the message, and nothing is unpickled."""
    monkeypatch.setattr(subsets, "FOLDER", tmp_path)
    target = tmp_path / "mnist.npz"
    with pytest.raises(DataError, match=r"mnist\.npz.*install sparring again"):
        read_subset("mnist")
    target.write_bytes((FOLDER / "mnist.npz").read_bytes()[:100_000])
    with pytest.raises(DataError, match="install sparring again"):
        read_subset("mnist")
    np.savez(target, x_train=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match="allow_pickle"):
        read_subset("mnist")
