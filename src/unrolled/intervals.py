"""Make 50, 80 and 90 % intervals and a predictive distribution from forecasts that are on disk, point or quantiles.

Around points: conformal. The errors of the validation forecasts say how far off the test's will be. Where volatility
moves, an error is taken relative to how large errors have been lately, and the pool of errors grows as the test's
become known. Nothing that a row uses was known after its forecast was made.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import UserError
from unrolled.intervalscores import crps_samples

Values = NDArray[np.float64]

LEVELS = (0.5, 0.8, 0.9)
QUANTILE_LEVELS = (
    0.05,
    0.1,
    0.25,
    0.5,
    0.75,
    0.9,
    0.95,
)  # what a quantile head predicts: the ends of LEVELS, and the median
SAMPLES = 199
LEAST_ROWS = 19  # the fewest errors whose largest bounds 95 %: 19 of 20
# Rows, days to months: the mean of all leaves nothing to choose on a validation part that is short for choosing.
HALF_LIVES = np.array([2.0, 4.0, 8.0, 16.0, 32.0, 64.0])


@dataclass(frozen=True)
class Forecasts:
    """The forecasts of one split, in time order; those of one step ahead are of consecutive rows.

    Attributes:
        actual: (rows,), physical units.
        predicted: (rows,), physical units.
        step: (rows,), steps ahead, 1 to horizon.
        date: (rows,), of the target.
    """

    actual: Values
    predicted: Values
    step: NDArray[np.int64]
    date: NDArray[np.datetime64]

    def __post_init__(self) -> None:
        """Refuse what no interval can be made of.

        Raises:
            UserError: no rows, a value that is not a number, or rows out of order.
        """
        if len(self.actual) == 0:
            raise UserError("no forecasts, but intervals need some; give the split more rows")
        for name in ("actual", "predicted"):
            values = getattr(self, name)
            if not np.isfinite(values).all():
                row = int(np.argmin(np.isfinite(values)))
                raise UserError(f"{name} of row {row} is {values[row]}, but intervals need finite numbers")
        for step in np.unique(self.step):
            days = self.date[self.step == step]
            if not (days[1:] > days[:-1]).all():
                row = int(np.argmin(days[1:] > days[:-1]))
                raise UserError(f"forecasts {step} ahead: {days[row + 1]} follows {days[row]}; sort the rows by date")

    def half(self, second: bool) -> "Forecasts":
        """Return the first or the second half of the dates."""
        middle = np.sort(self.date)[len(self.date) // 2]
        kept = (self.date >= middle) == second
        return Forecasts(self.actual[kept], self.predicted[kept], self.step[kept], self.date[kept])


def forecasts_of(table: Any) -> Forecasts:
    """Return the columns ``actual``, ``predicted``, ``step`` and ``date`` of a table (a data frame or a mapping)."""
    return Forecasts(
        np.asarray(table["actual"], dtype=np.float64),
        np.asarray(table["predicted"], dtype=np.float64),
        np.asarray(table["step"], dtype=np.int64),
        np.asarray(table["date"], dtype="datetime64[s]"),
    )


@dataclass(frozen=True)
class Method:
    """How intervals are made around points.

    Attributes:
        adaptive: errors relative to their recent size, from a pool that grows; otherwise the validation's as they are.
        signed: each tail from its own errors, which moves the intervals where forecasts are biased; otherwise both
            tails from the errors' sizes, which takes half as many and no bias over from the validation.
    """

    adaptive: bool
    signed: bool

    def __str__(self) -> str:
        return f"{'adaptive' if self.adaptive else 'static'}, {'signed' if self.signed else 'symmetric'}"


METHODS = tuple(Method(adaptive, signed) for adaptive in (False, True) for signed in (False, True))


@dataclass(frozen=True)
class Intervals:
    """Intervals of ``LEVELS``, nested.

    Attributes:
        low: (rows, levels), physical units.
        high: (rows, levels).
    """

    low: Values
    high: Values


def choose(validation: Forecasts, relative: bool) -> Method:
    """Return the method with the lowest CRPS on the second half of validation, the first half calibrating it.

    Raises:
        UserError: fewer than twice ``LEAST_ROWS`` forecasts of a step.
    """
    first, second = validation.half(second=False), validation.half(second=True)
    scores = {
        method: crps_samples(second.actual, residual_intervals(first, second, method, relative)[1]).mean()
        for method in METHODS
    }
    return min(METHODS, key=lambda method: scores[method])


def residual_intervals(
    validation: Forecasts, test: Forecasts, method: Method, relative: bool
) -> tuple[Intervals, Values]:
    """Return the intervals around the test's points and samples (rows, SAMPLES) of the same distributions.

    Split conformal prediction: Papadopoulos et al., 2002; Lei et al., "Distribution-free predictive inference for
    regression", 2018. Of n errors, a tail of level p ends at the one of rank ceil((n + 1) p), which covers at least p
    if errors are exchangeable. Adaptive: errors are divided by ``_recent_size`` first (normalised scores), and the
    test's errors join the pool once they are known: of forecasts h ahead, that of row t from row t + h on.

    Args:
        validation: forecasts whose errors calibrate.
        test: forecasts to put intervals around; the actual values are used as known past only.
        method: see ``choose``.
        relative: for prices: errors are differences of logarithms. That is the log-return on the last known value,
            actual less predicted, from which that value cancels.

    Raises:
        UserError: validation does not end before the test begins, has fewer than ``LEAST_ROWS`` forecasts of a step, or
            a value has no logarithm.
    """
    before, after = _errors(validation, relative), _errors(test, relative)
    low, high = np.empty((2, len(after), len(LEVELS)))
    samples = np.empty((len(after), SAMPLES))
    for step, calibrating, rows in _steps(validation, test):
        errors = np.concatenate([before[calibrating], after[rows]])
        low[rows], high[rows], samples[rows] = _offsets(errors, int(calibrating.sum()), step, method)
    points = test.predicted[:, None]
    low, high, samples = (points * np.exp(part) if relative else points + part for part in (low, high, samples))
    return Intervals(low, high), samples


def _errors(forecasts: Forecasts, relative: bool) -> Values:
    if relative:
        return _logs("actual", forecasts.actual) - _logs("predicted", forecasts.predicted)
    return forecasts.actual - forecasts.predicted


def _logs(name: str, values: Values) -> Values:
    if not (values > 0).all():
        row = int(np.argmin((values > 0).reshape(len(values), -1).all(axis=1)))
        raise UserError(
            f"{name} of row {row} is {values[row].min():g}, but relative intervals need values above 0; take differences"
        )
    return np.log(values)


def _steps(validation: Forecasts, test: Forecasts) -> Iterator[tuple[int, NDArray[np.bool_], NDArray[np.bool_]]]:
    """Yield each step ahead with its rows of validation and of test."""
    if not validation.date.max() < test.date.min():
        raise UserError(
            f"validation ends on {validation.date.max()}, but the test begins on {test.date.min()}; intervals need "
            "errors from before the test"
        )
    for step in np.unique(test.step).tolist():
        yield step, validation.step == step, test.step == step


def _offsets(errors: Values, first: int, step: int, method: Method) -> tuple[Values, Values, Values]:
    """Return how far the ends and samples of rows ``first`` and later lie from their points."""
    size = _recent_size(errors, first, step) if method.adaptive else np.ones(len(errors))
    scores = errors / size if method.signed else np.abs(errors / size)
    pools = _pools(scores, first, step, growing=method.adaptive)
    low, high, samples = zip(*(_tails(pool, method.signed) for pool in pools), strict=True)
    scale = size[first:, None]
    return np.array(low) * scale, np.array(high) * scale, np.array(samples) * scale


def _pools(scores: Values, first: int, step: int, growing: bool) -> Iterator[Values]:
    """Yield for each row from ``first`` on the sorted scores that calibrate it: those it knows, or knew at ``first``.

    Of forecasts ``step`` ahead, row t knows those of row t - step and before.
    """
    known = first - step + 1
    if known < LEAST_ROWS:
        raise UserError(
            f"{max(known, 0)} known forecasts of step {step} are too few: 90 % intervals need {LEAST_ROWS}; give "
            "validation more rows"
        )
    pool = np.sort(scores[:known])
    yield pool
    for score in scores[known : len(scores) - step]:
        if growing:
            pool = np.insert(pool, np.searchsorted(pool, score), score)
        yield pool


def _recent_size(errors: Values, first: int, step: int) -> Values:
    """Return the mean absolute error lately, as known to each row: the mean over ``HALF_LIVES`` of moving averages.

    Exponentially weighted averages: RiskMetrics, 1996; over several spans at once: Corsi, "A simple approximate
    long-memory model of realized volatility", 2009.

    Of forecasts ``step`` ahead, row t knows the errors of row t - step and before. The averages start from the mean of
    all that row ``first`` knows: the rows before it only calibrate.
    """
    keep = 0.5 ** (1 / HALF_LIVES)
    # Where all forecasts were exact, any size does; and years of exact ones must not make a division by 0.
    begin = float(np.abs(errors[: max(first - step + 1, 1)]).mean()) or 1.0
    average, sizes = np.full(len(HALF_LIVES), begin), np.full(len(errors), begin)
    for row in range(step, len(errors)):
        average = keep * average + (1 - keep) * abs(errors[row - step])
        sizes[row] = max(average.mean(), 1e-9 * begin)
    return sizes


def _tails(pool: Values, signed: bool) -> tuple[Values, Values, Values]:
    """Return the lower and upper ends (levels,) and the samples (SAMPLES,) that sorted errors, or their sizes, give."""
    count, inner = len(pool), (np.arange(SAMPLES) + 0.5) / SAMPLES
    if signed:
        ranks = [_rank(count, (1 + level) / 2) for level in LEVELS]
        samples = np.interp(inner * (count - 1), np.arange(count), pool)
        return pool[[count - rank for rank in ranks]], pool[[rank - 1 for rank in ranks]], samples
    ends = pool[[_rank(count, level) - 1 for level in LEVELS]]
    sizes = np.interp(np.abs(2 * inner - 1) * (count - 1), np.arange(count), pool)
    return -ends, ends, np.sign(inner - 0.5) * sizes


def _rank(count: int, share: float) -> int:
    return math.ceil(round((count + 1) * share, 9))  # rounded: 20 x 0.95 must not come out above 19


def quantiles_of(table: Any) -> Values:
    """Return the columns q0.05 ... q0.95 of a table as an array (rows, QUANTILE_LEVELS), physical units."""
    return np.stack([np.asarray(table[f"q{level:g}"], dtype=np.float64) for level in QUANTILE_LEVELS], axis=1)


def quantile_intervals(quantiles: Values) -> Intervals:
    """Return the intervals between the quantiles (rows, QUANTILE_LEVELS) on both sides of the median.

    Raises:
        UserError: quantiles that cross.
    """
    crossing = (np.diff(quantiles, axis=1) < 0).any(axis=1)
    if crossing.any():
        raise UserError(
            f"the quantiles of row {np.argmax(crossing)} cross: {quantiles[crossing][0].tolist()}; sort them"
        )
    middle = len(QUANTILE_LEVELS) // 2
    return Intervals(quantiles[:, :middle][:, ::-1], quantiles[:, middle + 1 :])


def conformalise(validation: Forecasts, test: Forecasts, quantiles: tuple[Values, Values], relative: bool) -> Values:
    """Return the test's quantiles (rows, QUANTILE_LEVELS), moved so that their intervals would have covered the past.

    Conformalised quantile regression (Romano, Patterson and Candes, 2019) in the form of Sesia and Candes, "A comparison
    of some conformal quantile regression methods", 2020: of each interval both ends move outwards by the same share of
    its width, the conformal quantile of how many widths the values lay outside (below 0: inside), over validation and
    what has become known of the test. At most half a width goes, so the ends never pass each other. Where one interval
    passes another, all ends are sorted (Chernozhukov et al., 2010); the outermost interval only gains by it.

    Args:
        validation: forecasts whose quantiles calibrate.
        test: forecasts whose quantiles are moved; the actual values are used as known past only.
        quantiles: validation's and the test's, (rows, QUANTILE_LEVELS) each, physical units.
        relative: for prices: widths are those of the logarithms.

    Raises:
        UserError: validation does not end before the test begins, has fewer than ``LEAST_ROWS`` forecasts of a step, or
            a value has no logarithm.
    """
    before, after = quantiles
    given = [("actual", validation.actual), ("actual", test.actual), ("quantile", before), ("quantile", after)]
    actual, actual_after, before, after = (_logs(name, values) if relative else values for name, values in given)
    moved = after.copy()
    for step, calibrating, rows in _steps(validation, test):
        ends = np.concatenate([before[calibrating], after[rows]])
        truth = np.concatenate([actual[calibrating], actual_after[rows]])
        first = int(calibrating.sum())
        for low, level in enumerate(reversed(LEVELS)):
            high = len(QUANTILE_LEVELS) - 1 - low
            width = ends[:, high] - ends[:, low]
            # A head that gives no width at all has its ends moved by plain differences.
            width = np.maximum(width, 1e-9 * width[: max(first, 1)].mean() or 1.0)
            outside = np.maximum(ends[:, low] - truth, truth - ends[:, high]) / width
            shares = [pool[_rank(len(pool), level) - 1] for pool in _pools(outside, first, step, growing=True)]
            margin = shares * width[first:]
            moved[rows, low] -= margin
            moved[rows, high] += margin
    return np.sort(np.exp(moved) if relative else moved, axis=1)
