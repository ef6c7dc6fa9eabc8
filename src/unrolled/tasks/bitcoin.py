"""Bitcoin's daily closing price, CoinDesk: 2,787 days, 2013-10-01 to 2021-05-18, USD."""

from datetime import date, timedelta
from pathlib import Path

import numpy as np

from unrolled.dailycsv import read_daily_csv
from unrolled.dataset import Series
from unrolled.errors import UserError
from unrolled.rawfile import RawFile
from unrolled.splits import checked, row_of, share

LICENCE = "not stated by the publisher of the file; CoinDesk's price index, for study only"
ATTRIBUTION = (
    "CoinDesk Bitcoin Price Index, as kept in Daniel Bourke's TensorFlow course "
    "(github.com/mrdbourke/tensorflow-deep-learning)"
)
NAME = "BTC_USD_2013-10-01_2021-05-18-CoinDesk.csv"
FILES = (
    RawFile(
        name=NAME,
        sha256="865dc9835cc911b79ee8fad1b7dbbf70100f684b4a1911394b30b72a8880906a",
        addresses=(
            "https://raw.githubusercontent.com/mrdbourke/tensorflow-deep-learning/bd065b806249f7b1155e5b1fabd130c5cfc9d184/"
            f"extras/{NAME}",
        ),
        mirror_path=f"bitcoin/{NAME}",
        max_bytes=2_000_000,
        max_unpacked_bytes=2_000_000,
    ),
)


def read(folder: Path) -> Series:
    """Return the closing prices of the raw folder."""
    return read_file(folder / NAME)


def read_file(path: Path) -> Series:
    """Return the closing prices of a csv with the columns Date and Closing Price (USD)."""
    return read_daily_csv(path, date_column="Date", value_column="Closing Price (USD)", unit="USD", above=0.0)


def split(data: Series, validation_fraction: float, test: str, gap_days: int) -> dict[str, tuple[int, int]]:
    """Return the splits: test from its first day on, ``gap_days`` in no part, the last share of the rest validation.

    Raises:
        UserError: a part would be empty.
    """
    rows = len(data.values)
    first = row_of(data, "test", test)
    if type(gap_days) is not int or gap_days < 0:
        raise UserError(f"split.gap_days={gap_days!r}: expected a whole number, at least 0")
    known = first - gap_days
    train = known - round(share("validation_fraction", validation_fraction) * known)
    return checked({"train": (0, train), "validation": (train, known), "test": (first, rows)}, rows)


def stand_in(folder: Path) -> None:
    """Write a generated file in the publisher's form: a random walk with clusters of volatility."""
    rng = np.random.default_rng(2013)
    start, rows = date(2013, 10, 1), 2787
    price, volatility = 120.0, 0.04
    lines = ["Currency,Date,Closing Price (USD),24h Open (USD),24h High (USD),24h Low (USD)"]
    for t in range(rows):
        before = price
        price *= float(np.exp(rng.normal(0.001, volatility)))
        volatility = float(np.clip(0.95 * volatility + 0.05 * abs(rng.normal(0.04, 0.03)), 0.01, 0.12))
        high, low = max(before, price) * 1.01, min(before, price) * 0.99
        lines.append(f"BTC,{(start + timedelta(days=t)).isoformat()},{price:.6f},{before:.6f},{high:.6f},{low:.6f}")
    (folder / NAME).write_text("\n".join(lines) + "\n", encoding="utf-8")
