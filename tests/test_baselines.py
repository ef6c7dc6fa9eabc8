"""Baselines: values by hand, no future used, and tables that lie row for row beside the models'."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from trainedfolders import config_for
from windowsets import example_windows, series_windows, text_windows

from unrolled import transform
from unrolled.baseline import SCORED, make_baselines, save_baselines
from unrolled.baselines import examples, series, text
from unrolled.errors import UserError
from unrolled.model import build
from unrolled.predictions import predict_split
from unrolled.windowset import WindowSet

JUDGE = {"season": 7, "arima": {"order": [1, 0, 0], "seasonal": None}}
ALL = {
    "series": series_windows,
    "three steps": lambda: series_windows(horizon=3),
    "examples": example_windows,
    "text": text_windows,
}


def _noise(rows: int, seed: int = 0) -> NDArray[np.float64]:
    """An AR(1) around 0: each value 0.7 of the one before, and noise."""
    rng, values = np.random.default_rng(seed), np.zeros(rows)
    for t in range(1, rows):
        values[t] = 0.7 * values[t - 1] + rng.normal()
    return values


def _series(values: NDArray[np.float64], name: str, horizon: int) -> WindowSet:
    windows = series_windows(rows=len(values), horizon=horizon, name=name)
    meta = windows.meta | {"transform": transform.fit(name, values[:40, None])}
    return WindowSet(meta, {"series": values[:, None]})


def test_naive_forecasts_by_hand() -> None:
    squares, origins = np.arange(12.0) ** 2, np.array([4, 9])
    assert series.persistence(squares, origins, 2).tolist() == [[9, 9], [64, 64]]
    assert series.seasonal_naive(squares, origins, 1, 3).tolist() == [[1], [36]]
    beyond = series.seasonal_naive(squares, np.array([6]), 7, 3)
    assert beyond.tolist() == [[9, 16, 25, 9, 16, 25, 9]], "a step beyond the season takes the last known of its phase"


def test_a_season_longer_than_the_past_is_refused() -> None:
    with pytest.raises(UserError, match="a season of 50 rows reaches back .* row 40; lower judge.season to at most 40"):
        make_baselines(series_windows(), JUDGE | {"season": 50})


def test_drift_by_hand() -> None:
    values = np.array([1.0, 2.0, 4.0, 8.0, 100.0, 50.0])
    level = series.drift(values, np.array([5]), 2, train=4, log=False)
    assert level == pytest.approx(np.array([[100 + 7 / 3, 100 + 14 / 3]])), "the slope is the training rows'"
    assert series.drift(values, np.array([5]), 2, train=4, log=True) == pytest.approx(np.array([[200, 400]]))


def test_ridge_finds_a_linear_law_and_distrusts_noise() -> None:
    wave = 100 + 10 * np.sin(np.arange(120) / 3)  # each value is a weighted sum of the two before and a constant
    train, validation, test = np.arange(5, 80), np.arange(80, 100), np.arange(100, 117)
    trusting, forecast = series.fit_ridge(
        wave[:, None], transform.fit("level", wave[:80, None]), 5, 3, train, validation
    )
    assert np.abs(forecast(test) - wave[test[:, None] + np.arange(3)]).max() < 0.01
    noise = np.random.default_rng(0).normal(size=120)
    careful, _ = series.fit_ridge(noise[:, None], transform.fit("level", noise[:80, None]), 5, 1, train, validation)
    assert trusting < 0.1 < 10 < careful, "the penalty is chosen on validation"


@pytest.mark.parametrize("log", [False, True])
def test_arima_forecasts_as_statsmodels_does_origin_by_origin(log: bool) -> None:
    from statsmodels.tsa.statespace.sarimax import SARIMAX

    values = np.exp(_noise(120) / 10) if log else _noise(120)
    fitted = series.fit_arima(values, 3, 90, [1, 0, 1], [1, 0, 0, 4], log)
    seen = np.log(values) if log else values
    shape = {"order": (1, 0, 1), "seasonal_order": (1, 0, 0, 4), "concentrate_scale": True}
    known = SARIMAX(seen[:90] / seen[:90].std(), **shape).fit(disp=False, maxiter=series.ARIMA_ITERATIONS)
    for origin in (90, 104, 117):
        expected = known.append(seen[90:origin] / seen[:90].std()).forecast(3) if origin > 90 else known.forecast(3)
        expected = expected * seen[:90].std()
        assert fitted.forecast(np.array([origin]))[0] == pytest.approx(np.exp(expected) if log else expected, rel=1e-6)
    assert fitted.converged


def test_an_order_too_large_for_the_data_is_refused() -> None:
    with pytest.raises(
        UserError, match="judge.arima looks back over 23 rows, but there are 20 training rows; choose a"
    ):
        series.fit_arima(_noise(30), 1, 20, [1, 0, 1], [1, 1, 1, 7], False)


@pytest.mark.parametrize("name", ["level", "log_return", "min_max"])
@pytest.mark.parametrize("horizon", [1, 3])
def test_no_forecast_uses_what_comes_after_its_origin(name: str, horizon: int) -> None:
    values = 100 * np.exp(_noise(70) / 20)
    windows = _series(values, name, horizon)
    before = make_baselines(windows, JUDGE)
    assert set(before) == {"persistence", "seasonal_naive", "drift", "ridge", "arima"}
    changed = values.copy()
    changed[60:] *= 3
    after = make_baselines(WindowSet(windows.meta, {"series": changed[:, None]}), JUDGE)
    for label, baseline in before.items():
        assert baseline.about == after[label].about, "nothing is fitted on the test"
        assert baseline.tables["validation"].equals(after[label].tables["validation"])
        old, new = (made[label].tables["test"]["predicted"].to_numpy() for made in (before, after))
        known = (60 - 50 + 1) * horizon  # the forecasts of rows 50 to 60 know the rows before 60
        assert old[:known].tolist() == new[:known].tolist(), label
        assert (old[known:] != new[known:]).any(), "later ones have seen row 60"


def test_nothing_but_a_penalty_is_chosen_on_validation() -> None:
    values = 100 * np.exp(_noise(70) / 20)
    windows = _series(values, "level", 1)
    changed = values.copy()
    changed[45:] *= 3
    after = make_baselines(WindowSet(windows.meta, {"series": changed[:, None]}), JUDGE)
    for label, baseline in make_baselines(windows, JUDGE).items():
        if label != "ridge":
            old, new = (b.tables["validation"]["predicted"] for b in (baseline, after[label]))
            assert old[:6].tolist() == new[:6].tolist(), label


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("split", SCORED)
def test_rows_lie_beside_the_models_rows(kind: str, split: str) -> None:
    windows = ALL[kind]()
    torch.manual_seed(0)
    config = config_for(windows)
    config["window"]["horizon"] = windows.meta["horizon"]
    model = predict_split(build(config, windows.meta).eval(), windows, split)
    for name, baseline in make_baselines(windows, JUDGE | {"arima": None}).items():
        if baseline.tables:
            table = baseline.tables[split]
            missing = set(model.columns) - set(table.columns)
            assert missing == ({"predicted", "confidence"} if kind == "text" else set()), name
            assert table.dtypes.to_dict() == model[table.columns].dtypes.to_dict(), name
            given = [
                column
                for column in table.columns
                if column in ("date", "step", "actual", "anchor", "index", "position")
            ]
            pd.testing.assert_frame_equal(table[given], model[given])
            assert not table.isna().any().any()


def test_frequencies_by_hand() -> None:
    shares = examples.class_frequencies(np.array([0, 0, 1]), 3)
    assert shares.tolist() == [3 / 6, 2 / 6, 1 / 6]
    losses = text.unigram_losses(np.array([0, 0, 1]), np.array([2, 0]), 3)
    assert losses == pytest.approx(-np.log([1 / 6, 3 / 6]))
    assert text.uniform_losses(2, 65) == pytest.approx([4.174387, 4.174387])


def test_logistic_regression_tells_apart_what_a_line_can() -> None:
    rng = np.random.default_rng(0)
    targets = np.arange(200) % 2
    inputs = (rng.normal(size=(200, 2)) / 4 + targets[:, None]).astype(np.float32)
    clear = examples.fit_logistic(inputs[:150], targets[:150], inputs[150:], targets[150:], 3)
    spread = clear.probabilities(inputs[150:])
    assert (spread.argmax(axis=1) == targets[150:]).mean() > 0.95
    assert spread.sum(axis=1) == pytest.approx(np.ones(50))
    assert not spread[:, 2].any(), "a class that training does not have"
    assert clear.converged
    misled = examples.fit_logistic(inputs[:150], 1 - targets[:150], inputs[150:], targets[150:], 3)
    assert (misled.cost, clear.cost) == (min(examples.COSTS), max(examples.COSTS)), (
        "the penalty is chosen on validation"
    )


def test_a_classifier_that_stops_early_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples, "ITERATIONS", 1)
    assert "stopped, not converged" in make_baselines(example_windows(), JUDGE)["logistic_regression"].about


def test_kneser_ney_by_hand() -> None:
    """Training text a b a b a, then each of a, b, c after the last a; half an occurrence is taken off each count.

    Order 1 has a 3, b 2 of 5 and gives the half of two to the uniform third. Order 2 falls back on what a token comes
    after: a after the start and b, b after a.
    """
    probabilities = np.exp(-np.stack([_after("ababa", token, orders=2, vocabulary=3) for token in range(3)], axis=1))
    assert probabilities[0] == pytest.approx([(2.5 + 1 / 3) / 5, (1.5 + 1 / 3) / 5, (1 / 3) / 5])
    lower = np.array([(1.5 + 1 / 3) / 3, (0.5 + 1 / 3) / 3, (1 / 3) / 3])
    assert probabilities[1] == pytest.approx([0.5 * lower[0] / 2, (1.5 + 0.5 * lower[1]) / 2, 0.5 * lower[2] / 2])


def _after(train: str, token: int, orders: int, vocabulary: int) -> NDArray[np.float64]:
    """The losses of ``token`` right after the training text, one per order."""
    tokens = np.array([*(ord(character) - ord("a") for character in train), token], dtype=np.uint8)
    return text.ngram_losses(tokens, (0, len(train)), np.array([len(train)]), orders, vocabulary)[:, 0]


def test_discounts_by_hand() -> None:
    # Four counts of 1, two of 2, one of 3, one of 4: y = 4 / (4 + 2 * 2) = 1/2.
    assert text.discounts(np.array([1, 1, 1, 1, 2, 2, 3, 4])).tolist() == [0, 1 - 0.5, 2 - 0.75, 3 - 2]
    assert text.discounts(np.array([1, 1, 5])).tolist() == [0, 0.5, 0.5, 0.5]
    few_twos = text.discounts(np.array([1, 1, 1, 1, 2, 3, 3, 3]))  # 2 - 3 * 2/3 * 3 would be below 0
    assert few_twos[2] == text.LEAST_DISCOUNT, "nothing unseen gets probability 0"


@pytest.mark.parametrize("end", ["", "abc", "eeeee"], ids=["as it ends", "after a seen context", "after an unseen one"])
def test_the_ngram_models_probabilities_sum_to_one(end: str) -> None:
    rng = np.random.default_rng(0)
    train = "".join(rng.choice(list("abcd"), size=300, p=[0.4, 0.3, 0.2, 0.1]))
    known = np.array([ord(character) - ord("a") for character in train + end], dtype=np.uint8)
    losses = [
        text.ngram_losses(np.append(known, token).astype(np.uint8), (0, 300), np.array([len(known)]), 6, 6)[:, 0]
        for token in range(6)
    ]
    assert np.exp(-np.array(losses)).sum(axis=0) == pytest.approx(np.ones(6))
    assert np.isfinite(losses).all(), "a token that training does not have is unlikely, not impossible"


def test_the_ngram_model_knows_the_past_across_the_border_and_no_future() -> None:
    windows = text_windows()  # 0 to 6 over and over: two characters tell the next
    tokens = windows.arrays["tokens"]
    scored = np.arange(250, 300)
    losses = text.ngram_losses(tokens, (0, 200), scored, 4, 7)
    assert losses[0] == pytest.approx(text.unigram_losses(tokens[:200], tokens[scored], 7), abs=0.01)
    assert losses[1:].max() < 0.1, "the first scored character too: its context lies before the border"
    changed = tokens.copy()
    changed[271:] = 0
    again = text.ngram_losses(changed, (0, 200), scored, 4, 7)
    assert again[:, :21].tolist() == losses[:, :21].tolist()


def test_the_order_is_chosen_on_validation() -> None:
    rng, windows = np.random.default_rng(0), text_windows()
    chain = np.zeros(300, dtype=np.uint8)  # each token is the one before or the next: more context tells no more
    for i in range(1, 300):
        chain[i] = (chain[i - 1] + rng.integers(0, 2)) % 7
    about = make_baselines(WindowSet(windows.meta, {"tokens": chain}), JUDGE)["n_gram"].about
    assert "after 1 others (order 2 of 1 to 8" in about
    chain[200:250] = rng.integers(0, 7, 50)  # in which contexts mislead
    about = make_baselines(WindowSet(windows.meta, {"tokens": chain}), JUDGE)["n_gram"].about
    assert "after 0 others (order 1 of 1 to 8" in about


@pytest.mark.parametrize("compressor", ["xz", "bz2"])
def test_a_compressor_pays_for_what_is_new(compressor: str) -> None:
    letters = "".join(np.random.default_rng(0).choice(list("abcd"), size=40_000))
    known, fresh = letters[:20_000], letters[20_000:]
    assert 2 <= text.compressed_bits(known, fresh, compressor) < 2.5, "four equally likely letters are two bits each"
    assert text.compressed_bits(known, known, "xz") < 0.1


def test_the_folder_says_what_each_baseline_is(tmp_path: Path) -> None:
    simple = {}
    for kind in ("series", "examples", "text"):
        windows, folder = ALL[kind](), tmp_path / kind
        folder.mkdir()
        made = make_baselines(windows, JUDGE)
        save_baselines(folder, windows, made)
        meta = json.loads((folder / "meta.json").read_text())
        assert (meta["data_digest"], meta["data_source"]) == (windows.meta["digest"], "stand-in")
        assert meta["task"] == windows.meta["task"]
        for name, told in meta["baselines"].items():
            assert told["about"].endswith(".")
            written = {path.stem: pd.read_parquet(path) for path in (folder / name).glob("*.parquet")}
            assert set(written) == (set() if "scores" in told else set(SCORED))
            for split, table in written.items():
                pd.testing.assert_frame_equal(
                    table, made[name].tables[split], check_dtype=False
                )  # days, as parquet has them
            if "scores" in told:
                assert told["scores"]["loss_nats"] == pytest.approx(told["scores"]["bits_per_char"] * np.log(2))
                assert told["scores"]["perplexity"] == pytest.approx(2 ** told["scores"]["bits_per_char"])
        simple[kind] = {name for name, told in meta["baselines"].items() if told["simple"]}
    assert simple == {
        "series": {"persistence", "seasonal_naive"},
        "examples": {"logistic_regression"},
        "text": {"n_gram"},
    }


def test_a_ridge_on_what_is_known_ahead_finds_the_pattern_and_uses_no_later_value() -> None:
    """Every fifth day is a holiday that lowers the value by a factor, and the day after one by half of that."""
    rng = np.random.default_rng(0)
    rows, context = 300, 4
    holiday = (rng.random(rows + 10) < 0.2).astype(np.float32)
    known = np.stack([holiday, np.cos(np.arange(rows + 10) / 9).astype(np.float32)], axis=1)
    logs = 5 - 0.4 * holiday[:rows] + 0.1 * known[:rows, 1] - 0.2 * np.roll(holiday, 1)[:rows]
    values = np.exp(logs + 0.001 * rng.standard_normal(rows))
    train, validation, test = np.arange(context, 200), np.arange(200, 250), np.arange(250, rows - 1)
    penalties, forecast = series.fit_known_ridge(values, known, context, 2, train, validation)
    error = np.abs(forecast(test) / values[test[:, None] + np.arange(2)] - 1).mean()
    assert error < 0.01
    assert all(1 <= penalty <= 1e4 for penalty in penalties)
    changed = values.copy()
    changed[270:] *= 3
    _, again = series.fit_known_ridge(changed, known, context, 2, train, validation)
    before = np.arange(250, 271)
    assert np.allclose(again(before), forecast(before), rtol=1e-12)
    assert not np.allclose(again(np.array([272])), forecast(np.array([272])))
