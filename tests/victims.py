"""What the processes do that ``test_kills`` kills: each function runs in a process of its own until it ends or is killed."""

import itertools
import os
import sys
from pathlib import Path
from typing import Any

from conftest import ROOT
from trainedfolders import HISTORY, config_for
from windowsets import series_windows, text_windows

from unrolled.config import compose_config
from unrolled.outputs import whole_folder
from unrolled.windowset import WindowSet, digest_of, save_windows

# Imported once, by the process that all victims are forked from.
HEAVY = ["victims", "pytorch_lightning", "mlflow.pytorch", "unrolled.train", "unrolled.training", "unrolled.tracking"]


def write_windows(folder: Path, log: Path) -> None:
    """Write window sets into the same place without end, each with another number of rows."""
    for rows in itertools.count(60):
        with whole_folder(folder) as partial:
            save_windows(series_windows(rows=rows), partial)
        _note(log)


def train(root: Path, log: Path) -> None:
    """Train a small model on streams of text, with dropout and averaged weights, and save after every step."""
    from unrolled import resume
    from unrolled.learners.supervised import SupervisedLearner
    from unrolled.train import train as train_cell

    _quiet()
    os.environ["MLFLOW_TRACKING_URI"] = "http://127.0.0.1:9"  # nobody there: tracking has its own kills
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
    resume.EPOCHS_SECONDS = resume.WITHIN_EPOCH_SECONDS = 0.0
    step = SupervisedLearner.training_step

    def counted(*arguments: Any) -> Any:
        _note(log)
        return step(*arguments)

    SupervisedLearner.training_step = counted  # type: ignore[method-assign]
    config = compose_config(["task=shakespeare", "model=gru", "trainer=cpu", "encoder.hidden_size=8"], ROOT)
    config["trainer"]["enable_progress_bar"] = False
    config["encoder"]["output_dropout"] = 0.3
    config["training"] |= {"batch_size": 4, "epochs": 4, "averaging": 0.9, "precision": None}
    windows = text_windows()
    meta = {key: value for key, value in windows.meta.items() if key != "digest"} | {"asked": {}}
    folder = root / "data" / "windows"
    if not folder.is_dir():
        folder.mkdir(parents=True)
        save_windows(WindowSet(meta | {"digest": digest_of(meta, windows.arrays)}, windows.arrays), folder)
    train_cell(config, folder, root / "data" / "models" / "cell", root)


def follow(root: Path, log: Path) -> None:
    """Log a training's epochs as they come, then complete its run from the files."""
    from unrolled.runrecord import RunRecord, read_trained
    from unrolled.tracking import mirror, open_run

    _quiet()
    windows = series_windows()
    trained = read_trained(root, root / "data/models/ramp-gru-0")
    with open_run(root, RunRecord(trained.record.identity, config_for(windows), windows.meta)) as live:
        for row in HISTORY:
            live.log_epoch(int(row["epoch"]), {key: row[key] for key in ("train_loss", "validation_loss")})
    mirror(root, trained.folder)
    _note(log)


def complete(root: Path, log: Path) -> None:
    """``unrolled track``."""
    from unrolled.tracking import track

    _quiet()
    track(root)
    _note(log)


def _note(log: Path) -> None:
    with log.open("ab") as file:
        file.write(b".")


def _quiet() -> None:
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
