"""Scores: functions on arrays in physical units that know no model."""

import math

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


def mae(actual: Values, predicted: Values) -> float:
    """Return the mean absolute error, in the values' unit; arrays of equal shape."""
    return float(np.abs(actual - predicted).mean())


def rmse(actual: Values, predicted: Values) -> float:
    """Return the root of the mean squared error, in the values' unit."""
    return float(np.sqrt(np.square(actual - predicted).mean()))


def mape(actual: Values, predicted: Values) -> float:
    """Return the mean absolute error in percent of the actual values, none of which may be 0."""
    return float(100 * np.abs((actual - predicted) / actual).mean())


def mase_scale(train: Values, season: int) -> float:
    """Return the mean absolute error of the seasonal naive forecast within the training rows.

    Hyndman and Koehler, "Another look at measures of forecast accuracy", 2006.

    Args:
        train: (rows,) training values, in order.
        season: lag of the naive forecast in rows; 1 is persistence.
    """
    return float(np.abs(train[season:] - train[:-season]).mean())


def mase(actual: Values, predicted: Values, scale: float) -> float:
    """Return the mean absolute error as a share of ``scale`` (see ``mase_scale``); below 1 beats the naive forecast."""
    return mae(actual, predicted) / scale


def accuracy(actual: NDArray[np.integer], predicted: NDArray[np.integer]) -> float:
    """Return the share of right classes; arrays (examples,)."""
    return float((actual == predicted).mean())


def nll(actual: NDArray[np.integer], probabilities: Values) -> float:
    """Return the mean negative log-likelihood in nats.

    Args:
        actual: (examples,) class numbers.
        probabilities: (examples, classes); what is 0 counts as the smallest positive number.
    """
    given = probabilities[np.arange(len(actual)), actual].astype(np.float64)
    return float(-np.log(np.maximum(given, np.finfo(np.float64).tiny)).mean())


def bits_per_char(loss_nats: float) -> float:
    """Return a loss in nats per character in bits."""
    return loss_nats / math.log(2)


def perplexity(loss_nats: float) -> float:
    """Return e to the loss: among how many equally likely characters the model seems to choose."""
    return math.exp(loss_nats)
