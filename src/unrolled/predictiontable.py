"""The tables that predictions are kept in, whoever made them: a network or a baseline."""

import json
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unrolled.errors import UserError
from unrolled.jsonfile import VERIFY
from unrolled.windowset import SplitName, WindowSet

MOST_VALUES = 20_000_000  # 160 MB; the largest of ours have half a million


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


def read_table(path: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Return a table of predictions, or some of its columns.

    Raises:
        UserError: it is missing or damaged, or a few bytes of it stand for more values than predictions ever are.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        about = pq.read_metadata(path)
        if about.num_rows * about.num_columns > MOST_VALUES:
            raise ValueError(f"it says {about.num_rows:,} rows of {about.num_columns:,} columns")
        return pd.read_parquet(path, columns=columns and list(columns))
    except FileNotFoundError as error:
        raise UserError(f"there is no {path}; {VERIFY}") from error
    except (ValueError, OSError, pa.ArrowException) as error:
        told = " ".join(str(error).split())[:200]
        raise UserError(f"{path} is damaged ({type(error).__name__}: {told}); {VERIFY}") from error


def save_predictions(folder: Path, meta: Mapping[str, Any], tables: Mapping[SplitName, pd.DataFrame]) -> None:
    """Write each split's table and the meta data into ``folder``."""
    for split, table in tables.items():
        table.to_parquet(folder / f"{split}.parquet", index=False)
    (folder / "meta.json").write_text(json.dumps(meta, indent=1, sort_keys=True) + "\n", encoding="utf-8")
