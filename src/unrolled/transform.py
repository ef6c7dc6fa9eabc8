"""From physical units to what a network sees, and back: level, log-return on the anchor, min-max.

The numbers are fitted on the training part only and travel in the windows' meta data. A forecast's quantiles go back the
same way as its points, because every transform is increasing.
"""

from collections.abc import Mapping
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import UserError

Params = Mapping[str, Any]
Array = TypeVar("Array", bound=Any)  # a numpy array or a torch tensor
NAMES = ("level", "log_return", "min_max")
PIECE = 8192  # rows


def fit(name: str, train: NDArray[np.float64]) -> dict[str, Any]:
    """Return the numbers of the transform ``name``, fitted on the training rows.

    Args:
        name: level, log_return or min_max; column 0, the target, gets it, the other columns are standardised.
        train: (rows, features) in physical units.

    Raises:
        UserError: an unknown name, a column that never changes, or a price that has no logarithm.
    """
    if name not in NAMES:
        raise UserError(f"unknown transform {name!r}; valid: {', '.join(NAMES)}")
    target, others = train[:, 0], train[:, 1:]
    if name == "log_return":
        target = _log_returns(target)[1:]
    if name == "min_max":
        mean, scale = float(target.min()), float(target.max() - target.min())
    else:
        # A return's mean is too small to estimate: the network predicts around zero, which is persistence.
        mean, scale = (0.0 if name == "log_return" else float(target.mean())), float(target.std())
    scales = [scale, *others.std(axis=0).tolist()]
    sizes = [np.abs(target).max(), *np.abs(others).max(axis=0).tolist()]
    for column, (value, size) in enumerate(zip(scales, sizes, strict=True)):
        if not value > 1e-12 * size:  # what rounding leaves of a column that never changes
            raise UserError(
                f"column {column} of the training rows never changes, so it cannot be scaled; leave it out or check the file"
            )
    fitted: dict[str, Any] = {"name": name, "mean": mean, "scale": scale}
    if others.shape[1]:
        fitted["others"] = {"mean": others.mean(axis=0).tolist(), "scale": scales[1:]}
    return fitted


def lookback(params: Params) -> int:
    """Return how many raw rows before the context the features of the context need."""
    return 1 if params["name"] == "log_return" else 0


def is_anchored(params: Params) -> bool:
    """Return whether a target depends on the last known value; if not, it is its own row's feature to the bit."""
    return bool(params["name"] == "log_return")


def features(params: Params, series: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return what the network sees of ``series`` (rows, features), physical units: (rows, features) float32.

    Row t depends on rows t - lookback .. t only. Under log_return row 0, which has nothing before it, is 0.

    Raises:
        UserError: a price that has no logarithm.
    """
    columns = np.empty(series.shape, dtype=np.float32)
    # A piece at a time: of a long series, the intermediate float64 would be larger than the series.
    for begin in range(0, len(series), PIECE):
        rows = slice(begin, begin + PIECE)
        before = min(begin, lookback(params))
        target = series[begin - before : begin + PIECE, 0]
        if params["name"] == "log_return":
            target = _log_returns(target)
        columns[rows, 0] = (target[before:] - params["mean"]) / params["scale"]
        if "others" in params:
            columns[rows, 1:] = (series[rows, 1:] - params["others"]["mean"]) / params["others"]["scale"]
    return columns


def target(params: Params, value: Array, anchor: Array) -> Array:
    """Return ``value`` (physical units) as the network is to predict it; ``anchor`` is the last known raw value."""
    if params["name"] == "log_return":
        return cast(Array, _log(value / anchor) / params["scale"])
    return cast(Array, (value - params["mean"]) / params["scale"])


def inverse(params: Params, prediction: Array, anchor: Array) -> Array:
    """Return a prediction, a point or a quantile, in physical units: the inverse of ``target``."""
    if params["name"] == "log_return":
        scaled = prediction * params["scale"]
        return cast(Array, anchor * (np.exp(scaled) if isinstance(scaled, np.ndarray) else scaled.exp()))
    return cast(Array, prediction * params["scale"] + params["mean"])


def _log_returns(prices: NDArray[np.float64]) -> NDArray[np.float64]:
    if not (prices > 0).all():
        row = int(np.argmin(prices > 0))
        raise UserError(f"row {row} has the value {prices[row]:g}, but log_return needs values above 0; use level")
    returns = np.zeros_like(prices)
    returns[1:] = np.log(prices[1:] / prices[:-1])
    return returns


def _log(values: Any) -> Any:
    return np.log(values) if isinstance(values, np.ndarray) else values.log()
