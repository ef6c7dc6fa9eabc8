"""From units to what a network sees and back; fitted on the training part alone."""

import numpy as np
import pytest
import torch

from unrolled import transform
from unrolled.errors import UserError

PRICES = np.array([[100.0], [110.0], [99.0], [105.0], [120.0]])


@pytest.mark.parametrize("name", transform.NAMES)
def test_inverse_undoes_target(name: str) -> None:
    params = transform.fit(name, PRICES)
    values, anchors = np.array([130.0, 90.0]), np.array([120.0, 130.0])
    seen = transform.target(params, values, anchors)
    assert transform.inverse(params, seen, anchors) == pytest.approx(values)
    tensors = transform.target(params, torch.from_numpy(values), torch.from_numpy(anchors))
    assert tensors.numpy() == pytest.approx(seen), "numpy and torch agree"
    assert transform.inverse(params, tensors, torch.from_numpy(anchors)).numpy() == pytest.approx(values)


def test_level_has_mean_0_and_deviation_1_on_the_training_part() -> None:
    seen = transform.features(transform.fit("level", PRICES), PRICES)
    assert seen.mean() == pytest.approx(0, abs=1e-6)
    assert seen.std() == pytest.approx(1, abs=1e-6)


def test_min_max_runs_from_0_to_1() -> None:
    seen = transform.features(transform.fit("min_max", PRICES), PRICES)
    assert (seen.min(), seen.max()) == (0, 1)


def test_a_forecast_of_no_change_is_persistence() -> None:
    params = transform.fit("log_return", PRICES)
    assert transform.inverse(params, np.zeros(1), np.array([123.0])) == pytest.approx([123.0])


def test_returns_see_one_row_back_and_no_row_ahead() -> None:
    params = transform.fit("log_return", PRICES)
    before = transform.features(params, PRICES)
    changed = PRICES.copy()
    changed[3] = 999.0
    after = transform.features(params, changed)
    assert np.array_equal(before[:3], after[:3])
    assert (before[3:] != after[3:]).all()


@pytest.mark.parametrize("name", transform.NAMES)
def test_a_column_that_never_changes_cannot_be_scaled(name: str) -> None:
    with pytest.raises(UserError, match="never changes"):
        transform.fit(name, np.full((50, 1), 51.3))


@pytest.mark.parametrize("name", transform.NAMES)
def test_a_long_series_is_transformed_in_pieces_that_fit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    params = transform.fit(name, PRICES)
    whole = transform.features(params, PRICES)
    monkeypatch.setattr(transform, "PIECE", 2)
    assert np.array_equal(transform.features(params, PRICES), whole)


def test_other_columns_are_standardised() -> None:
    series = np.concatenate([PRICES, np.arange(5.0)[:, None]], axis=1)
    params = transform.fit("log_return", series)
    assert transform.features(params, series)[:, 1].std() == pytest.approx(1, abs=1e-6)
    with pytest.raises(UserError, match="column 1 of the training rows never changes"):
        transform.fit("level", np.concatenate([PRICES, np.ones((5, 1))], axis=1))


def test_a_price_of_0_has_no_logarithm() -> None:
    with pytest.raises(UserError, match="row 2 has the value 0, but log_return needs values above 0; use level"):
        transform.fit("log_return", np.array([[1.0], [2.0], [0.0], [3.0]]))


def test_an_unknown_transform_names_the_known() -> None:
    with pytest.raises(UserError, match="unknown transform 'fourier'; valid: level, log_return, min_max"):
        transform.fit("fourier", PRICES)
