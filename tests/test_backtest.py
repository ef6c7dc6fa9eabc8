"""Rolling origins: nothing after an origin is known before it, and each part stands beside its own baseline."""

from datetime import date

import numpy as np
import pandas as pd
import pytest
from windowsets import series_windows

from unrolled.backtest import Origin, as_text, rolling_origins, score_origins, windows_before
from unrolled.dataset import Series
from unrolled.errors import UserError

SPLITS = {"train": (0, 60), "validation": (60, 70), "test": (70, 100)}
ABOUT = {"task": "noise", "context": 5, "horizon": 1, "source": "stand-in", "asked": {"window": {"transform": "level"}}}


def _series(seed: int = 0) -> Series:
    values = np.random.default_rng(seed).normal(size=(100, 1))
    return Series(values, ("load",), date(2020, 1, 1), "GWh")


def test_origins_cut_the_test_into_equal_parts() -> None:
    assert rolling_origins((70, 100), 4, 1) == [Origin(70, 78), Origin(78, 85), Origin(85, 92), Origin(92, 100)]
    with pytest.raises(UserError, match="origins=5: the test has 30 rows and a horizon of 7, so expected 1 to 4"):
        rolling_origins((70, 100), 5, 7)


@pytest.mark.parametrize(("scheme", "train"), [("expanding", (5, 75)), ("sliding", (5, 60))])
def test_validation_lies_right_before_the_origin_and_training_before_that(scheme, train: tuple[int, int]) -> None:
    windows = windows_before(_series(), SPLITS, Origin(85, 92), scheme, ABOUT)
    assert windows.split("train") == train
    assert windows.split("validation")[1] - windows.split("validation")[0] == 10
    assert windows.split("validation")[1] == windows.split("test")[0]
    start = date.fromisoformat(windows.meta["start"])
    assert (start - date(2020, 1, 1)).days + windows.split("test")[0] == 85
    assert (windows.arrays["series"][-1] == _series().values[91]).all(), "rows after the part are not there"


def test_the_scaler_knows_no_more_than_the_training_before_the_origin() -> None:
    data, later = _series(), _series()
    later.values[75:] += 100
    before = windows_before(data, SPLITS, Origin(85, 92), "expanding", ABOUT)
    after = windows_before(later, SPLITS, Origin(85, 92), "expanding", ABOUT)
    assert before.meta["transform"] == after.meta["transform"]
    sliding = windows_before(data, SPLITS, Origin(85, 92), "sliding", ABOUT)
    assert sliding.meta["transform"]["mean"] == pytest.approx(data.values[15:75].mean())


def test_each_part_stands_beside_its_own_strongest_baseline() -> None:
    windows = series_windows(rows=100)  # rises by 1 a day
    series = windows.arrays["series"][:, 0]
    days = pd.date_range("2020-01-01", periods=100)[50:]
    predicted = series[50:] + np.where(np.arange(50) < 25, 0.5, 2.0)
    told = {"date": days, "step": 1, "actual": series[50:], "predicted": predicted, "anchor": series[49:-1]}
    first, second = score_origins(pd.DataFrame(told), windows, 7, 2)
    assert (first["targets"], first["first"], second["last"]) == (25, "2020-02-20", "2020-04-09")
    assert (first["baseline"], first["baseline_mae"]) == ("persistence", 1)
    assert first["skill"] == pytest.approx(0.5)
    assert second["skill"] == pytest.approx(-1)
    assert "ahead of the baseline at 1 of 2 origins; mae over all targets 1.25 GWh" in as_text([first, second], "GWh")


def test_the_seasonal_naive_forecast_takes_the_last_known_value_of_the_same_weekday() -> None:
    windows = series_windows(rows=100, horizon=9)
    series = windows.arrays["series"][:, 0] = np.arange(100) % 7.0
    origins = np.arange(50, 92)
    rows = origins[:, None] + np.arange(9)
    table = {
        "date": pd.date_range("2020-01-01", periods=100).to_numpy()[rows].reshape(-1),
        "step": np.tile(np.arange(1, 10), len(origins)),
        "actual": series[rows].reshape(-1) + 0.5,
        "predicted": series[rows].reshape(-1) + 0.1,
        "anchor": np.repeat(series[origins - 1], 9),
    }
    (part,) = score_origins(pd.DataFrame(table), windows, 7, 1)
    assert (part["baseline"], part["baseline_mae"]) == ("seasonal_naive", 0.5), "also beyond one season ahead"
