"""Judging: the baselines beside the cells, on the same targets, with nothing predicted anew."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from windowsets import example_windows, series_windows, text_windows

from unrolled.errors import UserError
from unrolled.judge import judge_task
from unrolled.windowset import WindowSet


def _predict(folder: Path, windows: WindowSet, digest: str | None = None, **columns: Any) -> None:
    folder.mkdir(parents=True)
    pd.DataFrame(columns).to_parquet(folder / "test.parquet")
    (folder / "meta.json").write_text(json.dumps({"data_digest": digest or windows.meta["digest"]}))


def test_a_forecast_beside_persistence_and_the_seasonal_naive(tmp_path: Path) -> None:
    windows = series_windows()  # rises by 1 a day: persistence is off by 1, the naive of 7 days by 7
    actual = windows.arrays["series"][50:, 0]
    _predict(tmp_path / "gru-0", windows, actual=actual, predicted=actual + 0.25)
    _predict(tmp_path / "rnn-0", windows, actual=actual, predicted=actual - 3.0)
    judged, table = judge_task(windows, tmp_path, season=7)
    assert judged["strongest"] == "persistence"
    assert judged["baselines"]["persistence"]["mae"] == pytest.approx(1)
    assert judged["baselines"]["seasonal_naive"]["mae"] == pytest.approx(7)
    assert judged["cells"]["gru-0"]["skill"] == pytest.approx(0.75)
    assert judged["cells"]["gru-0"]["mase"] == pytest.approx(0.25 / 7)
    assert judged["cells"]["rnn-0"]["skill"] == pytest.approx(-2), "a loss is shown as one"
    assert (judged["n_test"], judged["unit"]) == (10, "GWh")
    assert table["persistence"].tolist() == (actual - 1).tolist()


def test_without_a_season_persistence_stands_alone(tmp_path: Path) -> None:
    assert set(judge_task(series_windows(), tmp_path, season=1)[0]["baselines"]) == {"persistence"}


def test_a_classifier_beside_the_majority_class(tmp_path: Path) -> None:
    windows = example_windows()
    actual = windows.arrays["targets"][50:]
    probabilities = {f"p{c}": np.where(actual == c, 0.9, 0.05) for c in range(3)}
    _predict(tmp_path / "gru-0", windows, actual=actual, predicted=actual, **probabilities)
    judged, _ = judge_task(windows, tmp_path, None)
    majority = np.bincount(windows.arrays["targets"][:40]).argmax()
    assert judged["baselines"]["majority_class"]["accuracy"] == pytest.approx((actual == majority).mean())
    assert judged["cells"]["gru-0"]["skill"] == pytest.approx(1), "all of the baseline's errors are saved"


def test_a_language_model_beside_single_frequencies(tmp_path: Path) -> None:
    windows = text_windows()
    _predict(tmp_path / "gru-0", windows, loss_nats=np.full(50, 0.5))
    judged, table = judge_task(windows, tmp_path, None)
    assert judged["baselines"]["unigram"]["loss_nats"] == pytest.approx(np.log(7), abs=0.01)
    assert judged["cells"]["gru-0"]["bits_per_char"] == pytest.approx(0.5 / np.log(2))
    assert len(table) == 50


def test_predictions_on_other_data_are_not_judged(tmp_path: Path) -> None:
    windows = series_windows()
    _predict(tmp_path / "gru-0", windows, digest="f" * 64, actual=[1.0], predicted=[1.0])
    with pytest.raises(UserError, match="was predicted on data ffffffffffff, .* dvc repro evaluate@ramp-gru-0"):
        judge_task(windows, tmp_path, season=7)
