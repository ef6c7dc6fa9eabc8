"""Rolling origins: how a forecaster does on consecutive parts of the test, trained once or anew before each."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pandas as pd

from unrolled import metrics
from unrolled.dataset import Series
from unrolled.errors import UserError
from unrolled.window import make_windows
from unrolled.windowset import WindowSet

Scheme = Literal["expanding", "sliding"]
SCHEMES = ("expanding", "sliding")


@dataclass(frozen=True)
class Origin:
    """One part of the test: rows ``first`` to ``end`` (half-open), with everything before ``first`` known."""

    first: int
    end: int


def rolling_origins(test: tuple[int, int], count: int, horizon: int) -> list[Origin]:
    """Return ``count`` consecutive parts of the test, as equal as they can be.

    Raises:
        UserError: a part would have no whole horizon.
    """
    low, high = test
    if not 1 <= count <= (high - low) // horizon:
        raise UserError(
            f"origins={count}: the test has {high - low} rows and a horizon of {horizon}, so expected 1 to "
            f"{(high - low) // horizon}"
        )
    borders = np.linspace(low, high, count + 1).round().astype(int).tolist()
    return [Origin(first, end) for first, end in pairwise(borders)]


def windows_before(
    data: Series, splits: Mapping[str, tuple[int, int]], origin: Origin, scheme: Scheme, about: dict[str, Any]
) -> WindowSet:
    """Return the windows of a training that ends before ``origin``, with that part as its test.

    Validation keeps its length and lies right before the origin, training lies before that: all of the past, or, sliding,
    as many rows as the task's own training part. The scaler is fitted anew on that training part, and rows from the
    origin's end on are not even there.

    Args:
        data: the whole series.
        splits: the task's own, half-open ranges of rows.
        origin: where the test part begins.
        scheme: expanding or sliding.
        about: further meta data; see ``window.make_windows``. Its ``context`` may look back over every border.

    Raises:
        UserError: too few rows.
    """
    validation = splits["validation"][1] - splits["validation"][0]
    border = origin.first - validation
    start = 0
    if scheme == "sliding":
        start = max(0, border - (splits["train"][1] - splits["train"][0]))
    cut = data.cut(start, origin.end)
    parts = {
        "train": (0, border - start),
        "validation": (border - start, origin.first - start),
        "test": (origin.first - start, origin.end - start),
    }
    return make_windows(cut, parts, about["asked"]["window"]["transform"], about)


def score_origins(table: pd.DataFrame, windows: WindowSet, season: int, count: int) -> list[dict[str, Any]]:
    """Return for each of ``count`` consecutive parts its first and last day, errors and skill.

    Args:
        table: predictions of the test in the form of ``predictions.predict_split``; with several steps ahead, all count.
        windows: the series that was forecast, for the naive forecasts.
        season: lag of the seasonal naive forecast; 1 for none.
        count: of parts.
    """
    return [score_part(part, windows, season) for part in _parts(table, count)]


def score_part(table: pd.DataFrame, windows: WindowSet, season: int) -> dict[str, Any]:
    """Return one part's errors beside the stronger of persistence and the seasonal naive forecast; see ``score_origins``."""
    actual, step = table["actual"].to_numpy(), table["step"].to_numpy()
    series = np.asarray(windows.arrays["series"][:, 0])
    rows = (table["date"] - pd.Timestamp(windows.meta["start"])).dt.days.to_numpy()
    baselines = {"persistence": table["anchor"].to_numpy()}
    if season > 1:
        # The last value of the same phase that was known at the origin.
        baselines["seasonal_naive"] = series[rows - season * -(-step // season)]
    errors = {name: metrics.mae(actual, values) for name, values in baselines.items()}
    strongest = min(errors, key=lambda name: errors[name])
    error = metrics.mae(actual, table["predicted"].to_numpy())
    return {
        "first": str(table["date"].iloc[0].date()),
        "last": str(table["date"].iloc[-1].date()),
        "targets": len(table),
        "mae": error,
        "baseline": strongest,
        "baseline_mae": errors[strongest],
        "skill": 1 - error / errors[strongest],
    }


def _parts(table: pd.DataFrame, count: int) -> list[pd.DataFrame]:
    steps = int(table["step"].max())
    borders = (np.linspace(0, len(table) // steps, count + 1).round().astype(int) * steps).tolist()
    return [table.iloc[first:end] for first, end in pairwise(borders)]


def as_text(origins: list[dict[str, Any]], unit: str) -> str:
    """Return the parts as a table for a terminal, with how often the model was ahead."""
    lines = [f"{'origin':<12}{'to':<12}{'targets':>8}{f'mae, {unit}':>12}{'baseline':>12}{'skill':>9}"]
    for part in origins:
        lines.append(
            f"{part['first']:<12}{part['last']:<12}{part['targets']:>8}{part['mae']:>12.2f}{part['baseline_mae']:>12.2f}"
            f"{part['skill']:>+9.1%}  {part['baseline']}"
        )
    ahead = sum(part["skill"] > 0 for part in origins)
    mean = float(np.average([part["mae"] for part in origins], weights=[part["targets"] for part in origins]))
    lines.append(f"ahead of the baseline at {ahead} of {len(origins)} origins; mae over all targets {mean:.2f} {unit}")
    return "\n".join(lines)
