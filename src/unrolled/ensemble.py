"""Stage ensemble: one weighted average of a task's predictions, over seeds, models and baselines; weights from validation.

usage: unrolled ensemble task=energy
"""

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unrolled.errors import UserError
from unrolled.mixture import ABSOLUTE_ERROR, LEAST_ROWS, LIKELIHOOD, Candidate, candidates
from unrolled.predicted import ENSEMBLE, Predicted
from unrolled.temperature import best_temperature, tempered
from unrolled.windowset import SplitName, WindowSet

Matrix = NDArray[np.float64]
Tables = dict[SplitName, pd.DataFrame]

SPLITS: tuple[SplitName, ...] = ("validation", "test")
# What a row of a prediction table is about; equal in the tables of all members.
ROWS = {"series": ["date", "step", "actual", "anchor"], "examples": ["index", "actual"], "text": ["position", "actual"]}
CRITERIA = {"series": ABSOLUTE_ERROR, "examples": LIKELIHOOD, "text": LIKELIHOOD}


@dataclass(frozen=True)
class Member:
    """A model, averaged over its seeds, or a baseline.

    Attributes:
        name: of the model or the baseline.
        of: the predictions behind it: the model's cells, or the baseline's alone.
        model: whether it is a model.
        values: by split, what may be averaged, (rows, columns): ``predicted`` and the quantiles that all seeds have, in
            the data's unit; the probability ``p0`` ... of each class; or the probability of the actual character.
        temperature: of the classes' probabilities, chosen on validation; else they would be mixed by how sure the members
            are, and not by how much they know.
    """

    name: str
    of: Sequence[Predicted]
    model: bool
    values: Mapping[SplitName, pd.DataFrame]
    temperature: float = 1.0


def make_ensemble(
    windows: WindowSet, cells: Sequence[Predicted], baselines: Sequence[Predicted]
) -> tuple[dict[str, Any], Tables]:
    """Return the ensemble's meta data and its tables, in the form of ``predictions.predict_split``; without tables if none helps.

    The test's rows are mixed with weights that were chosen on all of validation; validation's own, block by block, with
    weights that were chosen on the other blocks, so that what is read off them is not flattered. A mixture of texts has
    ``loss_nats`` alone: its likeliest character is not known from its members' tables.

    Args:
        windows: the task's data.
        cells: the models' predictions, named ``<model>-<seed>``.
        baselines: the baselines'; those without rows are left out.

    Raises:
        UserError: a member's table is missing or has other rows.
    """
    kind = windows.meta["kind"]
    told: dict[str, Any] = {
        "task": windows.meta["task"],
        "model": ENSEMBLE,
        "seed": 0,
        "kind": kind,
        "unit": windows.meta["unit"],
        "data_digest": windows.meta["digest"],
        "data_source": windows.meta["source"],
        "cells": {cell.name: cell.about["identity"] for cell in cells},
        "members": {},
    }
    if not cells:
        return told | {"about": "nothing to combine: no model was evaluated"}, {}
    usable = [*cells, *(baseline for baseline in baselines if baseline.test is not None)]
    rows = {split: _rows(kind, split, usable, windows.meta["task"]) for split in SPLITS}
    if len(rows["validation"]) < LEAST_ROWS:
        count = len(rows["validation"])
        return told | {"about": f"nothing to combine: {count} rows of validation are too few to choose weights on"}, {}
    members = _members(kind, cells, usable[len(cells) :])
    if kind == "examples":
        members = [_tempered(member, rows["validation"]) for member in members]
    numbers = np.stack([_mixable(kind, member.values["validation"], rows["validation"]) for member in members], axis=1)
    models = sum(member.model for member in members)
    found = candidates(numbers, models, CRITERIA[kind])
    # Baselines may join models, but alone they are nothing to judge as one.
    chosen = min((way for way in found if way.weights[:models].any()), key=lambda way: way.loss)
    told |= {
        "loss": CRITERIA[kind].name,
        "chosen": chosen.name,
        "candidates": [_shown(candidate, members) for candidate in found],
        "validation_losses": dict(
            zip(_names(members), CRITERIA[kind].loss(numbers).mean(axis=0).tolist(), strict=True)
        ),
    }
    used = {member.name: w for member, w in zip(members, chosen.weights.tolist(), strict=True) if w > 0}
    inside = [member for member in members if member.name in used]
    if sum(len(member.of) for member in inside) < 2:
        return told | {
            "about": f"nothing to combine: on validation no mixture is better than {_names(inside)[0]} alone"
        }, {}
    told["members"] = {
        member.name: {"weight": used[member.name], "model": member.model, "of": _identities(member)}
        | ({"temperature": member.temperature} if kind == "examples" else {})
        for member in inside
    }
    told["about"] = f"{_sum(inside, used)}: {chosen.name}, chosen on validation"
    told["parameters"] = sum(p.about["parameters"] for member in inside if member.model for p in member.of)
    told["identity"] = _identity(told["data_digest"], told["members"])
    weights = {
        "validation": chosen.held_out,
        "test": np.broadcast_to(chosen.weights, (len(rows["test"]), len(members))),
    }
    return told, {split: _table(kind, rows[split], _mixed(members, split, weights)) for split in SPLITS}


