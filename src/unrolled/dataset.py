"""What a task's reader returns: one of three kinds of raw data, in the publisher's own units."""

from dataclasses import dataclass, replace
from datetime import date, timedelta

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
        known: (rows and some more, columns) float32: what is known of a row before its values are, such as its calendar,
            beyond the last row too; numbers around 1, which nothing scales. None for nothing.
        known_names: name of each of its columns, ``group:name``.
    """

    values: NDArray[np.float64]
    features: tuple[str, ...]
    start: date
    unit: str
    known: NDArray[np.float32] | None = None
    known_names: tuple[str, ...] = ()

    def cut(self, first: int, end: int) -> "Series":
        """Return rows ``first`` to ``end`` (half-open) as a series of their own; what is known stays known."""
        known = None if self.known is None else self.known[first:]
        return replace(self, values=self.values[first:end], start=self.start + timedelta(days=first), known=known)


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
