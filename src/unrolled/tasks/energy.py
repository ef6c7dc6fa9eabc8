"""Germany's daily electricity use, Open Power System Data: 4,383 days, 2006 to 2017, GWh."""

from datetime import date, timedelta
from pathlib import Path

import numpy as np

from unrolled.dailycsv import read_daily_csv
from unrolled.dataset import Series
from unrolled.rawfile import RawFile
from unrolled.splits import split_at_dates

LICENCE = (
    "Open Power System Data asks for attribution; its primary sources' terms apply (see the package's documentation)"
)
ATTRIBUTION = (
    "Open Power System Data, Data Package Time series (open-power-system-data.org), primary data from ENTSO-E and the German "
    "transmission operators; daily sums by Jennifer Walker (github.com/jenfly/opsd)"
)
NAME = "opsd_germany_daily.csv"
FILES = (
    RawFile(
        name=NAME,
        sha256="729b025d984497827cb6b89048d7c2c6a551e7aa727bc47ea0b74a2d1e84675d",
        addresses=(
            "https://raw.githubusercontent.com/jenfly/opsd/e62374961f90a1accced6d2bbca5afe7f9e05045/opsd_germany_daily.csv",
        ),
        mirror_path=f"energy/{NAME}",
        max_bytes=2_000_000,
        max_unpacked_bytes=2_000_000,
    ),
)


def read(folder: Path) -> Series:
    """Return the consumption series of the raw folder. Wind and Solar are empty in the early years and not read."""
    return read_file(folder / NAME)


def read_file(path: Path) -> Series:
    """Return the consumption series of a csv with the columns Date and Consumption (GWh)."""
    return read_daily_csv(path, date_column="Date", value_column="Consumption", unit="GWh")


def split(data: Series, validation: str, test: str) -> dict[str, tuple[int, int]]:
    """Return the splits by the first day of validation and of test."""
    return split_at_dates(data, validation, test)


def stand_in(folder: Path) -> None:
    """Write a generated file in the publisher's form: yearly and weekly season, weather-like noise, holidays."""
    rng = np.random.default_rng(2006)
    start, rows = date(2006, 1, 1), 4383
    days = [start + timedelta(days=t) for t in range(rows)]
    noise = np.zeros(rows)
    shocks = rng.normal(0, 18, rows)
    for t in range(1, rows):
        noise[t] = 0.8 * noise[t - 1] + shocks[t]
    lines = ["Date,Consumption,Wind,Solar,Wind+Solar"]
    for t, day in enumerate(days):
        year = np.cos(2 * np.pi * (day.timetuple().tm_yday - 20) / 365.25)
        weekend = {5: -190.0, 6: -300.0}.get(day.weekday(), 0.0)
        holiday = -220.0 if (day.month, day.day) in ((1, 1), (5, 1), (10, 3), (12, 25), (12, 26)) else 0.0
        load = 1400 + 110 * year + weekend + (holiday if day.weekday() < 5 else 0.0) + noise[t]
        wind = f"{max(rng.gamma(2, 60), 1):.3f}" if day.year >= 2010 else ""
        solar = f"{max(60 - 55 * year + rng.normal(0, 15), 1):.3f}" if day.year >= 2012 else ""
        both = f"{float(wind) + float(solar):.3f}" if wind and solar else ""
        lines.append(f"{day.isoformat()},{load:.3f},{wind},{solar},{both}")
    (folder / NAME).write_text("\n".join(lines) + "\n", encoding="utf-8")
