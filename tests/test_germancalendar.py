"""The calendar's columns are what a German calendar says, known before the day comes."""

from datetime import date, timedelta

import numpy as np
import pytest

from unrolled.germancalendar import NAMES, POPULATION, calendar_columns


def _of(day: date) -> dict[str, float]:
    return dict(zip(NAMES, calendar_columns(day, 1)[0].tolist(), strict=True))


def _states(*states: str) -> float:
    return sum(POPULATION[state] for state in states) / sum(POPULATION.values())


@pytest.mark.parametrize(
    ("day", "share", "bridge"),
    [
        (date(2015, 1, 1), 1.0, 0.0),  # New Year, a Thursday
        (date(2015, 1, 2), 0.0, 1.0),  # the Friday after it
        (date(2015, 1, 5), 0.0, _states("BW", "BY", "ST")),  # the Monday before Epiphany
        (date(2015, 1, 6), _states("BW", "BY", "ST"), 0.0),
        (date(2015, 6, 4), _states("BW", "BY", "HE", "NW", "RP", "SL"), 0.0),  # Corpus Christi
        (date(2015, 10, 31), _states("BB", "MV", "SN", "ST", "TH"), 0.0),  # Reformation Day
        (date(2017, 10, 31), 1.0, 0.0),  # 500 years of it, everywhere
        (date(2017, 10, 30), 0.0, 1.0),
        (date(2015, 7, 15), 0.0, 0.0),
    ],
)
def test_a_holiday_counts_by_the_people_who_have_it(day: date, share: float, bridge: float) -> None:
    told = _of(day)
    assert told["holiday:share"] == pytest.approx(share)
    assert told["bridge:share"] == pytest.approx(bridge)


def test_a_day_has_its_weekday_and_the_days_around_christmas_their_own_column() -> None:
    told = _of(date(2015, 12, 24))
    assert [name for name, value in told.items() if value == 1] == ["weekday:thursday", "christmas:12-24"]
    assert not any(_of(date(2015, 1, 8))[name] for name in NAMES if name.startswith("christmas"))


def test_the_year_is_a_circle() -> None:
    columns = calendar_columns(date(2014, 12, 31), 2)
    year = [index for index, name in enumerate(NAMES) if name.startswith("year")]
    assert np.abs(columns[0, year] - columns[1, year]).max() < 0.07
    assert np.abs(columns).max() <= 1


def test_a_days_columns_do_not_depend_on_the_days_around_it_that_are_asked_for() -> None:
    long = calendar_columns(date(2014, 12, 20), 30)
    for t in range(30):
        assert np.array_equal(long[t], calendar_columns(date(2014, 12, 20) + timedelta(days=t), 1)[0])
