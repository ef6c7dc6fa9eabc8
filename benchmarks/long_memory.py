"""Who remembers over 784 steps: MNIST pixel by pixel, the same width, data order and number of steps for each cell."""

import os
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr
from io import StringIO
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from measuring import Figure, Section, progress
from taskdata import ROOT, config_of

from unrolled import training
from unrolled.batches import in_order, windows_of
from unrolled.model import SequenceModel, build
from unrolled.taskmodule import task_module
from unrolled.window import read_source, window_raw
from unrolled.windowset import WindowSet

TASK = "mnist_pixels"
RAW = ROOT / "data" / "raw" / "mnist"
SEEDS = 3
# The task's recipe first; then trials, of one seed: the plain RNN as the LSTM's recipe starts it, the LSTM as the grid does.
CELLS: dict[str, tuple[str, ...]] = {
    "rnn": (),
    "gru": (),
    "lstm_long": (),
    "rnn, trial: learning rate 0.001, small start": ("training.learning_rate=0.001", "encoder.orthogonal=false"),
    "lstm, trial: the grid's start and rate": ("training.precision=bf16",),
}


def measure(quick: bool) -> Section:
    """Train each cell on the same steps, as many at once as there are cores, and score the test images."""
    section = Section(
        "Memory over 784 steps",
        f"MNIST pixel by pixel, 64 units, 2 epochs (1,720 steps), {SEEDS} seeds, of a trial one: the share of the 10,000 test "
        "images that the last state tells right, and the validation loss. Guessing the most frequent digit gets 11.35 %.",
    )
    if not RAW.is_dir():
        section.notes.append("stand-in data: run `dvc repro fetch@mnist` for the real images")
    trainings = [(name, seed) for name in CELLS for seed in range(1 if quick or "trial" in name else SEEDS)]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        learned = dict(zip(trainings, pool.map(_learned, *zip(*trainings, strict=True), repeat(quick)), strict=False))
    for name in CELLS:
        shares, losses = zip(*(told for (cell, _), told in learned.items() if cell == name), strict=True)
        section.figures.append(Figure(f"{name}: test images told right", "%", shares))
        section.figures.append(Figure(f"{name}: validation loss", "nats", losses))
    return section


def _learned(name: str, seed: int, quick: bool) -> tuple[float, float]:
    """Train a cell and return the per cent of test images that it tells right and its validation loss."""
    progress(f"long memory {name}, seed {seed}")
    config = config_of(TASK, name.partition(",")[0], f"seed={seed}", *CELLS[name])
    if quick:
        config["trainer"] |= {"max_epochs": 1, "limit_train_batches": 2, "limit_val_batches": 1}
    training.prepare_machine(1, seed)
    windows = _windows()
    model = build(config, windows.meta)
    with TemporaryDirectory() as resume, redirect_stderr(StringIO()):
        learned = training.fit(*training.assemble(config, windows, model, Path(resume)), Path(resume))
    return 100 * _right(model, windows, 1 if quick else None), learned.best["validation_loss"]


def _windows() -> WindowSet:
    module, config = task_module(TASK), config_of(TASK, "rnn")
    if RAW.is_dir():
        return window_raw(module, RAW, config, read_source(RAW))
    with TemporaryDirectory() as scratch:
        module.stand_in(Path(scratch))
        return window_raw(module, Path(scratch), config, {"source": "stand-in", "sha256": {}})


@torch.inference_mode()
def _right(model: SequenceModel, windows: WindowSet, batches: int | None) -> float:
    model.eval()
    right = count = 0
    for number, batch in enumerate(in_order(windows_of(windows, "test", False), 500)):
        if number == batches:
            break
        right += int((model.predict(batch).values.argmax(dim=1) == batch.target).sum())
        count += len(batch.target)
    return right / count
