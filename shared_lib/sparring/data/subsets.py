"""The subsets of MNIST and Fashion-MNIST that come along with the package.

scripts/make_subsets.py drew them: 1,000 training and 200 test images of each of ten classes. Each file is an npz
archive of uint8 images and labels, with each image's row in the published set as `train_index` and `test_index`.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sparring.errors import DataError

FOLDER = Path(__file__).parent / "files"
OFFER = "10,000 training and 2,000 test images"

# SHA-256 of the arrays' names, types, shapes and bytes, so that another zlib or numpy may pack them differently.
CONTENT = {
    "mnist": "e688f0b3ec7a82b53b5d81629673fd5491c9755cbc1a394b2e1be0658e2ec84f",
    "fashion_mnist": "d01c00c9c6ab65d386e3f17b7415ccbfecfd009c16ac059e9d14b0de1400278b",
}


def digest(arrays: Mapping[str, npt.NDArray[np.generic]]) -> str:
    """Return a SHA-256 over names, types, shapes and values of arrays, whatever archive they lie in."""
    total = hashlib.sha256()
    for name in sorted(arrays):
        value = np.ascontiguousarray(arrays[name])
        total.update(f"{name} {value.dtype.str} {value.shape}\n".encode())
        total.update(value.tobytes())
    return total.hexdigest()


def read_subset(name: str) -> dict[str, npt.NDArray[np.generic]]:
    """Return the arrays of a shipped subset: x_train, y_train, train_index, x_test, y_test, test_index.

    Raises DataError when the file that came with the package is missing or damaged.
    """
    path = FOLDER / f"{name}.npz"
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path}, which comes with sparring, cannot be read ({error}); install sparring again"
        ) from error
