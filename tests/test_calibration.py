"""Calibration by hand and by simulation."""

import numpy as np
import pytest

from unrolled.calibration import Bin, brier, expected_calibration_error, reliability
from unrolled.errors import UserError


def test_the_table_and_its_error_by_hand() -> None:
    confidence = np.array([0.25, 0.55, 0.75, 1.0, 0.5])
    right = np.array([True, True, False, True, False])
    table = reliability(confidence, right, bins=2)
    # An edge belongs to the bin below it.
    assert table[0] == Bin(0.0, 0.5, count=2, confidence=0.375, accuracy=0.5)
    assert (table[1].count, table[1].confidence) == (3, pytest.approx(2.3 / 3))
    assert expected_calibration_error(table) == pytest.approx(2 / 5 * 0.125 + 3 / 5 * (2.3 / 3 - 2 / 3))


def test_empty_bins_are_left_out_and_no_answer_is_lost() -> None:
    table = reliability(np.array([0.0, 1.0, 1.000001]), np.array([False, True, True]))
    assert [(row.low, row.high, row.count) for row in table] == [(0.0, 1 / 15, 1), (14 / 15, 1.0, 2)]


def test_what_is_calibrated_has_almost_no_error_and_what_is_not_has() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.1, 1.0, 200_000)
    right = rng.uniform(size=200_000) < confidence
    assert expected_calibration_error(reliability(confidence, right)) < 0.005
    bold = np.sqrt(confidence)
    gap = (bold - confidence).mean()
    assert expected_calibration_error(reliability(bold, right)) == pytest.approx(gap, abs=0.005)


def test_brier_by_hand() -> None:
    probabilities = np.array([[0.8, 0.2], [0.5, 0.5], [0.0, 1.0]])
    assert brier(np.array([0, 1, 0]), probabilities) == pytest.approx((0.08 + 0.5 + 2) / 3)


@pytest.mark.parametrize("value", [-0.1, 1.1, np.nan])
def test_a_confidence_that_is_no_probability_is_refused(value: float) -> None:
    with pytest.raises(UserError, match="answer 1 has the confidence .*, not in 0 to 1"):
        reliability(np.array([0.5, value]), np.array([True, True]))


def test_no_answers_are_refused() -> None:
    with pytest.raises(UserError, match="no answers"):
        reliability(np.array([]), np.array([], dtype=bool))
