"""Figures of forecasts: beside the truth, on the worst days, and what they leave over."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from numpy.typing import NDArray

from unrolled.figures import ACTUAL, BASELINE, Cell, Figure, Grid, Key, both_widths, colour_of, most_ticks
from unrolled.shown import percent
from unrolled.svg import NARROW, Scale, band, dots, drawing, element, frame, numbered, path, rule, ticks, together

Values = NDArray[np.float64]
LEVELS = (90, 80, 50)
LAGS = 28
WORST, AROUND = 6, 7  # days drawn, and days before and after each


def forecast(days: pd.DataFrame, cell: str, baseline: str | None, unit: str, stand_in: bool) -> Figure:
    """Return the truth, a cell's forecast with its intervals, and the baseline's forecast.

    Args:
        days: date, actual, predicted; with a baseline ``baseline``; with intervals ``low_50`` .. ``high_90``. Unit of the data.
        cell: whose forecast it is.
        baseline: name of the baseline, or None.
        unit: of all values.
        stand_in: mark the figure.
    """

    def draw(width: float) -> Markup:
        height = 380.0 if width > NARROW else 280.0
        alt = f"Actual values and the forecast of {cell} over the last {len(days)} test days"
        return _forecast(days, width, height, unit, colour_of(cell.rpartition("-")[0]), alt, stand_in, read_out=True)

    model = colour_of(cell.rpartition("-")[0])
    legend = [Key("actual", ACTUAL, "dot"), Key(cell, model)]
    legend += [Key(f"{level} % interval", model, f"area{level}") for level in reversed(_levels(days))]
    if baseline:
        legend.append(Key(baseline.replace("_", " "), BASELINE, "dotted"))
    return Figure(
        "Forecast against truth",
        f"The last {len(days)} days of the test, each forecast one step ahead with the true past known. Drawn is {cell}, the "
        f"cell with the lowest error on validation" + (", beside the baseline to beat." if baseline else "."),
        both_widths(draw),
        legend,
        [_read_out(day, cell, baseline, unit) for _, day in days.iterrows()],
        stand_in=stand_in,
    )


def _levels(days: pd.DataFrame) -> list[int]:
    return [level for level in LEVELS if f"low_{level}" in days]


def _read_out(day: "pd.Series[Any]", cell: str, baseline: str | None, unit: str) -> str:
    told = f"{day['date']:%a %Y-%m-%d}: actual {day['actual']:,.0f} {unit}, {cell} {day['predicted']:,.0f}"
    if "low_90" in day:
        told += f" (90 %: {day['low_90']:,.0f} to {day['high_90']:,.0f})"
    return told + (f", {baseline.replace('_', ' ')} {day['baseline']:,.0f}" if baseline else "")


def _forecast(
    days: pd.DataFrame,
    width: float,
    height: float,
    unit: str,
    colour: str,
    alt: str,
    stand_in: bool,
    read_out: bool = False,
    marked: int | None = None,
) -> Markup:
    columns = [name for name in days if name not in ("date", "step")]
    low, high = float(days[columns].min().min()), float(days[columns].max().max())
    pad = 0.05 * (high - low) or 1.0
    x, y = Scale(0, max(len(days) - 1, 1), 56, width - 14), Scale(low - pad, high + pad, height - 30, 28)
    xs = [x(place) for place in range(len(days))]
    parts = [frame(x, y, _date_ticks(days["date"], most_ticks(width)), numbered(ticks(y.low, y.high, 6)), unit)]
    for level in _levels(days):
        low_edge, high_edge = ([y(value) for value in days[f"{side}_{level}"]] for side in ("low", "high"))
        parts.append(band(xs, low_edge, high_edge, f"area{level}", colour))
    if "baseline" in days:
        parts.append(path(list(zip(xs, map(y, days["baseline"]), strict=True)), "line dotted", BASELINE))
    actual = list(zip(xs, map(y, days["actual"]), strict=True))
    parts += [
        path(actual, "line faint", ACTUAL),
        path([*zip(xs, map(y, days["predicted"]), strict=True)], "line", colour),
    ]
    parts.append(dots(actual, "small" if len(days) > 40 or width <= NARROW else "middling", ACTUAL))
    if marked is not None:
        parts.append(element("circle", cx=actual[marked][0], cy=actual[marked][1], r=7.0, class_="marked"))
    return drawing(width, height, together(parts), alt, stand_in, xs if read_out else None)


def _date_ticks(dates: "pd.Series[Any]", most: int) -> list[tuple[float, str]]:
    """Return the first days of months, or evenly spaced days where that would be fewer than two."""
    days = list(dates)
    firsts = [place for place, day in enumerate(days) if day.day == 1]
    if len(firsts) >= 2:
        step = -(-len(firsts) // most)
        return [(place, f"{days[place]:%b %Y}") for place in firsts[::step]]
    step = max(1, -(-len(days) // max(2, most // 2)))
    return [(place, f"{days[place]:%d %b}") for place in range(step // 2, len(days), step)]


def worst_days(table: pd.DataFrame, cell: str, baseline: str | None, unit: str, stand_in: bool) -> Figure:
    """Return the days that a cell was farthest off on, each with a week on both sides.

    Args:
        table: all test days, columns as ``forecast``'s.
        cell: whose forecast it is.
        baseline: name of the baseline, or None.
        unit: of all values.
        stand_in: mark the figure.
    """
    off = (table["predicted"] - table["actual"]).abs()
    worst = off.sort_values(ascending=False, kind="stable").index[:WORST]
    colour = colour_of(cell.rpartition("-")[0])
    small = []
    for place in worst:
        week = table.iloc[max(0, place - AROUND) : place + AROUND + 1].reset_index(drop=True)
        day = table.loc[place, "date"]
        alt = f"Forecast and truth around {day:%A %d %B %Y}, when {cell} was {off[place]:,.0f} {unit} off"
        chart = _forecast(week, 300, 190, unit, colour, alt, stand_in, marked=min(place, AROUND))
        small.append(element("li", element("span", f"{day:%a %d %b %Y}", class_="when"), chart))
    head = ["day", "actual", "forecast", "off by", *([f"{baseline.replace('_', ' ')} off by"] if baseline else [])]
    head += ["90 % interval"] if "low_90" in table else []
    return Figure(
        "The worst days",
        f"The {len(worst)} test days on which {cell} was farthest off, each ringed, with a week before and after. They are "
        f"{_share(off, worst)} of all its absolute error.",
        element("ol", *small, class_="small-multiples"),
        grids=[Grid(f"The worst days of {cell}, in {unit}", head, [_worst_row(table.loc[p], baseline) for p in worst])],
        stand_in=stand_in,
    )


def _share(off: "pd.Series[float]", worst: Any) -> str:
    return f"{100 * off[worst].sum() / off.sum():.1f} %" if off.sum() else "0 %"


def _worst_row(day: "pd.Series[Any]", baseline: str | None) -> list[Cell | str]:
    row: list[Cell | str] = [f"{day['date']:%Y-%m-%d, %A}", f"{day['actual']:,.0f}", f"{day['predicted']:,.0f}"]
    row.append(_signed(day["predicted"] - day["actual"]))
    if baseline:
        row.append(_signed(day["baseline"] - day["actual"]))
    if "low_90" in day:
        inside = day["low_90"] <= day["actual"] <= day["high_90"]
        row.append(Cell(f"{day['low_90']:,.0f} to {day['high_90']:,.0f}", "inside" if inside else "outside"))
    return row


def _signed(value: float) -> str:
    return f"{value:+,.0f}".replace("-", "\N{MINUS SIGN}")


def residuals(table: pd.DataFrame, cell: str, unit: str, relative: bool, stand_in: bool) -> Figure:
    """Return what a forecast leaves over: along the test, as a histogram, and against its own past.

    Args:
        table: all test days, columns as ``forecast``'s.
        cell: whose forecast it is.
        unit: of all values.
        relative: as percent of the forecast, for a series whose scale moves.
        stand_in: mark the figure.
    """
    left = (table["actual"] - table["predicted"]).to_numpy(dtype=np.float64)
    if relative:
        left = 100 * left / table["predicted"].to_numpy(dtype=np.float64)
        unit = "%"
    colour = colour_of(cell.rpartition("-")[0])
    lags = autocorrelation(left, min(LAGS, len(left) - 2))

    def draw(width: float) -> Markup:
        wide = width > NARROW
        along = _along(table["date"], left, width, unit, colour, stand_in)
        half = (width - 24) / 2 if wide else width
        parts = [along, _histogram(left, half, unit, colour, stand_in), _lags(lags, len(left), half, colour, stand_in)]
        return element("div", *parts, class_="panels")

    outside = int((np.abs(lags) > 1.96 / np.sqrt(len(left))).sum())
    return Figure(
        "Residuals",
        f"Actual minus forecast of {cell}: above 0 the day came out higher than foretold. Mean {left.mean():+.2f} {unit}, "
        f"standard deviation {left.std():.2f} {unit}. A forecast that used all there is leaves no memory: of {len(lags)} lags, "
        f"{outside} lie outside the band where 95 % of pure chance would.",
        both_widths(draw),
        stand_in=stand_in,
    )


def autocorrelation(values: Values, lags: int) -> Values:
    """Return the correlation of a series with its own past at lags 1..lags (lags,), each with the whole series' variance."""
    centred = values - values.mean()
    total = float((centred**2).sum()) or 1.0
    return np.array([float((centred[lag:] * centred[:-lag]).sum()) / total for lag in range(1, lags + 1)])


