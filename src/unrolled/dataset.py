"""What a task's reader returns: one of three kinds of raw data, in the publisher's own units."""

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Series:
    """One row a day, without gaps.

    Attributes:
        values: (rows, features) float64 in ``unit``; column 0 is the target.
        features: name of each column.
        start: day of row 0.
        unit: physical unit of the target.
    """

    values: NDArray[np.float64]
    features: tuple[str, ...]
    start: date
    unit: str


@dataclass(frozen=True)
class Examples:
    """Independent sequences, each with one class.

    Attributes:
        inputs: (examples, time, features) uint8.
        targets: (examples,) uint8 class numbers.
        classes: how many classes there are.
        official_train: the first this many examples are the publisher's training file, the rest its test file.
    """

    inputs: NDArray[np.uint8]
    targets: NDArray[np.uint8]
    classes: int
    official_train: int


@dataclass(frozen=True)
class Text:
    """One long text."""

    text: str


RawData = Series | Examples | Text
