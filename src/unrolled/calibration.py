"""Do a classifier's or a language model's probabilities mean what they say?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import UserError

Values = NDArray[np.float64]
BINS = 15  # as in Guo et al.
ROUNDING = 1e-5  # probabilities come in float32; a softmax may sum to a little more than 1


@dataclass(frozen=True)
class Bin:
    """The answers given with a confidence above ``low`` up to ``high``.

    Attributes:
        count: how many.
        confidence: their mean confidence.
        accuracy: the share of right ones; equals the confidence where probabilities mean what they say.
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


def reliability(confidence: Values, right: NDArray[np.bool_], bins: int = BINS) -> list[Bin]:
    """Return the reliability table: equal bins of confidence, the empty ones left out.

    Args:
        confidence: (answers,), the probability of the answer given.
        right: (answers,), whether it was right.
        bins: into how many equal parts 0 to 1 is cut.

    Raises:
        UserError: no answers, or a confidence that is no probability.
    """
    given = np.asarray(confidence, dtype=np.float64)
    if len(given) == 0:
        raise UserError("calibration: no answers to judge; expected one confidence per answer")
    wrong = ~((given >= 0) & (given <= 1 + ROUNDING))  # also what is not a number
    if wrong.any():
        raise UserError(f"calibration: answer {np.argmax(wrong)} has the confidence {given[wrong][0]:g}, not in 0 to 1")
    number = np.clip(np.ceil(given * bins) - 1, 0, bins - 1).astype(np.int64)
    counts = np.bincount(number, minlength=bins)
    sure = np.bincount(number, weights=given, minlength=bins)
    hits = np.bincount(number, weights=right, minlength=bins)
    return [
        Bin(i / bins, (i + 1) / bins, int(counts[i]), float(sure[i] / counts[i]), float(hits[i] / counts[i]))
        for i in np.flatnonzero(counts).tolist()
    ]


def expected_calibration_error(table: list[Bin]) -> float:
    """Return the mean gap between confidence and accuracy, each bin weighted by its answers; 0 is perfect.

    Naeini et al., 2015; Guo et al., "On calibration of modern neural networks", 2017. Few answers in a bin make a gap
    by chance alone: it does not reach 0 for a finite test.
    """
    return sum(b.count * abs(b.confidence - b.accuracy) for b in table) / sum(b.count for b in table)


def brier(actual: NDArray[np.integer], probabilities: Values) -> float:
    """Return the mean squared distance of the probabilities from the truth, 0 to 2.

    Brier, "Verification of forecasts expressed in terms of probability", 1950.

    Args:
        actual: (examples,) class numbers.
        probabilities: (examples, classes).
    """
    truth = np.eye(probabilities.shape[1])[actual]
    return float(np.square(probabilities - truth).sum(axis=1).mean())
