"""The commands outside the grid, in a scratch checkout: one run, a sweep, and what is done with a trained model."""

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import scratchcheckout
from safetensors import safe_open

from unrolled.training import cpu_has_bf16

pytestmark = pytest.mark.slow
Unrolled = Callable[..., str]


@pytest.fixture(scope="module")
def unrolled(checkout: Path) -> Unrolled:
    return partial(scratchcheckout.unrolled, checkout)


@pytest.fixture(scope="module")
def run(unrolled: Unrolled) -> str:
    """A run outside the grid, with another size and another context than the grid's."""
    asked = ["task=energy", "model=gru", "trainer=smoke", "encoder.hidden_size=12", "window.context=14"]
    return re.search(r"unrolled evaluate run=(\S+)", unrolled("train", *asked))[1]


def test_a_run_trains_what_was_asked_and_leaves_the_grid_alone(checkout: Path, run: str) -> None:
    assert run.startswith("outputs/energy-gru-0-")
    with safe_open(checkout / run / "weights.safetensors", "pt") as weights:
        assert weights.get_slice("encoder.layer.weight_hh_l0").get_shape() == [36, 12]
    meta = json.loads((checkout / run / "meta.json").read_text())
    assert meta["windows"]["context"] == 14
    assert json.loads((checkout / "data/windows/energy/meta.json").read_text())["context"] == 33


def test_a_run_is_evaluated_on_validation_unless_test_is_asked_for(
    checkout: Path, run: str, unrolled: Unrolled
) -> None:
    assert "on validation (GWh): mae" in unrolled("evaluate", f"run={run}")
    metrics = json.loads((checkout / run / "metrics.json").read_text())
    assert "validation_mae" in metrics
    assert "mae" not in metrics
    assert "on test (GWh): mae" in unrolled("evaluate", f"run={run}", "split=test")
    assert json.loads((checkout / run / "metrics.json").read_text())["n_test"] == 731


def test_a_cell_of_the_grid_is_not_evaluated_into_its_model_folder(checkout: Path, unrolled: Unrolled) -> None:
    before = sorted((checkout / "data/models/energy-gru-0").iterdir())
    told = unrolled("evaluate", "run=data/models/energy-gru-0", fails=True)
    assert "is a cell of the grid; evaluate it with: dvc repro evaluate@energy-gru-0" in told
    assert sorted((checkout / "data/models/energy-gru-0").iterdir()) == before


def test_a_run_may_be_written_elsewhere(unrolled: Unrolled, tmp_path: Path) -> None:
    out = tmp_path / "away"
    told = unrolled("train", "task=energy", "model=gru", "trainer=smoke", f"out={out}")
    assert f"evaluate it with: unrolled evaluate run={out}\n" in told
    assert "on validation (GWh): mae" in unrolled("evaluate", f"run={out}")


def test_a_sweep_runs_every_combination(checkout: Path, unrolled: Unrolled) -> None:
    asked = ["task=energy", "model=rnn,lstm", "trainer=smoke", "encoder.hidden_size=5,6"]
    told = unrolled("train", "-m", *asked)
    runs = re.findall(r"unrolled evaluate run=(\S+)", told)
    assert len(set(runs)) == 4
    sizes = {json.loads((checkout / run / "meta.json").read_text())["parameters"] for run in runs}
    assert len(sizes) == 4


def test_a_horizon_and_quantiles_go_the_whole_way(checkout: Path, unrolled: Unrolled) -> None:
    asked = ["task=energy", "model=gru", "trainer=smoke", "window.horizon=3", "head.quantiles=[0.05,0.5,0.95]"]
    run = re.search(r"unrolled evaluate run=(\S+)", unrolled("train", *asked))[1]
    told = unrolled("evaluate", f"run={run}", "split=test")
    assert re.search(r"mae_step_1 [\d.]+, mae_step_2 [\d.]+, mae_step_3 [\d.]+$", told, re.MULTILINE)
    metrics = json.loads((checkout / run / "metrics.json").read_text())
    assert metrics["n_test"] == 3 * (731 - 2)
    assert sum(metrics[f"mae_step_{step}"] for step in (1, 2, 3)) / 3 == pytest.approx(metrics["mae"])
    days = re.findall(
        r"forecast:   (\S+)  [\d,.]+ GWh  90 % between [\d,.]+ and [\d,.]+\n", unrolled("predict", f"run={run}")
    )
    assert days == ["2018-01-01", "2018-01-02", "2018-01-03"]


