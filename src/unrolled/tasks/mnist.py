"""MNIST's handwritten digits: 60,000 + 10,000 images of 28 x 28 grey values, in IDX files."""

import math
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unrolled.dataset import Examples
from unrolled.errors import UserError
from unrolled.rawfile import RawFile
from unrolled.splits import checked, share

LICENCE = "stated by mirrors as CC BY-SA 3.0; the original page states none"
ATTRIBUTION = (
    "Yann LeCun, Corinna Cortes and Christopher J.C. Burges, the MNIST database of handwritten digits, from NIST data"
)
SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
HOSTS = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/")
FILES = tuple(
    RawFile(
        name=name,
        sha256=sha256,
        addresses=tuple(f"{host}{name}.gz" for host in HOSTS),
        mirror_path=f"mnist/{name}.gz",
        max_bytes=12_000_000,
        max_unpacked_bytes=50_000_000,
        packed="gzip",
    )
    for name, sha256 in SHA256.items()
)
SIDE, CLASSES = 28, 10


def read(folder: Path) -> Examples:
    """Return all images, the training file's first, as sequences of 28 rows of 28 pixels.

    Raises:
        UserError: a header that does not fit its file, or labels that do not fit the images.
    """
    images, labels = [], []
    for part in ("train", "t10k"):
        pictures = read_idx(folder / f"{part}-images-idx3-ubyte", dimensions=3)
        digits = read_idx(folder / f"{part}-labels-idx1-ubyte", dimensions=1)
        if pictures.shape[1:] != (SIDE, SIDE):
            raise UserError(
                f"{part}-images-idx3-ubyte has images of {pictures.shape[1:]}, but expected {SIDE} x {SIDE}"
            )
        if len(pictures) != len(digits):
            raise UserError(
                f"{part}: {len(pictures)} images, but {len(digits)} labels; expected equally many; fetch again"
            )
        if len(digits) and digits.max() >= CLASSES:
            raise UserError(f"{part}-labels-idx1-ubyte has the label {digits.max()}, but expected 0 to {CLASSES - 1}")
        images.append(pictures)
        labels.append(digits)
    return Examples(np.concatenate(images), np.concatenate(labels), CLASSES, official_train=len(labels[0]))


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Return the array of an IDX file of unsigned bytes; its header is checked against its length first.

    Raises:
        UserError: it is another kind of file, its header claims another size than it has, or that is more than ever fits.
    """
    header, magic = 4 + 4 * dimensions, bytes([0, 0, 8, dimensions])
    size, most = path.stat().st_size, FILES[0].max_unpacked_bytes
    with path.open("rb") as file:
        start = file.read(header)
    if len(start) < header or start[:4] != magic:
        raise UserError(
            f"{path.name} has {size:,} bytes and starts with {start[:4]!r}, but an IDX file of bytes in "
            f"{dimensions} dimensions has at least {header} and starts with {magic!r}; remove it and fetch again"
        )
    shape = struct.unpack(f">{dimensions}I", start[4:])
    claimed = header + math.prod(shape)
    if claimed != size:
        raise UserError(
            f"{path.name}: its header says {' x '.join(map(str, shape))}, which are {claimed:,} bytes, but it has "
            f"{size:,}; it is damaged: remove it and fetch again"
        )
    if size > most:
        raise UserError(f"{path.name} has {size:,} bytes, but expected at most {most:,}; remove it and fetch again")
    return np.fromfile(path, dtype=np.uint8, offset=header).reshape(shape)


def split(data: Examples, validation_fraction: float) -> dict[str, tuple[int, int]]:
    """Return the splits: the last share of the publisher's training file is validation, its test file the test."""
    train = data.official_train - round(share("validation_fraction", validation_fraction) * data.official_train)
    known, every = data.official_train, len(data.targets)
    return checked({"train": (0, train), "validation": (train, known), "test": (known, every)}, every)


def stand_in(folder: Path) -> None:
    """Write scikit-learn's 1,797 digits (UCI, 8 x 8, real handwriting), scaled up to 28 x 28, as IDX files."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    large = np.repeat(np.repeat(digits.images, 3, axis=1), 3, axis=2)  # (1797, 24, 24), values 0 to 16
    images = np.pad(np.clip(large * 15.9375, 0, 255), ((0, 0), (2, 2), (2, 2))).astype(np.uint8)
    labels = digits.target.astype(np.uint8)
    order = np.random.default_rng(1998).permutation(len(labels))
    train = len(labels) * 4 // 5
    for part, rows in (("train", order[:train]), ("t10k", order[train:])):
        pictures, answers = images[rows], labels[rows]
        header = bytes([0, 0, 8, 3]) + struct.pack(">3I", *pictures.shape)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(header + pictures.tobytes())
        header = bytes([0, 0, 8, 1]) + struct.pack(">I", len(answers))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(header + answers.tobytes())
