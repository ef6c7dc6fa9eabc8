"""A checkout in miniature whose cells were trained, evaluated and judged: what the report is made from."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from judgedtasks import write_no_ensemble
from trainedfolders import config_for, write_trained

from unrolled.ensemble import make_ensemble
from unrolled.evaluate import predict_run
from unrolled.judge import details, judge_task
from unrolled.predicted import read_cells
from unrolled.predictiontable import save_predictions
from unrolled.scores import flat_metrics
from unrolled.windowset import WindowSet, digest_of, save_windows

SEASON = 7
FACTS = {"seconds": 63.0, "commit": "c0ffee" * 6 + "c0de", "started": "2026-01-01T00:00:00+00:00"}
BREAKDOWNS = {
    "series": ["month", "half"],
    "examples": ["class"],
    "text": ["line_position", "character_kind"],
}
Tables = dict[str, pd.DataFrame]


def real(windows: WindowSet) -> WindowSet:
    """Return windows that say that they are of real data."""
    meta = windows.meta | {"source": "real"}
    meta.pop("digest")
    return WindowSet(meta | {"digest": digest_of(meta, windows.arrays)}, windows.arrays)


def make_root(root: Path, *all_windows: WindowSet, missing: tuple[str, ...] = ()) -> Path:
    """Write a checkout whose every task has a gru of two seeds run here, and cells of ``missing`` models that were not."""
    cells = {}
    for windows in all_windows:
        task = windows.meta["task"]
        for model, seed in [("gru", 0), ("gru", 1), *((model, 0) for model in missing)]:
            cells[f"{task}-{model}-{seed}"] = {"task": task, "model": model, "seed": seed}
    tasks = [windows.meta["task"] for windows in all_windows]
    (root / "params.yaml").write_text(json.dumps({"tasks": tasks, "cells": cells}))
    for windows in all_windows:
        write_task(root, windows)
    return root


def write_task(root: Path, windows: WindowSet) -> None:
    """Write one task's windows, cells, baselines and judgement."""
    folder = root / "data/windows" / windows.meta["task"]
    folder.mkdir(parents=True)
    save_windows(windows, folder)
    model = write_trained(root, windows)
    about, tables = predict_run(model, windows, ("validation", "test"))
    write_cell(root, windows, "gru", 0, about, tables)
    write_cell(root, windows, "gru", 1, about, worse(tables))
    write_baselines(root, windows, tables)
    judge(root, windows)


def write_cell(root: Path, windows: WindowSet, model: str, seed: int, about: dict[str, Any], tables: Tables) -> None:
    """Write a cell's model folder, sidecar, predictions, metrics and learning curve."""
    task = windows.meta["task"]
    identity = hashlib.sha256(f"{seed}{model}{task}".encode()).hexdigest()
    folder = root / "data/models" / f"{task}-{model}-{seed}"
    if not folder.is_dir():
        write_trained(root, windows, f"data/models/{task}-{model}-{seed}")
    config = config_for(windows) | {"model": model, "seed": seed}
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    meta = json.loads((folder / "meta.json").read_text()) | {"model": model, "seed": seed, "identity": identity}
    (folder / "meta.json").write_text(json.dumps(meta))
    sidecars = root / "data/sidecars"
    sidecars.mkdir(exist_ok=True)
    (sidecars / f"{identity}.json").write_text(json.dumps(FACTS))
    predictions = root / "data/predictions" / task / f"{model}-{seed}"
    predictions.mkdir(parents=True)
    save_predictions(predictions, about | {"model": model, "seed": seed, "identity": identity}, tables)  # type: ignore[arg-type]
    if windows.meta["kind"] == "text":
        samples = [{"temperature": t, "text": "<b>abc</b>\nabc", "copied": t / 10} for t in (1.0, 0.5)]
        (predictions / "samples.json").write_text(json.dumps(samples))
    reports = root / "reports" / task / model / str(seed)
    reports.mkdir(parents=True, exist_ok=True)
    (reports / "metrics.json").write_text(json.dumps(flat_metrics(about, tables, windows, SEASON)))  # type: ignore[arg-type]
    (reports / "history.csv").write_text((folder / "history.csv").read_text())


