"""Intervals cover what they say, know the past alone, and are nested."""

from dataclasses import replace

import numpy as np
import pytest

from unrolled import intervals
from unrolled.errors import UserError
from unrolled.intervals import LEVELS, METHODS, QUANTILE_LEVELS, Forecasts, Method
from unrolled.intervalscores import covered, crps_samples

STATIC = [method for method in METHODS if not method.adaptive]
ADAPTIVE = [method for method in METHODS if method.adaptive]
DAY = np.datetime64("2020-01-01")


def _forecasts(errors: np.ndarray, first: int = 0, horizon: int = 1, point: float = 100.0) -> Forecasts:
    """One forecast of each step per origin, origin after origin, as predictions are written."""
    origins = len(errors) // horizon
    step = np.tile(np.arange(1, horizon + 1), origins)
    date = DAY + first + np.repeat(np.arange(origins), horizon) + step - 1
    return Forecasts(point + errors, np.full(len(errors), point), step, date)


def _moving(rows: int, seed: int = 0) -> np.ndarray:
    """Errors whose size swells and shrinks."""
    return np.random.default_rng(seed).normal(size=rows) * np.exp(1.2 * np.sin(np.arange(rows) / 25))


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_coverage_is_nominal_where_errors_are_exchangeable(method: Method) -> None:
    """Over many draws. Of 79 errors the ranks are whole, so static intervals cover their level exactly, not more."""
    rng, hits = np.random.default_rng(3), []
    for _ in range(400):
        errors = rng.standard_t(4, size=79 + 25) + 0.5
        validation, test = _forecasts(errors[:79]), _forecasts(errors[79:], first=79)
        found, _ = intervals.residual_intervals(validation, test, method, relative=False)
        hits.append(covered(test.actual[:, None], found.low, found.high).mean(axis=0))
    above = np.mean(hits, axis=0) - LEVELS
    three_errors = 3 * np.std(hits, axis=0) / 20
    assert (above > -three_errors).all()
    assert (above < three_errors + (0.012 if method.adaptive else 0)).all(), "adaptive ones are a little wide"


def test_the_static_ends_are_the_conformal_ranks() -> None:
    """Of 19 errors, both 5 % tails end at the outermost: ranks 1 and 19; the size that bounds 90 % has rank 18."""
    errors = np.random.default_rng(0).permutation(np.arange(19.0)) - 5  # -5 to 13
    validation, test = _forecasts(errors), _forecasts(np.zeros(1), first=19)
    signed, _ = intervals.residual_intervals(validation, test, Method(False, True), relative=False)
    assert signed.low[0].tolist() == pytest.approx([100 + r - 1 - 5 for r in (5, 2, 1)])
    assert signed.high[0].tolist() == pytest.approx([100 + r - 1 - 5 for r in (15, 18, 19)])
    symmetric, _ = intervals.residual_intervals(validation, test, Method(False, False), relative=False)
    sizes = np.sort(np.abs(errors))
    assert (symmetric.high[0] - 100).tolist() == pytest.approx([sizes[r - 1] for r in (10, 16, 18)])
    assert (100 - symmetric.low[0]).tolist() == pytest.approx((symmetric.high[0] - 100).tolist())


def test_a_recent_size_is_the_mean_of_moving_averages_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "HALF_LIVES", np.array([1.0, 2.0]))
    sizes = intervals._recent_size(np.array([2.0, -4.0, 100.0]), first=2, step=1)
    quick, slow = 0.5, 0.5**0.5
    once = [keep * 3 + (1 - keep) * 2 for keep in (quick, slow)]
    twice = [keep * value + (1 - keep) * 4 for keep, value in zip((quick, slow), once, strict=True)]
    assert sizes == pytest.approx([3.0, np.mean(once), np.mean(twice)])


@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("method", METHODS, ids=str)
def test_no_row_uses_what_was_not_known(method: Method, relative: bool, horizon: int) -> None:
    """Change every value from a day on: what was forecast by that morning is the same to the byte."""
    validation = _forecasts(_moving(60 * horizon), horizon=horizon)
    test = _forecasts(_moving(40 * horizon, 1), first=60 + horizon - 1, horizon=horizon)
    day = test.date[20 * horizon]
    other = replace(test, actual=np.where(test.date >= day, test.actual + 50, test.actual))
    (before, cloud), (after, other_cloud) = (
        intervals.residual_intervals(validation, part, method, relative) for part in (test, other)
    )
    made = test.date - (test.step - 1)  # the first day that the forecast did not know
    same = made <= day
    assert 0 < same.sum() < len(same)
    for left, right in ((before.low, after.low), (before.high, after.high), (cloud, other_cloud)):
        assert left[same].tobytes() == right[same].tobytes()
        # The first forecasts that could know the change do.
        assert (left[~same] != right[~same]).any() == method.adaptive
    if method.adaptive:
        learnt = (made == day + 1) & (test.step == 1)
        assert (before.high[learnt] != after.high[learnt]).all()


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("method", METHODS, ids=str)
def test_intervals_are_nested_and_agree_with_the_samples(method: Method, relative: bool) -> None:
    validation, test = _forecasts(_moving(400)), _forecasts(_moving(200, 1), first=400)
    found, samples = intervals.residual_intervals(validation, test, method, relative)
    ends = np.hstack([found.low[:, ::-1], found.high])
    assert (np.diff(ends, axis=1) >= 0).all()
    inside = [covered(samples, found.low[:, [i]], found.high[:, [i]]).mean() for i in range(len(LEVELS))]
    assert inside == pytest.approx(LEVELS, abs=0.01)


