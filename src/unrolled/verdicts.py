"""Beats, ties or loses: a model's losses beside a baseline's or another model's, on the same test rows."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from unrolled.significance import block_length, block_test, diebold_mariano, holm, mcnemar, paired_test, skill_interval

Losses = NDArray[np.float64]
Verdict = Literal["beats", "ties", "loses"]

LEVEL = 0.05
TEXT_BLOCK = 1000  # characters: some twenty lines, far beyond what the losses of neighbours have in common
ORIGINS = 4  # a forecaster beats a baseline only if it is ahead in each of so many consecutive parts of the test


def p_value(kind: str, first: Losses, second: Losses, horizon: int = 1) -> float:
    """Return the p-value of "both have the same expected loss", two-sided.

    Series: Diebold and Mariano's test. Text: t-test over blocks of characters. Examples: McNemar's test where the losses
    are 0 or 1; where they are averages over seeds, the paired t-test.

    Args:
        kind: of the task: series, examples or text.
        first: (rows,) losses, from ``losses.row_losses``, averaged over seeds or not.
        second: (rows,) losses of the same rows.
        horizon: steps ahead of a series.
    """
    if kind == "text":
        return block_test(first, second, TEXT_BLOCK).p_value
    if kind == "series":
        return diebold_mariano(first, second, horizon=horizon).p_value
    if set(np.unique(first)) | set(np.unique(second)) <= {0.0, 1.0}:
        return mcnemar(first == 0, second == 0).p_value
    return paired_test(first, second).p_value


def compare(kind: str, model: Losses, baseline: Losses, horizon: int = 1) -> dict[str, float]:
    """Return difference and skill with their 95 % intervals, and the p-value.

    ``difference`` is model minus baseline, in the loss's unit: below 0 the model is better. ``skill`` is the share of the
    baseline's loss that the model saves: above 0 it is better. Intervals by a moving-block bootstrap of the rows, for
    examples by the plain one.
    """
    block = {"series": block_length(len(model)), "text": TEXT_BLOCK, "examples": 1}[kind]
    found = skill_interval(model, baseline, block=max(block, horizon))
    return {
        "difference": found.difference,
        "difference_low": found.difference_low,
        "difference_high": found.difference_high,
        "skill": found.skill,
        "skill_low": found.low,
        "skill_high": found.high,
        "p_value": p_value(kind, model, baseline, horizon),
    }


def ahead_everywhere(model: Losses, baseline: Losses, parts: int = ORIGINS) -> bool:
    """Return whether the model's mean loss lies below the baseline's in each consecutive part of the test."""
    return all(part.mean() < 0 for part in np.array_split(model - baseline, parts))


def verdict(kind: str, model: Losses, baseline: Losses, p: float) -> Verdict:
    """Return ``beats`` or ``loses`` at 5 %, else ``ties``; of a series, ``beats`` must hold in each part of the test too."""
    difference = float((model - baseline).mean())
    if not p < LEVEL or difference == 0:
        return "ties"
    if difference > 0:
        return "loses"
    return "beats" if kind != "series" or ahead_everywhere(model, baseline) else "ties"


def judge_model(
    kind: str,
    seeds: Mapping[int, Losses],
    baselines: Mapping[str, Losses],
    strongest: str,
    horizon: int = 1,
) -> dict[str, Any]:
    """Return what is said of a model over its seeds: never of the best one.

    Args:
        kind: of the task.
        seeds: (rows,) losses by seed; the test is on their average per row.
        baselines: (rows,) losses by name.
        strongest: the simple baseline that the verdict is against.
        horizon: steps ahead of a series.
    """
    average = np.mean(list(seeds.values()), axis=0)
    against = {name: compare(kind, average, losses, horizon) for name, losses in baselines.items()}
    told, reference = against[strongest], baselines[strongest]
    return {
        **{key: told[key] for key in ("skill", "skill_low", "skill_high", "p_value")},
        "p_value_by_seed": {str(seed): p_value(kind, losses, reference, horizon) for seed, losses in seeds.items()},
        "verdict": verdict(kind, average, reference, told["p_value"]),
        "ahead_in_every_part": ahead_everywhere(average, reference) if kind == "series" else None,
        "against": against,
    }


def all_pairs(kind: str, models: Mapping[str, Losses], horizon: int = 1) -> list[dict[str, Any]]:
    """Return every pair of models on the same rows, their p-values corrected together after Holm.

    ``difference`` is a's mean loss minus b's; ``verdict`` is a's, at 5 % of the corrected p-value.

    Args:
        kind: of the task.
        models: (rows,) losses by model, averaged over seeds.
        horizon: steps ahead of a series.
    """
    pairs = list(combinations(sorted(models), 2))
    raw = [p_value(kind, models[a], models[b], horizon) for a, b in pairs]
    rows = []
    for (a, b), p, corrected in zip(pairs, raw, _holm(raw), strict=True):
        difference = float((models[a] - models[b]).mean())
        told = "ties" if not corrected < LEVEL else "beats" if difference < 0 else "loses"
        rows.append({"a": a, "b": b, "difference": difference, "p_value": p, "p_holm": corrected, "verdict": told})
    return rows


def _holm(p_values: Sequence[float]) -> list[float]:
    return [float(p) for p in holm(p_values)] if p_values else []
