"""How sure a model is, and whether it may be: intervals around forecasts, calibration of probabilities."""

from typing import Any

import numpy as np
import pandas as pd

from unrolled import calibration, intervals, intervalscores
from unrolled.intervals import LEVELS, QUANTILE_LEVELS, Intervals


def judge_intervals(
    validation: pd.DataFrame, test: pd.DataFrame, relative: bool
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Return the scores of a forecaster's 50, 80 and 90 % intervals on the test, and their ends as a table.

    From the columns ``q0.05`` ... where a quantile head made them, conformalised on validation; else around the points, by the
    method that is best on validation. Scores: ``method``, ``coverage_50`` (shares) ..., ``width_50`` and ``winkler_50``
    (unit of the data) ..., ``pinball`` (mean over the intervals' ends and the middle) and ``crps``.

    Args:
        validation: table of ``predictions.predict_split``.
        test: likewise.
        relative: of prices: errors are taken as factors, not as differences.
    """
    actual = test["actual"].to_numpy(dtype=np.float64)
    if f"q{QUANTILE_LEVELS[0]:g}" in test.columns:
        method, ends, crps = "quantile head, conformalised", *_from_quantiles(validation, test, relative)
    else:
        before, after = intervals.forecasts_of(validation), intervals.forecasts_of(test)
        chosen = intervals.choose(before, relative)
        ends, samples = intervals.residual_intervals(before, after, chosen, relative)
        method, crps = f"conformal, {chosen}", intervalscores.crps_samples(actual, samples)
    scores: dict[str, Any] = {"method": method}
    for told in intervalscores.interval_scores(actual, ends.low, ends.high, LEVELS):
        percent = f"{100 * told['level']:.0f}"
        scores |= {f"{name}_{percent}": told[name] for name in ("coverage", "width", "winkler")}
    middle = test["predicted"].to_numpy(dtype=np.float64)[:, None]
    quantiles = np.concatenate([ends.low[:, ::-1], middle, ends.high], axis=1)
    scores["pinball"] = float(intervalscores.pinball(actual, quantiles, QUANTILE_LEVELS).mean())
    scores["crps"] = float(crps.mean())
    return scores, test[["date", "step", "actual", "predicted"]].assign(**_columns(ends))


def _from_quantiles(validation: pd.DataFrame, test: pd.DataFrame, relative: bool) -> tuple[Intervals, intervals.Values]:
    told = intervals.quantiles_of(validation), intervals.quantiles_of(test)
    before, after = intervals.forecasts_of(validation), intervals.forecasts_of(test)
    moved = intervals.conformalise(before, after, told, relative)
    actual = test["actual"].to_numpy(dtype=np.float64)
    return intervals.quantile_intervals(moved), intervalscores.crps_quantiles(actual, moved, QUANTILE_LEVELS)


def _columns(ends: Intervals) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for i, level in enumerate(LEVELS):
        columns |= {f"low_{100 * level:.0f}": ends.low[:, i], f"high_{100 * level:.0f}": ends.high[:, i]}
    return columns


def judge_calibration(table: pd.DataFrame) -> tuple[dict[str, float], list[dict[str, float]]]:
    """Return the calibration error of a classifier's or a language model's answers, and its reliability table.

    Scores: ``calibration_error``, and for classes ``brier``. A row of the table: ``count``, ``confidence``, ``accuracy``.

    Args:
        table: of ``predictions.predict_split``: probabilities ``p0`` ..., or ``confidence`` of the likeliest character.
    """
    columns = [column for column in table.columns if column[0] == "p" and column[1:].isdecimal()]
    right = (table["actual"] == table["predicted"]).to_numpy()
    probabilities = table[columns].to_numpy(dtype=np.float64)
    confidence = probabilities.max(axis=1) if columns else table["confidence"].to_numpy(dtype=np.float64)
    bins = calibration.reliability(confidence, right)
    scores = {"calibration_error": float(calibration.expected_calibration_error(bins))}
    if columns:
        scores["brier"] = calibration.brier(table["actual"].to_numpy(), probabilities)
    return scores, [{"count": b.count, "confidence": b.confidence, "accuracy": b.accuracy} for b in bins]