def test_relative_errors_are_log_returns_on_the_anchor() -> None:
    """The anchor cancels: log(actual / anchor) - log(predicted / anchor). The largest of 19 factors is the upper end."""
    factors = np.exp(np.linspace(-0.5, 0.4, 19))
    validation, test = _forecasts(100 * factors - 100), _forecasts(np.zeros(1), first=19, point=30.0)
    found, _ = intervals.residual_intervals(validation, test, Method(False, True), relative=True)
    assert (found.low[0, 2], found.high[0, 2]) == pytest.approx((30 * factors[0], 30 * factors[-1]))


def test_relative_intervals_scale_with_the_price() -> None:
    errors = np.random.default_rng(0).normal(0, 5, 40)
    validation, test = _forecasts(errors), _forecasts(np.zeros(2), first=40)
    dear = replace(test, actual=test.actual * 7, predicted=test.predicted * 7)
    for method in STATIC:
        one, _ = intervals.residual_intervals(validation, test, method, relative=True)
        seven, _ = intervals.residual_intervals(validation, dear, method, relative=True)
        assert seven.high == pytest.approx(7 * one.high)
        assert seven.low == pytest.approx(7 * one.low)


@pytest.mark.parametrize("method", ADAPTIVE, ids=str)
def test_adaptive_intervals_follow_volatility(method: Method) -> None:
    rng = np.random.default_rng(0)
    calm, wild = rng.normal(0, 1, 300), rng.normal(0, 6, 300)
    validation, test = _forecasts(calm), _forecasts(wild, first=300)
    share = {}
    for each in (method, replace(method, adaptive=False)):
        found, _ = intervals.residual_intervals(validation, test, each, relative=False)
        share[each.adaptive] = covered(test.actual, found.low[:, 2], found.high[:, 2]).mean()
    assert share[True] > 0.86
    assert share[False] < 0.35


def test_the_choice_is_made_on_validation_and_fits_the_errors() -> None:
    def best(errors: np.ndarray) -> Method:
        return intervals.choose(_forecasts(errors), relative=False)

    assert best(_moving(600)).adaptive
    alike = np.random.default_rng(1).normal(size=600)
    assert not best(alike).adaptive
    assert best(alike + 3).signed, "a bias that lasts is worth knowing"
    assert not best(alike + np.where(np.arange(600) < 300, 1, -1)).signed, "one that turns is not"


def test_the_halves_are_by_date() -> None:
    every = _forecasts(np.zeros(12), horizon=2)
    first, second = every.half(second=False), every.half(second=True)
    assert first.date.max() < second.date.min()
    assert (len(first.date), len(second.date)) == (5, 7)  # 2020-01-01 to 03, and 04 to 07


def test_exact_forecasts_have_no_width() -> None:
    validation, test = _forecasts(np.zeros(40)), _forecasts(np.zeros(9), first=40)
    for method in METHODS:
        found, samples = intervals.residual_intervals(validation, test, method, relative=False)
        assert (found.high == found.low).all()
        assert crps_samples(test.actual, samples).tolist() == [0] * 9


def _quantiles(sizes: np.ndarray, point: float = 100.0) -> np.ndarray:
    from scipy.stats import norm

    return point + sizes[:, None] * norm.ppf(QUANTILE_LEVELS)


def test_quantiles_become_the_intervals_between_them() -> None:
    table = {f"q{level:g}": np.array([10 * level, 20 * level]) for level in QUANTILE_LEVELS}
    found = intervals.quantile_intervals(intervals.quantiles_of(table))
    assert found.low == pytest.approx(np.array([[2.5, 1, 0.5], [5, 2, 1]]))
    assert found.high == pytest.approx(np.array([[7.5, 9, 9.5], [15, 18, 19]]))


@pytest.mark.parametrize("factor", [0.4, 2.5])
@pytest.mark.parametrize("relative", [False, True])
def test_conformalised_quantiles_cover_where_the_network_is_too_sure_or_too_shy(relative: bool, factor: float) -> None:
    rng, hits = np.random.default_rng(0), []
    for _ in range(60):
        sizes = np.exp(rng.normal(0, 0.5, 300))
        errors, said = rng.normal(size=300) * sizes, _quantiles(factor * sizes)
        validation, test = _forecasts(errors[:200]), _forecasts(errors[200:], first=200)
        moved = intervals.conformalise(validation, test, (said[:200], said[200:]), relative)
        found = intervals.quantile_intervals(moved)
        hits.append(covered(test.actual[:, None], found.low, found.high).mean(axis=0))
    assert np.mean(hits, axis=0) == pytest.approx(np.array(LEVELS), abs=0.025)


