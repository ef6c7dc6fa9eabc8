"""A model is sized by its data, refuses what cannot work, and comes back from its folder as it was."""

from pathlib import Path
from typing import Any

import pytest
import torch
from trainedfolders import config_for, write_trained
from windowsets import example_windows, known_windows, series_windows, text_windows

from unrolled.batches import ExampleWindows, SeriesWindows, in_order
from unrolled.errors import UserError
from unrolled.model import build, count_parameters, load

WINDOWS = {"series": series_windows, "examples": example_windows, "text": text_windows}


def _config(kind: str, **encoder: Any) -> dict[str, Any]:
    config = config_for(WINDOWS[kind]())
    config["encoder"] |= encoder
    return config


@pytest.mark.parametrize("kind", WINDOWS)
def test_a_model_folder_gives_the_same_model_back(kind: str, tmp_path: Path) -> None:
    windows = WINDOWS[kind]()
    folder = write_trained(tmp_path, windows)
    torch.manual_seed(0)
    model, again = build(config_for(windows), windows.meta), load(folder)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])
    assert not again.training


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda folder: (folder / "weights.safetensors").write_bytes(b"not weights"), "SafetensorError"),
        (lambda folder: (folder / "weights.safetensors").unlink(), "FileNotFoundError"),
        (lambda folder: (folder / "config.yaml").write_text("encoder: {"), "did not find expected node"),
        (
            lambda folder: (folder / "config.yaml").write_text("a: &a [x]\nhead: {name: [*a, *a]}"),
            "line 2: it has the alias *a",
        ),
        (lambda folder: (folder / "meta.json").write_text("[" * 100_000), "RecursionError"),
        (lambda folder: (folder / "meta.json").write_text("{}"), "KeyError"),
    ],
)
def test_a_damaged_folder_is_refused(damage: Any, told: str, tmp_path: Path) -> None:
    folder = write_trained(tmp_path, series_windows())
    damage(folder)
    with pytest.raises(UserError, match="is no whole model folder") as refused:
        load(folder)
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "section", "values", "told"),
    [
        ("series", "head", {"name": "classify"}, "head.name='classify' does not fit ramp, which needs 'forecast'"),
        ("series", "head", {"loss": "cross_entropy"}, "head.loss='cross_entropy' does not fit"),
        ("series", "head", {"pool": "mean_max"}, "head.pool='mean_max' does not fit"),
        ("series", "head", {"skip": 5}, "head.skip=5 leaves nothing of a context of 5"),
        ("series", "encoder", {"embedding_size": 3}, "has numbers, not symbols"),
        ("text", "encoder", {"embedding_size": None}, "expected a whole number, at least 1"),
        (
            "series",
            "encoder",
            {"name": "transformer"},
            "unknown encoder.name 'transformer'; valid: cnn, cnn_bilstm, cnn_lstm",
        ),
        ("series", "encoder", {"hidden_size": -4}, "encoder.hidden_size=-4: expected a whole number, at least 1"),
        ("series", "encoder", {"hidden_size": 2.5}, "encoder.hidden_size=2.5: expected a whole number"),
        ("series", "encoder", {"dropout": 1.0}, "encoder.dropout=1.0: expected a number, at least 0 and below 1"),
        ("series", "encoder", {"bidirectional": 1}, "encoder.bidirectional=1: expected true or false"),
        ("series", "encoder", {"kernel_size": 3}, "unknown key in encoder: 'kernel_size'; valid for gru:"),
        ("series", "head", {"label_smoothing": 0.1}, "only a classifier's labels are smoothed; set it to 0"),
        ("series", "encoder", {"known": ["day"]}, "expected null: this task knows nothing ahead"),
        ("text", "encoder", {"known": ["day"]}, "nothing is known ahead of a text"),
        ("text", "encoder", {"bidirectional": True}, "each step would have seen its own target"),
    ],
)
def test_what_cannot_work_is_refused(kind: str, section: str, values: dict[str, Any], told: str) -> None:
    config = _config(kind)
    config[section] = config[section] | values
    with pytest.raises(UserError) as refused:
        build(config, WINDOWS[kind]().meta)
    assert told in str(refused.value)


def test_a_last_step_needs_an_encoder_that_sees_the_context() -> None:
    cnn = {"name": "cnn", "hidden_size": 4, "num_layers": 1, "kernel_size": 2, "levels": 1}
    dropout = {"input_dropout": 0.0, "dropout": 0.0, "output_dropout": 0.0}
    config = _config("series") | {"encoder": cnn | dropout | {"embedding_size": None}}
    with pytest.raises(UserError, match="sees 2 steps back, but the context has 5"):
        build(config, series_windows().meta)
    config["encoder"] |= {"levels": None}
    assert build(config, series_windows().meta).encoder.receptive_field >= 5


def test_both_ways_reads_every_step_of_an_example() -> None:
    windows = example_windows()
    config = _config("examples", bidirectional=True)
    config["head"] = config["head"] | {"pool": "mean_max"}
    model = build(config, windows.meta)
    assert model.pool.out_features == 4 * 2 * 2  # units, directions, mean and maximum
    batch = next(in_order(ExampleWindows(windows, "train"), 6))
    assert model.predict(batch).values.shape == (6, 3)


def test_predictions_are_in_physical_units_or_probabilities() -> None:
    windows = series_windows()
    batch = next(in_order(SeriesWindows(windows, "test", every_step=False), 4))
    model = build(_config("series"), windows.meta).eval()
    values = model.predict(batch).values
    assert values.shape == (4, 1)
    assert values.dtype == torch.float64
    assert (values > 50).all(), "around the level of the data, not around zero"
    probabilities = build(_config("examples"), example_windows().meta).eval()
    batch = next(in_order(ExampleWindows(example_windows(), "test"), 4))
    assert probabilities.predict(batch).values.sum(dim=1).tolist() == pytest.approx([1.0] * 4)


def test_a_forecast_without_its_anchor_is_no_forecast() -> None:
    windows = series_windows(name="log_return")
    batch = next(in_order(SeriesWindows(windows, "test", every_step=False), 4))
    model = build(_config("series"), windows.meta)
    assert model.predict(batch).values.shape == (4, 1)
    with pytest.raises(ValueError, match="needs batch.anchor"):
        model.predict(batch._replace(anchor=None))


def test_parameters_are_counted() -> None:
    model = build(_config("series"), series_windows().meta)
    assert count_parameters(model) == 3 * 4 * (1 + 4 + 2) + 4 + 1  # three gates, two biases each, and the readout


@pytest.mark.parametrize("groups", [[], ["day"], ["year"], ["day", "year"], None])
def test_a_model_sees_of_what_is_known_ahead_the_named_groups_only(groups: list[str] | None) -> None:
    windows = known_windows(horizon=2)
    config = config_for(windows)
    config["encoder"] |= {"known": groups}
    model = build(config, windows.meta).eval()
    batch = SeriesWindows(windows, "test", every_step=False).__getitems__([0])
    batch = batch._replace(inputs=batch.inputs / 1000)  # no gate is full
    plain = model.predict(batch).values
    for column, name in enumerate(("value", "day", "day", "year", "year")):
        inputs = batch.inputs.clone()
        inputs[..., column] += 0.1
        changed = not torch.equal(model.predict(batch._replace(inputs=inputs)).values, plain)
        assert changed == (name == "value" or groups is None or name in groups), name
    config["encoder"]["known"] = ["weekday"]
    with pytest.raises(UserError, match="expected a list of some of day, year, or null for all"):
        build(config, windows.meta)