def _along(dates: Any, left: Values, width: float, unit: str, colour: str, stand_in: bool) -> Markup:
    most = float(np.abs(left).max()) * 1.05 or 1.0
    x, y = Scale(0, max(len(left) - 1, 1), 56, width - 14), Scale(-most, most, 170, 26)
    parts = [frame(x, y, _date_ticks(dates, most_ticks(width)), numbered(ticks(-most, most, 5)), f"residual, {unit}")]
    parts += [
        rule(x.start, y(0), x.end, y(0), "axis"),
        dots([(x(p), y(v)) for p, v in enumerate(left)], "small", colour),
    ]
    return drawing(width, 200, together(parts), "Residuals along the test", stand_in)


def _histogram(left: Values, width: float, unit: str, colour: str, stand_in: bool) -> Markup:
    counts, edges = np.histogram(left, bins=31)
    x, y = Scale(float(edges[0]), float(edges[-1]), 56, width - 14), Scale(0, float(counts.max()) * 1.05, 170, 26)
    parts = [frame(x, y, numbered(ticks(x.low, x.high, 5)), numbered(ticks(0, y.high, 5)), f"days by residual, {unit}")]
    for count, low, high in zip(counts, edges[:-1], edges[1:], strict=True):
        if count:
            box = {
                "x": x(low) + 0.5,
                "y": y(count),
                "width": max(x(high) - x(low) - 1, 0.5),
                "height": y.start - y(count),
            }
            parts.append(
                element("rect", class_="bar", style=f"color:{colour}", **{k: float(v) for k, v in box.items()})
            )
    return drawing(width, 200, together(parts), "Histogram of the residuals", stand_in)


