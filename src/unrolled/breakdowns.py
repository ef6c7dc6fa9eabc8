"""Where the errors are: the test rows in groups that mean something to a reader."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Labels = NDArray[Any]

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS: tuple[str, ...] = ("January", "February", "March", "April", "May", "June", "July", "August", "September")
MONTHS += ("October", "November", "December")
VOLATILITY_DAYS = 14  # two weeks: long enough to estimate, short enough to follow a calm or a storm
LINE_POSITIONS = (("1", 0), ("2 to 5", 1), ("6 to 15", 5), ("16 to 30", 15), ("31 and later", 30))
KINDS = ("vowel", "consonant", "capital", "space", "line break", "punctuation")


def group_by(name: str, table: pd.DataFrame, text: str | None = None) -> tuple[tuple[str, ...], Labels]:
    """Return the names of a breakdown's groups and each row's number among them (rows,).

    Args:
        name: one of ``BREAKDOWNS``.
        table: a prediction table, one row per target in order; of a series' steps, the first alone.
        text: the whole text, of which ``table["position"]`` are indices; only text needs it.
    """
    groups, labels = BREAKDOWNS[name](table, text)
    return groups, labels


def means_by_group(losses: NDArray[np.float64], labels: Labels, groups: int) -> tuple[list[int], list[float | None]]:
    """Return each group's row count and mean loss, None for a group without rows."""
    counts = np.bincount(labels, minlength=groups)
    sums = np.bincount(labels, weights=losses, minlength=groups)
    return counts.tolist(), [float(total / n) if n else None for total, n in zip(sums, counts, strict=True)]


def _weekday(table: pd.DataFrame, _: str | None) -> tuple[tuple[str, ...], Labels]:
    return WEEKDAYS, table["date"].dt.day_of_week.to_numpy()


def _month(table: pd.DataFrame, _: str | None) -> tuple[tuple[str, ...], Labels]:
    return MONTHS, table["date"].dt.month.to_numpy() - 1


def _german_holiday(table: pd.DataFrame, _: str | None) -> tuple[tuple[str, ...], Labels]:
    """Days that are a holiday in all of Germany; the days around Christmas, when industry rests; all others."""
    import holidays

    kept = holidays.country_holidays("DE", years=range(table["date"].dt.year.min(), table["date"].dt.year.max() + 1))
    holiday = np.array([day in kept for day in table["date"].dt.date])
    month, day = table["date"].dt.month.to_numpy(), table["date"].dt.day.to_numpy()
    around = ((month == 12) & (day >= 24)) | ((month == 1) & (day <= 2))
    return ("ordinary day", "holiday", "24 December to 2 January"), np.where(around, 2, holiday.astype(int))


def _half(table: pd.DataFrame, _: str | None) -> tuple[tuple[str, ...], Labels]:
    return ("first half of the test", "second half"), (np.arange(len(table)) >= len(table) / 2).astype(int)


def _volatility(table: pd.DataFrame, _: str | None) -> tuple[tuple[str, ...], Labels]:
    """Thirds of the test by the spread of the returns over the days before each target: known on that day."""
    known = np.log(table["anchor"]).diff()
    spread = known.rolling(VOLATILITY_DAYS, min_periods=2).std().bfill().to_numpy()
    return ("calm", "middling", "stormy"), np.searchsorted(np.quantile(spread, [1 / 3, 2 / 3]), spread)


def _class(table: pd.DataFrame, _: str | None) -> tuple[tuple[str, ...], Labels]:
    count = sum(column[0] == "p" and column[1:].isdecimal() for column in table.columns)
    return tuple(str(number) for number in range(count)), table["actual"].to_numpy()


def _line_position(table: pd.DataFrame, text: str | None) -> tuple[tuple[str, ...], Labels]:
    """By how many characters of the same line come before the one to foretell."""
    assert text is not None
    breaks = np.flatnonzero(np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32) == ord("\n"))
    position = table["position"].to_numpy()
    earlier = np.searchsorted(breaks, position)  # breaks before the position
    start = np.where(earlier > 0, breaks[np.maximum(earlier - 1, 0)] + 1 if len(breaks) else 0, 0)
    bounds = np.array([first for _, first in LINE_POSITIONS])
    return tuple(name for name, _ in LINE_POSITIONS), np.searchsorted(bounds, position - start, side="right") - 1


def _character_kind(table: pd.DataFrame, text: str | None) -> tuple[tuple[str, ...], Labels]:
    assert text is not None
    kinds = {character: _kind(character) for character in sorted(set(text))}
    return KINDS, np.array([kinds[text[position]] for position in table["position"]])


def _kind(character: str) -> int:
    if character == "\n":
        return 4
    if character.isspace():
        return 3
    if not character.isalpha():
        return 5
    return 2 if character.isupper() else 0 if character in "aeiou" else 1


BREAKDOWNS: Mapping[str, Callable[[pd.DataFrame, str | None], tuple[tuple[str, ...], Labels]]] = {
    "weekday": _weekday,
    "month": _month,
    "german_holiday": _german_holiday,
    "half": _half,
    "volatility": _volatility,
    "class": _class,
    "line_position": _line_position,
    "character_kind": _character_kind,
}
KIND_OF = {"weekday": "series", "month": "series", "german_holiday": "series", "half": "series", "volatility": "series"}
KIND_OF |= {"class": "examples", "line_position": "text", "character_kind": "text"}
