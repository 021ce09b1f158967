"""Full sets: where they are looked for, how they are checked, and what is said when they are nowhere.

The published sets are too large to make up, so toy sets of the same form take their place in the catalog; the real
Fashion-MNIST is read where Debian's package is installed.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mirror import Mirror

from sparring import data
from sparring.data.catalog import CIFAR10, FASHION_MNIST, FULL_SETS, MNIST, Archive, Content, FullSet
from sparring.data.cifar import RECORD
from sparring.data.places import cache_folder
from sparring.errors import DataError

NAMES = [archive.name for archive in MNIST.archives]
NOWHERE = "http://127.0.0.1:9/"  # the discard port: nothing listens there


def idx(values: np.ndarray) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return bytes([0, 0, 8, values.ndim]) + sizes + values.tobytes()


def raw_mnist(seed: int) -> dict[str, bytes]:
    """Return the four idx files of a toy MNIST of 30 + 10 images, by name."""
    rng = np.random.default_rng(seed)
    files = {}
    for prefix, count in (("train", 30), ("t10k", 10)):
        files[f"{prefix}-images-idx3-ubyte"] = idx(rng.integers(0, 256, (count, 28, 28), dtype=np.uint8))
        files[f"{prefix}-labels-idx1-ubyte"] = idx(rng.permutation(np.arange(count, dtype=np.uint8) % 10))
    return files


def known(name: str, raw: bytes) -> Content:
    return Content(name, len(raw), hashlib.sha256(raw).hexdigest())


def published(name: str, packed: bytes, contents: tuple[Content, ...], mirror: str) -> Archive:
    md5 = hashlib.md5(packed).hexdigest()
    return Archive(name, len(packed), hashlib.sha256(packed).hexdigest(), md5, (mirror + name,), contents)


def toy_mnist(full: FullSet, files: dict[str, bytes], mirror: str = NOWHERE) -> FullSet:
    archives = (
        published(f"{name}.gz", gzip.compress(raw, mtime=0), (known(name, raw),), mirror)
        for name, raw in files.items()
    )
    return replace(full, archives=tuple(archives), system=())


def raw_cifar() -> dict[str, bytes]:
    """Return the six batches of a toy CIFAR-10 of two images each, by name."""
    rng = np.random.default_rng(9)
    names = [content.name for content in CIFAR10.archives[0].contents]
    batches = {}
    for name in names:
        records = rng.integers(0, 256, (2, RECORD), dtype=np.uint8)
        records[:, 0] = rng.integers(0, 10, 2)
        batches[name] = records.tobytes()
    return batches


def tarred(members: dict[str, bytes], folder: str = "cifar-10-batches-bin/") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, raw in members.items():
            info = tarfile.TarInfo(folder + name)
            info.size = len(raw)
            tar.addfile(info, io.BytesIO(raw))
    return out.getvalue()


def toy_cifar(batches: dict[str, bytes], packed: bytes, mirror: str = NOWHERE) -> FullSet:
    contents = tuple(known(name, raw) for name, raw in batches.items())
    return replace(CIFAR10, archives=(published("cifar-10-binary.tar.gz", packed, contents, mirror),))


def put(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, raw in files.items():
        (folder / name).write_bytes(raw)
    return folder


@pytest.fixture
def digits() -> dict[str, bytes]:
    return raw_mnist(1)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits: dict[str, bytes]) -> Path:
    """An empty cache, no named folder, and toy sets without a working mirror in the catalog."""
    monkeypatch.setenv("SPARRING_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SPARRING_DATA", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setitem(FULL_SETS, "mnist", toy_mnist(MNIST, digits))
    monkeypatch.setitem(FULL_SETS, "fashion_mnist", toy_mnist(FASHION_MNIST, raw_mnist(2)))
    batches = raw_cifar()
    monkeypatch.setitem(FULL_SETS, "cifar10", toy_cifar(batches, tarred(batches)))
    return tmp_path / "cache"


def assert_is_toy(got: data.Dataset, files: dict[str, bytes]) -> None:
    """The tensors hold what the idx files hold."""
    for x, y, prefix in ((got.x_train, got.y_train, "train"), (got.x_test, got.y_test, "t10k")):
        pixels = np.frombuffer(files[f"{prefix}-images-idx3-ubyte"], np.uint8, offset=16)
        labels = np.frombuffer(files[f"{prefix}-labels-idx1-ubyte"], np.uint8, offset=8)
        assert x.dtype == torch.float32
        assert x.shape == (len(labels), 1, 28, 28)
        assert torch.equal((x * 255).round().flatten(), torch.from_numpy(pixels.astype(np.float32)))
        assert y.tolist() == labels.tolist()


@pytest.mark.parametrize("layout", [".", "mnist", "MNIST/raw", "MNIST"])
@pytest.mark.parametrize("packing", ["plain", "gzip", "dotted"])
def test_a_named_folder_is_read_in_every_known_layout(
    tmp_path: Path, digits: dict[str, bytes], layout: str, packing: str
) -> None:
    """Plain or gzipped by whatever program, by the published names or with a dot, directly or in a subfolder."""
    files = {
        "plain": digits,
        "gzip": {f"{name}.gz": gzip.compress(raw, 1) for name, raw in digits.items()},
        "dotted": {name.replace("-idx", ".idx"): raw for name, raw in digits.items()},
    }[packing]
    put(tmp_path / "mine" / layout, files)
    assert_is_toy(data.load("mnist", full=True, folder=tmp_path / "mine"), digits)
    assert_is_toy(data.load("mnist", full=True, folder=str(tmp_path / "mine")), digits)


def test_the_environment_names_a_folder(
    tmp_path: Path, digits: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SPARRING_DATA is read without a network and before the cache."""
    put(tmp_path / "shelf" / "mnist", digits)
    monkeypatch.setenv("SPARRING_DATA", str(tmp_path / "shelf"))
    assert_is_toy(data.load("mnist", full=True), digits)


