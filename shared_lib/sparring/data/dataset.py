"""What `load` returns."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor, device


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Training and test examples with the names and bounds that a threat model needs.

    Images are float32 in [0, 1], shape (n, channels, height, width); tables are float32 in [0, 1], shape
    (n, features). Labels are int64, shape (n,), and index `class_names`.

    `feature_names` is empty for images. `feature_ranges` is None for images; for a table it is a tensor of shape
    (2, features) with the lowest and the highest value of each feature among the training examples, in the
    feature's own unit: a step of eps in `x` is a step of eps * (high - low) in that unit.
    """

    name: str
    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor
    class_names: tuple[str, ...]
    feature_names: tuple[str, ...]
    bounds: tuple[float, float]
    source: str
    feature_ranges: Tensor | None = None

    def to(self, where: device | str) -> Dataset:
        """Return the same data with its tensors on another device."""
        return replace(
            self,
            x_train=self.x_train.to(where),
            y_train=self.y_train.to(where),
            x_test=self.x_test.to(where),
            y_test=self.y_test.to(where),
            feature_ranges=None if self.feature_ranges is None else self.feature_ranges.to(where),
        )

    def __repr__(self) -> str:
        return (
            f"Dataset({self.name!r}, {len(self.x_train):,} training and {len(self.x_test):,} test examples of shape "
            f"{tuple(self.x_train.shape[1:])}, {len(self.class_names)} classes, bounds {self.bounds})"
        )
