"""The small sets that scikit-learn carries: digits, breast_cancer and wine."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sparring.data.dataset import Dataset
from sparring.errors import DataError

TEST_SHARE = 0.25
SOURCES = {
    "digits": "E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, 1998 UCI (CC BY 4.0)",
    "breast_cancer": "W. Wolberg et al., Breast Cancer Wisconsin (Diagnostic), 1993 UCI (CC BY 4.0)",
    "wine": "S. Aeberhard, M. Forina, Wine, 1992 UCI (CC BY 4.0)",
}


def stratified_split(y: Tensor, test_share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return disjoint row numbers for training and test, both shuffled, each class split in the same proportion.

    `y` has shape (n,); of a class with m examples, round(m * test_share) go to the test set, and at least one to
    each side. Own code, so that a seed gives the same split with any version of scikit-learn.
    """
    train, test = [], []
    for label in sorted(set(y.tolist())):
        rows = torch.nonzero(y == label).flatten()
        rows = rows[torch.randperm(len(rows), generator=generator)]
        held_out = min(max(round(len(rows) * test_share), 1), len(rows) - 1)
        test.append(rows[:held_out])
        train.append(rows[held_out:])
    sides = [torch.cat(side) for side in (train, test)]
    train_rows, test_rows = (side[torch.randperm(len(side), generator=generator)] for side in sides)
    return train_rows, test_rows


def scale(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return both tables min-max scaled by the training table's ranges, and these ranges, shape (2, features).

    The test table is clipped to [0, 1], so that the bounds of a threat model hold for it too. A feature that
    never varies in training becomes 0 everywhere.
    """
    low, high = train.amin(dim=0), train.amax(dim=0)
    width = torch.where(high > low, high - low, torch.ones_like(low))
    return (train - low) / width, ((test - low) / width).clamp(0, 1), torch.stack([low, high])


def _bundle(name: str) -> Any:
    try:
        from sklearn import datasets
    except ImportError as error:
        raise DataError(
            f"load({name!r}) reads a data set that scikit-learn carries, and scikit-learn is not installed; "
            "install the extra `course`: pip install 'sparring[course]'"
        ) from error
    return {
        "digits": datasets.load_digits,
        "breast_cancer": datasets.load_breast_cancer,
        "wine": datasets.load_wine,
    }[name]()


def load_table(name: str, seed: int) -> Dataset:
    """Return one of scikit-learn's sets, a quarter of each class held out for testing as `seed` says.

    Digits become images of shape (n, 1, 8, 8), their 17 gray levels divided by 16. The others become tables in
    [0, 1], scaled by the training examples' ranges (`scale`). Raises DataError when scikit-learn is missing.
    """
    bundle = _bundle(name)
    x = torch.from_numpy(bundle.data)  # float64: ranges and division are rounded once, at the end
    y = torch.from_numpy(bundle.target).to(torch.int64)
    train, test = stratified_split(y, TEST_SHARE, torch.Generator().manual_seed(seed))
    ranges = None
    if name == "digits":
        x_train, x_test = ((x[rows] / 16).reshape(-1, 1, 8, 8) for rows in (train, test))
    else:
        x_train, x_test, ranges = scale(x[train], x[test])
    return Dataset(
        name=name,
        x_train=x_train.to(torch.float32),
        y_train=y[train],
        x_test=x_test.to(torch.float32),
        y_test=y[test],
        class_names=tuple(str(label) for label in bundle.target_names),
        feature_names=() if name == "digits" else tuple(str(feature) for feature in bundle.feature_names),
        bounds=(0.0, 1.0),
        source=SOURCES[name],
        feature_ranges=None if ranges is None else ranges.to(torch.float32),
    )
