"""Model folders as train writes them, without the training: random weights from a fixed seed, a made-up learning curve."""

import json
from pathlib import Path
from typing import Any

import torch
import yaml

from unrolled.model import build, count_parameters, save
from unrolled.receipt import receipt_of
from unrolled.train import write_steps
from unrolled.windowset import WindowSet

IDENTITY = "0123456789abcdef" * 4
HISTORY = [
    {"epoch": 0, "step": 5, "train_loss": 0.9, "validation_loss": 0.8, "learning_rate": 0.003},
    {"epoch": 1, "step": 10, "train_loss": 0.5, "validation_loss": 0.6, "learning_rate": 0.002},
    {"epoch": 2, "step": 15, "train_loss": 0.4, "validation_loss": 0.7, "learning_rate": 0.001},
]
STEPS = [(1.0 - 0.03125 * step, 0.5 + 0.0625 * step) for step in range(1, 16)]  # loss and gradient norm
FACTS: dict[str, Any] = {
    "code": "c0de" * 16,
    "lock": "10cc" * 16,
    "device": "cpu",
    "precision": "32-true",
    "threads": 1,
    "deterministic": {"algorithms": True},
    "python": "3.11.7",
    "platform": "Linux x86_64",
    "processor": "a processor",
    "instructions": "AVX2",
    "libraries": {"torch": "2.13.0"},
}
HEADS = {
    "series": {"name": "forecast", "pool": "last", "loss": "l1", "skip": 0, "quantiles": None},
    "examples": {"name": "classify", "pool": "last", "loss": "cross_entropy", "skip": 0, "quantiles": None},
    "text": {"name": "language", "pool": "every", "loss": "cross_entropy", "skip": 0, "quantiles": None},
}


def config_for(windows: WindowSet) -> dict[str, Any]:
    """A small GRU on ``windows``."""
    dropout = {"input_dropout": 0.0, "dropout": 0.0, "output_dropout": 0.0}
    size = 3 if windows.meta["kind"] == "text" else None
    return {
        "task": windows.meta["task"],
        "model": "gru",
        "seed": 0,
        "window": {"context": windows.meta["context"], "horizon": 1},
        "encoder": {"name": "gru", "hidden_size": 4, "num_layers": 1, **dropout, "embedding_size": size},
        "head": HEADS[windows.meta["kind"]],
        "training": {"batch_size": 8, "epochs": 3, "learning_rate": 0.003, "averaging": None},
        "trainer": {"name": "cpu", "accelerator": "cpu", "threads": 1, "enable_progress_bar": True},
    }


def write_trained(
    root: Path, windows: WindowSet, place: str | None = None, identity: str = IDENTITY, **head: Any
) -> Path:
    """Write the model folder of a cell of the grid, or of a one-off run at ``place``, and return it."""
    config = config_for(windows)
    config["head"] = config["head"] | head
    folder = root / (place or f"data/models/{config['task']}-gru-0")
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    model = build(config, windows.meta)
    save(model, folder)
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    lines = [",".join(HISTORY[0]), *(",".join(map(str, row.values())) for row in HISTORY)]
    (folder / "history.csv").write_text("\n".join(lines) + "\n")
    about = {
        "identity": identity,
        **{key: config[key] for key in ("task", "model", "seed")},
        "data_digest": windows.meta["digest"],
        "data_source": windows.meta["source"],
        "parameters": count_parameters(model),
        "epochs": len(HISTORY),
        "steps": HISTORY[-1]["step"],
        "best_epoch": 1,
        "best_validation_loss": 0.6,
        "windows": windows.meta,
    }
    (folder / "meta.json").write_text(json.dumps(about))
    (folder / "facts.json").write_text(json.dumps(FACTS))
    write_steps(folder / "steps.csv", STEPS)
    return folder


def write_evaluation(root: Path, folder: Path, mae: float, identity: str = IDENTITY) -> None:
    """Write predictions and metrics of a cell, as evaluate would."""
    task, model, seed = folder.name.split("-")
    predictions, reports = root / "data/predictions" / task / f"{model}-{seed}", root / "reports" / task / model / seed
    for place in (predictions, reports):
        place.mkdir(parents=True, exist_ok=True)
    (predictions / "meta.json").write_text(json.dumps({"identity": identity}))
    (predictions / "test.parquet").write_bytes(f"stands for a table with error {mae}".encode())
    metrics = {"mae": mae, "validation_mae": 2 * mae, "n_test": 10, "parameters": 89, "data_source": "stand-in"}
    (reports / "metrics.json").write_text(json.dumps(metrics))
    (reports / "receipt.json").write_text(json.dumps(receipt_of(folder) | {"identity": identity}))
