"""Classifiers to beat: the majority class, and logistic regression on the raw values."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unrolled import metrics

Values = NDArray[np.float64]
Inputs = NDArray[np.float32]
COSTS = (0.01, 0.03, 0.1)  # the inverse of the penalty; on MNIST the best lies inside
TOLERANCE = 1e-3  # of the gradient: with 1e-4 it takes longer and tells no digit better
ITERATIONS = 300


def class_frequencies(train: NDArray[np.integer], classes: int) -> Values:
    """Return each class's share of the training targets, one added to every count so that none is impossible."""
    counts = np.bincount(train, minlength=classes) + 1
    shares: Values = counts / counts.sum()
    return shares


@dataclass(frozen=True)
class Logistic:
    """A fitted logistic regression.

    Attributes:
        probabilities: (examples, values) -> (examples, classes).
        cost: inverse of the penalty on the squared weights, chosen on validation.
        iterations: that the optimiser took.
        converged: whether it ended by itself.
    """

    probabilities: Callable[[Inputs], Values]
    cost: float
    iterations: int
    converged: bool


def fit_logistic(
    inputs: Inputs,
    targets: NDArray[np.integer],
    validation_inputs: Inputs,
    validation_targets: NDArray[np.integer],
    classes: int,
) -> Logistic:
    """Return the multinomial logistic regression with the least loss on validation among ``COSTS``.

    Args:
        inputs: (examples, values), scaled, to fit on.
        targets: (examples,) class numbers.
        validation_inputs: in the form of ``inputs``.
        validation_targets: in the form of ``targets``.
        classes: how many there are; one that training does not have gets probability 0.
    """
    fitted = [_logistic(inputs, targets, cost, classes) for cost in COSTS]
    return min(fitted, key=lambda model: metrics.nll(validation_targets, model.probabilities(validation_inputs)))


def _logistic(inputs: Inputs, targets: NDArray[np.integer], cost: float, classes: int) -> Logistic:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # told in the result
        model = LogisticRegression(C=cost, tol=TOLERANCE, max_iter=ITERATIONS).fit(inputs, targets)

    def probabilities(given: Inputs) -> Values:
        spread = np.zeros((len(given), classes))
        spread[:, model.classes_] = model.predict_proba(given)
        return spread

    iterations = int(model.n_iter_.max())
    return Logistic(probabilities, cost, iterations, iterations < ITERATIONS)
