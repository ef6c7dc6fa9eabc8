"""Forecasts to beat, from tomorrow-is-as-today to ridge and ARIMA.

A forecast is made at an origin, the first row to forecast, and knows the rows before it: (origins, horizon), physical units.
What is fitted is fitted on the training rows and never again.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled import metrics, transform
from unrolled.errors import UserError

Values = NDArray[np.float64]
Rows = NDArray[np.int64]
Forecaster = Callable[[Rows], Values]  # (origins,) -> (origins, horizon)
# Four values a decade: coarser, the least validation error falls between two of them.
ALPHAS = tuple(10.0 ** (k / 4) for k in range(-8, 21))
ARIMA_ITERATIONS = 500  # of the optimiser; 25 to 100 are enough on the two series here


def persistence(series: Values, origins: Rows, horizon: int) -> Values:
    """Return the last value known, for every step: tomorrow is as today.

    Args:
        series: (rows,) physical units.
        origins: (origins,) first rows to forecast, above 0.
        horizon: steps ahead.
    """
    return seasonal_naive(series, origins, horizon, 1)


def seasonal_naive(series: Values, origins: Rows, horizon: int, season: int) -> Values:
    """Return the last known value of each step's phase: next Monday is as this Monday.

    Args:
        series: (rows,) physical units.
        origins: (origins,) first rows to forecast.
        horizon: steps ahead.
        season: rows in a season.

    Raises:
        UserError: a season reaches back beyond the first row.
    """
    if origins.min() < season:
        raise UserError(
            f"a season of {season} rows reaches back beyond the first row for the forecast of row {origins.min()}; "
            f"lower judge.season to at most {origins.min()}"
        )
    steps = np.arange(horizon)
    back = season * (steps // season + 1) - steps  # rows before the origin
    forecast: Values = series[origins[:, None] - back]
    return forecast


def drift(series: Values, origins: Rows, horizon: int, train: int, log: bool) -> Values:
    """Return the last value known, moved on by the mean change of a row in training.

    Hyndman and Athanasopoulos, "Forecasting: Principles and Practice", 3rd edition, 5.2; here with the slope of the
    training rows at every origin.

    Args:
        series: (rows,) physical units.
        origins: (origins,) first rows to forecast.
        horizon: steps ahead.
        train: training rows, the first ones.
        log: change in logarithms, so by a factor.
    """
    values = np.log(series) if log else series
    slope = (values[train - 1] - values[0]) / (train - 1)
    moved: Values = values[origins - 1, None] + slope * np.arange(1, horizon + 1)
    return np.exp(moved) if log else moved


def fit_ridge(
    series: Values, params: transform.Params, context: int, horizon: int, train: Rows, validation: Rows
) -> tuple[float, Forecaster]:
    """Return the chosen penalty and a linear forecaster on the context that the networks see, one regression per step.

    Inputs are standardised and targets transformed as a network's; the penalty is the one of ``ALPHAS`` with the least
    mean absolute error on validation.

    Args:
        series: (rows, features) physical units, column 0 the target.
        params: the windows' transform, from ``transform.fit``.
        context: rows that a forecast sees.
        horizon: steps ahead.
        train: (origins,) to fit on.
        validation: (origins,) to choose the penalty on.
    """
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    seen = np.lib.stride_tricks.sliding_window_view(transform.features(params, series), context, axis=0)

    def inputs(origins: Rows) -> Values:
        return seen[origins - context].reshape(len(origins), -1).astype(np.float64)

    def actual(origins: Rows) -> Values:
        targets: Values = series[origins[:, None] + np.arange(horizon), 0]
        return targets

    def forecaster(alpha: float) -> Forecaster:
        model = make_pipeline(StandardScaler(), Ridge(alpha))
        model.fit(inputs(train), transform.target(params, actual(train), series[train - 1, :1]))

        def forecast(origins: Rows) -> Values:
            predicted = model.predict(inputs(origins)).reshape(len(origins), horizon)
            return transform.inverse(params, predicted, series[origins - 1, :1])

        return forecast

    fitted = {alpha: forecaster(alpha) for alpha in ALPHAS}
    chosen = min(ALPHAS, key=lambda alpha: metrics.mae(actual(validation), fitted[alpha](validation)))
    return chosen, fitted[chosen]


def fit_known_ridge(
    series: Values, known: NDArray[np.floating], context: int, horizon: int, train: Rows, validation: Rows
) -> tuple[tuple[float, float], Forecaster]:
    """Return the chosen penalties and a linear forecaster in logarithms on what is known ahead, in two stages.

    The first explains the logarithm of a row by its known columns, their products in pairs, the known columns of the row
    before and of the row after it, and a line in time; the second, what that leaves of each step by what it left of the
    last ``context`` rows. The penalties are the pair of 1 to 10,000, two values a decade, with the least mean absolute error on
    validation.

    Args:
        series: (rows,) physical units, above 0.
        known: (rows and at least one more, columns).
        context: rows that a forecast sees the values of.
        horizon: steps ahead.
        train: (origins,) to fit on.
        validation: (origins,) to choose the penalties on.
    """
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows, logs = len(series), np.log(series)
    own = np.asarray(known[:rows], dtype=np.float64)
    left, right = np.triu_indices(own.shape[1], 1)
    before, after = np.concatenate([own[:1], own[:-1]]), np.asarray(known[1 : rows + 1], dtype=np.float64)
    time = np.arange(rows)[:, None] / rows
    columns = np.concatenate([own, own[:, left] * own[:, right], before, after, time], axis=1)
    fitted_rows = np.arange(train[0], train[-1] + horizon)
    steps = np.arange(horizon)

    def forecaster(explained: Values, second: float) -> Forecaster:
        rest = logs - explained
        seen = np.lib.stride_tricks.sliding_window_view(rest, context)
        model = make_pipeline(StandardScaler(), Ridge(second))
        model.fit(seen[train - context], rest[train[:, None] + steps])

        def forecast(origins: Rows) -> Values:
            left_over = model.predict(seen[origins - context]).reshape(len(origins), horizon)
            forecast: Values = np.exp(explained[origins[:, None] + steps] + left_over)
            return forecast

        return forecast

    def explain(alpha: float) -> Values:
        model = make_pipeline(StandardScaler(), Ridge(alpha))
        explained: Values = model.fit(columns[fitted_rows], logs[fitted_rows]).predict(columns)
        return explained

    fitted: dict[tuple[float, float], Forecaster] = {}
    for first in ALPHAS[8:25:2]:  # 1 to 10,000
        explained = explain(first)
        fitted |= {(first, second): forecaster(explained, second) for second in ALPHAS[8:25:2]}
    actual = series[validation[:, None] + steps]
    chosen = min(fitted, key=lambda pair: metrics.mae(actual, fitted[pair](validation)))
    return chosen, fitted[chosen]


@dataclass(frozen=True)
class Arima:
    """A fitted ARIMA.

    Attributes:
        forecast: the forecaster.
        iterations: that the optimiser took.
        converged: whether it ended by itself.
    """

    forecast: Forecaster
    iterations: int
    converged: bool


def fit_arima(
    series: Values, horizon: int, train: int, order: Sequence[int], seasonal: Sequence[int] | None, log: bool
) -> Arima:
    """Return a seasonal ARIMA without constant, fitted by maximum likelihood on the training rows.

    One pass of the Kalman filter reads the whole series; the forecast at an origin starts from the state that the filter
    expects there, which knows the rows before it: step h is Z T^(h-1) a. Durbin and Koopman, "Time Series Analysis by
    State Space Methods", 2nd edition, 4.3 and 4.11. With ``log`` it is e to the logarithm's forecast: the median.

    Args:
        series: (rows,) physical units.
        horizon: steps ahead.
        train: training rows, the first ones.
        order: p, d, q.
        seasonal: P, D, Q and the period in rows; None for none.
        log: of logarithms.

    Raises:
        UserError: fewer training rows than the order looks back over.
    """
    from statsmodels.tools.sm_exceptions import ConvergenceWarning
    from statsmodels.tsa.statespace.sarimax import SARIMAX

    (p, d, q), (bigger_p, bigger_d, bigger_q, period) = order, seasonal or (0, 0, 0, 0)
    need = p + d + q + (bigger_p + bigger_d + bigger_q) * period + 1
    if train < need:
        raise UserError(
            f"judge.arima looks back over {need - 1} rows, but there are {train} training rows; choose a smaller order or "
            "period, or null for no ARIMA"
        )
    values = np.log(series) if log else series
    scale = float(values[:train].std())  # the optimiser works best near 1
    shape: dict[str, Any] = {"order": (p, d, q), "seasonal_order": (bigger_p, bigger_d, bigger_q, period)}
    shape["concentrate_scale"] = True  # the noise's variance follows from the rest: one number less to search for
    with warnings.catch_warnings():
        # The guess to start from does not fit; the optimiser then starts from zeros, and what counts is where it ends.
        warnings.filterwarnings("ignore", "(Non-(stationary|invertible) starting|Too few observations to estimate)")
        warnings.simplefilter("ignore", ConvergenceWarning)  # told in the result
        fitted = SARIMAX(values[:train] / scale, **shape).fit(disp=False, maxiter=ARIMA_ITERATIONS)
    filtered = SARIMAX(values / scale, **shape).filter(fitted.params).filter_results
    design, transition = filtered.design[:, :, 0], filtered.transition[:, :, 0]

    def forecast(origins: Rows) -> Values:
        state = filtered.predicted_state[:, origins]  # (states, origins), each given the rows before its origin
        steps = []
        for _ in range(horizon):
            steps.append((design @ state)[0] * scale)
            state = transition @ state
        predicted = np.stack(steps, axis=1)
        return np.exp(predicted) if log else predicted

    told = fitted.mle_retvals
    return Arima(forecast, int(told["iterations"]), bool(told["converged"]))
