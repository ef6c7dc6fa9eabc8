"""Is a difference more than luck? Tests and intervals on losses per row; they know no model and no task."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import UserError

Losses = NDArray[np.float64]
EXACT_BELOW = 25  # discordant pairs: below it McNemar's chi-square is a poor approximation


class Outcome(NamedTuple):
    """A test statistic and its two-sided p-value."""

    statistic: float
    p_value: float


class SkillInterval(NamedTuple):
    """Skill = 1 - mean(model) / mean(baseline) and difference = mean(model) - mean(baseline), each with an interval."""

    skill: float
    low: float
    high: float
    difference: float
    difference_low: float
    difference_high: float


def diebold_mariano(first: Losses, second: Losses, horizon: int = 1) -> Outcome:
    """Test that two forecasts have the same expected loss.

    Diebold and Mariano, "Comparing predictive accuracy", 1995, with the small-sample correction of Harvey, Leybourne and
    Newbold 1997. The variance of the mean counts autocorrelation by the equal-weighted cosine estimator of Lazarus, Lewis,
    Stock and Watson, "HAR inference: recommendations for practice", 2018, whose Student's t has as many degrees of freedom
    as cosines. Under differences with an autocorrelation of 0.5 it rejects 5 % of the time where Newey and West's estimator
    with its usual lags rejects 7 to 9 % (tests/test_significance.py).

    Args:
        first: (rows,) losses in time order.
        second: (rows,) losses of the same rows.
        horizon: steps ahead; errors of h steps overlap in h - 1.

    Returns:
        Statistic, below 0 where ``first`` is better, and p-value; (0, 1) where the losses are the same everywhere. A constant
        difference other than 0 has no variance: the statistic is infinite and p is 0.

    Raises:
        UserError: different lengths, or fewer than 8 rows.
    """
    difference = _paired(first, second)
    rows = len(difference)
    variance, cosines = long_run_variance(difference)
    correction = math.sqrt((rows + 1 - 2 * horizon + horizon * (horizon - 1) / rows) / rows)
    return _t_test(float(difference.mean()), math.sqrt(variance / rows) / correction, cosines)


def long_run_variance(values: Losses) -> tuple[float, int]:
    """Return an estimate of n times the variance of the mean of ``values`` (rows,), and its degrees of freedom.

    The mean square of the first 0.4 n^(2/3) cosine transforms of the values, type II (Lazarus et al. 2018, equation 10).
    """
    rows = len(values)
    cosines = max(1, math.floor(0.4 * rows ** (2 / 3)))
    phase = (np.arange(rows) + 0.5) / rows
    transforms = math.sqrt(2 / rows) * np.cos(np.pi * np.arange(1, cosines + 1)[:, None] * phase) @ values
    return float(np.square(transforms).mean()), cosines


def paired_test(first: Losses, second: Losses) -> Outcome:
    """Test that two models have the same expected loss on rows without order: Student's paired t-test.

    Raises:
        UserError: different lengths, or fewer than 8 rows.
    """
    difference = _paired(first, second)
    spread = float(difference.std(ddof=1)) / math.sqrt(len(difference))
    return _t_test(float(difference.mean()), spread, len(difference) - 1)


def mcnemar(first_right: NDArray[np.bool_], second_right: NDArray[np.bool_]) -> Outcome:
    """Test that two classifiers have the same error rate; only the rows that one of them gets right count.

    McNemar 1947: chi-square with continuity correction, below 25 such rows the exact binomial test.

    Args:
        first_right: (rows,) whether the first is right.
        second_right: (rows,) likewise.
    """
    only_first = int((first_right & ~second_right).sum())
    only_second = int((second_right & ~first_right).sum())
    count = only_first + only_second
    if count == 0:
        return Outcome(0.0, 1.0)
    from scipy import stats

    if count < EXACT_BELOW:
        return Outcome(float(min(only_first, only_second)), float(stats.binomtest(only_first, count).pvalue))
    statistic = max(abs(only_first - only_second) - 1, 0) ** 2 / count
    return Outcome(statistic, float(stats.chi2.sf(statistic, 1)))


def block_test(first: Losses, second: Losses, block: int) -> Outcome:
    """Test that two models have the same expected loss on a long sequence: a t-test over the means of its blocks.

    Neighbouring characters' losses depend on each other; means of blocks much longer than that dependence hardly do. The
    rows beyond the last whole block are left out.

    Raises:
        UserError: different lengths, or fewer than two whole blocks.
    """
    difference = _paired(first, second)
    count = len(difference) // block
    if count < 2:
        raise UserError(f"{len(difference)} rows have {count} whole blocks of {block}; a test needs at least 2")
    means = difference[: count * block].reshape(count, block).mean(axis=1)
    return _t_test(float(means.mean()), float(means.std(ddof=1)) / math.sqrt(count), count - 1)


def block_length(rows: int) -> int:
    """Return a block length for series of ``rows`` rows: 2 n^(1/3), rounded up.

    n^(1/3) is the order that is best for a mean (Künsch 1989); twice as many, because a series of days has weeks.
    """
    return math.ceil(round(2 * math.cbrt(rows), 9))


def skill_interval(
    model: Losses, baseline: Losses, block: int = 1, draws: int = 2000, seed: int = 0, level: float = 0.95
) -> SkillInterval:
    """Return skill and difference with percentile intervals from a moving-block bootstrap.

    Künsch, "The jackknife and the bootstrap for general stationary observations", 1989; a block of 1 is the plain bootstrap.
    Rows are drawn together for model and baseline.

    Args:
        model: (rows,) losses.
        baseline: (rows,) losses of the same rows; their mean must be above 0.
        block: consecutive rows that are drawn together.
        draws: resamples.
        seed: where chance comes from.
        level: of the intervals.

    Raises:
        UserError: different lengths, fewer than 8 rows, or a baseline without loss, against which nothing can be saved.
    """
    _paired(model, baseline)
    reference = float(baseline.mean())
    if not reference > 0:
        raise UserError(
            f"the baseline's mean loss is {reference:g}, so no share of it can be saved; compare differences"
        )
    rows, block = len(model), min(block, len(model))
    count = math.ceil(rows / block)
    rng = np.random.default_rng(seed)
    # Sums of whole blocks: a draw costs rows / block numbers, not rows.
    sums = [_block_sums(losses, block) for losses in (model, baseline)]
    drawn = np.empty((2, draws))
    for draw in range(draws):
        starts = rng.integers(0, rows - block + 1, count)
        drawn[0, draw], drawn[1, draw] = sums[0][starts].sum(), sums[1][starts].sum()
    drawn /= count * block
    skills, differences = 1 - drawn[0] / drawn[1], drawn[0] - drawn[1]
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(skills, tails)
    difference_low, difference_high = np.quantile(differences, tails)
    mean = float(model.mean())
    return SkillInterval(
        1 - mean / reference, float(low), float(high), mean - reference, float(difference_low), float(difference_high)
    )


def holm(p_values: Sequence[float]) -> NDArray[np.float64]:
    """Return p-values corrected for their number, in the same order.

    Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    steps = np.minimum(np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)), 1.0)
    corrected = np.empty_like(values)
    corrected[order] = steps
    return corrected


