"""Every score of the checkout in rows: the cells that params.yaml names, and the baselines beside them."""

import csv
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from unrolled.errors import UserError

RUN_HERE, COMMITTED, MISSING = "run here", "committed, not run here", "missing"
METRICS = ("mae", "rmse", "mape", "mase", "accuracy", "nll", "loss_nats", "bits_per_char", "perplexity")
COLUMNS = (
    "task",
    "row",
    "kind",
    "model",
    "seed",
    "metric",
    "value",
    "skill",
    "parameters",
    "data_source",
    "state",
    *METRICS,
)


@dataclass(frozen=True)
class Row:
    """One line of a task's table.

    Attributes:
        name: ``gru-0`` or a baseline's name.
        kind: ``model`` or ``baseline``.
        state: run here; committed, not run here; or missing.
        scores: the test's metrics.
        skill: share of the strongest baseline's error that it saves; None if they are not of the same data.
        about: all of the cell's metrics.json.
    """

    task: str
    name: str
    kind: str
    state: str
    scores: dict[str, float]
    skill: float | None
    data_source: str
    model: str = ""
    seed: int | None = None
    about: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """One task's rows, best first; ``metric`` orders them, ``strongest`` is the baseline to beat."""

    task: str
    metric: str
    unit: str | None
    strongest: str | None
    rows: list[Row]
    judgement: dict[str, Any]


def tables(root: Path) -> list[Table]:
    """Return a table for every task of params.yaml.

    Raises:
        UserError: a committed file is damaged.
    """
    params = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    return [_table(root, task, params["cells"]) for task in params["tasks"]]


def _table(root: Path, task: str, cells: dict[str, dict[str, Any]]) -> Table:
    judgement = read_json(root / "reports" / task / "judgement.json")
    here = read_json(root / "data" / "windows" / task / "meta.json").get("digest")
    rows = [_cell_row(root, cell, judgement, here) for cell in cells.values() if cell["task"] == task]
    metric = judgement.get("metric") or next((m for m in METRICS if any(m in row.scores for row in rows)), "mae")
    for name, scores in judgement.get("baselines", {}).items():
        state = RUN_HERE if here == judgement["data_digest"] else COMMITTED
        skill = _skill(metric, scores, judgement, judgement["data_digest"])
        rows.append(Row(task, name, "baseline", state, scores, skill, judgement["data_source"]))
    rows.sort(key=lambda row: (metric not in row.scores, _error(metric, row.scores.get(metric, 0.0)), row.name))
    return Table(task, metric, judgement.get("unit"), judgement.get("strongest"), rows, judgement)


def _cell_row(root: Path, cell: dict[str, Any], judgement: dict[str, Any], here: str | None) -> Row:
    task, model, seed = cell["task"], str(cell["model"]), cell["seed"]
    about = read_json(root / "reports" / task / model / str(seed) / "metrics.json")
    name = f"{model}-{seed}"
    if not about:
        return Row(task, name, "model", MISSING, {}, None, "", model, seed)
    run = about["data_digest"] == here and (root / "data" / "predictions" / task / name).is_dir()
    scores = {metric: about[metric] for metric in METRICS if metric in about}
    skill = _skill(judgement.get("metric", ""), scores, judgement, about["data_digest"])
    return Row(
        task, name, "model", RUN_HERE if run else COMMITTED, scores, skill, about["data_source"], model, seed, about
    )


def _skill(metric: str, scores: dict[str, float], judgement: dict[str, Any], digest: str) -> float | None:
    if digest != judgement.get("data_digest") or metric not in scores:
        return None
    reference = judgement["baselines"][judgement["strongest"]][metric]
    return 1 - _error(metric, scores[metric]) / _error(metric, reference)


def _error(metric: str, value: float) -> float:
    return 1 - value if metric == "accuracy" else value


def read_json(path: Path) -> dict[str, Any]:
    """Return an object, or an empty one if there is no file.

    Raises:
        UserError: the file is damaged.
    """
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(
            f"{path} is not JSON ({error}); bring it back with `git restore` or run its stage again"
        ) from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds {type(content).__name__}, not an object; run its stage again")
    return content


def as_csv(all_tables: list[Table]) -> str:
    """Return all rows as one csv; no times, so that equal results are equal bytes."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=COLUMNS, lineterminator="\n")
    writer.writeheader()
    for table in all_tables:
        for row in table.rows:
            known = {"task": row.task, "row": row.name, "kind": row.kind, "model": row.model, "seed": row.seed}
            found = {"metric": table.metric, "value": row.scores.get(table.metric), "skill": row.skill}
            about = {"parameters": row.about.get("parameters"), "data_source": row.data_source, "state": row.state}
            writer.writerow(known | found | about | row.scores)
    return text.getvalue()


def as_markdown(all_tables: list[Table]) -> str:
    """Return one table per task, baselines among the models."""
    parts = ["# Leaderboard", ""]
    for table in all_tables:
        names = [metric for metric in METRICS if any(metric in row.scores for row in table.rows)]
        parts += [f"## {table.task}{f' ({table.unit})' if table.unit else ''}", ""]
        header = ["", *names, "skill", "parameters", "data", "state"]
        parts += [_line(header), "|---" * len(header) + "|"]
        for row in table.rows:
            name = f"*{row.name}* (baseline)" if row.kind == "baseline" else row.name
            values = [shown(metric, row.scores.get(metric)) for metric in names]
            size = f"{row.about['parameters']:,}" if "parameters" in row.about else ""
            parts.append(_line([name, *values, percent(row.skill), size, row.data_source, row.state]))
        parts.append("")
    return "\n".join(parts)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def as_text(all_tables: list[Table]) -> str:
    """Return the tables for a terminal: the rows that were run here, and the baselines that they must beat."""
    lines = []
    for table in all_tables:
        lines.append(f"\n{table.task}: {table.metric}{f' in {table.unit}' if table.unit else ''} on the test")
        for row in table.rows:
            if row.state == RUN_HERE:
                mark = "  (baseline)" if row.kind == "baseline" else ""
                mark += "  STAND-IN DATA" if row.data_source != "real" else ""
                value = shown(table.metric, row.scores.get(table.metric))
                lines.append(f"  {row.name:<16} {value:>10}   skill {percent(row.skill):>7}{mark}")
    return "\n".join(lines) + "\n"


def shown(metric: str, value: float | None) -> str:
    """Return a score as people read it: accuracy in percent, errors with as many digits as they deserve."""
    if value is None:
        return ""
    if metric == "accuracy":
        return f"{100 * value:.2f} %"
    return f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.2f}" if abs(value) >= 10 else f"{value:.4f}"


def percent(share: float | None) -> str:
    """Return a share with its sign, or nothing."""
    return "" if share is None else f"{100 * share:+.1f} %"
