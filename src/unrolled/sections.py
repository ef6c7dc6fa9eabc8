"""What the page shows of one task: its leaderboard, its figures and where its numbers come from, read from the files."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from unrolled import figures, figures_examples, figures_series, figures_text, jsonfile
from unrolled.comparison import against_baselines, comparison
from unrolled.figures import Figure
from unrolled.leaderboard import RUN_HERE, Row, Table, read_json
from unrolled.predicted import predictions_of
from unrolled.predictiontable import read_table
from unrolled.shown import shown

DAYS = 90  # of forecast against truth
BREAKDOWNS = {
    "weekday": ("Error by weekday", "Days of the test by weekday."),
    "month": ("Error by month", "Days of the test by month: two years, so some sixty days each."),
    "german_holiday": (
        "Error on holidays",
        "Holidays of all Germany, and the days around Christmas, when industry rests.",
    ),
    "half": ("Error by half of the test", "An advantage that is real holds in both halves."),
    "volatility": (
        "Error by volatility",
        "Thirds of the test by the spread of returns over the 14 days before each target.",
    ),
    "class": ("Error by class", "Share of each digit's images that are misread."),
    "line_position": ("Loss by position in the line", "By how many characters of the same line are known already."),
    "character_kind": ("Loss by kind of character", "By what kind of character is to be foretold."),
}


def task_figures(root: Path, table: Table) -> list[Figure]:
    """Return all figures of a task that its files allow, in the order of the page."""
    meta = read_json(root / "data" / "windows" / table.task / "meta.json")
    details = read_json(root / "data" / "judgements" / table.task / "details.json")
    here = [cell for cell in table.all_cells() if cell.state == RUN_HERE]
    stand_in = any(row.data_source not in ("real", "") for row in table.rows)
    drawn: list[Figure] = []
    if here and meta:
        kind = {"series": _series, "examples": _examples, "text": _text}[meta["kind"]]
        drawn += kind(root, table, here, meta, details)
    drawn += _breakdowns(table, details, stand_in)
    beside = against_baselines(table, stand_in)
    drawn += [beside] if beside else []
    drawn += [comparison(told, table.unit, table.metric, stand_in) for told in details.get("comparisons", [])]
    curves = histories(root, table)
    if curves:
        drawn.append(figures.learning_curves(curves, stand_in))
    return drawn


def best_on_validation(table: Table, here: Sequence[Row]) -> Row:
    """Return the cell to draw: a choice, so it is made on validation."""
    better = max if table.metric == "accuracy" else min
    return better(here, key=lambda row: row.about[f"validation_{table.metric}"])


def _series(
    root: Path, table: Table, here: Sequence[Row], meta: Mapping[str, Any], details: Mapping[str, Any]
) -> Iterator[Figure]:
    best, stand_in, unit = best_on_validation(table, here).name, meta["source"] != "real", str(table.unit)
    days, baseline = forecast_table(root, table, best)
    yield figures_series.forecast(days.tail(DAYS).reset_index(drop=True), best, baseline, unit, stand_in)
    yield figures_series.worst_days(days, best, baseline, unit, stand_in)
    relative = meta["transform"]["name"] == "log_return"
    yield figures_series.residuals(days, best, unit, relative, stand_in)
    intervals = {row.name: row.interval for row in table.rows if row.interval}
    if intervals:
        yield figures_series.coverage(intervals, unit, stand_in)
    ventured = [row for row in table.rows if row.kind == "model" and _mean(table, row, "return_r2") is not None]
    if ventured:
        rows = [
            (
                row.name,
                f"{shown(table.metric, row.scores[table.metric])} {unit}",
                _mean(table, row, "return_spread") or 0.0,
                _mean(table, row, "return_r2") or 0.0,
            )
            for row in ventured
        ]
        yield figures_series.activity(rows, stand_in)


def forecast_table(root: Path, table: Table, cell: str) -> tuple[pd.DataFrame, str | None]:
    """Return a cell's first steps over the whole test, with intervals and the baseline to beat where there are any.

    Columns ``date``, ``actual``, ``predicted``, and if they are there ``baseline`` and ``low_50`` to ``high_90``.
    """
    data = root / "data"
    days = _first_steps(predictions_of(root, table.task, cell) / "test.parquet")[["date", "actual", "predicted"]]
    held = data / "judgements" / table.task / "intervals" / f"{cell}.parquet"
    if held.is_file():
        edges = _first_steps(held)
        days = days.join(edges[[name for name in edges if name.startswith(("low_", "high_"))]])
    beside = data / "baselines" / table.task / str(table.strongest) / "test.parquet"
    if not beside.is_file():
        return days, None
    told = _first_steps(beside)[["date", "predicted"]].rename(columns={"predicted": "baseline"})
    return days.merge(told, on="date", how="left"), table.strongest


def _first_steps(path: Path) -> pd.DataFrame:
    table = read_table(path)
    return table[table["step"] == 1].reset_index(drop=True)


def _mean(table: Table, row: Row, key: str) -> float | None:
    """Return the mean over a model's judged seeds of what judgement.json says of them."""
    told = [cell.judged[key] for cell in table.cells[row.name] if key in cell.judged]
    return float(np.mean(told)) if told else None


