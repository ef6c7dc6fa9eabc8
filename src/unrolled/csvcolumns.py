"""Read columns of a csv line by line: what is not one is refused at its first line, before memory fills."""

import csv
import math
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import UserError

MOST_LINE_BYTES = 100_000
MOST_COLUMNS = 1_000
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def read_column(path: Path, column: str) -> NDArray[np.float64]:
    """Return the finite numbers of one column, (rows,): 8 bytes a row, whatever else the file holds.

    Raises:
        UserError: names the file, the first offending line, what stands there and what was expected.
    """
    return np.frombuffer(array("d", (number(path, line, column, text) for line, (text,) in csv_rows(path, [column]))))


def csv_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield for every row its line and its texts in ``columns``, in their order; empty lines are passed over.

    Args:
        path: a csv in UTF-8 with a header, a comma between columns.
        columns: names of the header that are wanted.

    Raises:
        UserError: there is no such file or column, no row, or a line is not that of a csv.
    """
    if not path.is_file():
        raise UserError(f"there is no file {path}; name a csv with the columns {', '.join(columns)}")
    with path.open("rb") as file:
        reader = csv.reader(_lines(path, file), strict=True)
        try:
            header = next(reader, [])
            places = [_place(path, header, column) for column in columns]
            empty = True
            for row in reader:
                if row:
                    empty, line = False, reader.line_num
                    if len(row) != len(header):
                        raise UserError(
                            f"{path.name}, line {line}: it has {len(row)} columns, but the header has {len(header)}; mend it"
                        )
                    yield line, [row[place] for place in places]
        except csv.Error as error:
            raise UserError(
                f"{path.name}, line {reader.line_num}: it is not a csv: {error}; expected {', '.join(columns)}, a comma between "
                "columns and every quote closed"
            ) from error
    if empty:
        raise UserError(f"{path.name} has a header but no rows; expected {', '.join(columns)} in each")


def _lines(path: Path, file: BinaryIO) -> Iterator[str]:
    """Yield the file's lines, each looked at as bytes first: the csv module would take any length and any byte."""
    number = 0
    while raw := file.readline(MOST_LINE_BYTES + 1):
        number += 1
        if number == 1 and raw.startswith(UTF16_MARKS):
            raise UserError(f"{path.name} is not a csv in UTF-8 but in UTF-16; save it as UTF-8")
        if len(raw) > MOST_LINE_BYTES:
            raise UserError(
                f"{path.name}, line {number}: it has more than {MOST_LINE_BYTES:,} bytes; expected one row a line"
            )
        if b"\0" in raw:
            raise UserError(f"{path.name}, line {number}: it has a NUL byte, so it is not a csv; save it as UTF-8 text")
        try:
            yield raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise UserError(
                f"{path.name}, line {number}: byte {error.start + 1} is not UTF-8, so it is not a csv; save it as UTF-8"
            ) from error


def _place(path: Path, header: list[str], column: str) -> int:
    """Return where ``column`` stands in the header."""
    if len(header) > MOST_COLUMNS:
        raise UserError(f"{path.name} has {len(header):,} columns, but expected at most {MOST_COLUMNS:,}; cut some")
    if header.count(column) != 1:
        have = ", ".join(header[:20]) or "nothing"
        times = "no column" if column not in header else f"{header.count(column)} columns"
        raise UserError(f"{path.name} has {times} {column!r}; it has: {have}; rename one or name the right file")
    return header.index(column)


def number(path: Path, line: int, column: str, text: str) -> float:
    """Return what ``text`` says, a finite number.

    Raises:
        UserError: it says none, or one beyond what a float holds.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(
            f"{path.name}, line {line}: {column} is {_short(text)}, but expected a finite number; fill or cut that row "
            "yourself: nothing is guessed here"
        )
    return value


def _short(text: str) -> str:
    return repr(text) if len(text) <= 100 else f"{text[:100]!r} and {len(text) - 100:,} characters more"
