"""Scores of intervals and distributions by hand and against closed forms."""

import numpy as np
import pytest
from sklearn.metrics import mean_pinball_loss

from unrolled import intervalscores as scores
from unrolled.intervals import QUANTILE_LEVELS


def test_pinball_by_hand_and_as_scikit_learn() -> None:
    actual, quantiles = np.array([10.0, 10.0]), np.array([[8.0, 11.0], [10.0, 14.0]])
    losses = scores.pinball(actual, quantiles, [0.1, 0.9])
    assert losses == pytest.approx(np.array([[0.2, 0.1], [0.0, 0.4]]))  # 0.1 x 2, 0.1 x 1, none, 0.1 x 4
    assert losses[:, 1].mean() == pytest.approx(mean_pinball_loss(actual, quantiles[:, 1], alpha=0.9))


def test_winkler_width_and_coverage_by_hand() -> None:
    actual = np.array([5.0, 1.0, 12.0, 10.0])
    low, high = np.full(4, 4.0), np.full(4, 10.0)
    assert scores.winkler(actual, low, high, 0.8) == pytest.approx([6, 6 + 10 * 3, 6 + 10 * 2, 6])
    assert scores.covered(actual, low, high).tolist() == [True, False, False, True]
    (found,) = scores.interval_scores(actual, low[:, None], high[:, None], [0.8])
    assert found == pytest.approx({"level": 0.8, "coverage": 0.5, "width": 6, "winkler": 18.5})


def test_crps_of_a_point_is_its_absolute_error() -> None:
    actual, predicted = np.array([3.0, -1.0]), np.array([1.0, 0.5])
    assert scores.crps_point(actual, predicted).tolist() == [2.0, 1.5]
    assert scores.crps_samples(actual, predicted[:, None]).tolist() == [2.0, 1.5]
    assert scores.crps_quantiles(actual, predicted[:, None], [0.5]).tolist() == [2.0, 1.5]


def test_crps_of_samples_is_the_energy_form() -> None:
    assert scores.crps_samples(np.array([1.0]), np.array([[0.0, 4.0]])) == pytest.approx([2 - 1])  # (1 + 3) / 2 - 4 / 4
    rng = np.random.default_rng(0)
    actual, samples = rng.normal(size=5), rng.normal(size=(5, 8))
    pairs = np.abs(samples[:, :, None] - samples[:, None, :]).mean(axis=(1, 2))
    expected = np.abs(samples - actual[:, None]).mean(axis=1) - pairs / 2
    assert scores.crps_samples(actual, samples) == pytest.approx(expected)


def test_crps_of_samples_equals_that_of_their_quantiles() -> None:
    rng = np.random.default_rng(1)
    actual, samples = rng.normal(size=6), np.sort(rng.normal(size=(6, 9)), axis=1)
    levels = ((np.arange(9) + 0.5) / 9).tolist()
    assert scores.crps_quantiles(actual, samples, levels) == pytest.approx(scores.crps_samples(actual, samples))


def test_crps_agrees_with_the_closed_form_of_a_normal_distribution() -> None:
    """Gneiting and Raftery, 2007: y (2 Phi(y) - 1) + 2 phi(y) - 1 / sqrt(pi) for the standard normal."""
    from scipy.stats import norm

    actual = np.array([-2.5, -0.3, 0.0, 1.0, 4.0])
    exact = actual * (2 * norm.cdf(actual) - 1) + 2 * norm.pdf(actual) - 1 / np.sqrt(np.pi)
    levels = (np.arange(999) + 0.5) / 999
    quantiles = np.tile(norm.ppf(levels), (5, 1))
    assert scores.crps_samples(actual, quantiles) == pytest.approx(exact, abs=1e-3)
    assert scores.crps_quantiles(actual, quantiles, levels.tolist()) == pytest.approx(exact, abs=1e-3)
    drawn = np.random.default_rng(2).normal(size=(5, 20_000))
    assert scores.crps_samples(actual, drawn) == pytest.approx(exact, abs=0.03)


def test_a_few_levels_give_a_crps_that_is_slightly_small() -> None:
    from scipy.stats import norm

    actual = norm.ppf((np.arange(20_000) + 0.5) / 20_000)  # drawn from the distribution that is scored
    few = scores.crps_quantiles(actual, np.tile(norm.ppf(QUANTILE_LEVELS), (20_000, 1)), QUANTILE_LEVELS)
    assert few.mean() * np.sqrt(np.pi) == pytest.approx(1 - 0.017, abs=0.001)


def test_the_weights_of_levels_share_out_everything() -> None:
    assert scores.level_weights(QUANTILE_LEVELS) == pytest.approx([0.075, 0.1, 0.2, 0.25, 0.2, 0.1, 0.075])
