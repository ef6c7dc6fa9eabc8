"""The guard finds each leak that was put in on purpose, by name, and finds none where there is none."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import leakfixtures as planted
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from conftest import ROOT, clean_environment

from unrolled import shuffledtargets
from unrolled.batch import Batch
from unrolled.commands import check
from unrolled.config import compose_config
from unrolled.dataset import RawData
from unrolled.errors import UserError
from unrolled.lagone import check_lag_one, is_echo, lagged
from unrolled.leakguard import check_all, check_future, check_split
from unrolled.leakpipeline import Finding, Pipeline, looked_at, pipeline_of
from unrolled.perturbation import shuffle_targets
from unrolled.shuffledtargets import beats, check_shuffled_targets
from unrolled.taskmodule import task_module, task_names

KINDS = ("series", "examples", "text")


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Leaks as plain as the planted ones are learned in few steps."""
    if not request.node.get_closest_marker("slow"):
        monkeypatch.setattr(shuffledtargets, "STEPS", 100)


def _future(pipeline: Pipeline, kind: str) -> dict[str, Finding]:
    data = planted.raw(kind)
    return {finding.check: finding for finding in check_future(data, pipeline.windows(data), pipeline)}


def _shuffled(pipeline: Pipeline, kind: str) -> Finding:
    data = planted.raw(kind)
    return check_shuffled_targets(data, pipeline.windows(data), pipeline)


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_leak_none_is_found(kind: str, tmp_path: Path) -> None:
    found = list(check_all(planted.raw(kind), planted.pipeline(kind), tmp_path))
    assert [finding.check for finding in found] == [
        "split",
        "windows",
        "batches",
        "predictions",
        "weights",
        "shuffled targets",
        "lag one",
    ]
    assert {finding.verdict for finding in found[:-1]} == {"ok"}, found
    assert found[-1].verdict == "skipped"


@pytest.mark.parametrize("pool", ["last", "every"])
@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize("name", ["level", "log_return", "min_max"])
def test_no_way_to_cut_a_series_is_called_a_leak(name: str, horizon: int, pool: str) -> None:
    pipeline = planted.pipeline("series", name, pool, horizon)
    assert {finding.verdict for finding in _future(pipeline, "series").values()} == {"ok"}
    data = planted.raw("series")
    assert check_split(pipeline.windows(data), pipeline).verdict == "ok"


@pytest.mark.parametrize(
    ("pipeline", "kind", "check", "told"),
    [
        (planted.scaler_of_all_rows, "series", "windows", "transform depends on rows after train"),
        (planted.scaler_of_all_examples, "examples", "windows", "scaler depends on rows after train"),
        (planted.vocabulary_of_the_whole_text, "text", "windows", "vocabulary has characters that training lacks"),
        (planted.smoothed_to_both_sides, "series", "windows", "earlier series depend on rows after train"),
        (planted.split_at_the_largest_value, "series", "windows", "splits depends on rows after train"),
        (
            lambda: planted.cut_by(planted.InputsOneRowLate),
            "series",
            "batches",
            "inputs of validation depend on rows after train",
        ),
        (
            lambda: planted.cut_by(planted.InputsOneRowLate),
            "series",
            "predictions",
            "outputs in validation depend on rows after train",
        ),
        (
            lambda: planted.cut_by(planted.TargetOneRowEarly),
            "series",
            "batches",
            "a target of validation is inside its own context",
        ),
        (
            lambda: planted.cut_by(planted.TargetSmoothed),
            "series",
            "batches",
            "targets of train depend on rows after train",
        ),
        (
            lambda: planted.cut_by(planted.AnchorOneRowLate, "log_return"),
            "series",
            "batches",
            "anchors of validation depend on rows after train",
        ),
        (
            lambda: planted.cut_by(planted.InputsOneCharacterLate),
            "text",
            "batches",
            "inputs of validation depend on rows after train",
        ),
        (
            lambda: planted.cut_by(planted.TrainingGoesOn),
            "series",
            "weights",
            "encoder.layer.weight_ih_l0 depends on rows after train",
        ),
        (
            lambda: planted.bidirectional("series"),
            "series",
            "predictions",
            "outputs in validation depend on rows after train",
        ),
        (
            lambda: planted.bidirectional("text"),
            "text",
            "predictions",
            "outputs in validation depend on rows after train",
        ),
    ],
)
def test_a_planted_leak_is_found_where_the_future_is_changed(
    pipeline: Callable[[], Pipeline], kind: str, check: str, told: str
) -> None:
    finding = _future(pipeline(), kind)[check]
    assert finding.verdict == "LEAK", finding
    assert told in finding.told


