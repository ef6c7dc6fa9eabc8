"""The plain scores of a table of predictions, the same for models and baselines."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from unrolled import metrics
from unrolled.windowset import SplitName, WindowSet

PRIMARY = {"series": "mae", "examples": "accuracy", "text": "loss_nats"}


def score(table: pd.DataFrame, windows: WindowSet, season: int | None) -> dict[str, float]:
    """Return the plain metrics of one split's predictions.

    Forecasts: ``mae``, ``rmse`` (unit of the data), ``mape`` (percent), ``mase`` (scaled on the training part), and with
    a horizon of several steps ``mae_step_1`` and so on. Classifiers: ``accuracy``, ``nll`` (nats). Language: ``loss_nats``,
    ``bits_per_char``, ``perplexity``.

    Args:
        table: from ``predictions.predict_split``, or a baseline's in the same form.
        windows: the data; MASE needs its training part.
        season: lag of the naive forecast that scales MASE, in rows.
    """
    kind = windows.meta["kind"]
    if kind == "series":
        return _series(table, windows, season)
    if kind == "examples":
        actual = table["actual"].to_numpy()
        probabilities = table[[f"p{digit}" for digit in range(windows.meta["classes"])]].to_numpy()
        return {
            "accuracy": metrics.accuracy(actual, table["predicted"].to_numpy()),
            "nll": metrics.nll(actual, probabilities),
        }
    loss = float(table["loss_nats"].to_numpy(dtype=np.float64).mean())
    return {"loss_nats": loss, "bits_per_char": metrics.bits_per_char(loss), "perplexity": metrics.perplexity(loss)}


def _series(table: pd.DataFrame, windows: WindowSet, season: int | None) -> dict[str, float]:
    actual, predicted = table["actual"].to_numpy(), table["predicted"].to_numpy()
    train = np.asarray(windows.arrays["series"][: windows.split("train")[1], 0])
    told = {
        "mae": metrics.mae(actual, predicted),
        "rmse": metrics.rmse(actual, predicted),
        "mape": metrics.mape(actual, predicted),
        "mase": metrics.mase(actual, predicted, metrics.mase_scale(train, season or 1)),
    }
    steps = table["step"].to_numpy()
    for step in range(1, steps.max() + 1) if steps.max() > 1 else ():
        told[f"mae_step_{step}"] = metrics.mae(actual[steps == step], predicted[steps == step])
    return told


def flat_metrics(
    meta: Mapping[str, Any], tables: Mapping[SplitName, pd.DataFrame], windows: WindowSet, season: int | None
) -> dict[str, Any]:
    """Return the test's metrics with flat keys and, to choose by, the primary one on validation: a cell's metrics.json.

    Args:
        meta: with ``parameters``, ``data_source`` and ``data_digest``.
        tables: of validation and test.
        windows: as ``score``'s.
        season: as ``score``'s.
    """
    primary = PRIMARY[windows.meta["kind"]]
    return {
        **score(tables["test"], windows, season),
        f"validation_{primary}": score(tables["validation"], windows, season)[primary],
        "n_test": len(tables["test"]),
        "parameters": meta["parameters"],
        "data_source": meta["data_source"],
        "data_digest": meta["data_digest"],
    }


def error_of(metric: str, value: float) -> float:
    """Return the score as an error, lower is better: what accuracy lacks of 1, any other metric as it is."""
    return 1 - value if metric == "accuracy" else value