def test_conformal_margins_by_hand() -> None:
    """19 values that lie 1 .. 19 widths above their intervals: the ranks 10, 16 and 18 give the margins."""
    said = np.tile([97.0, 98.0, 99.0, 100.0, 101.0, 102.0, 103.0], (20, 1))  # widths of 2, 4 and 6
    for low, margin in ((2, 10 * 2), (1, 16 * 4), (0, 18 * 6)):
        high = 6 - low
        validation = _forecasts(said[:19, high] - 100 + np.arange(1, 20) * (said[0, high] - said[0, low]))
        test = _forecasts(np.zeros(1), first=19)
        moved = intervals.conformalise(validation, test, (said[:19], said[19:]), relative=False)
        assert said[0, low] - margin in moved[0].round(9)
        assert said[0, high] + margin in moved[0].round(9)


def test_quantiles_without_width_get_some_by_differences() -> None:
    validation, test = _forecasts(np.arange(1.0, 20)), _forecasts(np.zeros(1), first=19)
    flat = np.full((20, len(QUANTILE_LEVELS)), 100.0)
    moved = intervals.conformalise(validation, test, (flat[:19], flat[19:]), relative=False)
    assert moved[0].tolist() == [82, 84, 90, 100, 110, 116, 118]


def test_conformalised_quantiles_never_cross() -> None:
    """By itself the 90 % interval shrinks to 94 .. 106, inside the 80 % one that grows to 85.5 .. 106."""
    errors = np.where(np.arange(60) % 2 == 0, 6.0, 0.0)
    said = np.tile([80.0, 90.0, 99.0, 100.0, 101.0, 101.5, 120.0], (60, 1))
    validation, test = _forecasts(errors[:40]), _forecasts(errors[40:], first=40)
    moved = intervals.conformalise(validation, test, (said[:40], said[40:]), relative=False)
    assert (np.diff(moved, axis=1) >= 0).all()
    assert moved[0].tolist() == pytest.approx([85.5, 94, 94, 100, 106, 106, 106])


@pytest.mark.parametrize("horizon", [1, 3])
def test_no_quantile_uses_what_was_not_known(horizon: int) -> None:
    validation = _forecasts(_moving(60 * horizon), horizon=horizon)
    test = _forecasts(_moving(40 * horizon, 1), first=60 + horizon - 1, horizon=horizon)
    said = _quantiles(np.ones(60 * horizon)), _quantiles(np.ones(40 * horizon))
    day = test.date[20 * horizon]
    other = replace(test, actual=np.where(test.date >= day, test.actual + 50, test.actual))
    before, after = (intervals.conformalise(validation, part, said, relative=True) for part in (test, other))
    same = test.date - (test.step - 1) <= day
    assert before[same].tobytes() == after[same].tobytes()
    assert (before[~same] != after[~same]).any()


def test_crossing_quantiles_are_refused() -> None:
    crossed = _quantiles(np.ones(3))
    crossed[1] = crossed[1, ::-1]
    with pytest.raises(UserError, match="row 1 cross"):
        intervals.quantile_intervals(crossed)


def test_a_table_is_read_by_its_columns() -> None:
    import pandas as pd

    dates = pd.date_range("2020-01-01", periods=2)
    table = pd.DataFrame({"date": dates, "step": [1, 1], "actual": [1.0, 2.0], "predicted": [3.0, 4.0], "anchor": 0.0})
    found = intervals.forecasts_of(table)
    assert found.actual.tolist() == [1, 2]
    assert found.predicted.tolist() == [3, 4]
    assert found.date[1] == np.datetime64("2020-01-02")


def test_what_no_interval_can_be_made_of_is_refused() -> None:
    test = _forecasts(np.zeros(5), first=100)
    method = METHODS[0]
    with pytest.raises(UserError, match="18 known forecasts of step 1 are too few: 90 % intervals need 19"):
        intervals.residual_intervals(_forecasts(np.ones(18)), test, method, relative=False)
    with pytest.raises(UserError, match="validation ends on 2020-04-10.* test begins on 2020-04-10"):
        intervals.residual_intervals(_forecasts(np.ones(101)), test, method, relative=False)
    with pytest.raises(UserError, match="actual of row 3 is -1, but relative"):
        intervals.residual_intervals(_forecasts(np.r_[0, 0, 0, -101, 0]), test, method, relative=True)
    with pytest.raises(UserError, match="actual of row 1 is nan"):
        _forecasts(np.array([0, np.nan]))
    with pytest.raises(UserError, match="forecasts 1 ahead: 2020-01-01 follows 2020-01-02; sort"):
        Forecasts(np.zeros(2), np.zeros(2), np.ones(2, dtype=np.int64), DAY + np.array([1, 0]))
    with pytest.raises(UserError, match="no forecasts"):
        intervals.choose(_forecasts(np.zeros(1)), relative=False)
