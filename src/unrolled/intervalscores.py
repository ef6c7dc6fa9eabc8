"""Scores of intervals and predictive distributions: functions on arrays in physical units, one loss per row.

Per row, so that a caller can average them, break them down or test their differences. All are negatively oriented
(smaller is better) and proper: Gneiting and Raftery, "Strictly proper scoring rules, prediction, and estimation", 2007.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


def pinball(actual: Values, quantiles: Values, levels: Sequence[float]) -> Values:
    """Return the quantile losses (rows, levels): the level times what is missed below, 1 - level times above.

    Koenker and Bassett, "Regression quantiles", 1978.

    Args:
        actual: (rows,).
        quantiles: (rows, levels), the same unit.
        levels: between 0 and 1.
    """
    short = actual[:, None] - quantiles
    share = np.asarray(levels, dtype=np.float64)
    return np.maximum(share * short, (share - 1) * short)


def crps_point(actual: Values, predicted: Values) -> Values:
    """Return the CRPS (rows,) of a point forecast: a distribution with all its mass on the point has |error|."""
    return np.abs(actual - predicted)


def crps_quantiles(actual: Values, quantiles: Values, levels: Sequence[float]) -> Values:
    """Return the CRPS (rows,) of a distribution known at some levels: twice the weighted mean pinball loss.

    The CRPS is twice the integral of the pinball loss over all levels (Laio and Tamea, 2007). A level stands for those
    nearest to it: its weight reaches half way to its neighbours, at the ends to 0 and to 1. For (i - 1/2) / m, that is
    1 / m and the result equals ``crps_samples``; at 0.05 0.1 0.25 0.5 0.75 0.9 0.95 it is 1.7 % too small for a normal
    distribution, so compare it with that of other forecasts at the same levels only.

    Args:
        actual: (rows,).
        quantiles: (rows, levels), the same unit.
        levels: rising, between 0 and 1.
    """
    return 2 * pinball(actual, quantiles, levels) @ level_weights(levels)


def level_weights(levels: Sequence[float]) -> Values:
    """Return the share of [0, 1] nearest to each of the rising ``levels``; they sum to 1."""
    share = np.asarray(levels, dtype=np.float64)
    return np.diff(np.concatenate([[0.0], (share[1:] + share[:-1]) / 2, [1.0]]))


def crps_samples(actual: Values, samples: Values) -> Values:
    """Return the CRPS (rows,) of the distribution that puts equal mass on every sample: E|X - y| - E|X - X'| / 2.

    Gneiting and Raftery, 2007, equation 21, exact; sorted, the second mean needs no pairs.

    Args:
        actual: (rows,).
        samples: (rows, samples), the same unit, in any order.
    """
    count = samples.shape[1]
    ranks = 2 * np.arange(1, count + 1) - count - 1  # how often a sample is the larger of a pair, less the smaller
    spread: Values = np.sort(samples, axis=1) @ ranks / count**2
    distance: Values = np.abs(samples - actual[:, None]).mean(axis=1)
    return distance - spread


def covered(actual: Values, low: Values, high: Values) -> NDArray[np.bool_]:
    """Return which values lie in their intervals, ends included; arrays of equal shape."""
    return (low <= actual) & (actual <= high)


def winkler(actual: Values, low: Values, high: Values, level: float) -> Values:
    """Return the interval scores: the width, and 2 / (1 - level) times what the value lies outside.

    Winkler, "A decision-theoretic approach to interval estimation", 1972.

    Args:
        actual: (rows,).
        low: lower ends, the same unit.
        high: upper ends.
        level: the share that the intervals are to cover, such as 0.9.
    """
    outside = np.maximum(low - actual, 0) + np.maximum(actual - high, 0)
    return high - low + 2 / (1 - level) * outside


def interval_scores(actual: Values, low: Values, high: Values, levels: Sequence[float]) -> list[dict[str, float]]:
    """Return ``level``, ``coverage`` (share), ``width`` and ``winkler`` (means, unit of the data) for each level.

    Args:
        actual: (rows,).
        low: (rows, levels).
        high: (rows, levels).
        levels: the share that each is to cover.
    """
    return [
        {
            "level": level,
            "coverage": float(covered(actual, low[:, i], high[:, i]).mean()),
            "width": float((high[:, i] - low[:, i]).mean()),
            "winkler": float(winkler(actual, low[:, i], high[:, i], level).mean()),
        }
        for i, level in enumerate(levels)
    ]
