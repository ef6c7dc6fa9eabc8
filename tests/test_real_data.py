"""Facts of the four real data sets, asserted where they are at hand: with UNROLLED_MIRROR, or after `dvc repro`."""

import json
import os

import numpy as np
import pytest
import yaml
from conftest import ROOT

from unrolled.baseline import make_baselines
from unrolled.baselines.series import persistence, seasonal_naive
from unrolled.baselines.text import unigram_losses
from unrolled.config import compose_config
from unrolled.fetch import fetch, sha256_of
from unrolled.metrics import mae, mase_scale, rmse
from unrolled.scores import score
from unrolled.taskmodule import task_module, task_names
from unrolled.window import window_raw
from unrolled.windowset import WindowSet


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> dict[str, WindowSet]:
    """The windows of every task on its real files."""
    mirror, windows = os.environ.get("UNROLLED_MIRROR"), {}
    for name in task_names():
        module, folder = task_module(name), ROOT / "data/raw" / name
        here = all((folder / f.name).is_file() and sha256_of(folder / f.name) == f.sha256 for f in module.FILES)
        if not here:
            if not mirror:
                pytest.skip(f"no real data: set UNROLLED_MIRROR, or run: dvc repro fetch@{name}")
            folder = tmp_path_factory.mktemp(name)
            fetch(module, "real", folder, mirror)
        source = {"source": "real", "sha256": {file.name: file.sha256 for file in module.FILES}}
        windows[name] = window_raw(module, folder, compose_config([f"task={name}"], ROOT, ("task",)), source)
    return windows


def _sizes(windows: WindowSet) -> dict[str, int]:
    return {name: high - low for name, (low, high) in windows.meta["splits"].items()}


def test_energy(real: dict[str, WindowSet]) -> None:
    windows = real["energy"]
    series = windows.arrays["series"][:, 0]
    assert len(series) == 4383
    assert _sizes(windows) == {"train": 3287 - 33, "validation": 365, "test": 731}
    rows = np.arange(*windows.split("test"))
    assert mae(series[rows], persistence(series, rows, 1)[:, 0]) == pytest.approx(102.30, abs=0.005)
    assert mae(series[rows], seasonal_naive(series, rows, 1, 7)[:, 0]) == pytest.approx(50.97, abs=0.005)
    assert mase_scale(series[:3287], 7) == pytest.approx(52.521, abs=0.0005)


def test_energy_calendar(real: dict[str, WindowSet]) -> None:
    """The same days, splits and target as energy, and the calendar of a year more."""
    windows, plain = real["energy_calendar"], real["energy"]
    assert np.array_equal(windows.arrays["series"], plain.arrays["series"])
    assert windows.meta["splits"] == plain.meta["splits"]
    assert windows.meta["transform"] == plain.meta["transform"]
    assert windows.arrays["known"].shape == (4383 + 366, len(windows.meta["known"]))
    holiday = windows.arrays["known"][:4383, windows.meta["known"].index("holiday:share")]
    low, high = windows.split("test")
    assert (holiday[low:high] == 1).sum() == 19, "nine nationwide holidays in 2016, ten in 2017 with Reformation Day"


def test_bitcoin(real: dict[str, WindowSet]) -> None:
    windows = real["bitcoin"]
    series = windows.arrays["series"][:, 0]
    assert len(series) == 2787
    assert _sizes(windows)["test"] == 557
    rows = np.arange(*windows.split("test"))
    naive = persistence(series, rows, 1)[:, 0]
    assert mae(series[rows], naive) == pytest.approx(567.980, abs=0.0005)
    assert rmse(series[rows], naive) == pytest.approx(1071.24, abs=0.005)
    low, high = windows.split("train")
    first, last = windows.split("test")
    assert series[first:last].max() > 3 * series[low:high].max(), "why the network predicts returns"


def test_mnist(real: dict[str, WindowSet]) -> None:
    windows = real["mnist"]
    assert windows.arrays["inputs"].shape == (70_000, 28, 28)
    assert _sizes(windows) == {"train": 55_000, "validation": 5_000, "test": 10_000}
    assert np.bincount(windows.arrays["targets"]).tolist() == [
        6903,
        7877,
        6990,
        7141,
        6824,
        6313,
        6876,
        7293,
        6825,
        6958,
    ]
    (low, high), (first, last) = windows.split("train"), windows.split("test")
    commonest = np.bincount(windows.arrays["targets"][low:high]).argmax()
    assert (windows.arrays["targets"][first:last] == commonest).sum() == 1135, 'always "1"'


