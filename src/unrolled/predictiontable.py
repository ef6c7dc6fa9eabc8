"""The tables that predictions are kept in, whoever made them: a network or a baseline."""

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unrolled.windowset import SplitName, WindowSet


def forecast_table(windows: WindowSet, origins: NDArray[np.int64], predicted: NDArray[np.floating]) -> pd.DataFrame:
    """Return ``date``, ``step`` (1 to horizon), ``actual``, ``predicted`` and ``anchor`` (last known value) of forecasts.

    Args:
        windows: the series.
        origins: (origins,) first rows that were forecast.
        predicted: (origins, horizon) in physical units.
    """
    start = np.datetime64(date.fromisoformat(windows.meta["start"]), "D")
    truth = windows.arrays["series"][:, 0]
    horizon = predicted.shape[1]
    rows = origins[:, None] + np.arange(horizon)
    return pd.DataFrame(
        {
            "date": (start + rows).astype("datetime64[s]").reshape(-1),
            "step": np.tile(np.arange(1, horizon + 1), len(rows)),
            "actual": truth[rows].reshape(-1),
            "predicted": predicted.reshape(-1).astype(np.float64),
            "anchor": np.repeat(truth[origins - 1], horizon),
        }
    )


def class_table(
    index: NDArray[np.int64], actual: NDArray[np.int64], probabilities: NDArray[np.floating]
) -> pd.DataFrame:
    """Return ``index``, ``actual``, ``predicted`` and ``p0`` ... of classified examples.

    Args:
        index: (examples,) which they are.
        actual: (examples,) class numbers.
        probabilities: (examples, classes).
    """
    columns = {f"p{number}": probabilities[:, number] for number in range(probabilities.shape[1])}
    return pd.DataFrame({"index": index, "actual": actual, "predicted": probabilities.argmax(axis=1), **columns})


def save_predictions(folder: Path, meta: Mapping[str, Any], tables: Mapping[SplitName, pd.DataFrame]) -> None:
    """Write each split's table and the meta data into ``folder``."""
    for split, table in tables.items():
        table.to_parquet(folder / f"{split}.parquet", index=False)
    (folder / "meta.json").write_text(json.dumps(meta, indent=1, sort_keys=True) + "\n", encoding="utf-8")
