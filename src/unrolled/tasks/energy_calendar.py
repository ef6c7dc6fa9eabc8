"""The energy task with what is known of each day before it comes: its calendar."""

from dataclasses import replace
from pathlib import Path

from unrolled.dataset import Series
from unrolled.germancalendar import NAMES, calendar_columns
from unrolled.tasks import energy
from unrolled.tasks.energy import ATTRIBUTION, FILES, LICENCE, split, stand_in

__all__ = ["ATTRIBUTION", "FILES", "LICENCE", "read", "read_file", "split", "stand_in"]

AHEAD = 366  # days after the last row whose calendar is told


def read(folder: Path) -> Series:
    """Return the consumption series of the raw folder with its calendar."""
    return _with_calendar(energy.read(folder))


def read_file(path: Path) -> Series:
    """Return the consumption series of a csv with the columns Date and Consumption (GWh), with its calendar."""
    return _with_calendar(energy.read_file(path))


def _with_calendar(series: Series) -> Series:
    return replace(series, known=calendar_columns(series.start, len(series.values) + AHEAD), known_names=NAMES)
