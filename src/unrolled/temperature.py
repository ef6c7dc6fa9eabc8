"""How sure a classifier is, set right on rows that it was not trained on.

    p'_k = p_k^(1/T) / sum_j p_j^(1/T)

A classifier of smoothed labels is never sure, one that has overfitted is too sure: one temperature T mends both and leaves the
likeliest class as it was. Guo et al., "On calibration of modern neural networks", ICML 2017.
"""

import numpy as np
from numpy.typing import NDArray

from unrolled.mixture import nats

Matrix = NDArray[np.float64]

DIGITS = 2  # more are noise, and the last bits depend on the machine
LOWEST, HIGHEST = 0.2, 5.0


def tempered(probabilities: Matrix, temperature: float) -> Matrix:
    """Return ``probabilities`` (rows, classes), sharper for a temperature below 1 and flatter for one above."""
    powers = (probabilities / probabilities.max(axis=1, keepdims=True)) ** (1 / temperature)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def best_temperature(probabilities: Matrix, actual: NDArray[np.int64]) -> float:
    """Return the temperature, to two decimals, under which what happened is the likeliest.

    Args:
        probabilities: (rows, classes).
        actual: (rows,) the class that it was.
    """
    from scipy.optimize import minimize_scalar

    rows = np.arange(len(actual))

    def loss(logarithm: float) -> float:
        return float(nats(tempered(probabilities, float(np.exp(logarithm)))[rows, actual]).mean())

    found = minimize_scalar(loss, bounds=(np.log(LOWEST), np.log(HIGHEST)), method="bounded", options={"xatol": 1e-3})
    return round(float(np.exp(found.x)), DIGITS)
