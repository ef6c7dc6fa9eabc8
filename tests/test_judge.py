"""Judging: cells beside baselines on the same targets, with nothing predicted or fitted anew."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from judgedtasks import CONFIG, series_table, write_baselines, write_cell, write_no_ensemble
from windowsets import example_windows, series_windows, text_windows

from unrolled.errors import UserError
from unrolled.judge import details, judge_task
from unrolled.judgement import Judgement
from unrolled.predicted import read_cells
from unrolled.windowset import WindowSet


def _judge(root: Path, windows: WindowSet, **config: Any) -> Judgement:
    task = windows.meta["task"]
    predictions, baselines = root / "data/predictions" / task, root / "data/baselines" / task
    return judge_task(windows, predictions, write_no_ensemble(root, windows), baselines, CONFIG | config)


@pytest.fixture
def ramp(tmp_path: Path) -> tuple[Path, WindowSet]:
    """A series that rises by 1 a day: persistence is off by 1, the naive of 7 days by 7; two models, one with two seeds."""
    windows = series_windows(rows=100)
    series = windows.arrays["series"][:, 0]

    def tables(predict: Any) -> dict[str, pd.DataFrame]:
        return {
            split: series_table(windows, split, predict(np.arange(*windows.split(split))))
            for split in ("validation", "test")
        }

    write_cell(tmp_path, windows, "gru-0", tables(lambda rows: series[rows] + 0.2), parameters=300)
    write_cell(tmp_path, windows, "gru-1", tables(lambda rows: series[rows] - 0.4), parameters=300)
    write_cell(tmp_path, windows, "rnn-0", tables(lambda rows: series[rows] - 3.0), parameters=200)
    naive = {
        "persistence": tables(lambda rows: series[rows - 1]),
        "seasonal_naive": tables(lambda rows: series[rows - 7]),
    }
    write_baselines(tmp_path, windows, naive)
    return tmp_path, windows


def test_what_a_killed_evaluation_left_half_written_is_no_cell(ramp: tuple[Path, WindowSet]) -> None:
    root, windows = ramp
    folder = root / "data/predictions" / windows.meta["task"]
    shutil.copytree(folder / "rnn-0", folder / ".rnn-0.7.partial")
    assert [cell.name for cell in read_cells(folder, windows)] == ["gru-0", "gru-1", "rnn-0"]


def test_cells_and_models_beside_the_strongest_baseline(ramp: tuple[Path, WindowSet]) -> None:
    told = _judge(*ramp, season=7).summary()
    assert told["strongest"] == "persistence"
    assert told["baselines"]["persistence"]["mae"] == pytest.approx(1)
    assert told["baselines"]["seasonal_naive"]["mae"] == pytest.approx(7)
    assert told["cells"]["gru-0"]["skill"] == pytest.approx(0.8)
    assert told["cells"]["gru-0"]["mase"] == pytest.approx(0.2 / 7)
    assert told["cells"]["rnn-0"]["skill"] == pytest.approx(-2), "a loss is shown as one"
    assert (told["cells"]["gru-0"]["verdict"], told["cells"]["rnn-0"]["verdict"]) == ("beats", "loses")
    gru = told["models"]["gru"]
    assert gru["seeds"] == [0, 1]
    assert gru["value"] == pytest.approx(0.3)
    assert gru["value_spread"] == pytest.approx(np.std([0.2, 0.4], ddof=1))
    assert gru["skill"] == pytest.approx(0.7)
    assert gru["baseline_value"] == pytest.approx(1)
    assert set(gru["against"]) == {"persistence", "seasonal_naive"}
    assert told["models"]["rnn"]["value_spread"] is None, "one seed has no spread"
    assert (told["n_test"], told["unit"]) == (50, "GWh")


def test_a_baseline_that_is_not_simple_is_compared_but_does_not_decide(ramp: tuple[Path, WindowSet]) -> None:
    root, windows = ramp
    series = windows.arrays["series"][:, 0]
    exact = {"test": series_table(windows, "test", series[50:] + 0.01)}
    some = {"persistence": {"test": series_table(windows, "test", series[49:-1])}}
    write_baselines(root, windows, some | {"ridge": exact}, ridge={"about": "a line", "simple": False})
    told = _judge(root, windows).summary()
    assert told["strongest"] == "persistence"
    assert told["models"]["gru"]["verdict"] == "beats"
    assert told["models"]["gru"]["against"]["ridge"]["difference"] == pytest.approx(0.29)


def test_models_are_compared_at_their_own_size_and_at_equal_size(ramp: tuple[Path, WindowSet]) -> None:
    root, windows = ramp
    (own,) = details(_judge(root, windows))["comparisons"]
    assert own["models"]["gru"]["parameters"] == 300
    assert [(pair["a"], pair["b"], pair["verdict"]) for pair in own["pairs"]] == [("gru", "rnn", "beats")]
    for name in ("lstm_13k-0", "cnn_13k-0"):
        write_cell(root, windows, name, {"test": pd.read_parquet(root / "data/predictions/ramp/gru-0/test.parquet")})
    told = details(_judge(root, windows, equal_parameters=["lstm_13k", "cnn_13k"]))["comparisons"]
    assert [sorted(one["models"]) for one in told] == [["gru", "rnn"], ["cnn_13k", "lstm_13k"]]
    assert told[1]["pairs"][0]["verdict"] == "ties"
    parts = details(_judge(root, windows, ablation=["gru", "lstm_13k", "cnn_13k"]))["comparisons"]
    assert [sorted(one["models"]) for one in parts] == [["gru", "rnn"], ["cnn_13k", "gru", "lstm_13k"]]


def test_errors_are_broken_down_as_the_task_asks(ramp: tuple[Path, WindowSet]) -> None:
    told = details(_judge(*ramp, breakdowns=["weekday", "month"]))["breakdowns"]
    assert set(told) == {"weekday", "month"}
    assert sum(told["weekday"]["counts"]) == 50
    assert told["weekday"]["losses"]["gru"] == pytest.approx([0.3] * 7)
    assert told["month"]["losses"]["persistence"][:3] == [None, pytest.approx(1), pytest.approx(1)]
    with pytest.raises(UserError, match="judge.breakdowns has 'class'; valid for ramp: german_holiday, half, month"):
        _judge(*ramp, breakdowns=["class"])


def test_forecasts_come_with_intervals_from_validation_errors(tmp_path: Path) -> None:
    windows = series_windows(rows=400)
    windows.meta["splits"] = {"train": [6, 40], "validation": [40, 200], "test": [200, 400]}
    series = windows.arrays["series"][:, 0]
    errors = np.random.default_rng(0).normal(0, 2, 400)
    parts: list[Any] = ["validation", "test"]
    cell = {s: series_table(windows, s, (series + errors)[slice(*windows.split(s))]) for s in parts}
    naive = {s: series_table(windows, s, (series + 2 * errors[::-1])[slice(*windows.split(s))]) for s in parts}
    write_cell(tmp_path, windows, "gru-0", cell)
    write_baselines(tmp_path, windows, {"persistence": naive})
    judgement = _judge(tmp_path, windows)
    told = judgement.summary()
    interval, wider = told["cells"]["gru-0"]["interval"], told["baselines"]["persistence"]["interval"]
    assert interval["coverage_90"] == pytest.approx(0.9, abs=0.07)
    assert interval["width_90"] == pytest.approx(2 * 1.645 * 2, rel=0.2)
    assert interval["crps"] == pytest.approx(2 * 0.5642, rel=0.15), "of a normal distribution: sigma / sqrt(pi)"
    assert wider["width_90"] == pytest.approx(2 * interval["width_90"], rel=0.3)
    table = judgement.intervals["gru-0"]
    assert (table["low_90"] <= table["low_80"]).all()
    assert (table["high_50"] <= table["high_80"]).all()
    assert len(table) == 200


def test_a_lazy_zero_shows_as_one(tmp_path: Path) -> None:
    windows = series_windows(name="log_return")
    series = windows.arrays["series"][50:, 0]
    before = windows.arrays["series"][49:-1, 0]
    write_baselines(tmp_path, windows, {"persistence": {"test": series_table(windows, "test", before)}})
    rng = np.random.default_rng(0)
    write_cell(tmp_path, windows, "gru-0", {"test": series_table(windows, "test", before)})
    write_cell(
        tmp_path, windows, "rnn-0", {"test": series_table(windows, "test", series * np.exp(rng.normal(0, 1e-4, 10)))}
    )
    cells = _judge(tmp_path, windows).summary()["cells"]
    assert cells["gru-0"]["return_spread"] == 0
    assert cells["gru-0"]["return_r2"] < 0
    assert cells["gru-0"]["verdict"] == "ties"
    assert cells["rnn-0"]["return_spread"] > 0


def test_a_classifier_and_its_worst_mistakes(tmp_path: Path) -> None:
    windows = example_windows(examples=90)
    actual = windows.arrays["targets"][50:].astype(int)

    def table(right: np.ndarray, sure: np.ndarray) -> pd.DataFrame:
        predicted = np.where(right, actual, (actual + 1) % 3)
        columns = {f"p{c}": np.where(predicted == c, sure, (1 - sure) / 2) for c in range(3)}
        return pd.DataFrame({"index": np.arange(50, 90), "actual": actual, "predicted": predicted, **columns})

    right = np.arange(40) % 10 != 0
    model = table(right, np.where(np.arange(40) == 20, 0.99, 0.8))
    baseline = table(np.arange(40) % 2 == 0, np.full(40, 0.5))
    write_cell(tmp_path, windows, "gru-0", {"validation": model, "test": model})
    write_baselines(tmp_path, windows, {"logistic_regression": {"test": baseline}})
    judgement = _judge(tmp_path, windows, breakdowns=["class"])
    told = judgement.summary()["cells"]["gru-0"]
    assert told["accuracy"] == pytest.approx(0.9)
    assert told["skill"] == pytest.approx(1 - 4 / 20), "of the baseline's errors"
    assert told["verdict"] == "beats"
    images = details(judgement)["misread"]["images"]
    assert [image["index"] for image in images] == [70, 50, 60, 80], "the surest mistake first"
    assert images[0]["pixels"] == windows.arrays["inputs"][70].tolist()
    assert judgement.best() == "gru-0"


def test_a_language_model_and_a_compressor_without_rows(tmp_path: Path) -> None:
    windows = text_windows(length=3250)
    rows = {"position": np.arange(250, 3250), "actual": windows.arrays["tokens"][250:]}
    model, baseline = (
        pd.DataFrame({**rows, "loss_nats": np.random.default_rng(1).exponential(m, 3000)}) for m in (0.5, 2.0)
    )
    model = model.assign(predicted=model["actual"], confidence=0.6)
    write_cell(tmp_path, windows, "gru-0", {"test": model})
    scores = {"loss_nats": 1.0, "bits_per_char": 1.44, "perplexity": 2.7}
    zips = {name: {"about": name, "simple": False, "scores": scores} for name in ("xz", "bz2", "zstd", "gzip")}
    write_baselines(tmp_path, windows, {"n_gram": {"test": baseline}}, **zips)
    judgement = _judge(tmp_path, windows, breakdowns=["character_kind", "line_position"])
    told = judgement.summary()
    assert told["strongest"] == "n_gram"
    assert told["models"]["gru"]["against"]["xz"] == {
        "difference": pytest.approx(told["models"]["gru"]["value"] - 1.0),
        "skill": pytest.approx(1 - told["models"]["gru"]["value"]),
        "p_value": None,
    }
    assert list(told["models"]["gru"]["against"]) == ["n_gram", *zips], "an order that no run changes"
    assert told["baselines"]["xz"]["bits_per_char"] == 1.44
    assert sum(details(judgement)["breakdowns"]["character_kind"]["counts"]) == 3000


def test_what_was_made_on_other_data_is_not_judged(ramp: tuple[Path, WindowSet]) -> None:
    root, windows = ramp
    write_cell(root, windows, "gru-0", {}, data_digest="f" * 64)
    with pytest.raises(UserError, match="gru-0 was predicted on data ffffffffffff, .* dvc repro evaluate@ramp-gru-0"):
        _judge(root, windows)
    write_cell(root, windows, "gru-0", {})
    (root / "data/baselines/ramp/meta.json").unlink()
    with pytest.raises(UserError, match="no baselines in .*; make them with: dvc repro baseline@ramp"):
        _judge(root, windows)