def test_a_sweep_with_one_mistake_runs_nothing(checkout: Path, unrolled: Unrolled) -> None:
    before = set((checkout / "outputs").iterdir())
    asked = ["task=energy", "model=rnn", "trainer=smoke", "encoder.hidden_size=7,-7"]
    assert "error: encoder.hidden_size=-7" in unrolled("train", "-m", *asked, fails=True)
    assert set((checkout / "outputs").iterdir()) == before


def test_predict_says_the_day_after_the_last_row(checkout: Path, unrolled: Unrolled, tmp_path: Path) -> None:
    told = unrolled("predict", "task=energy", "model=rnn")
    assert re.search(r"last known: 2017-12-31 +[\d,.]+ GWh\nforecast:   2018-01-01 +[\d,.]+ GWh\n", told)
    lines = (checkout / "data/raw/energy/opsd_germany_daily.csv").read_text().splitlines()
    (tmp_path / "mine.csv").write_text("\n".join(lines[:101]) + "\n")
    assert "forecast:   2006-04-11" in unrolled("predict", "task=energy", "model=rnn", f"input={tmp_path}/mine.csv")
    (tmp_path / "mine.csv").write_text("\n".join(lines[:20]) + "\n")
    told = unrolled("predict", "task=energy", "model=rnn", f"input={tmp_path}/mine.csv", fails=True)
    assert "error: 19 rows are too few: a context of 33 needs 33" in told
    assert "error: " in unrolled("predict", "task=energy", "model=rnn", f"input={tmp_path}/none.csv", fails=True)


def test_generate_writes_the_same_text_for_the_same_seed(unrolled: Unrolled) -> None:
    asked = ["generate", "task=shakespeare", "model=gru", "prompt=ROMEO:", "length=60", "temperature=0.8", "top_k=40"]
    told = unrolled(*asked, "seed=3")
    assert told.startswith("ROMEO:")
    assert len(told) == len("ROMEO:") + 60 + 1
    assert unrolled(*asked, "seed=3") == told
    assert unrolled(*asked, "seed=4") != told
    beside = unrolled(*asked, "seed=3", "streams=2")
    assert beside == f"--- seed 3\n{told}--- seed 4\n{unrolled(*asked, 'seed=4')}"
    reduced = unrolled(*asked, "precision=bf16-mixed")
    assert "ROMEO:" in reduced
    assert ("is emulated; 32-true is many times as fast here" in reduced) is not cpu_has_bf16()
    assert "precision 'bf16'; add precision=NAME, one of: 32-true, bf16-mixed" in unrolled(
        *asked, "precision=bf16", fails=True
    )
    refused = unrolled("generate", "prompt=日本", fails=True)
    assert "the character '日' at position 0 of the prompt is not in the training text" in refused
    assert "is not a language model" in unrolled("generate", "task=energy", "model=rnn", fails=True)


def test_describe_follows_a_real_batch(unrolled: Unrolled) -> None:
    told = unrolled("describe", "task=energy", "model=cnn_lstm")
    assert "(64 examples, 33 time steps, 1 feature)" in told
    assert "Why 33 steps in give 33 outputs a filter" in told
    assert "(32 examples, 64 time steps)" in unrolled("describe", "task=shakespeare", "model=gru")


def test_track_completes_a_store_that_was_lost(checkout: Path, unrolled: Unrolled, run: str) -> None:
    store = checkout / "mlflow.db"
    kept = store.rename(checkout / "mlflow.db.away")
    told = unrolled("track")
    assert "data/models/energy-gru-0: mirrored" in told
    assert f"{run}: mirrored" in told
    assert "already complete" in unrolled("track")
    store.unlink()
    kept.rename(store)


def test_a_window_that_does_not_fit_is_refused_before_training(unrolled: Unrolled) -> None:
    told = unrolled("train", "task=energy", "model=gru", "window.context=5000", fails=True)
    assert "error: energy: context 5000 + horizon 1 needs 5001 rows in the train split" in told
    assert "Traceback" not in told
