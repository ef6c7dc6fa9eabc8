"""Predictions and baselines on disk, as evaluate and the baseline stage leave them, without either; and no ensemble."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from unrolled.windowset import SplitName, WindowSet

CONFIG = {"season": None, "breakdowns": None, "equal_parameters": None, "ablation": None}


def series_table(windows: WindowSet, split: SplitName, predicted: np.ndarray) -> pd.DataFrame:
    """A table of a series in the form of ``predictions.predict_split``."""
    low, high = windows.split(split)
    series = windows.arrays["series"][:, 0]
    days = pd.date_range(windows.meta["start"], periods=len(series))[low:high]
    told = {"date": days, "step": 1, "actual": series[low:high], "predicted": predicted}
    return pd.DataFrame(told | {"anchor": series[low - 1 : high - 1]})


def write_cell(root: Path, windows: WindowSet, name: str, tables: dict[str, pd.DataFrame], **about: Any) -> None:
    """Write one cell's predictions."""
    folder = root / "data/predictions" / windows.meta["task"] / name
    folder.mkdir(parents=True, exist_ok=True)
    for split, table in tables.items():
        table.to_parquet(folder / f"{split}.parquet")
    kept = {"data_digest": windows.meta["digest"], "parameters": 100, "identity": "0" * 64} | about
    (folder / "meta.json").write_text(json.dumps(kept))


def write_baselines(root: Path, windows: WindowSet, tables: dict[str, dict[str, pd.DataFrame]], **more: Any) -> None:
    """Write baselines, all of them simple; ``more`` are further entries of meta.json."""
    folder = root / "data/baselines" / windows.meta["task"]
    for name, splits in tables.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for split, table in splits.items():
            table.to_parquet(folder / name / f"{split}.parquet")
    named = {name: {"about": f"what {name} does", "simple": True} for name in tables}
    meta = {"data_digest": windows.meta["digest"], "baselines": named | more}
    (folder / "meta.json").write_text(json.dumps(meta))


def write_no_ensemble(root: Path, windows: WindowSet) -> Path:
    """Write what the ensemble stage leaves when there is nothing to combine, and return its folder."""
    task = windows.meta["task"]
    found = {
        path.parent.name: json.loads(path.read_text()) for path in root.glob(f"data/predictions/{task}/*/meta.json")
    }
    cells = {name: about["identity"] for name, about in found.items()}
    folder = root / "data/ensembles" / task
    folder.mkdir(parents=True, exist_ok=True)
    told = {"data_digest": windows.meta["digest"], "cells": cells, "members": {}, "about": "nothing to combine"}
    (folder / "meta.json").write_text(json.dumps(told))
    return folder
