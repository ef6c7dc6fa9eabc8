"""Chronological splits, checked: each part has rows and lies after the one before."""

from datetime import date

from unrolled.dataset import Series
from unrolled.errors import UserError

Splits = dict[str, tuple[int, int]]


def split_at_dates(data: Series, validation: str, test: str) -> Splits:
    """Return train, validation and test by the first day of the latter two.

    Raises:
        UserError: a date is none, or a part would be empty.
    """
    rows = len(data.values)
    first, second = (row_of(data, "validation", validation), row_of(data, "test", test))
    return checked({"train": (0, first), "validation": (first, second), "test": (second, rows)}, rows)


def row_of(data: Series, name: str, day: str) -> int:
    """Return the row of ``day``.

    Raises:
        UserError: it is no day, or not one of the series.
    """
    try:
        row = (date.fromisoformat(str(day)) - data.start).days
    except ValueError as error:
        raise UserError(f"split.{name}={day!r}: expected a day as YYYY-MM-DD") from error
    if not 0 < row < len(data.values):
        last = date.fromordinal(data.start.toordinal() + len(data.values) - 1)
        raise UserError(
            f"split.{name}={day!r} lies outside the data, which has {data.start} to {last}; choose a day in it"
        )
    return row


def checked(splits: Splits, rows: int) -> Splits:
    """Return ``splits`` if every part has rows, in order.

    Raises:
        UserError: a part is empty or begins before the one before it ends.
    """
    end = 0
    for name, (low, high) in splits.items():
        if not end <= low < high <= rows:
            raise UserError(
                f"the {name} part would be rows {low} to {high} of {rows}, after row {end}: it is empty or out of order; "
                "change the split section of the task's file"
            )
        end = high
    return splits


def share(name: str, value: float) -> float:
    """Return ``value`` if it is a share between 0 and 1.

    Raises:
        UserError: it is not.
    """
    if not isinstance(value, (int, float)) or not 0 < value < 1:
        raise UserError(f"split.{name}={value!r}: expected a number between 0 and 1")
    return float(value)