def test_a_folder_that_the_environment_misnames_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A typing mistake must not end in a silent download."""
    monkeypatch.setenv("SPARRING_DATA", str(tmp_path / "shlef"))
    with pytest.raises(DataError, match=r"SPARRING_DATA='.*shlef' is no folder"):
        data.load("mnist", full=True)


def test_one_folder_holds_both_sets_whose_files_have_the_same_names(
    tmp_path: Path, digits: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """MNIST lies in the folder itself, Fashion-MNIST in the cache: checksums tell them apart."""
    monkeypatch.setenv("SPARRING_DATA", str(put(tmp_path / "shelf", digits)))
    clothes = raw_mnist(2)
    put(tmp_path / "cache" / "fashion_mnist", clothes)
    assert_is_toy(data.load("mnist", full=True), digits)
    assert_is_toy(data.load("fashion_mnist", full=True), clothes)


def test_the_systems_folder_is_read(
    tmp_path: Path, digits: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Debian's package does for Fashion-MNIST: gzipped anew, so that only what is inside can be compared."""
    place = put(tmp_path / "usr", {f"{name}.gz": gzip.compress(raw, 4) for name, raw in digits.items()})
    monkeypatch.setitem(FULL_SETS, "mnist", replace(FULL_SETS["mnist"], system=(place,)))
    assert_is_toy(data.load("mnist", full=True), digits)


