"""Each test row falls into the group that its day, class or place says."""

import numpy as np
import pandas as pd

from unrolled.breakdowns import BREAKDOWNS, KIND_OF, means_by_group


def _days(start: str, days: int) -> pd.DataFrame:
    return pd.DataFrame({"date": pd.date_range(start, periods=days), "anchor": 100.0})


def _groups(name: str, table: pd.DataFrame, text: str | None = None) -> list[str]:
    groups, labels = BREAKDOWNS[name](table, text)
    return [groups[label] for label in labels]


def test_days_by_weekday_month_and_holiday() -> None:
    assert _groups("weekday", _days("2016-01-01", 3)) == ["Friday", "Saturday", "Sunday"]
    assert _groups("month", _days("2016-02-29", 2)) == ["February", "March"]
    assert _groups("german_holiday", _days("2016-01-01", 3))[2] == "ordinary day"
    table = pd.DataFrame(
        {"date": pd.to_datetime(["2016-05-01", "2016-05-02", "2016-10-03", "2016-12-24", "2017-01-02"])}
    )
    around = "24 December to 2 January"
    assert _groups("german_holiday", table) == ["holiday", "ordinary day", "holiday", around, around]


def test_the_volatility_of_a_day_is_what_was_known_before_it() -> None:
    rng = np.random.default_rng(0)
    returns = np.r_[rng.normal(0, 0.001, 100), rng.normal(0, 0.01, 100), rng.normal(0, 0.1, 100)]
    table = pd.DataFrame({"anchor": 100 * np.exp(np.cumsum(returns))})
    groups = _groups("volatility", table)
    assert set(groups[20:100]) == {"calm"}
    assert set(groups[220:]) == {"stormy"}
    changed = table.copy()
    changed.loc[250:, "anchor"] *= 5  # a jump that is known from row 250 on
    known = BREAKDOWNS["volatility"](table, None)[1][:90]
    assert (BREAKDOWNS["volatility"](changed, None)[1][:90] == known).all()


def test_halves_and_classes() -> None:
    assert _groups("half", _days("2016-01-01", 3)) == [
        "first half of the test",
        "first half of the test",
        "second half",
    ]
    digits = pd.DataFrame({"actual": [2, 0], "predicted": [2, 1], "p0": 0.1, "p1": 0.2, "p2": 0.7})
    assert _groups("class", digits) == ["2", "0"]


def test_characters_by_position_in_the_line_and_by_kind() -> None:
    text = "Ab c\nd, e\n\nF"
    table = pd.DataFrame({"position": range(len(text))})
    kinds = _groups("character_kind", table, text)
    assert kinds[:5] == ["capital", "consonant", "space", "consonant", "line break"]
    assert kinds[5:9] == ["consonant", "punctuation", "space", "vowel"]
    places = _groups("line_position", table, text)
    assert places[0] == places[5] == places[10] == places[11] == "1", "the first character of each line"
    assert places[1:5] == ["2 to 5"] * 4
    long = pd.DataFrame({"position": [0, 5, 14, 15, 29, 30]})
    assert _groups("line_position", long, "x" * 40)[1:] == [
        "6 to 15",
        "6 to 15",
        "16 to 30",
        "16 to 30",
        "31 and later",
    ]


def test_means_of_groups_and_of_an_empty_one() -> None:
    counts, means = means_by_group(np.array([1.0, 3.0, 5.0]), np.array([0, 0, 2]), 3)
    assert counts == [2, 0, 1]
    assert means == [2.0, None, 5.0]


def test_every_breakdown_says_for_which_kind_of_data_it_is() -> None:
    assert set(KIND_OF) == set(BREAKDOWNS)
