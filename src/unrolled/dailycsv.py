"""Read one column of a csv that has one row a day, and refuse what is not that."""

from array import array
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from unrolled.csvcolumns import csv_rows, number
from unrolled.dataset import Series
from unrolled.errors import UserError

DAY = timedelta(days=1)
LAST = date(9000, 1, 1)  # a calendar reaches to 9999, and what is foretold lies after the last row


def read_daily_csv(path: Path, *, date_column: str, value_column: str, unit: str, above: float | None = None) -> Series:
    """Return the series of ``value_column``.

    Args:
        path: a csv with a header.
        date_column: days as YYYY-MM-DD, one row each, in order, without gaps.
        value_column: finite numbers in ``unit``.
        unit: of the values.
        above: values must be greater than this.

    Raises:
        UserError: names the file, the first offending line, what stands there and what was expected.
    """
    values, day = array("d"), None
    for line, (text, told) in csv_rows(path, [date_column, value_column]):
        day = _next_day(path, line, date_column, text, day)
        value = number(path, line, value_column, told)
        if above is not None and not value > above:
            raise UserError(
                f"{path.name}, line {line}: {value_column} is {value:g}, but must be greater than {above:g}; mend it"
            )
        values.append(value)
    assert day is not None  # a csv without rows was refused
    return Series(np.frombuffer(values)[:, None], (value_column,), day - (len(values) - 1) * DAY, unit)


def _next_day(path: Path, line: int, column: str, text: str, before: date | None) -> date:
    """Return the day that ``text`` says, which must be the one after ``before``."""
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise UserError(
            f"{path.name}, line {line}: {column} is {text[:100]!r}, but expected a day as YYYY-MM-DD"
        ) from error
    if day > LAST:
        raise UserError(f"{path.name}, line {line}: {column} is {text!r}, but expected a day before {LAST}")
    if before is not None and day - before != DAY:
        problem = "comes twice" if day == before else "is out of order" if day < before else "follows a gap"
        raise UserError(
            f"{path.name}, line {line}: the day {day} {problem} (the line before has {before}); expected one row for "
            "every day in order; sort the rows, drop the doubles or fill the gap yourself"
        )
    return day