def r2_against_mean(actual: Losses, predicted: Losses) -> float:
    """Return 1 - (squared error of ``predicted``) / (squared error of the mean of ``actual``); arrays (rows,)."""
    return float(1 - np.square(actual - predicted).sum() / np.square(actual - actual.mean()).sum())


def _block_sums(losses: Losses, block: int) -> Losses:
    total = np.concatenate([[0.0], np.cumsum(losses)])
    sums: Losses = total[block:] - total[:-block]
    return sums


def _paired(first: Losses, second: Losses) -> Losses:
    if first.shape != second.shape or first.ndim != 1:
        raise UserError(f"losses of shapes {first.shape} and {second.shape}: expected the same rows for both")
    if len(first) < 8:
        raise UserError(f"{len(first)} rows are too few to compare two models; expected at least 8")
    difference: Losses = np.asarray(first, dtype=np.float64) - second
    return difference


def _t_test(mean: float, error: float, freedom: int) -> Outcome:
    """Return the two-sided t-test of ``mean`` with standard error ``error``; rounding alone is no spread."""
    if not error > 1e-12 * abs(mean):
        return Outcome(math.copysign(math.inf, mean), 0.0) if mean else Outcome(0.0, 1.0)
    from scipy import stats

    return Outcome(mean / error, float(2 * stats.t.sf(abs(mean / error), freedom)))