def _examples(
    root: Path, table: Table, here: Sequence[Row], meta: Mapping[str, Any], details: Mapping[str, Any]
) -> Iterator[Figure]:
    best, stand_in = best_on_validation(table, here).name, meta["source"] != "real"
    told = read_table(predictions_of(root, table.task, best) / "test.parquet")
    yield figures_examples.confusion(
        told["actual"].to_numpy(), told["predicted"].to_numpy(), meta["classes"], best, stand_in
    )
    if details.get("misread", {}).get("images"):
        yield figures_examples.misread(details["misread"]["images"], details["misread"]["cell"], stand_in)
    if details.get("reliability"):
        yield figures.reliability(details["reliability"], stand_in)


def _text(
    root: Path, table: Table, here: Sequence[Row], meta: Mapping[str, Any], details: Mapping[str, Any]
) -> Iterator[Figure]:
    stand_in = meta["source"] != "real"
    folders = {cell.name: predictions_of(root, table.task, cell.name) for cell in here}
    writers = [cell for cell in here if (folders[cell.name] / "samples.json").is_file()]  # an ensemble writes nothing
    if writers:
        samples = {cell.name: _samples(folders[cell.name] / "samples.json") for cell in writers}
        yield figures_text.written(samples, best_on_validation(table, writers).name, stand_in)
    losses: dict[str, list[Any]] = {}
    for cell in here:
        found = read_table(folders[cell.name] / "test.parquet", columns=["loss_nats"])["loss_nats"].to_numpy()
        losses.setdefault(cell.model, []).append(found)
    yield figures_text.loss_along_text({model: np.mean(told, axis=0) for model, told in losses.items()}, stand_in)
    if details.get("reliability"):
        yield figures.reliability(details["reliability"], stand_in)


def _samples(path: Path) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = jsonfile.read_json(path, list)
    return sorted(told, key=lambda sample: float(sample["temperature"]))


def _breakdowns(table: Table, details: Mapping[str, Any], stand_in: bool) -> Iterator[Figure]:
    for name, told in details.get("breakdowns", {}).items():
        title, read = BREAKDOWNS.get(name, (f"Error by {name.replace('_', ' ')}", ""))
        label = {"accuracy": "misread, %", "loss_nats": "nats per character"}.get(table.metric, f"MAE, {table.unit}")
        factor = 100 if table.metric == "accuracy" else 1
        losses = {
            name: [None if value is None else factor * value for value in values]
            for name, values in told["losses"].items()
        }
        read += " A dot is a model's mean over its seeds, the cross the baseline to beat."
        baseline = str(table.strongest)
        yield figures.breakdown(title, read, told["groups"], told["counts"], losses, baseline, label, stand_in)


def histories(root: Path, table: Table) -> dict[str, dict[int, pd.DataFrame]]:
    """Return the learning curves that are there, by model and seed: ``epoch`` from 0 and ``validation_loss`` among others."""
    curves: dict[str, dict[int, pd.DataFrame]] = {}
    for cell in table.all_cells():
        path = root / "reports" / table.task / cell.model / str(cell.seeds[0]) / "history.csv"
        if path.is_file():
            curves.setdefault(cell.model, {})[cell.seeds[0]] = pd.read_csv(path)
    return dict(sorted(curves.items()))
