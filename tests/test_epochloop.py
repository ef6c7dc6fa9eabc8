"""The short step is Lightning's step: the same bits, steps, schedule, stops; and Lightning's own where it must be."""

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
from test_training import _config, _same, _train
from windowsets import series_windows, text_windows

from unrolled.epochloop import EpochLoop
from unrolled.model import build
from unrolled.training import assemble, fit, prepare_machine


@pytest.fixture
def lightnings_own(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that leaves every step to Lightning from then on."""
    return lambda: monkeypatch.setattr("unrolled.epochloop.can_be_short", lambda trainer: False)


CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "dropout": {"encoder": {"output_dropout": 0.3}},
    "bf16": {"trainer": {"precision": "bf16-mixed"}},
    "averaged": {"training": {"averaging": 0.9}},
    "stopped early": {"training": {"early_stopping": 1, "learning_rate": 0.3, "epochs": 20}},
    "few steps": {"trainer": {"max_steps": 7, "max_epochs": 4}},
    "few batches": {"trainer": {"limit_train_batches": 2}},
    "unclipped": {"training": {"gradient_clip": None}},
    "a bar": {"trainer": {"enable_progress_bar": True}},
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("task", ["energy", "shakespeare"])
def test_the_short_step_ends_at_lightnings_bits(name: str, task: str, tmp_path: Path, lightnings_own: Any) -> None:
    windows, config = (series_windows() if task == "energy" else text_windows()), _config(task)
    for section, values in CASES[name].items():
        config[section] |= values
    short, learned = _train(config, windows, tmp_path / "short")
    lightnings_own()
    whole, again = _train(config, windows, tmp_path / "whole")
    assert _same(short, whole)
    assert learned.history == again.history
    assert learned.steps == again.steps


@pytest.mark.parametrize(
    ("trainer", "short"),
    [
        ({}, True),
        ({"enable_progress_bar": True}, True),
        ({"precision": "bf16-mixed"}, True),
        ({"accumulate_grad_batches": 2}, False),
        ({"gradient_clip_algorithm": "value"}, False),
        ({"precision": "bf16-true"}, False),
    ],
)
def test_what_the_short_step_does_not_know_lightning_does(trainer: dict[str, Any], short: bool, tmp_path: Path) -> None:
    prepare_machine(1, 0)
    config, windows = _config(epochs=1), series_windows()
    config["trainer"] |= trainer
    parts = assemble(config, windows, build(config, windows.meta), tmp_path)
    fit(*parts, tmp_path)
    loop = parts[0].fit_loop.epoch_loop
    assert isinstance(loop, EpochLoop)
    assert loop.short is short


def test_a_callback_that_listens_inside_the_step_is_heard(tmp_path: Path) -> None:
    heard = []

    class Listens(pl.Callback):
        def on_after_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            heard.append(trainer.global_step)

    prepare_machine(1, 0)
    config, windows = _config(epochs=1), series_windows()
    trainer, learner, data = assemble(config, windows, build(config, windows.meta), tmp_path)
    trainer.callbacks.append(Listens())  # type: ignore[attr-defined]
    trainer.fit(learner, data)
    assert heard == list(range(trainer.global_step))