def _rows(kind: str, split: SplitName, members: Sequence[Predicted], task: str) -> pd.DataFrame:
    """Return what the rows of ``split`` are about, the same for all members."""
    first: pd.DataFrame | None = None
    for member in members:
        table = member.validation if split == "validation" else member.test
        stage = f"evaluate@{task}-{member.name}" if "identity" in member.about else f"baseline@{task}"
        if table is None:
            raise UserError(f"{member.name} of {task} has no {split}.parquet; make it with: dvc repro --force {stage}")
        told = table[ROWS[kind]].reset_index(drop=True)
        first = told if first is None else first
        if not first.equals(told):
            raise UserError(
                f"{task}: the {split} rows of {member.name} ({len(told)}) are not those of {members[0].name} "
                f"({len(first)}); make them anew with: dvc repro --force {stage}"
            )
    assert first is not None
    return first


def _members(kind: str, cells: Sequence[Predicted], baselines: Sequence[Predicted]) -> list[Member]:
    """Return the models by name, then the baselines."""
    models: dict[str, list[Predicted]] = {}
    for cell in cells:
        models.setdefault(cell.name.rpartition("-")[0], []).append(cell)
    grouped = [(name, models[name], True) for name in sorted(models)]
    grouped += [(baseline.name, [baseline], False) for baseline in baselines]
    return [
        Member(name, of, model, {split: _mean([_values(kind, p, split) for p in of]) for split in SPLITS})
        for name, of, model in grouped
    ]


def _values(kind: str, predicted: Predicted, split: SplitName) -> pd.DataFrame:
    table = predicted.validation if split == "validation" else predicted.test
    assert table is not None
    if kind == "text":
        return pd.DataFrame({"probability": np.exp(-table["loss_nats"].to_numpy(dtype=np.float64))})
    letter = "q" if kind == "series" else "p"
    columns = [name for name in table if name[0] == letter and name[1:].replace(".", "").isdecimal()]
    columns += ["predicted"] if kind == "series" else []
    return table[columns].astype(np.float64).reset_index(drop=True)


def _tempered(member: Member, validation: pd.DataFrame) -> Member:
    """Return the member with its classes' probabilities at the temperature that suits the rows of validation best."""
    known, actual = member.values["validation"].to_numpy(), validation["actual"].to_numpy()
    temperature = best_temperature(known, actual)
    values = {
        split: pd.DataFrame(tempered(table.to_numpy(), temperature), columns=table.columns)
        for split, table in member.values.items()
    }
    return replace(member, values=values, temperature=temperature)