@pytest.mark.parametrize(
    ("pipeline", "kind"),
    [
        (lambda: planted.cut_by(planted.InputsOneRowLate), "series"),
        (lambda: planted.cut_by(planted.InputsOneRowLate, "log_return"), "series"),
        (lambda: planted.cut_by(planted.InputsOneCharacterLate), "text"),
        (lambda: planted.bidirectional("text"), "text"),
        (planted.class_among_the_pixels, "examples"),
    ],
)
def test_a_model_that_has_seen_its_target_learns_shuffled_ones(pipeline: Callable[[], Pipeline], kind: str) -> None:
    finding = _shuffled(pipeline(), kind)
    assert finding.verdict == "LEAK", finding
    assert finding.told.startswith("in each of 3 shuffles")


@pytest.mark.parametrize("name", ["log_return", "min_max"])
def test_shuffled_targets_of_a_clean_series_cannot_be_learned(name: str) -> None:
    assert _shuffled(planted.pipeline("series", name), "series").verdict == "ok"


@pytest.mark.parametrize(
    ("pipeline", "told"),
    [
        (lambda: planted.parts(validation=[390, 550]), "train (rows 6 to 400) and validation (390 to 550) overlap"),
        (lambda: planted.parts(test=[400, 500], validation=[500, 700]), "lies before an earlier one"),
        (lambda: planted.cut_by(planted.TrainingGoesOn), "a target of train is row 419, after its end 400"),
        (lambda: planted.cut_by(planted.TrainingGoesOn), "a target of train lies in validation"),
        (lambda: planted.cut_by(planted.TrainingGoesOn), "a training context reaches row 418"),
    ],
)
def test_a_split_that_leaks_is_found(pipeline: Callable[[], Pipeline], told: str) -> None:
    made = pipeline()
    finding = check_split(made.windows(planted.raw("series")), made)
    assert finding.verdict == "LEAK"
    assert told in finding.told


def test_build_refuses_the_bidirectional_encoder_that_the_guard_would_find() -> None:
    module = task_module("energy")
    config = compose_config(["task=energy", "model=gru", "encoder.bidirectional=true", "head.skip=0"], ROOT)
    meta = planted.pipeline("series").windows(planted.raw("series")).meta
    with pytest.raises(UserError, match="head.pool='every' needs a causal encoder"):
        pipeline_of(module, config).model(meta, 0)


def test_a_gain_counts_if_it_is_large_and_no_matter_of_luck() -> None:
    constant = np.ones(400)
    luck = np.random.default_rng(0).normal(0, 8, 400)
    assert beats(0.5 * constant, constant)
    assert not beats(0.97 * constant, constant), "within the tolerance"
    assert not beats(0.9 * constant + luck - luck.mean(), constant), "within the standard error"
    assert not beats(1.5 * constant, constant)


