"""Ensembles: weighted averages of what is on disk, their weights from validation alone, judged like any model."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from judgedtasks import CONFIG, series_table, write_baselines, write_cell
from windowsets import example_windows, series_windows, text_windows

from unrolled.ensemble import main, make_ensemble
from unrolled.errors import UserError
from unrolled.judge import judge_task
from unrolled.mixture import ABSOLUTE_ERROR, BLOCKS, LIKELIHOOD, candidates, equal, fitted, least_absolute, likeliest
from unrolled.predicted import Predicted
from unrolled.temperature import best_temperature, tempered
from unrolled.windowset import SplitName, WindowSet, digest_of, save_windows

SPLITS: tuple[SplitName, ...] = ("validation", "test")
RNG = np.random.default_rng(0)
Tables = dict[SplitName, pd.DataFrame]


@pytest.fixture(autouse=True)
def _same_chance_for_every_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "RNG", np.random.default_rng(0))


def _renamed(windows: WindowSet, splits: dict[str, list[int]], task: str) -> WindowSet:
    meta = {k: v for k, v in windows.meta.items() if k != "digest"} | {"splits": splits, "task": task}
    return WindowSet(meta | {"digest": digest_of(meta, windows.arrays)}, windows.arrays)


@pytest.fixture
def days() -> WindowSet:
    """A series with 200 days of validation and 200 of test."""
    return _renamed(series_windows(450), {"train": [6, 50], "validation": [50, 250], "test": [250, 450]}, "energy")


@pytest.fixture
def letters() -> WindowSet:
    return text_windows(3250)


def _forecasts(windows: WindowSet, spread: float, bias: float = 0.0) -> Tables:
    """Forecasts that are off by chance, differently each time."""
    series = windows.arrays["series"][:, 0]
    found = series + RNG.normal(bias, spread, len(series)) if spread else series + bias
    return {split: series_table(windows, split, found[slice(*windows.split(split))]) for split in SPLITS}


def _text(windows: WindowSet, probability: Any) -> Tables:
    tables: Tables = {}
    for split in SPLITS:
        low, high = windows.split(split)
        given = {"position": np.arange(low, high), "actual": windows.arrays["tokens"][low:high].astype(np.int64)}
        loss = np.broadcast_to(-np.log(probability(np.arange(low, high))), high - low).astype(np.float32)
        tables[split] = pd.DataFrame(given | {"loss_nats": loss})
    return tables


def _cell(name: str, tables: Tables, parameters: int = 100) -> Predicted:
    about = {"identity": name.ljust(64, "0"), "parameters": parameters}
    return Predicted(name, about, tables["validation"], tables["test"])


def _baseline(name: str, tables: Tables) -> Predicted:
    return Predicted(name, {"about": f"what {name} does", "simple": True}, tables["validation"], tables["test"])


def _mae(table: pd.DataFrame) -> float:
    return float((table["actual"] - table["predicted"]).abs().mean())


# -- choosing weights


def test_the_linear_programme_finds_the_least_absolute_error() -> None:
    errors = RNG.normal([0.5, -1.0, 0.0], [1.0, 2.0, 3.0], (80, 3))
    weights = least_absolute(errors)
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1)
    grid = [(a / 50, b / 50, 1 - a / 50 - b / 50) for a in range(51) for b in range(51 - a)]
    assert np.abs(errors @ weights).mean() <= min(np.abs(errors @ np.array(w)).mean() for w in grid) + 1e-9


def test_the_likeliest_mixture_has_no_better_neighbour() -> None:
    probabilities = RNG.uniform(0.01, 1, (500, 4)) * [1.0, 0.9, 0.5, 0.1]
    weights = likeliest(probabilities)
    mixed = probabilities @ weights
    # Of a convex loss: no member would gain by more weight (Karush, Kuhn and Tucker).
    assert (probabilities / mixed[:, None]).mean(axis=0).max() <= 1 + 1e-5
    assert weights.sum() == pytest.approx(1)


@pytest.mark.parametrize("criterion", [ABSOLUTE_ERROR, LIKELIHOOD], ids=lambda criterion: criterion.name)
def test_a_perfect_member_gets_all_weight(criterion: Any) -> None:
    others = RNG.uniform(0.1, 0.9, (60, 2))
    perfect = np.full((60, 1), 0.0 if criterion is ABSOLUTE_ERROR else 1.0)
    values = np.concatenate([others[:, :1], perfect, others[:, 1:]], axis=1)
    for candidate in candidates(values, 3, criterion):
        assert candidate.weights.tolist() == [0, 1, 0], candidate.name
        assert candidate.loss == pytest.approx(0)


def test_equal_weights_go_to_as_many_as_help() -> None:
    error = RNG.normal(0, 1, 400)
    values = np.stack([error, 50 + error, -error + 0.01], axis=1)
    assert equal(values, ABSOLUTE_ERROR).tolist() == [0.5, 0, 0.5]


def test_fitted_weights_are_whole_hundredths_with_the_sum_1() -> None:
    weights = fitted(RNG.normal(0, 1, (99, 7)), ABSOLUTE_ERROR)
    assert np.array_equal(np.round(weights, 2), weights)
    assert weights.sum() == pytest.approx(1, abs=1e-12)


def test_what_a_block_is_mixed_with_was_chosen_on_the_others() -> None:
    values = RNG.normal(0, [1.0, 1.2, 2.0], (100, 3))
    changed = values.copy()
    changed[:20] *= [100.0, 1.0, -3.0]
    for before, after in zip(*(candidates(v, 2, ABSOLUTE_ERROR) for v in (values, changed)), strict=True):
        assert np.array_equal(before.held_out[:20], after.held_out[:20]), before.name
    assert BLOCKS == 5, "the first 20 of 100 rows are a block"


# -- ensembles of tables


def test_weights_come_from_validation_alone(days: WindowSet) -> None:
    cells = [_cell(f"{model}-0", _forecasts(days, 3)) for model in ("gru", "lstm")]
    first, tables = make_ensemble(days, cells, [])
    moved = [
        Predicted(c.name, c.about, c.validation, c.test.assign(predicted=c.test["predicted"] * (5 + i)))  # type: ignore[union-attr]
        for i, c in enumerate(cells)
    ]
    second, others = make_ensemble(days, moved, [])
    assert first == second
    assert first["members"]
    assert tables["validation"].equals(others["validation"])
    assert not tables["test"].equals(others["test"])


def test_two_members_with_independent_errors_beat_each(days: WindowSet) -> None:
    cells = [
        _cell(f"{model}-0", _forecasts(days, 3), parameters) for model, parameters in (("gru", 300), ("lstm", 500))
    ]
    meta, tables = make_ensemble(days, cells, [])
    assert all(_mae(tables["test"]) < 0.85 * _mae(cell.test) for cell in cells)  # type: ignore[arg-type]
    assert all(0.3 < member["weight"] < 0.7 for member in meta["members"].values())
    assert sum(member["weight"] for member in meta["members"].values()) == pytest.approx(1)
    assert meta["parameters"] == 800
    assert list(tables["test"]) == ["date", "step", "actual", "predicted", "anchor"]


def test_what_validation_says_of_an_ensemble_is_the_held_out_loss(days: WindowSet) -> None:
    cells = [_cell(f"{model}-0", _forecasts(days, spread)) for model, spread in (("gru", 2), ("lstm", 3), ("rnn", 4))]
    meta, tables = make_ensemble(days, cells, [])
    assert meta["chosen"] == "fitted weights over models"
    weights = [meta["members"][name]["weight"] for name in ("gru", "lstm", "rnn")]
    flattered = cells[0].validation.assign(  # type: ignore[union-attr]
        predicted=sum(w * cell.validation["predicted"] for w, cell in zip(weights, cells, strict=True))  # type: ignore[index]
    )
    least = min(way["validation_loss"] for way in meta["candidates"])
    assert _mae(tables["validation"]) == pytest.approx(least)
    assert _mae(flattered) < least


def test_seeds_are_averaged_before_models_are_weighed(days: WindowSet) -> None:
    seeds = [_forecasts(days, 0, bias) for bias in (2.0, -2.0)]
    meta, tables = make_ensemble(
        days, [_cell("gru-0", seeds[0]), _cell("gru-1", seeds[1]), _cell("rnn-0", _forecasts(days, 5))], []
    )
    assert {name: member["weight"] for name, member in meta["members"].items()} == {"gru": 1}
    assert meta["about"] == "1.00 gru (2 seeds): best model, chosen on validation"
    assert meta["parameters"] == 200
    assert _mae(tables["test"]) == pytest.approx(0)


def test_a_baseline_joins_where_it_helps_and_only_there(days: WindowSet) -> None:
    cells = [_cell("gru-0", _forecasts(days, 2)), _cell("lstm-0", _forecasts(days, 2))]
    helps, far = _baseline("ridge", _forecasts(days, 2)), _baseline("drift", _forecasts(days, 5, 80))
    meta, _ = make_ensemble(days, cells, [helps, far])
    assert set(meta["members"]) == {"gru", "lstm", "ridge"}
    assert meta["chosen"].endswith("over models and baselines")
    assert meta["parameters"] == 200, "a baseline's are not counted"
    meta, _ = make_ensemble(days, cells, [far])
    assert set(meta["members"]) == {"gru", "lstm"}
    assert set(meta["validation_losses"]) == {"gru", "lstm", "drift"}


def test_quantiles_are_averaged_where_all_members_have_them(days: WindowSet) -> None:
    def with_quantiles(tables: Tables) -> Tables:
        return {s: t.assign(**{"q0.05": t["predicted"] - 4, "q0.5": t["predicted"]}) for s, t in tables.items()}

    first, second = with_quantiles(_forecasts(days, 2)), with_quantiles(_forecasts(days, 2))
    _, tables = make_ensemble(days, [_cell("gru-0", first), _cell("lstm-0", second)], [])
    assert list(tables["test"])[5:] == ["q0.05", "q0.5"]
    assert np.allclose(tables["test"]["q0.05"], tables["test"]["predicted"] - 4)
    _, tables = make_ensemble(days, [_cell("gru-0", first), _cell("lstm-0", _forecasts(days, 2))], [])
    assert list(tables["test"]) == list(tables["validation"]) == ["date", "step", "actual", "predicted", "anchor"]


def test_a_mixture_of_texts_is_exact(letters: WindowSet) -> None:
    gru = _text(letters, lambda rows: np.where(rows % 2, 0.9, 0.1))
    n_gram = _text(letters, lambda rows: np.where(rows % 3, 0.3, 0.8))
    meta, tables = make_ensemble(letters, [_cell("gru-0", gru)], [_baseline("n_gram", n_gram)])
    weight = meta["members"]["gru"]["weight"]
    assert 0 < weight < 1
    mixed = weight * np.exp(-gru["test"]["loss_nats"]) + (1 - weight) * np.exp(-n_gram["test"]["loss_nats"])
    assert np.allclose(tables["test"]["loss_nats"], -np.log(mixed), atol=1e-6)
    assert list(tables["test"]) == ["position", "actual", "loss_nats"], "of the likeliest character nothing is known"
    assert meta["about"].startswith(f"{weight:.2f} gru + " if weight > 0.5 else f"{1 - weight:.2f} n_gram + ")


def test_classifiers_are_mixed_by_their_probabilities() -> None:
    windows = _renamed(example_windows(250), {"train": [0, 50], "validation": [50, 150], "test": [150, 250]}, "patches")
    actual = windows.arrays["targets"].astype(np.int64)

    def cell(name: str, sure: np.ndarray) -> Predicted:
        tables: Tables = {}
        for split in SPLITS:
            rows = np.arange(*windows.split(split))
            shares = np.where(np.arange(3) == actual[rows, None], sure[rows, None], (1 - sure[rows, None]) / 2)
            columns = {f"p{number}": shares[:, number].astype(np.float32) for number in range(3)}
            given = {"index": rows, "actual": actual[rows], "predicted": shares.argmax(axis=1)}
            tables[split] = pd.DataFrame(given | columns)
        return _cell(name, tables)

    # Each is wrong, but not sure of it, where the other is right and sure.
    half = np.arange(250) % 2 == 0
    cells = [cell("cnn-0", np.where(half, 0.9, 0.2)), cell("gru-0", np.where(half, 0.2, 0.9))]
    _, tables = make_ensemble(windows, cells, [])
    assert (tables["test"]["predicted"] == tables["test"]["actual"]).all()
    assert np.allclose(tables["test"][["p0", "p1", "p2"]].sum(axis=1), 1)
    assert list(tables["test"].dtypes) == list(cells[0].test.dtypes)  # type: ignore[union-attr]


def test_the_right_temperature_is_found_and_changes_no_mind() -> None:
    sure = RNG.dirichlet([0.3, 0.3, 0.3], 4000)
    actual = np.array([RNG.choice(3, p=row) for row in sure])
    for temperature in (0.4, 1.0, 2.5):
        told = tempered(sure, 1 / temperature)  # a classifier that is as wrongly sure as that
        assert best_temperature(told, actual) == pytest.approx(temperature, rel=0.08)
        assert np.allclose(tempered(told, temperature), sure)
        assert (told.argmax(axis=1) == sure.argmax(axis=1)).all()
    assert np.allclose(tempered(np.array([[0.0, 1e-300, 1.0]]), 0.2).sum(), 1)


def test_a_classifier_that_knows_more_has_more_weight_however_sure_it_is() -> None:
    windows = _renamed(
        example_windows(2050), {"train": [0, 50], "validation": [50, 1050], "test": [1050, 2050]}, "patches"
    )
    actual = windows.arrays["targets"].astype(np.int64)

    def cell(name: str, right: float, temperature: float) -> Predicted:
        scores = RNG.normal(0, 1, (2050, 3)) + right * (np.arange(3) == actual[:, None])
        odds = np.exp(right * scores)  # what is known of three normal scores, one of which is shifted
        shares = tempered(odds / odds.sum(axis=1, keepdims=True), temperature)
        tables: Tables = {}
        for split in SPLITS:
            rows = np.arange(*windows.split(split))
            columns = {f"p{number}": shares[rows, number].astype(np.float32) for number in range(3)}
            given = {"index": rows, "actual": actual[rows], "predicted": shares[rows].argmax(axis=1)}
            tables[split] = pd.DataFrame(given | columns)
        return _cell(name, tables)

    meta, _ = make_ensemble(windows, [cell("smoothed-0", 3, 4.0), cell("sharp-0", 2, 1.0)], [])
    assert meta["members"]["smoothed"]["weight"] > meta["members"]["sharp"]["weight"] > 0
    assert meta["members"]["smoothed"]["temperature"] == pytest.approx(0.25, rel=0.15)
    assert meta["members"]["sharp"]["temperature"] == pytest.approx(1, rel=0.15)


def test_nothing_to_combine_is_said_and_leaves_no_tables(days: WindowSet) -> None:
    alone, far = _cell("gru-0", _forecasts(days, 1)), _baseline("drift", _forecasts(days, 1, 90))
    meta, tables = make_ensemble(days, [alone], [far])
    assert meta["about"] == "nothing to combine: on validation no mixture is better than gru alone"
    assert (meta["members"], tables, meta["cells"]) == ({}, {}, {"gru-0": alone.about["identity"]})
    baselines = [_baseline(name, _forecasts(days, 0, bias)) for name, bias in (("arima", 0.1), ("ridge", -0.1))]
    meta, tables = make_ensemble(days, [alone], baselines)
    assert meta["about"].endswith("better than gru alone"), "baselines alone are no ensemble"
    assert min(way["validation_loss"] for way in meta["candidates"]) < 0.1
    meta, tables = make_ensemble(days, [], [far])
    assert (meta["about"], tables) == ("nothing to combine: no model was evaluated", {})
    few = _renamed(days, {"train": [6, 50], "validation": [50, 59], "test": [59, 450]}, "energy")
    meta, tables = make_ensemble(few, [_cell("gru-0", _forecasts(few, 1)), _cell("gru-1", _forecasts(few, 1))], [])
    assert (meta["about"], tables) == ("nothing to combine: 9 rows of validation are too few to choose weights on", {})


def test_other_rows_are_refused(days: WindowSet) -> None:
    right, short = _forecasts(days, 1), _forecasts(days, 1)
    short["test"] = short["test"].iloc[:-1]
    with pytest.raises(
        UserError,
        match=r"energy: the test rows of rnn-0 \(199\) are not those of gru-0 \(200\); .* --force evaluate@energy-rnn-0",
    ):
        make_ensemble(days, [_cell("gru-0", right), _cell("rnn-0", short)], [])
    later = {split: table.assign(actual=table["actual"] + 1) for split, table in right.items()}
    with pytest.raises(UserError, match="the validation rows of ridge .* dvc repro --force baseline@energy"):
        make_ensemble(days, [_cell("gru-0", right)], [_baseline("ridge", later)])
    lost = Predicted("rnn-0", {"identity": "0", "parameters": 1}, None, right["test"])
    with pytest.raises(UserError, match=r"rnn-0 of energy has no validation.parquet; .*evaluate@energy-rnn-0"):
        make_ensemble(days, [_cell("gru-0", right), lost], [])


def test_the_identity_is_that_of_its_members_and_their_weights(days: WindowSet) -> None:
    tables = [_forecasts(days, 2), _forecasts(days, 2)]
    first, _ = make_ensemble(days, [_cell("gru-0", tables[0]), _cell("rnn-0", tables[1])], [])
    again, _ = make_ensemble(days, [_cell("gru-0", tables[0]), _cell("rnn-0", tables[1])], [])
    other = Predicted("rnn-0", {"identity": "f" * 64, "parameters": 100}, *(tables[1][split] for split in SPLITS))
    trained_anew, _ = make_ensemble(days, [_cell("gru-0", tables[0]), other], [])
    assert first["identity"] == again["identity"] != trained_anew["identity"]
    assert len(first["identity"]) == 64


# -- the stage, and what judge makes of it


@pytest.fixture
def checkout(tmp_path: Path, days: WindowSet, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("unrolled.checkout.project_root", lambda: tmp_path)
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    (tmp_path / "data/windows/energy").mkdir(parents=True)
    save_windows(days, tmp_path / "data/windows/energy")
    for name in ("gru-0", "gru-1", "lstm-0"):
        write_cell(tmp_path, days, name, _forecasts(days, 3), identity=name.ljust(64, "0"))  # type: ignore[arg-type]
    write_baselines(tmp_path, days, {"persistence": _forecasts(days, 20)})  # type: ignore[dict-item]
    return tmp_path


def _files(checkout: Path) -> dict[str, bytes]:
    found = [*checkout.glob("data/ensembles/**/*.*"), *checkout.glob("reports/**/*.*")]
    return {path.relative_to(checkout).as_posix(): path.read_bytes() for path in found}


def _judgement(checkout: Path, windows: WindowSet) -> dict[str, Any]:
    places = [checkout / "data" / name / "energy" for name in ("predictions", "ensembles", "baselines")]
    return judge_task(windows, *places, CONFIG).summary()


def test_the_stage_repeats_to_the_byte(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["task=energy"])
    assert " gru (2 seeds)" in capsys.readouterr().out
    first = _files(checkout)
    assert set(first) == {
        *(f"data/ensembles/energy/{name}" for name in ("validation.parquet", "test.parquet", "meta.json")),
        "reports/energy/ensemble/0/metrics.json",
    }
    main(["task=energy"])
    assert _files(checkout) == first


def test_an_ensemble_is_judged_like_any_model(checkout: Path, days: WindowSet) -> None:
    main(["task=energy"])
    metrics = json.loads((checkout / "reports/energy/ensemble/0/metrics.json").read_text())
    about = json.loads((checkout / "data/ensembles/energy/meta.json").read_text())
    told = _judgement(checkout, days)
    assert told["cells"]["ensemble-0"]["mae"] == metrics["mae"] < told["models"]["gru"]["value"]
    assert told["cells"]["ensemble-0"]["identity"] == about["identity"]
    assert told["cells"]["ensemble-0"]["interval"]["coverage_90"] == pytest.approx(0.9, abs=0.06)
    assert told["models"]["ensemble"]["about"] == about["about"]
    assert told["models"]["ensemble"]["verdict"] == "beats"
    assert "about" not in told["models"]["gru"]
    assert {"mae", "rmse", "mape", "mase", "validation_mae", "n_test", "parameters", "data_source"} < set(metrics)


def test_judge_goes_on_without_an_ensemble_if_there_is_nothing_to_combine(checkout: Path, days: WindowSet) -> None:
    write_baselines(checkout, days, {"persistence": _forecasts(days, 20, 500)})  # type: ignore[dict-item]
    for name in ("gru-1", "lstm-0"):
        (checkout / f"data/predictions/energy/{name}/meta.json").unlink()
    main(["task=energy"])
    assert (checkout / "reports/energy/ensemble/0/metrics.json").read_text() == "{}\n"
    assert [path.name for path in (checkout / "data/ensembles/energy").iterdir()] == ["meta.json"]
    assert set(_judgement(checkout, days)["cells"]) == {"gru-0"}


def test_an_ensemble_of_other_cells_or_data_is_not_judged(checkout: Path, days: WindowSet) -> None:
    with pytest.raises(UserError, match=r"there is no ensemble in .*; make it with: dvc repro ensemble@energy"):
        _judgement(checkout, days)
    main(["task=energy"])
    write_cell(checkout, days, "rnn-0", _forecasts(days, 3))  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"other cells than are here now \(rnn-0\); run: dvc repro ensemble@energy"):
        _judgement(checkout, days)
    meta = checkout / "data/ensembles/energy/meta.json"
    meta.write_text(json.dumps(json.loads(meta.read_text()) | {"data_digest": "f" * 64}))
    with pytest.raises(UserError, match=r"the ensemble was made on data ffffffffffff, .* dvc repro ensemble@energy"):
        _judgement(checkout, days)


def test_predictions_of_other_data_are_not_combined(checkout: Path, days: WindowSet) -> None:
    write_cell(checkout, days, "gru-0", {}, data_digest="f" * 64)
    with pytest.raises(
        SystemExit, match=r"gru-0 was predicted on data ffffffffffff, .* dvc repro evaluate@energy-gru-0"
    ):
        main(["task=energy"])