def _mean(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    shared = [name for name in tables[0] if all(name in table for table in tables)]
    return pd.DataFrame({name: np.mean([table[name] for table in tables], axis=0) for name in shared})


def _mixable(kind: str, values: pd.DataFrame, rows: pd.DataFrame) -> Matrix:
    """Return (rows,) what the weights are chosen by: a forecast's error, or the probability of what happened."""
    if kind == "series":
        return np.asarray(values["predicted"] - rows["actual"])
    if kind == "text":
        return np.asarray(values["probability"])
    classes = values[[f"p{number}" for number in range(values.shape[1])]].to_numpy()
    return np.asarray(classes[np.arange(len(rows)), rows["actual"]])


def _mixed(members: Sequence[Member], split: SplitName, weights: Mapping[str, Matrix]) -> pd.DataFrame:
    """Return the weighted averages of the columns that all members have that bear weight in any row of any split.

    Args:
        members: in the order of the weights.
        split: whose rows are mixed.
        weights: (rows, members) by split.
    """
    bears = np.any([(each > 0).any(axis=0) for each in weights.values()], axis=0)
    used = [(member.values[split], weights[split][:, i]) for i, member in enumerate(members) if bears[i]]
    shared = [name for name in used[0][0] if all(name in values for values, _ in used)]
    return pd.DataFrame({name: sum(values[name] * weight for values, weight in used) for name in shared})


def _table(kind: str, rows: pd.DataFrame, mixed: pd.DataFrame) -> pd.DataFrame:
    """Return a prediction table, its numbers stored as evaluate stores them."""
    if kind == "series":
        first = rows[["date", "step", "actual"]].assign(predicted=mixed["predicted"], anchor=rows["anchor"])
        return first.join(mixed.drop(columns="predicted"))
    if kind == "text":
        probability = np.maximum(mixed["probability"].to_numpy(), np.finfo(np.float64).tiny)
        return rows.assign(loss_nats=(-np.log(probability)).astype(np.float32))
    likeliest = mixed.to_numpy().argmax(axis=1)
    return rows.assign(predicted=likeliest).join(mixed.astype(np.float32))


def _shown(candidate: Candidate, members: Sequence[Member]) -> dict[str, Any]:
    weights = zip(members, candidate.weights.tolist(), strict=True)
    return {
        "name": candidate.name,
        "validation_loss": candidate.loss,
        "weights": {member.name: weight for member, weight in weights if weight > 0},
    }


def _names(members: Sequence[Member]) -> list[str]:
    return [member.name for member in members]


def _identities(member: Member) -> dict[str, str]:
    """Return by cell its training's identity; of a baseline, what it is."""
    return {predicted.name: predicted.about["identity" if member.model else "about"] for predicted in member.of}


def _sum(members: Sequence[Member], weights: Mapping[str, float]) -> str:
    """Return ``0.42 gru (3 seeds) + 0.58 n_gram``, heaviest first."""
    ordered = sorted(members, key=lambda member: -weights[member.name])
    seeds = {member.name: f" ({len(member.of)} seeds)" if len(member.of) > 1 else "" for member in members}
    return " + ".join(f"{weights[member.name]:.2f} {member.name}{seeds[member.name]}" for member in ordered)


def _identity(data_digest: str, members: Mapping[str, Any]) -> str:
    """Return the sha256 (hex) over the data and every member's identity and weight."""
    canonical = json.dumps({"data": data_digest, "members": members}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the stage: ``python -m unrolled.ensemble task=energy``."""
    from unrolled.arguments import parse_arguments, required
    from unrolled.checkout import project_root
    from unrolled.config import compose_config, names
    from unrolled.console import one_line_errors
    from unrolled.outputs import check_writable, whole_folder, write_whole
    from unrolled.predicted import read_baselines, read_cells
    from unrolled.predictiontable import save_predictions
    from unrolled.scores import flat_metrics
    from unrolled.windowset import open_windows

    with one_line_errors():
        root = project_root()
        given = parse_arguments(sys.argv[1:] if arguments is None else arguments, {"task": None})
        task = required(given, "task", names(root, "task"))
        season = compose_config([f"task={task}"], root, needs=("task",))["judge"]["season"]
        windows = open_windows(root / "data" / "windows" / task)
        reports = root / "reports" / task / ENSEMBLE / "0"
        check_writable(root / "data" / "ensembles")
        check_writable(reports)
        cells = list(read_cells(root / "data" / "predictions" / task, windows))
        meta, tables = make_ensemble(windows, cells, read_baselines(root / "data" / "baselines" / task, windows))
        metrics = flat_metrics(meta, tables, windows, season) if tables else {}
        with whole_folder(root / "data" / "ensembles" / task) as folder:
            save_predictions(folder, meta, tables)
        write_whole(reports / "metrics.json", json.dumps(metrics, indent=1) + "\n")
        print(f"{task}: {meta['about']}")


if __name__ == "__main__":
    main()