@pytest.mark.parametrize(("lucky", "verdict"), [((True, True, False), "ok"), ((True, True, True), "LEAK")])
def test_a_leak_shows_in_every_shuffle(lucky: tuple[bool, ...], verdict: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told = iter(lucky)
    monkeypatch.setattr(shuffledtargets, "STEPS", 1)
    monkeypatch.setattr(shuffledtargets, "beats", lambda loss, constant: next(told))
    assert _shuffled(planted.pipeline("examples"), "examples").verdict == verdict


@pytest.mark.parametrize(("name", "asked"), [("level", ((0, 400), False)), ("log_return", ((1, 400), True))])
def test_all_that_training_is_asked_for_is_shuffled_in_the_targets_space(
    name: str, asked: tuple[tuple[int, int], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []

    def shuffle(data: RawData, part: tuple[int, int], seed: int, returns: bool) -> RawData:
        told.append((part, returns))
        return shuffle_targets(data, part, seed, returns)

    monkeypatch.setattr(shuffledtargets, "STEPS", 1)
    monkeypatch.setattr(shuffledtargets, "beats", lambda loss, constant: False)
    monkeypatch.setattr(shuffledtargets, "shuffle_targets", shuffle)
    _shuffled(planted.pipeline("series", name), "series")
    assert told == [asked]


def test_a_forecaster_is_asked_for_the_mean_and_made_small() -> None:
    config = compose_config(["task=energy", "model=cnn", "encoder.filters=200", "head.skip=0"], ROOT)
    assert config["head"]["loss"] == "l1", "under which the best constant would be the median"
    meta = planted.pipeline("series").windows(planted.raw("series")).meta
    model = pipeline_of(task_module("energy"), config).model(meta, 0)
    assert model.head.loss_name == "mse"
    assert model.encoder.out_features == 32


@pytest.mark.parametrize("kind", KINDS)
def test_the_constant_is_the_training_targets_mean(kind: str) -> None:
    pipeline, data = planted.pipeline(kind), planted.raw(kind)
    windows = pipeline.windows(data)
    train, validation = (list(looked_at(pipeline.cut(windows, split))) for split in ("train", "validation"))
    model = pipeline.model(windows.meta, 0)
    with torch.no_grad():  # a model that is sure of one answer, so that its own mean is no better
        for parameter in model.head.readout.parameters():
            parameter.zero_()
        model.head.readout.bias[-1] = 9.0
    loss, constant, name = shuffledtargets.score(model, train, validation)
    seen, asked = (_scored(part) for part in (train, validation))
    if kind == "series":
        assert name == "the training mean"
        expected = ((asked - seen.mean()) ** 2).mean()
        assert loss.mean() == pytest.approx(((asked - 9.0) ** 2).mean(), rel=1e-5)
    else:
        assert name == "the training frequencies"
        counts = np.bincount(seen.astype(int), minlength=len(windows.meta.get("vocabulary", "abc"))) + 1
        expected = -np.log(counts / counts.sum())[asked.astype(int)].mean()
    assert constant.mean() == pytest.approx(expected, rel=1e-5)


def _scored(batches: list[Batch]) -> np.ndarray:
    return np.concatenate(
        [(b.target if b.target_mask is None else b.target[b.target_mask]).numpy().reshape(-1) for b in batches]
    )


@pytest.mark.parametrize("lacking", [{"validation": [400, 400]}, {"test": [600, 500]}])
def test_a_part_without_rows_is_refused(lacking: dict[str, list[int]]) -> None:
    pipeline = planted.parts(**lacking)
    with pytest.raises(UserError, match=f"but {next(iter(lacking))} must be there and not empty"):
        check_split(pipeline.windows(planted.raw("series")), pipeline)


def _series_of(changes: np.ndarray) -> np.ndarray:
    return 1000 + np.cumsum(changes)


def _write_predictions(folder: Path, predicted_changes: np.ndarray, changes: np.ndarray) -> None:
    actual = _series_of(changes)
    anchor = actual - changes
    folder.mkdir(parents=True)
    table = {"step": 1, "actual": actual, "predicted": anchor + predicted_changes, "anchor": anchor}
    further = {"step": 2, "actual": actual, "predicted": anchor + 9 * np.roll(changes, 1), "anchor": anchor}
    pd.concat([pd.DataFrame(table), pd.DataFrame(further)]).to_parquet(folder / "test.parquet")


def test_a_forecaster_that_copies_yesterdays_change_is_shown_to_a_person(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    changes = rng.normal(0, 1, 400)
    assert check_lag_one("series", tmp_path).verdict == "skipped"
    assert check_lag_one("text", tmp_path).verdict == "skipped"
    _write_predictions(tmp_path / "knowing-0", changes + rng.normal(0, 1, 400), changes)
    _write_predictions(tmp_path / "persistence-0", np.zeros(400), changes)
    _write_predictions(tmp_path / "noise-0", rng.normal(0, 1, 400), changes)
    assert check_lag_one("series", tmp_path).verdict == "ok"
    _write_predictions(tmp_path / "copying-0", np.roll(changes, 1) + rng.normal(0, 1, 400), changes)
    finding = check_lag_one("series", tmp_path)
    assert finding.verdict == "look at this"
    assert "copying-0 correlates" in finding.told
    assert "knowing-0" not in finding.told


def test_lags_are_counted_back_from_the_change_that_was_foretold() -> None:
    changes = np.array([1.0, -2.0, 4.0, 3.0, -5.0, 2.0, 0.5])
    for lag in range(3):
        found = lagged(np.roll(changes, lag), changes)
        assert found[lag] == pytest.approx(1.0)
        assert max(found) == found[lag]
    assert lagged(np.zeros(7), changes) == [0.0, 0.0, 0.0]
    assert is_echo([0.1, 0.3, 0.2], 100)
    assert not is_echo([0.1, 0.15, 0.1], 100), "chance"
    assert not is_echo([0.4, 0.3, 0.2], 100)


def _say(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "unrolled.cli", "check", *arguments],
        cwd=folder,
        env=clean_environment() | {"PYTHONPATH": "src"},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.slow
@pytest.mark.parametrize("task", task_names())
def test_no_leak_is_found_in_the_tasks_stand_ins(task: str, tmp_path: Path) -> None:
    module, config = task_module(task), compose_config([f"task={task}", "model=gru"], ROOT)
    module.stand_in(tmp_path)
    found = list(check_all(module.read(tmp_path), pipeline_of(module, config), tmp_path))
    assert [finding.verdict for finding in found] == ["ok"] * 6 + ["skipped"], found


MINE = """
import numpy as np
from unrolled.dataset import Series
from unrolled.dailycsv import read_daily_csv
from unrolled.rawfile import RawFile

LICENCE = ATTRIBUTION = "mine"
FILES = (RawFile("mine.csv", "0" * 64, (), "mine/mine.csv", 1000, 1000),)

def read(folder):
    return read_daily_csv(folder / "mine.csv", date_column="Day", value_column="Rain", unit="mm")

def split(data, gap):
    return {"train": (0, 300 - gap), "validation": (300, 400), "test": (400, 500)}

def stand_in(folder):
    raise NotImplementedError
"""


@pytest.mark.slow
def test_a_task_of_ones_own_is_searched_and_a_leak_ends_with_exit_code_1(tmp_path: Path) -> None:
    for name in ("src", "conf"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / "src/unrolled/tasks/mine.py").write_text(MINE)
    conf = yaml.safe_load((ROOT / "conf/task/energy.yaml").read_text()) | {"split": {"gap": 0}}
    conf["window"]["context"] = 12
    (tmp_path / "conf/task/mine.yaml").write_text("# @package _global_\n" + yaml.safe_dump(conf))
    missing = _say(tmp_path, "task=mine")
    assert missing.returncode == 1
    assert "error: there is no " in missing.stderr
    assert "mine.csv; put it there or run: dvc repro fetch@mine" in missing.stderr
    days = [date(2020, 1, 1) + timedelta(days=day) for day in range(500)]
    rain = np.random.default_rng(0).gamma(2, 3, 500)
    (tmp_path / "data/raw/mine").mkdir(parents=True)
    lines = ["Day,Rain", *(f"{day},{value:.2f}" for day, value in zip(days, rain, strict=True))]
    (tmp_path / "data/raw/mine/mine.csv").write_text("\n".join(lines) + "\n")
    clean = _say(tmp_path, "task=mine", "model=rnn")
    assert clean.returncode == 0, clean.stdout + clean.stderr
    assert [line.split()[0] for line in clean.stdout.splitlines()[1:]] == ["ok"] * 6 + ["skipped"]
    leaking = _say(tmp_path, "task=mine", "split.gap=-20")
    assert leaking.returncode == 1
    assert "LEAK          split " in leaking.stdout
    assert "train (rows 12 to 320) and validation (300 to 400) overlap" in leaking.stdout
    assert leaking.stderr.startswith("error: mine leaks (split")
    assert "Traceback" not in leaking.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["model=gru"], "error: no task was given"),
        (["task=enrgy"], "error: unknown task 'enrgy'"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as stopped:
        check.main(arguments)
    assert told in str(stopped.value)
    assert "\n" not in str(stopped.value)
