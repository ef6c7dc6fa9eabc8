"""A run as its files tell it: what MLflow mirrors, and nothing of MLflow."""

import csv
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from unrolled.errors import UserError
from unrolled.inert import check_inert
from unrolled.jsonfile import read_json
from unrolled.sidecar import read_sidecar
from unrolled.trained import read_about
from unrolled.yamlfile import read_yaml

MODEL_FILES = ("weights.safetensors", "config.yaml", "history.csv", "meta.json")


@dataclass(frozen=True)
class RunRecord:
    """What is known of a run when its training starts.

    Attributes:
        identity: the run's identity.
        config: the composed configuration, with ``task``, ``model`` and ``seed``.
        windows: the windows' meta data.
        facts: the sidecar's content, or None.
    """

    identity: str
    config: Mapping[str, Any]
    windows: Mapping[str, Any]
    facts: Mapping[str, Any] | None = None

    @property
    def task(self) -> str:
        """The task's name, which is also the experiment's."""
        return str(self.config["task"])

    @property
    def name(self) -> str:
        """``<task>-<model>-<seed>``."""
        return f"{self.task}-{self.config['model']}-{self.config['seed']}"

    def started(self) -> int | None:
        """Milliseconds since 1970 at the start of training, or None without a sidecar."""
        return round(datetime.fromisoformat(self.facts["started"]).timestamp() * 1000) if self.facts else None

    def ended(self) -> int | None:
        """Milliseconds since 1970 at the end of training, or None without a sidecar."""
        started = self.started()
        return None if started is None or not self.facts else started + round(self.facts["seconds"] * 1000)


@dataclass(frozen=True)
class TrainedRun:
    """A finished training and, where they belong to it, its predictions and scores.

    Attributes:
        record: what was known at the start.
        folder: the model folder.
        place: the folder's path in the checkout, ``data/models/energy-gru-0``.
        meta: the model folder's meta.json.
        history: one mapping of metric names to numbers per epoch, in order; what an epoch did not measure is absent.
        predictions: folder of the predictions that this very model made, or None.
        scores: flat metrics of those predictions.
        judged: what the judge said of those predictions, or None; see ``judged_cell``.
    """

    record: RunRecord
    folder: Path
    place: str
    meta: Mapping[str, Any]
    history: list[tuple[int, dict[str, float]]]
    predictions: Path | None
    scores: Mapping[str, Any]
    judged: Mapping[str, Any] | None = None

    def parts(self) -> dict[str, str]:
        """Return a short digest of each part to mirror; a part that is not there yet is absent."""
        files = {"curves": [self.folder / "history.csv"], "model": [self.folder / name for name in MODEL_FILES]}
        if self.predictions:
            files["predictions"] = sorted(self.predictions.glob("*.parquet"))
        digests = {part: _digest(paths) for part, paths in files.items()}
        for part, content in (("scores", self.scores), ("facts", self.record.facts), ("judged", self.judged)):
            if content:
                digests[part] = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
        return digests


def trained_folders(root: Path) -> Iterator[Path]:
    """Yield every model folder of the checkout: the grid's first, then the one-off runs."""
    for place, pattern in (("data/models", "*/weights.safetensors"), ("outputs", "**/weights.safetensors")):
        for weights in sorted((root / place).glob(pattern)):
            if not any(part.startswith(".") for part in weights.relative_to(root).parts):
                yield weights.parent


def read_trained(root: Path, folder: Path) -> TrainedRun:
    """Read a model folder, its sidecar, and its predictions and scores if they are this model's.

    Raises:
        UserError: the folder is not a complete model folder.
    """
    folder = folder.resolve()
    place = folder.relative_to(root.resolve()).as_posix() if folder.is_relative_to(root.resolve()) else str(folder)
    missing = [name for name in MODEL_FILES if not (folder / name).is_file()]
    if missing:
        raise UserError(f"{place} is not a trained model: it has no {', '.join(missing)}; train it again")
    try:
        meta = read_about(folder)
        config = read_yaml(folder / "config.yaml")
        history = _read_history(folder / "history.csv")
        named = {key: meta[key] for key in ("task", "model", "seed")}
        record = RunRecord(meta["identity"], config | named, meta["windows"], read_sidecar(root, meta["identity"]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{place} is damaged ({type(error).__name__}: {error}); train it again") from error
    try:
        check_inert(config)
    except UserError as error:
        raise UserError(f"{place}/config.yaml: {error}") from error
    predictions, scores = _evaluated(root, folder, record)
    judged = judged_cell(root, record) if predictions and _in_grid(root, folder) else None
    return TrainedRun(record, folder, place, meta, history, predictions, scores, judged)


def judged_cell(root: Path, record: RunRecord) -> dict[str, Any] | None:
    """Return what the task's judgement.json says of a cell of the grid and of its model over all seeds.

    None if it was not judged, or another training was. Keys: ``metric``, ``metrics``, ``unit``, ``n_test``, ``cell``,
    ``model``.
    """
    judgement = _json(root / "reports" / record.task / "judgement.json")
    model = str(record.config["model"])
    cell = judgement.get("cells", {}).get(f"{model}-{record.config['seed']}")
    if cell is None or cell.get("identity") != record.identity:
        return None
    scores = [name for name in judgement["baselines"][judgement["strongest"]] if name in cell]
    kept = {key: judgement[key] for key in ("metric", "unit", "n_test")}
    return kept | {"metrics": scores, "cell": cell, "model": judgement["models"][model]}


def _in_grid(root: Path, folder: Path) -> bool:
    return folder.is_relative_to((root / "data" / "models").resolve())


def _evaluated(root: Path, folder: Path, record: RunRecord) -> tuple[Path | None, Mapping[str, Any]]:
    """Return the predictions and scores that stand beside a run, unless another training made them."""
    config = record.config
    cell = f"{config['model']}-{config['seed']}"
    in_grid = _in_grid(root, folder)
    predictions = root / "data" / "predictions" / record.task / cell if in_grid else folder / "predictions"
    reports = root / "reports" / record.task / str(config["model"]) / str(config["seed"]) if in_grid else folder
    if _json(predictions / "meta.json").get("identity") != record.identity:
        return None, {}
    return predictions, _json(reports / "metrics.json")


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    content: dict[str, Any] = read_json(path, dict, "evaluate again")
    return content


def _read_history(path: Path) -> list[tuple[int, dict[str, float]]]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        (int(row["epoch"]), {key: float(value) for key, value in row.items() if key not in ("epoch", "step") and value})
        for row in rows
    ]


def _digest(paths: list[Path]) -> str:
    content = hashlib.sha256()
    for path in paths:
        content.update(hashlib.sha256(path.read_bytes()).digest())
    return content.hexdigest()[:12]
