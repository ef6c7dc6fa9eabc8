"""Who remembers over 784 steps: MNIST pixel by pixel, the same width, data order and number of steps for each cell."""

from contextlib import redirect_stderr
from io import StringIO
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
# The task's recipe first; then trials: the plain RNN at the rate of the LSTM's recipe, the LSTM as the grid starts it.
CELLS: dict[str, tuple[str, ...]] = {
    "rnn": (),
    "gru": (),
    "lstm_long": (),
    "rnn, trial: learning rate 0.002, small start": ("training.learning_rate=0.002", "encoder.orthogonal=false"),
    "lstm, trial: the grid's start and rate": ("training.precision=bf16",),
}


def measure(quick: bool) -> Section:
    """Train each cell on the same steps and score the test images."""
    section = Section(
        "Memory over 784 steps",
        "MNIST pixel by pixel, 64 units, 2 epochs (1,720 steps), one seed: the share of the 10,000 test images that the last "
        "state tells right, and the validation loss. Guessing the most frequent digit gets 11.35 %.",
    )
    windows = _windows(section)
    for name, overrides in CELLS.items():
        progress(f"long memory {name}")
        config = config_of(TASK, name.partition(",")[0], *overrides)
        if quick:
            config["trainer"] |= {"max_epochs": 1, "limit_train_batches": 2, "limit_val_batches": 1}
        training.prepare_machine(1, 0)
        model = build(config, windows.meta)
        with TemporaryDirectory() as resume, redirect_stderr(StringIO()):
            learned = training.fit(*training.assemble(config, windows, model, Path(resume)), Path(resume))
        share = _right(model, windows, 1 if quick else None)
        section.figures.append(Figure(f"{name}: test images told right", "%", (100 * share,)))
        section.figures.append(Figure(f"{name}: validation loss", "nats", (learned.best["validation_loss"],)))
    return section


def _windows(section: Section) -> WindowSet:
    module, config = task_module(TASK), config_of(TASK, "rnn")
    raw = ROOT / "data" / "raw" / "mnist"
    if raw.is_dir():
        return window_raw(module, raw, config, read_source(raw))
    section.notes.append("stand-in data: run `dvc repro fetch@mnist` for the real images")
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
