"""Predictions: every target once, in physical units, with its day; forecasts beyond the last row."""

import numpy as np
import pandas as pd
import pytest
import torch
from trainedfolders import config_for
from windowsets import example_windows, known_windows, series_windows, text_windows

from unrolled.errors import UserError
from unrolled.model import SequenceModel, build
from unrolled.predictions import forecast_next, predict_split
from unrolled.scores import score
from unrolled.windowset import SplitName, WindowSet

ALL = {"series": series_windows, "examples": example_windows, "text": text_windows}


def _model(windows: WindowSet) -> SequenceModel:
    torch.manual_seed(0)
    return build(config_for(windows), windows.meta).eval()


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("split", ["validation", "test"])
def test_every_target_is_scored_once(kind: str, split: SplitName) -> None:
    windows = ALL[kind]()
    table = predict_split(_model(windows), windows, split)
    low, high = windows.split(split)
    assert len(table) == high - low
    truth = {"series": "series", "examples": "targets", "text": "tokens"}[kind]
    assert table["actual"].tolist() == windows.arrays[truth][low:high].reshape(-1).tolist()
    assert not table.isna().any().any()


def test_a_forecast_has_its_day_step_and_anchor() -> None:
    windows = series_windows(horizon=2)
    table = predict_split(_model(windows), windows, "test")
    first = table.iloc[:2]
    assert first["date"].dt.date.astype(str).tolist() == ["2020-02-20", "2020-02-21"]  # row 50 of 2020-01-01 on
    assert first["step"].tolist() == [1, 2]
    assert first["actual"].tolist() == [150, 151]
    assert first["anchor"].tolist() == [149, 149]
    assert len(table) == 2 * 9, "all of a window's targets lie in the split"


def test_a_forecast_is_in_the_datas_unit() -> None:
    windows = series_windows()
    table = predict_split(_model(windows), windows, "test")
    assert table["predicted"].between(80, 160).all()


def test_text_read_in_one_pass_equals_text_read_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    windows = text_windows()
    whole = predict_split(_model(windows), windows, "test")
    monkeypatch.setattr("unrolled.predictions.TEXT_CHUNK", 7)
    pieces = predict_split(_model(windows), windows, "test")
    assert np.allclose(whole["loss_nats"], pieces["loss_nats"], atol=1e-5)


def test_scores_by_hand() -> None:
    windows = series_windows()
    table = predict_split(_model(windows), windows, "test")
    error = np.abs(table["actual"] - table["predicted"])
    scores = score(table, windows, season=1)
    assert scores["mae"] == pytest.approx(error.mean())
    assert scores["mase"] == pytest.approx(error.mean() / 1.0), "the ramp rises by 1 a day"


def test_a_horizon_is_scored_per_step_by_hand() -> None:
    windows = series_windows(horizon=2)
    table = pd.DataFrame(
        {"step": [1, 2, 1, 2], "actual": [100.0, 101.0, 101.0, 102.0], "predicted": [103.0, 101.0, 100.0, 109.0]}
    )
    scores = score(table, windows, season=1)
    assert scores["mae_step_1"] == 2.0
    assert scores["mae_step_2"] == 3.5
    assert scores["mae"] == 2.75
    assert [name for name in scores if "step" in name] == ["mae_step_1", "mae_step_2"]
    one = score(table[table["step"] == 1], windows, season=1)
    assert not [name for name in one if "step" in name], "one step has no steps"


@pytest.mark.parametrize("name", ["level", "log_return"])
def test_the_next_forecast_is_the_one_that_a_window_would_give(name: str) -> None:
    windows = series_windows(name=name)
    model = _model(windows)
    table = predict_split(model, windows, "test")
    values = windows.arrays["series"][:55]
    expected = table.loc[table["anchor"] == values[-1, 0], "predicted"].item()
    assert forecast_next(model, values, windows.meta).points().tolist() == [[pytest.approx(expected)]]


def test_too_few_rows_or_other_features_are_refused() -> None:
    windows = series_windows(name="log_return")
    with pytest.raises(UserError, match="5 rows are too few: a context of 5 needs 6; give more rows"):
        forecast_next(_model(windows), windows.arrays["series"][:5], windows.meta)
    with pytest.raises(UserError, match="the rows have 2 features, but the model was trained on 1"):
        forecast_next(_model(windows), np.ones((9, 2)), windows.meta)


@pytest.mark.parametrize("horizon", [1, 3])
def test_a_forecast_beyond_the_last_row_knows_what_the_window_knew(horizon: int) -> None:
    windows = known_windows(horizon=horizon)
    model, known = _model(windows), windows.arrays["known"]
    table = predict_split(model, windows, "test")
    following = forecast_next(model, windows.arrays["series"][:50], windows.meta, known).points()[0].tolist()
    assert following == pytest.approx(table["predicted"][:horizon].tolist())
    with pytest.raises(UserError, match="trained with other known columns"):
        forecast_next(model, windows.arrays["series"][:50], windows.meta)