def _lags(lags: Values, count: int, width: float, colour: str, stand_in: bool) -> Markup:
    bound = 1.96 / np.sqrt(count)
    most = max(float(np.abs(lags).max(initial=0)), bound) * 1.15
    x, y = Scale(0, len(lags) + 1, 56, width - 14), Scale(-most, most, 170, 26)
    parts = [band([x.start, x.end], [y(-bound)] * 2, [y(bound)] * 2, "area80", "var(--soft)")]
    parts.append(
        frame(
            x,
            y,
            [(lag, str(lag)) for lag in range(7, len(lags) + 1, 7)],
            numbered(ticks(-most, most, 5)),
            "autocorrelation by lag in days",
        )
    )
    parts += [rule(x(lag), y(0), x(lag), y(value), "stem") for lag, value in enumerate(lags, start=1)]
    parts.append(dots([(x(lag), y(value)) for lag, value in enumerate(lags, start=1)], "middling", colour))
    parts.append(rule(x.start, y(0), x.end, y(0), "axis"))
    return drawing(width, 200, together(parts), f"Autocorrelation of the residuals at lags 1 to {len(lags)}", stand_in)


def coverage(rows: Mapping[str, Mapping[str, Any]], unit: str, stand_in: bool) -> Figure:
    """Return how the intervals of models and baselines did.

    Args:
        rows: by name, ``method``, ``coverage_50`` and so on as in judgement.json.
        unit: of widths and scores.
        stand_in: mark the figure.
    """
    columns = [("coverage_50", "50 % covers"), ("coverage_80", "80 % covers"), ("coverage_90", "90 % covers")]
    numbers = [("width_90", "width of 90 %"), ("winkler_90", "Winkler 90 %"), ("pinball", "pinball"), ("crps", "CRPS")]
    table: list[Sequence[Cell | str]] = []
    for name, told in rows.items():
        shares = ["" if key not in told else f"{100 * told[key]:.1f} %" for key, _ in columns]
        values = ["" if key not in told else f"{told[key]:,.1f}" for key, _ in numbers]
        table.append([name.replace("_", " "), str(told.get("method", "")), *shares, *values])
    head = ["", "method", *(label for _, label in columns), *(label for _, label in numbers)]
    return Figure(
        "Intervals",
        f"An honest 90 % interval holds the truth on 90 % of the days; among those that do, the narrower is the better. "
        f"Winkler score, pinball loss and CRPS ({unit}) weigh both; lower is better. Models: means over their seeds.",
        grids=[Grid(f"Coverage and width of the intervals, {unit}", head, table)],
        stand_in=stand_in,
    )


def activity(rows: Sequence[tuple[str, str, float, float]], stand_in: bool) -> Figure:
    """Return how much forecasters of returns venture beside what that is worth.

    Args:
        rows: model, its error with unit, spread of predicted as a share of the actual returns', R2 against the mean return.
        stand_in: mark the figure.
    """
    best = max(r2 for *_, r2 in rows)
    if best < 0.01:
        told = f"No model explains as much as 1 % of how returns vary around their mean (highest R² {best:.4f}): "
        told += "these forecasts are close to \N{LEFT DOUBLE QUOTATION MARK}tomorrow is as today\N{RIGHT DOUBLE QUOTATION MARK}, "
        told += "and where they venture a move, it is hardly worth it."
    else:
        told = f"The highest R² against the mean return is {best:.3f}."
    return Figure(
        "What the forecasts venture",
        told,
        grids=[
            Grid(
                "Predicted returns beside the actual ones, means over seeds",
                ["model", "error", "spread of predicted returns, share of actual", "R² against the mean return"],
                [[model, error, percent(spread).lstrip("+"), f"{r2:+.4f}"] for model, error, spread, r2 in rows],
            )
        ],
        stand_in=stand_in,
    )
