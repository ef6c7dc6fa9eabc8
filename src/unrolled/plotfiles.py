"""The tables that `dvc plots` draws: kept in git, so that any two commits can be laid over each other."""

from pathlib import Path

import pandas as pd

from unrolled.leaderboard import RUN_HERE, Table, read_json
from unrolled.predicted import predictions_of
from unrolled.predictiontable import read_table
from unrolled.sections import DAYS, best_on_validation, forecast_table, histories


def plot_files(root: Path, table: Table) -> dict[str, str]:
    """Return what of a task can be drawn, by file name below reports/.

    ``curves.csv``: validation loss by ``line`` (model), ``part`` (seed) and epoch. ``forecast.csv``: by ``line`` (actual,
    forecast of the cell with the lowest error on validation, baseline to beat) and date, unit of the data.
    ``confusion.csv``: actual and predicted class of each test example, of the cell with the highest validation accuracy.
    """
    files: dict[str, pd.DataFrame] = {}
    curves = [
        curve[["epoch", "validation_loss"]].assign(line=model, part=seed)
        for model, seeds in histories(root, table).items()
        for seed, curve in seeds.items()
    ]
    if curves:
        files["curves.csv"] = pd.concat(curves)
    here = [cell for cell in table.all_cells() if cell.state == RUN_HERE]
    kind = read_json(root / "data" / "windows" / table.task / "meta.json").get("kind")
    if here and kind == "series":
        days, _ = forecast_table(root, table, best_on_validation(table, here).name)
        lines = days.tail(DAYS).rename(columns={"predicted": "forecast"})
        shown = [name for name in ("actual", "forecast", "baseline") if name in lines]
        files["forecast.csv"] = lines.melt("date", shown, var_name="line").assign(part="")
    if here and kind == "examples":
        best = best_on_validation(table, here).name
        told = read_table(predictions_of(root, table.task, best) / "test.parquet")
        files["confusion.csv"] = told[["actual", "predicted"]]
    return {
        f"{table.task}/{name}": content.to_csv(index=False, lineterminator="\n", float_format="%.6g")
        for name, content in files.items()
    }
