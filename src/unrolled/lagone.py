"""The leak check that a person must judge: does a forecaster only repeat the change before?"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unrolled.leakpipeline import Finding


def check_lag_one(kind: str, predictions: Path) -> Finding:
    """Tell a person which trained cells' predicted changes resemble the change before more than the one foretold.

    Such a forecaster copies yesterday's change. That can be right where changes go on; it is no leak. Looked at are
    the one-step forecasts of the test part.
    """
    from unrolled.predictiontable import read_table

    if kind != "series":
        return Finding("lag one", "skipped", "only a forecast has a change before it")
    files = sorted(predictions.glob("*/test.parquet"))
    if not files:
        return Finding("lag one", "skipped", f"there are no predictions in {predictions}; make them with: dvc repro")
    echoes = []
    for path in files:
        table = read_table(path)
        table = table[table["step"] == 1]
        anchor = table["anchor"].to_numpy()
        lags = lagged(table["predicted"].to_numpy() - anchor, table["actual"].to_numpy() - anchor)
        if is_echo(lags, len(table)):
            told = ", ".join(f"{value:.2f} at lag {lag}" for lag, value in enumerate(lags))
            echoes.append(f"{path.parent.name} correlates {told}")
    if echoes:
        return Finding("lag one", "look at this", f"predicted changes resemble yesterday's: {'; '.join(echoes)}")
    return Finding("lag one", "ok", f"no predicted changes of {len(files)} cells resemble yesterday's most")


def lagged(predicted: NDArray[np.float64], actual: NDArray[np.float64], lags: int = 3) -> list[float]:
    """Return the correlation of predicted changes with the true ones 0, 1, ... rows before; 0 where nothing changes."""
    found = []
    for lag in range(lags):
        ours, theirs = predicted[lags - 1 :], actual[lags - 1 - lag : len(actual) - lag]
        constant = min(np.ptp(ours), np.ptp(theirs)) <= 1e-9 * np.ptp(actual)  # persistence, but for rounding
        found.append(0.0 if constant else float(np.corrcoef(ours, theirs)[0, 1]))
    return found


def is_echo(lags: Sequence[float], rows: int) -> bool:
    """Tell whether lag one is the best and more than chance gives white noise: two standard errors."""
    return bool(max(lags) == lags[1] > 2 / np.sqrt(rows))
