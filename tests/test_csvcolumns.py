"""A csv of any content: what is read is what stands there, and everything else is refused at its line."""

import csv
import math
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unrolled.csvcolumns import csv_rows, read_column
from unrolled.dailycsv import read_daily_csv
from unrolled.dataset import Series
from unrolled.errors import UserError

# One folder for all of a test's examples: each writes its file anew.
FAST = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\n"), max_size=20)
FINITE = st.floats(allow_nan=False, allow_infinity=False)


def _daily(path: Path) -> Series:
    return read_daily_csv(path, date_column="Date", value_column="Load", unit="GWh")


@FAST
@given(header=st.lists(TEXT, unique=True, min_size=2, max_size=5), data=st.data())
def test_any_table_is_read_as_it_was_written(header: list[str], data: st.DataObject, tmp_path: Path) -> None:
    row = st.lists(TEXT, min_size=len(header), max_size=len(header))
    rows = data.draw(st.lists(row, min_size=1, max_size=5))
    path = tmp_path / "mine.csv"
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    wanted = [header[-1], header[0]]
    assert [texts for _, texts in csv_rows(path, wanted)] == [[row[-1], row[0]] for row in rows]


@FAST
@given(values=st.lists(FINITE, min_size=1, max_size=30), start=st.dates(max_value=date(8999, 1, 1)))
def test_any_days_and_numbers_are_read_as_they_were_written(values: list[float], start: date, tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    lines = [f"{start + timedelta(days=t)},{value!r}" for t, value in enumerate(values)]
    path.write_text("\n".join(["Date,Load", *lines]))
    series = _daily(path)
    assert series.start == start
    assert series.values[:, 0].tolist() == values
    assert read_column(path, "Load").tolist() == values


@FAST
@given(content=st.binary(max_size=400) | st.text('Date,Lo"\n\r2006-1\0é;', max_size=400).map(str.encode))
def test_any_bytes_are_a_series_or_refused_in_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    for start in (b"", b"Date,Load\n", b"Date,Load\n2006-01-01,1\n2006-01-02,"):
        path.write_bytes(start + content)
        try:
            series = _daily(path)
        except UserError as error:
            assert str(error).startswith("mine.csv")  # noqa: PT017 - any bytes may as well be a series
        else:
            assert np.isfinite(series.values).all()


@FAST
@given(place=st.integers(0, 5), bad=st.sampled_from(["1e400", "-1e400", "nan", "inf", "", "1,5", "0x10", "1 2", "one"]))
def test_the_line_that_is_named_is_the_one_with_the_fault(place: int, bad: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    told = ["1.5"] * 6
    told[place] = bad
    path.write_text("Date,Load\n" + "".join(f'\n2006-01-0{t + 1},"{text}"\n' for t, text in enumerate(told)))
    line = 3 + 2 * place  # after an empty one each
    with pytest.raises(UserError, match=f"mine.csv, line {line}: Load is '.*', but expected a finite number"):
        _daily(path)


def test_numbers_take_eight_bytes_a_row(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("t,value\n" + "".join(f"{t},{math.sin(t)}\n" for t in range(5000)))
    values = read_column(path, "value")
    assert (values.dtype, values.shape, values.nbytes) == (np.float64, (5000,), 40_000)
    assert values[4999] == math.sin(4999)
