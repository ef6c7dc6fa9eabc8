"""Every score of the checkout in rows: models over their seeds, the seeds themselves, and the baselines beside them."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unrolled import jsonfile
from unrolled.predicted import ENSEMBLE, predictions_of
from unrolled.yamlfile import read_yaml

RUN_HERE, COMMITTED, MISSING = "run here", "committed, not run here", "missing"
ENOUGH_SEEDS = 3  # behind a verdict on a model; on fewer it is one on the networks that were trained
METRICS = ("mae", "rmse", "mape", "mase", "accuracy", "nll", "loss_nats", "bits_per_char", "perplexity")


@dataclass(frozen=True)
class Row:
    """One line of a task's table.

    Attributes:
        name: ``gru``, for one seed ``gru-0``, or a baseline's name.
        kind: ``model`` (over its seeds; an ensemble is one of one seed), ``cell`` (one seed) or ``baseline``.
        state: run here; committed, not run here; or missing.
        scores: the test's metrics; a model's are means over ``seeds``.
        skill: share of the error of the baseline to beat that it saves; None if they are not of the same data.
        judged: what judgement.json says of the row, with intervals, test and verdict; empty if it says nothing.
        spread: standard deviation of the ordering metric over the seeds; None for fewer than two.
        about: all of a cell's metrics.json; of a model, its number of parameters.
    """

    task: str
    name: str
    kind: str
    state: str
    scores: Mapping[str, float]
    skill: float | None
    data_source: str
    model: str = ""
    seeds: tuple[int, ...] = ()
    spread: float | None = None
    judged: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def seed_count(self) -> int:
        """Return over how many seeds the row is; an ensemble has none of its own."""
        return 0 if self.model == ENSEMBLE else len(self.seeds)

    @property
    def few_seeds(self) -> bool:
        """Return whether the row is a model's over too few seeds to say something of the model."""
        return self.kind == "model" and 0 < self.seed_count < ENOUGH_SEEDS

    @property
    def interval(self) -> Mapping[str, Any]:
        """Scores of the row's prediction intervals, empty if it has none."""
        return self.judged.get("interval") or {}


@dataclass(frozen=True)
class Table:
    """One task's rows.

    Attributes:
        metric: what orders the rows.
        strongest: the baseline to beat; None before anything was judged.
        rows: models and baselines, best first.
        cells: every model's seeds.
        judgement: all of judgement.json.
    """

    task: str
    metric: str
    unit: str | None
    strongest: str | None
    rows: list[Row]
    cells: dict[str, list[Row]]
    judgement: Mapping[str, Any]

    def metrics(self) -> list[str]:
        """Return the metrics that any row has, in their fixed order."""
        return [metric for metric in METRICS if any(metric in row.scores for row in self.rows)]

    def all_cells(self) -> list[Row]:
        """Return the rows of all seeds of all models, best first within a model's place in the table."""
        return [cell for row in self.rows for cell in self.cells.get(row.name, []) if row.kind == "model"]


def tables(root: Path) -> list[Table]:
    """Return a table for every task of params.yaml.

    Raises:
        UserError: a committed file is damaged.
    """
    params = read_yaml(root / "params.yaml")
    return [_table(root, str(task), params["cells"]) for task in params["tasks"]]


def _table(root: Path, task: str, cells: Mapping[str, Mapping[str, Any]]) -> Table:
    judgement = read_json(root / "reports" / task / "judgement.json")
    here = read_json(root / "data" / "windows" / task / "meta.json").get("digest")
    found: dict[str, list[Row]] = {}
    for cell in cells.values():
        if cell["task"] == task:
            row = _cell_row(root, task, str(cell["model"]), cell["seed"], judgement, here)
            found.setdefault(row.model, []).append(row)
    ensemble = _cell_row(root, task, ENSEMBLE, 0, judgement, here)
    if ensemble.scores:
        found[ENSEMBLE] = [ensemble]
    by_model = {model: sorted(rows, key=lambda row: row.seeds) for model, rows in found.items()}
    scored = [row for rows in by_model.values() for row in rows]
    metric = judgement.get("metric") or next((m for m in METRICS if any(m in row.scores for row in scored)), "mae")
    rows = [_model_row(model, seeds, judgement, metric) for model, seeds in by_model.items()]
    for name, told in judgement.get("baselines", {}).items():
        state = RUN_HERE if here == judgement["data_digest"] else COMMITTED
        scores = {metric: told[metric] for metric in METRICS if metric in told}
        skill = _skill(scores, judgement, judgement["data_digest"])
        rows.append(Row(task, name, "baseline", state, scores, skill, judgement["data_source"], judged=told))
    rows.sort(key=lambda row: (metric not in row.scores, error_of(metric, row.scores.get(metric, 0.0)), row.name))
    return Table(task, metric, judgement.get("unit"), judgement.get("strongest"), rows, by_model, judgement)


