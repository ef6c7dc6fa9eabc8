"""What is said of a task's models: scores, verdicts, comparisons and breakdowns, all from tables of predictions."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unrolled.breakdowns import BREAKDOWNS, means_by_group
from unrolled.intervals import LEAST_ROWS
from unrolled.losses import row_losses
from unrolled.predicted import Predicted
from unrolled.scores import PRIMARY, score
from unrolled.significance import r2_against_mean
from unrolled.uncertainty import judge_calibration, judge_intervals
from unrolled.verdicts import all_pairs, compare, judge_model, verdict
from unrolled.windowset import WindowSet

Losses = NDArray[np.float64]


class Judgement:
    """One task's models beside its baselines.

    Attributes:
        losses: (rows,) of the test, by cell and by baseline.
        strongest: the simple baseline with the least loss: the one to beat.
        intervals: tables of the ends of 50, 80 and 90 % intervals on the test, by cell and by baseline of a series.
        reliability: tables of confidence beside accuracy, by cell of the other kinds.
    """

    def __init__(
        self, windows: WindowSet, cells: Sequence[Predicted], baselines: Sequence[Predicted], config: Mapping[str, Any]
    ) -> None:
        """Score everything once.

        Args:
            windows: the task's data.
            cells: the models' predictions, named ``<model>-<seed>``; an ensemble's is one of them.
            baselines: in the same form.
            config: section ``judge`` of the task's file: season, breakdowns, equal_parameters, ablation.
        """
        self.windows, self.config = windows, config
        self.kind, self.horizon = windows.meta["kind"], windows.meta["horizon"]
        self.cells = {cell.name: cell for cell in cells}
        self.baselines = {baseline.name: baseline for baseline in baselines}
        self.losses = {name: row_losses(self.kind, table) for name, table in self.tests().items()}
        self.scores = {
            name: p.about["scores"] if p.test is None else score(p.test, windows, config["season"])
            for name, p in (self.cells | self.baselines).items()
        }
        self.sureness, self.intervals, self.reliability = self._uncertainty()
        simple = [name for name, baseline in self.baselines.items() if baseline.about["simple"]]
        self.strongest = min(simple, key=lambda name: self.losses[name].mean())

    def summary(self) -> dict[str, Any]:
        """Return judgement.json: baselines, ``cells.<model>-<seed>`` and ``models.<model>`` with skill and verdict."""
        meta = self.windows.meta
        low, high = self.windows.split("test")
        metric = PRIMARY[self.kind]
        return {
            "task": meta["task"],
            "data_source": meta["source"],
            "data_digest": meta["digest"],
            "metric": metric,
            "unit": meta["unit"],
            "n_test": high - low,
            "strongest": self.strongest,
            "baselines": {name: self._baseline(name) for name in self.baselines},
            "cells": {name: self._cell(name) for name in self.cells},
            "models": {model: self._model(model, cells) for model, cells in self.seeds().items()},
        }

    def seeds(self) -> dict[str, dict[int, str]]:
        """Return for each model its cells' names by seed."""
        found: dict[str, dict[int, str]] = {}
        for name in self.cells:
            model, _, seed = name.rpartition("-")
            found.setdefault(model, {})[int(seed)] = name
        return {model: dict(sorted(cells.items())) for model, cells in sorted(found.items())}

    def average_losses(self) -> dict[str, Losses]:
        """Return each model's loss per test row (rows,), averaged over its seeds."""
        return {
            model: np.mean([self.losses[name] for name in cells.values()], axis=0)
            for model, cells in self.seeds().items()
        }

    def tests(self) -> dict[str, pd.DataFrame]:
        """Return the test tables of all cells and of the baselines that have one."""
        everything = self.cells | self.baselines
        return {name: predicted.test for name, predicted in everything.items() if predicted.test is not None}

    def test(self, name: str) -> pd.DataFrame:
        """Return the test table of a cell or a baseline."""
        return self.tests()[name]

    def best(self) -> str | None:
        """Return the cell with the least loss on validation, for the figures that show one; None without cells."""
        tables = {name: cell.validation for name, cell in self.cells.items() if cell.validation is not None}
        return min(tables, key=lambda name: row_losses(self.kind, tables[name]).mean(), default=None)

    def comparisons(self) -> list[dict[str, Any]]:
        """Return the matrices of models against models: at their own sizes, of one budget, without one ingredient each."""
        models, equal = self.average_losses(), self.config["equal_parameters"] or []
        whole, *without = self.config["ablation"] or [None]
        groups = [
            ("Each model at its own size", [name for name in models if name not in (*equal, *without)]),
            ("Models of equal size", [name for name in models if name in equal]),
            ("What each ingredient brings", [name for name in models if without and name in (whole, *without)]),
        ]
        sizes = {name.rpartition("-")[0]: cell.about.get("parameters") for name, cell in self.cells.items()}
        return [
            {
                "title": title,
                "models": {name: {"parameters": sizes[name], "loss": float(models[name].mean())} for name in names},
                "pairs": all_pairs(self.kind, {name: models[name] for name in names}, self.horizon),
            }
            for title, names in groups
            if len(names) > 1
        ]

    def breakdowns(self) -> dict[str, dict[str, Any]]:
        """Return the mean loss of every model and of the strongest baseline in the groups that the task's file names."""
        some = self.test(self.strongest)
        text = "".join(self.windows.meta["vocabulary"][token] for token in self.windows.arrays["tokens"]) if (
            self.kind == "text"
        ) else None  # fmt: skip
        table = some[some["step"] == 1].reset_index(drop=True) if self.kind == "series" else some
        told: dict[str, dict[str, Any]] = {}
        losses = {self.strongest: self.losses[self.strongest]} | self.average_losses()
        for name in self.config["breakdowns"] or []:
            groups, labels = BREAKDOWNS[name](table, text)
            means = {row: means_by_group(values, labels, len(groups)) for row, values in losses.items()}
            counts = means[self.strongest][0]
            told[name] = {"groups": groups, "counts": counts, "losses": {row: found[1] for row, found in means.items()}}
        return told

    def _uncertainty(self) -> tuple[dict[str, Any], dict[str, pd.DataFrame], dict[str, Any]]:
        """Return by name: what its intervals or probabilities score, the intervals' ends, the reliability tables."""
        scores: dict[str, Any] = {}
        ends: dict[str, pd.DataFrame] = {}
        tables: dict[str, Any] = {}
        for name, predicted in (self.cells | self.baselines).items():
            if predicted.test is None:
                continue
            if self.kind == "series" and self.has_intervals(predicted):
                relative = self.windows.meta["transform"]["name"] == "log_return"
                assert predicted.validation is not None
                told, ends[name] = judge_intervals(predicted.validation, predicted.test, relative)
                scores[name] = {"interval": told}
            elif name in self.cells and (self.kind == "examples" or "confidence" in predicted.test):
                scores[name], tables[name] = judge_calibration(predicted.test)
        return scores, ends, tables

    def has_intervals(self, predicted: Predicted) -> bool:
        """Return whether validation has forecasts enough to choose a method on one half and calibrate on the other."""
        return predicted.validation is not None and len(predicted.validation) >= 2 * (LEAST_ROWS + 1) * self.horizon

    def _baseline(self, name: str) -> dict[str, Any]:
        about = {"simple": self.baselines[name].about["simple"], "about": self.baselines[name].about["about"]}
        told: dict[str, Any] = self.scores[name] | about | self.sureness.get(name, {})
        return told

    def _cell(self, name: str) -> dict[str, Any]:
        model, baseline = self.losses[name], self.losses[self.strongest]
        told = compare(self.kind, model, baseline, self.horizon)
        return {
            "identity": self.cells[name].about["identity"],
            **self._made_of(name),
            **self.scores[name],
            "baseline": self.strongest,
            "baseline_value": self.scores[self.strongest][PRIMARY[self.kind]],
            **{key: told[key] for key in ("skill", "skill_low", "skill_high", "p_value")},
            "verdict": verdict(self.kind, model, baseline, told["p_value"]),
            **self._activity(name),
            **self.sureness.get(name, {}),
        }

    def _model(self, model: str, cells: Mapping[int, str]) -> dict[str, Any]:
        metric = PRIMARY[self.kind]
        values = {str(seed): self.scores[name][metric] for seed, name in cells.items()}
        baselines = {name: self.losses[name] for name in self.baselines if name in self.losses}
        told = judge_model(
            self.kind,
            {seed: self.losses[name] for seed, name in cells.items()},
            baselines,
            self.strongest,
            self.horizon,
        )
        mean = float(np.mean(list(values.values())))
        for name in [name for name in self.baselines if name not in baselines]:
            reference = self.scores[name][metric]
            told["against"][name] = {"difference": mean - reference, "skill": 1 - mean / reference, "p_value": None}
        return {
            "seeds": sorted(cells),
            "value": mean,
            "value_spread": float(np.std(list(values.values()), ddof=1)) if len(values) > 1 else None,
            "value_by_seed": values,
            **self._made_of(next(iter(cells.values()))),
            "baseline": self.strongest,
            "baseline_value": self.scores[self.strongest][metric],
            **told,
        }

    def _made_of(self, name: str) -> dict[str, str]:
        """Return what an ensemble is made of, in a sentence; of a cell, nothing."""
        about = self.cells[name].about
        return {"about": about["about"]} if "about" in about else {}

    def _activity(self, name: str) -> dict[str, float]:
        """Return how much a forecaster of returns ventures, and what that is worth: a lazy zero is no skill."""
        if self.kind != "series" or self.windows.meta["transform"]["name"] != "log_return":
            return {}
        test = self.test(name)
        test = test[test["step"] == 1]
        actual = np.log(test["actual"] / test["anchor"]).to_numpy()
        predicted = np.log(test["predicted"] / test["anchor"]).to_numpy()
        return {
            "return_spread": float(predicted.std() / actual.std()),
            "return_r2": r2_against_mean(actual, predicted),
        }


def misread(table: pd.DataFrame, images: NDArray[np.uint8], most: int = 24) -> list[dict[str, Any]]:
    """Return the test images that a classifier got most confidently wrong, worst first.

    Args:
        table: predictions of images, ``index`` into ``images``.
        images: (examples, rows, columns) grey values.
        most: how many at most.
    """
    columns = [column for column in table.columns if column[0] == "p" and column[1:].isdecimal()]
    wrong = table[table["actual"] != table["predicted"]]
    confidence = wrong[columns].max(axis=1)
    worst = wrong.assign(confidence=confidence).sort_values(["confidence", "index"], ascending=[False, True]).head(most)
    return [
        {
            "index": int(row["index"]),
            "actual": int(row["actual"]),
            "predicted": int(row["predicted"]),
            "confidence": float(row["confidence"]),
            "pixels": images[int(row["index"])].tolist(),
        }
        for _, row in worst.iterrows()
    ]