def test_a_full_set_is_downloaded_once_and_then_read_from_the_cache(
    cache: Path, digits: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four requests for four files; none the second time."""
    packed = {f"{name}.gz": gzip.compress(raw, mtime=0) for name, raw in digits.items()}
    with Mirror(packed) as mirror:
        monkeypatch.setitem(FULL_SETS, "mnist", toy_mnist(MNIST, digits, mirror.url("")))
        assert_is_toy(data.load("mnist", full=True), digits)
        assert sorted(entry.name for entry in (cache / "mnist").iterdir()) == sorted(packed)
        assert_is_toy(data.load("mnist", full=True), digits)
        assert len(mirror.asked) == 4


def test_a_file_damaged_in_the_cache_is_fetched_again(
    cache: Path, digits: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rot on the disk is found by the checksum and mended by itself."""
    packed = {f"{name}.gz": gzip.compress(raw, mtime=0) for name, raw in digits.items()}
    put(cache / "mnist", packed | {NAMES[0]: packed[NAMES[0]][:-40]})
    with Mirror(packed) as mirror:
        monkeypatch.setitem(FULL_SETS, "mnist", toy_mnist(MNIST, digits, mirror.url("")))
        assert_is_toy(data.load("mnist", full=True), digits)
        assert [path for path, _ in mirror.asked] == [f"/{NAMES[0]}"]


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10"])
def test_without_network_and_cache_the_error_says_all_that_is_needed(name: str, cache: Path) -> None:
    """Which file, how large, from where, where to put it, why it failed, and what comes along instead."""
    with pytest.raises(DataError) as caught:
        data.load(name, full=True)
    message = str(caught.value)
    first = FULL_SETS[name].archives[0]
    for part in (
        FULL_SETS[name].title,
        first.name,
        first.urls[0],
        str(cache / name),
        "refused",
        "folder=",
        "SPARRING_DATA",
        "10,000 training and 2,000 test images" if name != "cifar10" else "load('mnist')",
    ):
        assert part in message
    assert re.search(r"\(\d[\d,.]* [kM]B\)", message)


def test_what_was_found_and_refused_is_told_when_nothing_else_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A named folder with the wrong bytes is not passed over in silence."""
    folder = put(tmp_path / "shelf", raw_mnist(3))
    monkeypatch.setenv("SPARRING_DATA", str(folder))
    with pytest.raises(DataError, match=r"found and refused: .*shelf.*SHA-256 .* published one has"):
        data.load("mnist", full=True)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"MNIST needs train-images-idx3-ubyte\.gz .*does not hold it.*10,000 training"),
        ({NAMES[0][:-3]: b"short"}, r"has 5 bytes instead of 23,536; it is damaged, or another set's"),
        ({NAMES[0][:-3]: b"x" * 23_536}, r"has SHA-256 .*, the published one has .*; it is damaged"),
        ({NAMES[0]: b"no gzip at all"}, r"cannot be unpacked .*it is damaged"),
        ({NAMES[0]: gzip.compress(bytes(50_000_000))}, r"has more than 23,536 bytes instead of 23,536"),
    ],
)
def test_a_named_folder_without_the_set_is_refused_with_the_reason(
    tmp_path: Path, files: dict[str, bytes], message: str
) -> None:
    """Missing, short, changed, not gzip, or unpacking to far too much; no other place is tried."""
    folder = put(tmp_path / "mine", files)
    with pytest.raises(DataError, match=message):
        data.load("mnist", full=True, folder=folder)


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    """The value is in the message."""
    with pytest.raises(DataError, match=r"folder='.*absent' is no folder"):
        data.load("mnist", full=True, folder=tmp_path / "absent")


def assert_is_cifar(got: data.Dataset) -> None:
    """Five batches in order make the training set, the sixth the test set."""
    batches = [np.frombuffer(raw, np.uint8).reshape(2, RECORD) for raw in raw_cifar().values()]
    train, test = np.concatenate(batches[:5]), batches[5]
    assert got.x_train.shape == (10, 3, 32, 32)
    for x, y, records in ((got.x_train, got.y_train, train), (got.x_test, got.y_test, test)):
        assert y.tolist() == records[:, 0].tolist()
        assert np.array_equal((x * 255).round().flatten(1).numpy().astype(np.uint8), records[:, 1:])


@pytest.mark.parametrize("layout", [".", "cifar10", "cifar-10-batches-bin"])
@pytest.mark.parametrize("packed", [True, False])
def test_cifar_is_read_from_its_archive_or_unpacked(tmp_path: Path, layout: str, packed: bool) -> None:
    """The published tar, or its six binary batches."""
    batches = raw_cifar()
    put(tmp_path / "mine" / layout, {"cifar-10-binary.tar.gz": tarred(batches)} if packed else batches)
    assert_is_cifar(data.load("cifar10", full=True, folder=tmp_path / "mine"))


def test_cifar_is_downloaded_and_nothing_is_unpacked(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache holds the archive as it is published, and no more."""
    batches = raw_cifar()
    packed = tarred(batches)
    with Mirror({"cifar-10-binary.tar.gz": packed}) as mirror:
        monkeypatch.setitem(FULL_SETS, "cifar10", toy_cifar(batches, packed, mirror.url("")))
        assert_is_cifar(data.load("cifar10", full=True))
    assert [entry.name for entry in cache.rglob("*") if entry.is_file()] == ["cifar-10-binary.tar.gz"]


def test_a_tar_that_points_out_of_its_folder_writes_nothing(tmp_path: Path) -> None:
    """Paths with .. and links are not followed: members are read in memory, by their last name."""
    batches = raw_cifar()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        link = tarfile.TarInfo("cifar-10-batches-bin/data_batch_1.bin")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        tar.addfile(link)
        for name, raw in {"escape.txt": b"out", **batches}.items():
            info = tarfile.TarInfo(f"../../{name}")
            info.size = len(raw)
            tar.addfile(info, io.BytesIO(raw))
    folder = put(tmp_path / "a" / "b" / "c", {"cifar-10-binary.tar.gz": out.getvalue()})
    assert_is_cifar(data.load("cifar10", full=True, folder=folder))
    assert [entry.name for entry in tmp_path.rglob("*") if entry.is_file()] == ["cifar-10-binary.tar.gz"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda packed: packed[: len(packed) // 2], "cannot be unpacked"),
        (lambda packed: b"no tar", "cannot be unpacked"),
        (
            lambda packed: tarred({"data_batch_1.bin": raw_cifar()["data_batch_1.bin"]}),
            "holds no data_batch_2.bin",
        ),
        (
            lambda packed: tarred(raw_cifar() | {"test_batch.bin": bytes(2 * RECORD)}),
            "test_batch.bin has SHA-256",
        ),
        (
            lambda packed: tarred(raw_cifar() | {"test_batch.bin": bytes(9 * RECORD)}),
            "test_batch.bin has more than",
        ),
    ],
)
def test_a_damaged_cifar_archive_is_refused(tmp_path: Path, spoil: object, message: str) -> None:
    """Cut, no tar, incomplete, changed, or a member of the wrong size."""
    folder = put(tmp_path / "mine", {"cifar-10-binary.tar.gz": spoil(tarred(raw_cifar()))})  # type: ignore[operator]
    with pytest.raises(DataError, match=message):
        data.load("cifar10", full=True, folder=folder)


@pytest.mark.parametrize(
    ("platform", "setting", "value", "expected"),
    [
        ("linux", "SPARRING_CACHE", "/chosen", "/chosen"),
        ("linux", "XDG_CACHE_HOME", "/xdg", "/xdg/sparring"),
        ("linux", "HOME", "/home/ada", "/home/ada/.cache/sparring"),
        ("darwin", "HOME", "/Users/ada", "/Users/ada/Library/Caches/sparring"),
        ("win32", "LOCALAPPDATA", "/local", "/local/sparring"),
    ],
)
def test_the_cache_lies_where_the_platform_keeps_caches(
    platform: str, setting: str, value: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Own variable first, then the platform's, then its convention."""
    for name in ("SPARRING_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setenv(setting, value)
    assert cache_folder() == Path(expected)


def test_the_catalog_is_consistent() -> None:
    """Every file has a size, three well-formed checksums, two mirrors, and contents as large as its format says."""
    for full in (MNIST, FASHION_MNIST, CIFAR10):
        for archive in full.archives:
            assert archive.size > 0
            assert re.fullmatch("[0-9a-f]{64}", archive.sha256)
            assert re.fullmatch("[0-9a-f]{32}", archive.md5)
            assert len(archive.urls) >= 2
            assert all(url.endswith("/" + archive.name) for url in archive.urls)
            assert all(re.fullmatch("[0-9a-f]{64}", content.sha256) for content in archive.contents)
        digests = [archive.sha256 for archive in full.archives]
        assert len(set(digests)) == len(digests)
    for full in (MNIST, FASHION_MNIST):
        sizes = [content.size for archive in full.archives for content in archive.contents]
        assert sizes == [16 + 60_000 * 784, 8 + 60_000, 16 + 10_000 * 784, 8 + 10_000]
    assert {content.size for content in CIFAR10.archives[0].contents} == {10_000 * RECORD}


@pytest.mark.skipif(
    not FASHION_MNIST.system[0].is_dir(), reason="Debian's dataset-fashion-mnist is not installed"
)
def test_the_real_fashion_mnist_is_read_from_debians_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """The published set, found without being named: 6,000 and 1,000 images of each class."""
    monkeypatch.setitem(FULL_SETS, "fashion_mnist", FASHION_MNIST)
    got = data.load("fashion_mnist", full=True)
    assert got.x_train.shape == (60_000, 1, 28, 28)
    assert got.y_train.bincount().tolist() == [6_000] * 10
    assert got.y_test.bincount().tolist() == [1_000] * 10
    assert (got.x_train.min(), got.x_train.max()) == (0, 1)
