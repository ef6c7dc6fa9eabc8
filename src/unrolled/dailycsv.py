"""Read one column of a csv that has one row a day, and refuse what is not that."""

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unrolled.dataset import Series
from unrolled.errors import UserError


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
    table = _read_text_columns(path, [date_column, value_column])
    days = _days(path, table[date_column], date_column)
    values = _numbers(path, table[value_column], value_column)
    if above is not None and not (values > above).all():
        line = int(np.argmin(values > above)) + 2
        raise UserError(
            f"{path.name}, line {line}: {value_column} is {values[line - 2]:g}, but must be greater than {above:g}; mend it"
        )
    return Series(values[:, None], (value_column,), days[0], unit)


def _read_text_columns(path: Path, columns: list[str]) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (FileNotFoundError, IsADirectoryError) as error:
        raise UserError(f"there is no file {path}; name a csv with the columns {', '.join(columns)}") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path.name} is not a csv: {' '.join(str(error).split())}; expected {', '.join(columns)}"
        ) from error
    for column in columns:
        if column not in table.columns:
            have = ", ".join(map(str, table.columns[:20]))
            raise UserError(f"{path.name} has no column {column!r}; it has: {have}; rename one or name the right file")
    if table.empty:
        raise UserError(f"{path.name} has a header but no rows; expected one row a day")
    return table


def _days(path: Path, texts: "pd.Series[str]", column: str) -> list[date]:
    days: list[date] = []
    for line, text in enumerate(texts, start=2):
        try:
            day = date.fromisoformat(text)
        except ValueError as error:
            raise UserError(
                f"{path.name}, line {line}: {column} is {text!r}, but expected a day as YYYY-MM-DD"
            ) from error
        if days and (day - days[-1]).days != 1:
            problem = "comes twice" if day == days[-1] else "is out of order" if day < days[-1] else "follows a gap"
            raise UserError(
                f"{path.name}, line {line}: the day {day} {problem} (the line before has {days[-1]}); expected one row for "
                "every day in order; sort the rows, drop the doubles or fill the gap yourself"
            )
        days.append(day)
    return days


def _numbers(path: Path, texts: "pd.Series[str]", column: str) -> NDArray[np.float64]:
    values = np.empty(len(texts))
    for row, text in enumerate(texts):
        try:
            values[row] = float(text)
        except ValueError:
            values[row] = np.nan
        if not np.isfinite(values[row]):
            raise UserError(
                f"{path.name}, line {row + 2}: {column} is {text!r}, but expected a finite number; fill or cut that row "
                "yourself: nothing is guessed here"
            )
    return values
