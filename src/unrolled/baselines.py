"""What every model must beat: forecasts and guesses that need no training."""

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


def persistence(series: Values, rows: NDArray[np.int64]) -> Values:
    """Return for each target row the last value known before it: tomorrow is as today.

    Args:
        series: (all rows,) physical units.
        rows: (targets,) rows to forecast, one step ahead.
    """
    return seasonal_naive(series, rows, 1)


def seasonal_naive(series: Values, rows: NDArray[np.int64], season: int) -> Values:
    """Return for each target row the value ``season`` rows before it: next Monday is as this Monday."""
    return series[rows - season]


def class_frequencies(train: NDArray[np.integer], classes: int) -> Values:
    """Return each class's share of the training targets, one added to every count so that none is impossible."""
    counts = np.bincount(train, minlength=classes) + 1
    shares: Values = counts / counts.sum()
    return shares


def unigram_losses(train: NDArray[np.integer], test: NDArray[np.integer], vocabulary: int) -> Values:
    """Return the loss in nats of each test token under the training text's frequencies, whatever came before it."""
    losses: Values = -np.log(class_frequencies(train, vocabulary))[test]
    return losses
