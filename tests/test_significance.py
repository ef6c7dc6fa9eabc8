"""The tests reject 5 % of the time where nothing is to be found, find what is there, and agree with values worked out."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.multitest import multipletests

from unrolled.errors import UserError
from unrolled.significance import (
    block_length,
    block_test,
    diebold_mariano,
    holm,
    long_run_variance,
    mcnemar,
    paired_test,
    r2_against_mean,
    skill_interval,
)

DRAWS = 1000


def _autocorrelated(rows: int, rho: float, seed: int = 0) -> NDArray[np.float64]:
    """Loss differences (draws, rows) with mean 0 that depend on the ones before."""
    shocks = np.random.default_rng(seed).normal(size=(DRAWS, rows + 50))
    values = np.zeros_like(shocks)
    for t in range(1, rows + 50):
        values[:, t] = rho * values[:, t - 1] + shocks[:, t]
    return values[:, 50:]


def _share_below_5_percent(p_values: list[float]) -> tuple[float, float]:
    """The share of rejections and how far from 5 % chance alone may take it (3 standard errors)."""
    return float(np.mean(np.array(p_values) < 0.05)), 3 * math.sqrt(0.05 * 0.95 / len(p_values))


@pytest.mark.parametrize("rho", [0.0, 0.5])
@pytest.mark.parametrize("horizon", [1, 7])
def test_diebold_mariano_rejects_5_percent_under_the_null(rho: float, horizon: int) -> None:
    rows = 500
    found = [diebold_mariano(values, np.zeros(rows), horizon).p_value for values in _autocorrelated(rows, rho)]
    share, slack = _share_below_5_percent(found)
    assert abs(share - 0.05) < slack


def test_the_usual_lags_would_reject_too_often() -> None:
    """Why the variance is estimated by cosines: Newey and West's 4 (n / 100)^(2/9) lags, on the same draws."""
    rows, lags = 500, math.floor(4 * (500 / 100) ** (2 / 9))
    found = []
    for values in _autocorrelated(rows, 0.5):
        centred = values - values.mean()
        variance = centred @ centred / rows
        variance += sum(2 * (1 - k / (lags + 1)) * centred[k:] @ centred[:-k] / rows for k in range(1, lags + 1))
        found.append(float(2 * stats.t.sf(abs(values.mean()) / math.sqrt(variance / rows), rows - 1)))
    share, slack = _share_below_5_percent(found)
    assert share > 0.05 + slack


def test_diebold_mariano_worked_out_by_hand() -> None:
    difference = np.array([1.0, 2.0, 0.0, 3.0, 1.0, 2.0, 1.0, 2.0])
    cosine = math.sqrt(2 / 8) * sum(math.cos(math.pi * (t + 0.5) / 8) * difference[t] for t in range(8))
    assert long_run_variance(difference) == (pytest.approx(cosine**2), 1), "0.4 * 8^(2/3) = 1.6: one cosine"
    statistic = math.sqrt((8 + 1 - 2) / 8) * 1.5 / math.sqrt(cosine**2 / 8)
    found = diebold_mariano(difference, np.zeros(8))
    assert found.statistic == pytest.approx(statistic)
    assert found.p_value == pytest.approx(1 - 2 / math.pi * math.atan(statistic)), (
        "t with 1 degree of freedom is Cauchy"
    )


def test_diebold_mariano_finds_a_difference_and_its_side() -> None:
    rng = np.random.default_rng(1)
    worse, better = np.abs(rng.normal(size=600)) + 0.3, np.abs(rng.normal(size=600))
    found = diebold_mariano(better, worse)
    assert found.p_value < 0.001
    assert found.statistic < 0
    assert diebold_mariano(worse, better).statistic == pytest.approx(-found.statistic)


def test_no_difference_and_a_constant_one() -> None:
    losses = np.abs(np.random.default_rng(2).normal(size=50))
    for test in (diebold_mariano, paired_test, lambda a, b: block_test(a, b, 5)):
        assert test(losses, losses) == (0.0, 1.0)
        assert test(losses + 1, losses).p_value < 1e-12


def test_losses_that_do_not_pair_are_refused() -> None:
    with pytest.raises(UserError, match="expected the same rows"):
        diebold_mariano(np.zeros(10), np.zeros(11))
    with pytest.raises(UserError, match="3 rows are too few"):
        skill_interval(np.ones(3), np.ones(3))
    with pytest.raises(UserError, match="10 rows have 1 whole blocks of 8"):
        block_test(np.zeros(10), np.zeros(10), 8)
    with pytest.raises(UserError, match="mean loss is 0"):
        skill_interval(np.ones(9), np.zeros(9))