def _cell_row(root: Path, task: str, model: str, seed: int, judgement: Mapping[str, Any], here: str | None) -> Row:
    about = read_json(root / "reports" / task / model / str(seed) / "metrics.json")
    name = f"{model}-{seed}"
    if not about:
        return Row(task, name, "cell", MISSING, {}, None, "", model, (seed,))
    run = about["data_digest"] == here and (predictions_of(root, task, name) / "test.parquet").is_file()
    scores = {metric: about[metric] for metric in METRICS if metric in about}
    return Row(
        task,
        name,
        "cell",
        RUN_HERE if run else COMMITTED,
        scores,
        _skill(scores, judgement, about["data_digest"]),
        about["data_source"],
        model,
        (seed,),
        judged=_judged(judgement, name, about),
        about=about,
    )


def _judged(judgement: Mapping[str, Any], name: str, about: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what was judged of a cell, unless that was on other data or of an earlier training."""
    told: Mapping[str, Any] = judgement.get("cells", {}).get(name, {})
    if not told or about["data_digest"] != judgement["data_digest"]:
        return {}
    metric = judgement["metric"]
    return told if math.isclose(told[metric], about.get(metric, math.nan), rel_tol=1e-9) else {}


def _model_row(model: str, cells: list[Row], judgement: Mapping[str, Any], metric: str) -> Row:
    """Return a model's row over the seeds that were judged together; without a judgement, over those of one data set."""
    told: Mapping[str, Any] = judgement.get("models", {}).get(model, {})
    used = [cell for cell in cells if cell.judged]
    if not told or [cell.seeds[0] for cell in used] != told["seeds"]:
        told, used = {}, []
    if not used:
        scored = [cell for cell in cells if cell.scores]
        digests = {cell.about["data_digest"] for cell in scored}
        digest = judgement.get("data_digest") if judgement.get("data_digest") in digests else min(digests, default=None)
        used = [cell for cell in scored if cell.about["data_digest"] == digest]
    if not used:
        return Row(cells[0].task, model, "model", MISSING, {}, None, "", model)
    scores = _means(cell.scores for cell in used)
    skills = [cell.skill for cell in used]
    skill = None if None in skills else sum(filter(None, skills)) / len(skills)
    interval = _means(cell.interval for cell in used) if all(cell.interval for cell in used) else {}
    if interval:
        interval |= {"method": used[0].interval.get("method", "")}
    return Row(
        used[0].task,
        model,
        "model",
        RUN_HERE if all(cell.state == RUN_HERE for cell in used) else COMMITTED,
        scores | ({metric: told["value"]} if told else {}),
        told.get("skill", skill),
        used[0].data_source,
        model,
        tuple(cell.seeds[0] for cell in used),
        told.get("value_spread"),
        dict(told) | ({"interval": interval} if told and interval else {}),
        {"parameters": used[0].about["parameters"]} if "parameters" in used[0].about else {},
    )


def _means(told: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the means of the numbers that all mappings have."""
    every = list(told)
    shared = [key for key, value in every[0].items() if isinstance(value, int | float) and all(key in t for t in every)]
    return {key: sum(t[key] for t in every) / len(every) for key in shared}


def _skill(scores: Mapping[str, float], judgement: Mapping[str, Any], digest: str) -> float | None:
    metric = judgement.get("metric", "")
    if digest != judgement.get("data_digest") or metric not in scores:
        return None
    reference = judgement["baselines"][judgement["strongest"]][metric]
    return 1 - error_of(metric, scores[metric]) / error_of(metric, reference)


def error_of(metric: str, value: float) -> float:
    """Return a score as an error, lower is better: what accuracy lacks of 1, any other metric as it is."""
    return 1 - value if metric == "accuracy" else value


def read_json(path: Path) -> dict[str, Any]:
    """Return an object, or an empty one if there is no file.

    Raises:
        UserError: the file is damaged.
    """
    return jsonfile.read_json(path, dict) if path.is_file() else {}
