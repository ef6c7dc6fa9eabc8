"""What a calendar says of a day in Germany, known years ahead: its weekday, its place in the year, how free the day is."""

from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import UserError

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
HARMONICS = 3
FIRST_YEAR, LAST_YEAR = 1991, 2099  # the package's German holidays begin with reunification
# Inhabitants on 31 December 2014 in thousands; Statistisches Bundesamt, Bevoelkerungsfortschreibung on the 2011 census.
POPULATION = {
    "BW": 10717, "BY": 12692, "BE": 3470, "BB": 2458, "HB": 662, "HH": 1763, "HE": 6094, "MV": 1599,
    "NI": 7827, "NW": 17638, "RP": 4012, "SL": 989, "SN": 4055, "ST": 2236, "SH": 2831, "TH": 2157,
}  # fmt: skip
# The days when industry rests, whether they are holidays or not.
CHRISTMAS = tuple((12, day) for day in range(22, 32)) + tuple((1, day) for day in range(1, 8))

NAMES = (
    *(f"weekday:{name}" for name in WEEKDAYS),
    *(f"year:{function}{k}" for k in range(1, HARMONICS + 1) for function in ("sin", "cos")),
    "holiday:share",
    "bridge:share",
    *(f"christmas:{month:02}-{day:02}" for month, day in CHRISTMAS),
)


def calendar_columns(start: date, days: int) -> NDArray[np.float32]:
    """Return the columns ``NAMES`` of ``days`` days from ``start`` on: (days, columns), each between -1 and 1.

    weekday: one column each, 0 or 1. year: sine and cosine of 1 to 3 turns a year. holiday: share of the population in
    whose state the day is a public holiday. bridge: for a working day between a holiday and a weekend, that holiday's
    share. christmas: one column for each day from 22 December to 7 January, 0 or 1.

    Raises:
        UserError: a day lies in a year whose holidays are not told.
    """
    if start.year < FIRST_YEAR or (date(LAST_YEAR, 12, 31) - start).days < days:
        raise UserError(
            f"German holidays are known here from {FIRST_YEAR} to {LAST_YEAR}, but {days:,} days from {start} on are asked for; "
            "cut rows"
        )
    dates = [start + timedelta(days=t) for t in range(-1, days + 1)]  # a bridge looks one day to either side
    share = _holiday_shares(dates)
    weekday = np.array([day.weekday() for day in dates])
    # Monday before a holiday on Tuesday, Friday after one on Thursday; as far as the day is not a holiday itself.
    bridge = np.where(weekday[1:-1] == 0, share[2:], np.where(weekday[1:-1] == 4, share[:-2], 0.0))
    inside = dates[1:-1]
    turn = 2 * np.pi * np.array([day.timetuple().tm_yday for day in inside]) / 365.25
    year = [function(k * turn) for k in range(1, HARMONICS + 1) for function in (np.sin, np.cos)]
    months = [(day.month, day.day) for day in inside]
    christmas = [np.array([month == this for month in months]) for this in CHRISTMAS]
    columns = [*(weekday[1:-1] == k for k in range(7)), *year, share[1:-1], bridge * (1 - share[1:-1]), *christmas]
    return np.stack(columns, axis=1).astype(np.float32)


def _holiday_shares(dates: list[date]) -> NDArray[np.float64]:
    """Return the share of the population that has a public holiday on each of ``dates``."""
    import holidays

    years = range(dates[0].year, dates[-1].year + 1)
    kept = {state: holidays.country_holidays("DE", subdiv=state, years=years) for state in POPULATION}
    people = sum(POPULATION.values())
    return np.array([sum(POPULATION[state] for state in kept if day in kept[state]) / people for day in dates])