def test_shakespeare(real: dict[str, WindowSet]) -> None:
    windows = real["shakespeare"]
    assert len(windows.arrays["tokens"]) == 1_115_394
    assert len(windows.meta["vocabulary"]) == 65
    assert _sizes(windows) == {"train": 948_085, "validation": 55_769, "test": 111_540}
    low, high = windows.split("train")
    assert len(np.unique(windows.arrays["tokens"][low:high])) == 65, "the vocabulary is the training part's"
    tokens = windows.arrays["tokens"].astype(np.int64)
    test = tokens[slice(*windows.split("test"))]
    assert unigram_losses(tokens[low:high], test, 65).mean() == pytest.approx(3.35, abs=0.05)


# What was measured before this project had the baselines, and how close they must land; lower is better.
BEFORE = {
    "energy": {
        "persistence": (102.30, 0.005),
        "seasonal_naive": (50.97, 0.005),
        "ridge": (35.10, 0.5),
        # Then of order (2,0,1)(1,1,1)7, which is 29.11 here; the order now is the best on validation.
        "arima": (28.50, 0.5),
    },
    "bitcoin": {"persistence": (567.98, 0.005), "drift": (566.39, 0.5), "ridge": (564.79, 1.0)},
}


def _test_scores(windows: WindowSet) -> dict[str, dict[str, float]]:
    judge = compose_config([f"task={windows.meta['task']}"], ROOT, ("task",))["judge"]
    made = make_baselines(windows, judge)
    assert not any("not converged" in baseline.about for baseline in made.values())
    return {
        name: dict(baseline.scores or score(baseline.tables["test"], windows, judge["season"]))
        for name, baseline in made.items()
    }


@pytest.mark.parametrize("task", BEFORE)
def test_forecasts_to_beat_land_where_they_were_measured_before(task: str, real: dict[str, WindowSet]) -> None:
    scores = _test_scores(real[task])
    for name, (value, near) in BEFORE[task].items():
        assert scores[name]["mae"] < value + near, name
        if task == "bitcoin" or near < 0.01:
            assert scores[name]["mae"] > value - near, f"{name} is too good"


@pytest.mark.slow
def test_logistic_regression_on_real_digits(real: dict[str, WindowSet]) -> None:
    assert 0.920 < _test_scores(real["mnist"])["logistic_regression"]["accuracy"] < 0.930


def test_characters_from_their_contexts(real: dict[str, WindowSet]) -> None:
    scores = _test_scores(real["shakespeare"])
    assert scores["uniform"]["loss_nats"] == pytest.approx(np.log(65), abs=1e-6)
    assert scores["n_gram"]["loss_nats"] == pytest.approx(1.525, abs=0.005)
    bits = {name: told["bits_per_char"] for name, told in scores.items()}
    assert bits["n_gram"] < bits["bz2"] < bits["xz"] < bits["unigram"] < bits["uniform"]


def test_the_committed_results_are_of_these_data(real: dict[str, WindowSet]) -> None:
    """What the repository shows was computed on the real data under the configuration that it has now."""
    grid = yaml.safe_load((ROOT / "params.yaml").read_text())["tasks"]  # mnist_pixels is outside
    for name, windows in ((name, real[name]) for name in grid):
        judgement = json.loads((ROOT / "reports" / name / "judgement.json").read_text())
        assert judgement["data_source"] == "real"
        assert judgement["data_digest"] == windows.meta["digest"]


CLAIMS = {
    ("energy", "rnn", "mae"): (20.0, 27.0),  # the literature's one-day-ahead errors are 1.3 to 3 % of about 1,340 GWh
    ("mnist", "lstm", "accuracy"): (0.988, 0.9960),
    ("shakespeare", "gru", "loss_nats"): (1.40, 1.60),
    ("bitcoin", "cnn_lstm", "mae"): (555.0, 574.0),  # far below persistence (567.98) would be a leak
}


@pytest.mark.parametrize(("task", "model", "metric"), CLAIMS)
def test_the_committed_results_are_good_and_not_too_good(task: str, model: str, metric: str) -> None:
    low, high = CLAIMS[task, model, metric]
    metrics = json.loads((ROOT / "reports" / task / model / "0" / "metrics.json").read_text())
    assert metrics["data_source"] == "real"
    assert low <= metrics[metric] <= high