def test_the_paired_test_is_students() -> None:
    rng = np.random.default_rng(3)
    first, second = rng.normal(size=40), rng.normal(0.2, 1, size=40)
    reference = stats.ttest_rel(first, second)
    assert paired_test(first, second) == pytest.approx((reference.statistic, reference.pvalue))


@pytest.mark.parametrize(("only_first", "only_second"), [(3, 9), (10, 14), (30, 52), (0, 7)])
def test_mcnemar_agrees_with_statsmodels(only_first: int, only_second: int) -> None:
    first = np.array([True] * (40 + only_first) + [False] * (only_second + 5))
    second = np.array([True] * 40 + [False] * only_first + [True] * only_second + [False] * 5)
    table = [[40, only_first], [only_second, 5]]
    reference = reference_mcnemar(table, exact=only_first + only_second < 25, correction=True)
    assert mcnemar(first, second).p_value == pytest.approx(reference.pvalue)


def test_mcnemar_by_hand_and_without_a_difference() -> None:
    first = np.array([True, True, True, False])
    second = np.array([False, False, False, False])
    assert mcnemar(first, second).p_value == pytest.approx(2 * 0.5**3)
    assert mcnemar(first, first) == (0.0, 1.0)


def test_mcnemar_does_not_reject_too_often() -> None:
    rng = np.random.default_rng(4)
    found = [mcnemar(rng.random(2000) < 0.97, rng.random(2000) < 0.97).p_value for _ in range(DRAWS)]
    share, slack = _share_below_5_percent(found)
    assert 0.01 < share < 0.05 + slack, "the continuity correction makes it cautious"


def test_the_block_test_rejects_5_percent_under_the_null() -> None:
    found = [block_test(values, np.zeros(5000), 100).p_value for values in _autocorrelated(5000, 0.7)[:600]]
    share, slack = _share_below_5_percent(found)
    assert abs(share - 0.05) < slack


def test_the_block_test_leaves_out_the_rest() -> None:
    losses = np.array([1.0, 3.0, 2.0, 6.0, 0.0, 2.0, 1.0, 3.0, 1e9])
    assert block_test(losses, np.zeros(9), 2) == pytest.approx(tuple(stats.ttest_1samp([2, 4, 1, 2], 0)))


def test_skill_by_hand() -> None:
    found = skill_interval(np.full(20, 0.5), np.full(20, 2.0))
    assert found == (0.75, 0.75, 0.75, -1.5, -1.5, -1.5)


@pytest.mark.parametrize(("rho", "block"), [(0.0, 1), (0.5, 16)])
def test_the_interval_of_a_difference_covers_the_truth(rho: float, block: int) -> None:
    differences = _autocorrelated(500, rho, seed=5)[:400]
    covered = []
    for values in differences:
        found = skill_interval(10 + values, np.full(500, 10.0), block=block, draws=400)
        covered.append(found.difference_low <= 0 <= found.difference_high)
    assert np.mean(covered) > 0.90, "a bootstrap of dependent rows falls somewhat short of 95 %"
    assert np.mean(covered) < 0.99


def test_the_bootstrap_repeats() -> None:
    rng = np.random.default_rng(6)
    model, baseline = rng.exponential(1.5, 111_540), rng.exponential(2.0, 111_540)
    found = skill_interval(model, baseline, block=1000)
    assert found == skill_interval(model, baseline, block=1000)
    assert found.low < found.skill < found.high
    assert found.skill == pytest.approx(0.25, abs=0.02)


def test_holm_agrees_with_statsmodels() -> None:
    p_values = [0.04, 0.001, 0.03, 0.2, 0.9, 0.03]
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])
    assert holm([0.01, 0.02]) == pytest.approx([0.02, 0.02])


def test_r2_is_0_for_the_mean_and_1_for_the_truth() -> None:
    actual = np.array([1.0, 2.0, 4.0])
    assert r2_against_mean(actual, actual) == 1
    assert r2_against_mean(actual, np.full(3, actual.mean())) == pytest.approx(0)
    assert r2_against_mean(actual, np.zeros(3)) < 0


def test_block_lengths() -> None:
    assert [block_length(rows) for rows in (8, 512, 557, 731)] == [4, 16, 17, 19]