def worse(tables: Tables) -> Tables:
    """Return predictions with a little more error, but still a table that evaluate could have written."""
    changed = {}
    for split, table in tables.items():
        told = table.copy()
        if "loss_nats" in told:
            told["loss_nats"] += 0.1
        elif "date" in told:
            told["predicted"] -= 0.5 + np.arange(len(told)) % 3
        changed[split] = told
    return changed


def write_baselines(root: Path, windows: WindowSet, tables: Tables) -> None:
    """Write what the baseline stage leaves: one simple baseline, one that is not, and one with a score alone."""
    task, kind = windows.meta["task"], windows.meta["kind"]
    simple = {"series": "persistence", "examples": "majority_class", "text": "unigram"}[kind]
    folder = root / "data/baselines" / task
    for name in (simple, "classical"):
        (folder / name).mkdir(parents=True)
        for split, table in tables.items():
            told = table.copy()
            if kind == "text":
                told["loss_nats"] = 3.0 if name == simple else 2.5
            elif kind == "examples":
                told["predicted"] = 0
            else:
                told["predicted"] = told["anchor"] + (0 if name == simple else 0.5)
            told.to_parquet(folder / name / f"{split}.parquet", index=False)
    about = {
        simple: {"about": "the plainest guess", "simple": True},
        "classical": {"about": "an older model", "simple": False},
    }
    if kind == "text":
        scores = {"loss_nats": 1.5, "bits_per_char": 2.2, "perplexity": 4.5}
        about["xz"] = {"about": "a compressor", "simple": False, "scores": scores}
    meta = {"data_digest": windows.meta["digest"], "data_source": windows.meta["source"], "task": task}
    (folder / "meta.json").write_text(json.dumps(meta | {"baselines": about}))


def write_ensemble(root: Path, windows: WindowSet) -> None:
    """Write the mean of the cells' seeds as an ensemble, its metrics, and the judgement anew."""
    task = windows.meta["task"]
    meta, tables = make_ensemble(windows, list(read_cells(root / "data/predictions" / task, windows)), [])
    save_predictions(root / "data/ensembles" / task, meta, tables)
    reports = root / "reports" / task / "ensemble/0"
    reports.mkdir(parents=True)
    (reports / "metrics.json").write_text(json.dumps(flat_metrics(meta, tables, windows, SEASON)))
    judge(root, windows)


def judge(root: Path, windows: WindowSet) -> None:
    """Write judgement.json and details.json, with intervals and reliability as the judge stage adds them."""
    task, kind = windows.meta["task"], windows.meta["kind"]
    config = {"season": SEASON, "breakdowns": BREAKDOWNS[kind], "equal_parameters": None, "ablation": None}
    ensemble = root / "data/ensembles" / task
    if not ensemble.is_dir():
        write_no_ensemble(root, windows)
    judgement = judge_task(windows, root / "data/predictions" / task, ensemble, root / "data/baselines" / task, config)
    summary, told = judgement.summary(), details(judgement)
    folder = root / "data/judgements" / task
    (folder / "intervals").mkdir(parents=True, exist_ok=True)
    if kind == "series":
        for told_of in summary["baselines"].values():
            told_of["interval"] = {"method": "conformal", "coverage_90": 0.9, "width_90": 20.0, "crps": 2.5}
    for name, cell in summary["cells"].items():
        if kind == "series":
            cell["interval"] = {"method": "conformal", "coverage_90": 0.875, "width_90": 12.5, "crps": 1.5}
            table = judgement.test(name)[["date", "step", "actual", "predicted"]]
            edges = {
                f"{side}_{level}": table["predicted"] + sign * level / 10
                for level in (50, 80, 90)
                for side, sign in (("low", -1), ("high", 1))
            }
            table.assign(**edges).to_parquet(folder / "intervals" / f"{name}.parquet", index=False)
        else:
            bins = [
                {"count": 3, "confidence": 0.4, "accuracy": 0.5},
                {"count": 0, "confidence": None, "accuracy": None},
            ]
            told.setdefault("reliability", {})[name] = bins
    (folder / "details.json").write_text(json.dumps(told))
    (root / "reports" / task / "judgement.json").write_text(json.dumps(summary))
