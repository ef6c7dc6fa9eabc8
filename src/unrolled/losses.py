"""What each test row cost: the one number per row that comparisons, intervals of skill and breakdowns are made of."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Losses = NDArray[np.float64]


def row_losses(kind: str, table: pd.DataFrame) -> Losses:
    """Return the loss of each test row of a prediction table, in the table's order; lower is better.

    Series: absolute error in the data's unit, averaged over the steps of one origin (origins,). Examples: 1 for a wrong
    class, 0 for a right one (examples,). Text: nats (characters,).
    """
    if kind == "text":
        losses = table["loss_nats"]
    elif kind == "examples":
        losses = table["actual"] != table["predicted"]
    else:
        losses = (table["actual"] - table["predicted"]).abs()
    rows: Losses = losses.to_numpy(dtype=np.float64)
    return rows.reshape(-1, int(table["step"].max())).mean(axis=1) if kind == "series" else rows
