"""The full MNIST, Fashion-MNIST and CIFAR-10: found, or fetched, checked and parsed."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sparring.data.catalog import FULL_SETS, Archive, FullSet
from sparring.data.cifar import parse_cifar
from sparring.data.fetch import fetch
from sparring.data.idx import parse_idx
from sparring.data.places import cache_folder, inside, read_archive
from sparring.data.subsets import CONTENT, OFFER
from sparring.errors import DataError

Bytes = npt.NDArray[np.uint8]


def read_arrays(name: str, folder: str | Path | None = None) -> dict[str, tuple[Bytes, Bytes]]:
    """Return images, shape (n, channels, height, width), and labels, shape (n,), for "train" and for "test".

    The arrays are uint8 and may be read-only. `folder` is where the set lies; None looks in SPARRING_DATA, in
    the system's folder, in the cache, and downloads what is missing. Raises DataError.
    """
    full = FULL_SETS[name]
    raw: dict[str, bytes] = {}
    for archive in full.archives:
        raw |= (
            _named(full, archive, Path(folder).expanduser())
            if folder is not None
            else _anywhere(full, archive)
        )
    if name == "cifar10":
        batches = {batch: parse_cifar(data, batch) for batch, data in raw.items()}
        train = [batch for batch in batches if batch.startswith("data_batch_")]
        return {
            "train": (
                np.concatenate([batches[batch][0] for batch in train]),
                np.concatenate([batches[batch][1] for batch in train]),
            ),
            "test": batches["test_batch.bin"],
        }
    return {
        part: (
            parse_idx(raw[f"{prefix}-images-idx3-ubyte"], f"{prefix}-images-idx3-ubyte")[:, None],
            parse_idx(raw[f"{prefix}-labels-idx1-ubyte"], f"{prefix}-labels-idx1-ubyte"),
        )
        for part, prefix in (("train", "train"), ("test", "t10k"))
    }


def _named(full: FullSet, archive: Archive, folder: Path) -> dict[str, bytes]:
    """Return an archive's contents from the folder that the caller named, and from nowhere else."""
    if not folder.is_dir():
        raise DataError(f"folder={str(folder)!r} is no folder; name the one in which {archive.name} lies")
    refused: DataError | None = None
    for place in inside(folder, full):
        try:
            found = read_archive(archive, place)
        except DataError as error:
            refused = refused or error
            continue
        if found is not None:
            return found
    if refused is not None:
        raise DataError(
            f"{full.title} was looked for in {folder}, but {refused}; put {archive.name} there as published at "
            f"{archive.urls[0]}, or leave folder out to download it.{_offer(full)}"
        ) from refused
    raise DataError(
        f"{full.title} needs {archive.name} ({_size(archive)}), and {folder} does not hold it; put it there (it is "
        f"published at {archive.urls[0]}), or leave folder out to download it.{_offer(full)}"
    )


def _anywhere(full: FullSet, archive: Archive) -> dict[str, bytes]:
    """Return an archive's contents from the first place that has them, downloading them if none has."""
    cache = cache_folder() / full.name
    places = [*full.system, cache]
    if named := os.environ.get("SPARRING_DATA"):
        folder = Path(named).expanduser()
        if not folder.is_dir():
            raise DataError(f"SPARRING_DATA={named!r} is no folder; let it name one, or unset it")
        places = [*inside(folder, full), *places]
    refused = []
    for place in places:
        try:
            found = read_archive(archive, place)
        except DataError as error:
            # MNIST and Fashion-MNIST use the same file names, so a folder may well hold the other one.
            refused.append(str(error))
            continue
        if found is not None:
            return found
    try:
        fetch(archive, cache)
    except DataError as error:
        also = f" These were found and refused: {'; '.join(refused)}." if refused else ""
        raise DataError(
            f"{full.title} needs {archive.name} ({_size(archive)}), which was not found in "
            f"{', '.join(map(str, places))}, and could not be downloaded: {error}. Fetch it from "
            f"{archive.urls[0]} on a machine that can, and put it into {cache}, or into a "
            f"folder that you name with folder= or SPARRING_DATA.{also}{_offer(full)}"
        ) from error
    fetched = read_archive(archive, cache)
    if fetched is None:
        raise DataError(f"{cache / archive.name} vanished after its download; is something emptying {cache}?")
    return fetched


def _size(archive: Archive) -> str:
    return f"{archive.size / 1e6:,.1f} MB" if archive.size >= 100_000 else f"{archive.size / 1e3:,.1f} kB"


def _offer(full: FullSet) -> str:
    if full.name in CONTENT:
        return f" Without it, load({full.name!r}) gives the subset that comes along: {OFFER}."
    return " No subset of it comes along; load('mnist') and load('fashion_mnist') work without a network."
