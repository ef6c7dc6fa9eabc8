"""Scores by hand."""

import math

import numpy as np
import pytest
from sklearn.metrics import log_loss, mean_absolute_error, mean_absolute_percentage_error, root_mean_squared_error

from unrolled import metrics

ACTUAL, PREDICTED = np.array([2.0, -4.0, 8.0]), np.array([1.0, -4.0, 12.0])


def test_forecast_errors_agree_with_scikit_learn() -> None:
    assert metrics.mae(ACTUAL, PREDICTED) == pytest.approx(mean_absolute_error(ACTUAL, PREDICTED))
    assert metrics.rmse(ACTUAL, PREDICTED) == pytest.approx(root_mean_squared_error(ACTUAL, PREDICTED))
    expected = 100 * mean_absolute_percentage_error(ACTUAL, PREDICTED)
    assert metrics.mape(ACTUAL, PREDICTED) == pytest.approx(expected)


def test_mase_is_a_share_of_the_naive_error_in_training() -> None:
    train = np.array([1.0, 2.0, 4.0, 7.0])
    assert metrics.mase_scale(train, 1) == pytest.approx(2.0)  # steps of 1, 2 and 3
    assert metrics.mase_scale(train, 2) == pytest.approx(4.0)  # 3 and 5
    assert metrics.mase(ACTUAL, PREDICTED, 2.0) == pytest.approx((1 + 0 + 4) / 3 / 2)


def test_classifier_scores() -> None:
    probabilities = np.array([[0.2, 0.8], [0.6, 0.4]])
    assert metrics.accuracy(np.array([1, 1]), np.array([1, 0])) == 0.5
    assert metrics.nll(np.array([1, 1]), probabilities) == pytest.approx(log_loss([1, 1], probabilities, labels=[0, 1]))
    assert math.isfinite(metrics.nll(np.array([1]), np.array([[1.0, 0.0]]))), "a sure mistake is terrible, not infinite"


def test_language_scores() -> None:
    assert metrics.bits_per_char(math.log(8)) == pytest.approx(3)
    assert metrics.perplexity(math.log(65)) == pytest.approx(65)
