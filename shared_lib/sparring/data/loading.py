"""The one way in: `load`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sparring.data.catalog import FULL_SETS
from sparring.data.dataset import Dataset
from sparring.data.full import read_arrays
from sparring.data.subsets import CONTENT, OFFER, read_subset
from sparring.data.tables import SOURCES, load_table
from sparring.errors import DataError

Array = npt.NDArray[np.generic]

NAMES = (*SOURCES, *FULL_SETS)


def load(name: str, *, full: bool = False, seed: int = 0, folder: str | Path | None = None) -> Dataset:
    """Return a data set by name: digits, breast_cancer, wine, mnist, fashion_mnist or cifar10.

    mnist and fashion_mnist are the shipped, balanced subsets (10,000 training and 2,000 test images of shape
    (1, 28, 28)) unless `full` is true; cifar10 (images of shape (3, 32, 32)) comes in full only. A full set is
    read from `folder` if that is given, and from nowhere else; otherwise from the folder that the environment
    variable SPARRING_DATA names, from where Debian's dataset-fashion-mnist puts it, or from the cache
    (SPARRING_CACHE, else the platform's cache folder), into which it is downloaded when it is nowhere. Every file
    is checked against its known SHA-256.

    digits, breast_cancer and wine need scikit-learn (the extra `course`); `seed` draws their split, a quarter of
    each class for testing. The image sets keep their published split, whatever the seed.

    Raises DataError, which says what is wanted and what to do.
    """
    if name not in NAMES:
        raise DataError(f"there is no data set {name!r}; the names are {', '.join(NAMES)}")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise DataError(f"seed must be an integer from 0 to 2**63 - 1, not {seed!r}")
    if name in SOURCES:
        if folder is not None:
            raise DataError(
                f"folder={str(folder)!r} is of no use for {name}, which scikit-learn carries; omit it"
            )
        return load_table(name, seed)
    if full:
        return _images(name, read_arrays(name, folder), "")
    if folder is not None:
        raise DataError(
            f"folder={str(folder)!r} names where the full {FULL_SETS[name].title} lies; pass full=True to read it"
        )
    if name not in CONTENT:
        raise DataError(
            f"{FULL_SETS[name].title} has no shipped subset; pass full=True to read or download it"
        )
    arrays = read_subset(name)
    parts = {part: (arrays[f"x_{part}"][:, None], arrays[f"y_{part}"]) for part in ("train", "test")}
    return _images(name, parts, f"; class-balanced subset, {OFFER}")


def _pixels(images: Array) -> Tensor:
    """Return uint8 images as float32 in [0, 1]."""
    # In place, since the full sets are large; the copy also makes an array that may be read-only writable.
    return torch.from_numpy(images.astype(np.float32)).div_(255)


def _images(name: str, parts: Mapping[str, tuple[Array, Array]], remark: str) -> Dataset:
    (x_train, y_train), (x_test, y_test) = parts["train"], parts["test"]
    known = FULL_SETS[name]
    return Dataset(
        name=name,
        x_train=_pixels(x_train),
        y_train=torch.from_numpy(y_train.astype(np.int64)),
        x_test=_pixels(x_test),
        y_test=torch.from_numpy(y_test.astype(np.int64)),
        class_names=known.class_names,
        feature_names=(),
        bounds=(0.0, 1.0),
        source=known.source + remark,
    )
