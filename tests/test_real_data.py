"""Facts of the four real data sets, asserted where they are at hand: with UNROLLED_MIRROR, or after `dvc repro`."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from unrolled.config import compose_config
from unrolled.fetch import fetch, sha256_of
from unrolled.judge import judge_task
from unrolled.metrics import mase_scale
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


def test_energy(real: dict[str, WindowSet], tmp_path: Path) -> None:
    windows = real["energy"]
    series = windows.arrays["series"][:, 0]
    assert len(series) == 4383
    assert _sizes(windows) == {"train": 3287 - 33, "validation": 365, "test": 731}
    judged = judge_task(windows, tmp_path, season=7)[0]
    assert judged["baselines"]["persistence"]["mae"] == pytest.approx(102.30, abs=0.005)
    assert judged["baselines"]["seasonal_naive"]["mae"] == pytest.approx(50.97, abs=0.005)
    assert mase_scale(series[:3287], 7) == pytest.approx(52.521, abs=0.0005)
    assert judged["strongest"] == "seasonal_naive"


def test_bitcoin(real: dict[str, WindowSet], tmp_path: Path) -> None:
    windows = real["bitcoin"]
    series = windows.arrays["series"][:, 0]
    assert len(series) == 2787
    assert _sizes(windows)["test"] == 557
    judged = judge_task(windows, tmp_path, season=1)[0]
    assert judged["baselines"]["persistence"]["mae"] == pytest.approx(567.980, abs=0.0005)
    assert judged["baselines"]["persistence"]["rmse"] == pytest.approx(1071.24, abs=0.005)
    low, high = windows.split("train")
    first, last = windows.split("test")
    assert series[first:last].max() > 3 * series[low:high].max(), "why the network predicts returns"


def test_mnist(real: dict[str, WindowSet], tmp_path: Path) -> None:
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
    # Always "1": 1,135 of the 10,000 test images.
    assert judge_task(windows, tmp_path, None)[0]["baselines"]["majority_class"]["accuracy"] == pytest.approx(0.1135)


def test_shakespeare(real: dict[str, WindowSet], tmp_path: Path) -> None:
    windows = real["shakespeare"]
    assert len(windows.arrays["tokens"]) == 1_115_394
    assert len(windows.meta["vocabulary"]) == 65
    assert _sizes(windows) == {"train": 948_085, "validation": 55_769, "test": 111_540}
    low, high = windows.split("train")
    assert len(np.unique(windows.arrays["tokens"][low:high])) == 65, "the vocabulary is the training part's"
    # An upper bound that any reading must beat: the entropy of single characters.
    assert judge_task(windows, tmp_path, None)[0]["baselines"]["unigram"]["loss_nats"] == pytest.approx(3.35, abs=0.05)


def test_the_committed_results_are_of_these_data(real: dict[str, WindowSet]) -> None:
    """What the repository shows was computed on the real data under the configuration that it has now."""
    for name, windows in real.items():
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
