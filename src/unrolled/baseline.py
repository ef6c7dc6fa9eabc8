"""Stage baseline: windows in; what every model of the task must beat, predicted on validation and test, out.

usage: unrolled baseline task=energy
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unrolled import metrics
from unrolled.baselines import examples, series, text
from unrolled.predictiontable import class_table, forecast_table
from unrolled.windowset import SplitName, WindowSet

SCORED: tuple[SplitName, ...] = ("validation", "test")
ORDERS = 8  # of the n-gram model, to choose from; on Shakespeare a higher one only loses


@dataclass(frozen=True)
class Baseline:
    """What one baseline predicted.

    Attributes:
        about: what it is, one sentence.
        simple: whether a model's verdict is against it, if it is the strongest of its kind.
        tables: its predictions, one row per target in the form and order of ``predictions.predict_split``; none if it has
            only a score.
        scores: of the test; for a baseline without tables.
    """

    about: str
    simple: bool
    tables: Mapping[SplitName, pd.DataFrame] = field(default_factory=dict)
    scores: Mapping[str, float] | None = None


def make_baselines(windows: WindowSet, judge: Mapping[str, Any]) -> dict[str, Baseline]:
    """Return the task's baselines by name, fitted on the training part, their choices made on validation.

    Args:
        windows: the task's data.
        judge: ``season`` (rows, or None) and ``arima`` (order and seasonal, or None), of the task's file.

    Raises:
        UserError: a season or an order that the data are too short for.
    """
    kind = windows.meta["kind"]
    if kind == "series":
        return _forecasts(windows, judge["season"], judge["arima"])
    return _classifiers(windows) if kind == "examples" else _language_models(windows)


def _forecasts(windows: WindowSet, season: int | None, arima: Mapping[str, Any] | None) -> dict[str, Baseline]:
    meta, values = windows.meta, np.asarray(windows.arrays["series"])
    target, horizon, context = values[:, 0], meta["horizon"], meta["context"]
    train, log = windows.split("train")[1], meta["transform"]["name"] == "log_return"
    origins = {split: _origins(windows, split) for split in ("train", *SCORED)}
    found = "logarithms" if log else "levels"

    def made(about: str, simple: bool, forecast: series.Forecaster) -> Baseline:
        tables = {split: forecast_table(windows, origins[split], forecast(origins[split])) for split in SCORED}
        return Baseline(about, simple, tables)

    baselines = {
        "persistence": made(
            "The last known value: tomorrow is as today.", True, lambda rows: series.persistence(target, rows, horizon)
        )
    }
    if season and season > 1:
        baselines["seasonal_naive"] = made(
            f"The last known value of the same phase of a season of {season} rows.",
            True,
            lambda rows: series.seasonal_naive(target, rows, horizon, season),
        )
    baselines["drift"] = made(
        f"The last known value moved on by the training rows' mean change, in {found}.",
        False,
        lambda rows: series.drift(target, rows, horizon, train, log),
    )
    alpha, forecast = series.fit_ridge(
        values, meta["transform"], context, horizon, origins["train"], origins["validation"]
    )
    seen = "log-returns" if log else "values"
    baselines["ridge"] = made(
        f"Ridge regression on the last {context} {seen}, one for each step; penalty {alpha:.4g}, chosen on validation.",
        False,
        forecast,
    )
    if "known" in windows.arrays and (target > 0).all():
        penalties, forecast = series.fit_known_ridge(
            target, np.asarray(windows.arrays["known"]), context, horizon, origins["train"], origins["validation"]
        )
        groups = ", ".join(dict.fromkeys(name.partition(":")[0] for name in meta["known"]))
        baselines["calendar_ridge"] = made(
            f"Ridge regression of the logarithm on what is known ahead ({groups}; products in pairs, the day before and after), "
            f"then of what is left on its last {context} values; penalties {penalties[0]:g} and {penalties[1]:g}, chosen on "
            "validation.",
            False,
            forecast,
        )
    if arima:
        order, seasonal = arima["order"], arima["seasonal"]
        fitted = series.fit_arima(target, horizon, train, order, seasonal, log)
        name = f"({','.join(map(str, order))})" + (
            f"({','.join(map(str, seasonal[:3]))}){seasonal[3]}" if seasonal else ""
        )
        end = "converged" if fitted.converged else "stopped, not converged,"
        baselines["arima"] = made(
            f"ARIMA{name} of the {found}, fitted once on the training rows ({end} after {fitted.iterations} iterations), "
            "true past known.",
            False,
            fitted.forecast,
        )
    return baselines


def _origins(windows: WindowSet, split: SplitName) -> NDArray[np.int64]:
    """Return the first rows of the split's windows; all rows of a horizon lie in the split."""
    low, high = windows.split(split)
    return np.arange(low, high - windows.meta["horizon"] + 1)


def _classifiers(windows: WindowSet) -> dict[str, Baseline]:
    scaler, classes = windows.meta["scaler"], windows.meta["classes"]
    inputs, targets = windows.arrays["inputs"], np.asarray(windows.arrays["targets"]).astype(np.int64)
    rows = {split: np.arange(*windows.split(split)) for split in ("train", *SCORED)}

    def scaled(split: SplitName) -> NDArray[np.float32]:
        low, high = windows.split(split)
        values = inputs[low:high].reshape(high - low, -1).astype(np.float32)
        values -= np.float32(scaler["mean"])
        values /= np.float32(scaler["scale"])
        return values

    def made(about: str, simple: bool, probabilities: Callable[[SplitName], NDArray[np.float64]]) -> Baseline:
        tables = {
            split: class_table(rows[split], targets[rows[split]], probabilities(split).astype(np.float32))
            for split in SCORED
        }
        return Baseline(about, simple, tables)

    shares = examples.class_frequencies(targets[rows["train"]], classes)
    fitted = examples.fit_logistic(
        scaled("train"), targets[rows["train"]], scaled("validation"), targets[rows["validation"]], classes
    )
    end = "converged" if fitted.converged else "stopped, not converged,"
    return {
        "majority_class": made(
            f"Always {int(shares.argmax())}, the training part's most frequent class; its shares as probabilities.",
            False,
            lambda split: np.tile(shares, (len(rows[split]), 1)),
        ),
        "logistic_regression": made(
            f"Multinomial logistic regression on the {inputs[0].size} values of an example; C {fitted.cost:g}, chosen on "
            f"validation ({end} after {fitted.iterations} iterations).",
            True,
            lambda split: fitted.probabilities(scaled(split)),
        ),
    }


def _language_models(windows: WindowSet) -> dict[str, Baseline]:
    tokens, size = np.asarray(windows.arrays["tokens"]), len(windows.meta["vocabulary"])
    low, high = windows.split("train")
    # The very first character of a text has nothing before it: the networks do not foretell it either.
    positions = [np.arange(max(windows.split(split)[0], 1), windows.split(split)[1]) for split in SCORED]
    scored, border = np.concatenate(positions), len(positions[0])
    unigram = text.unigram_losses(tokens[low:high], tokens[scored], size)
    ngrams = text.ngram_losses(tokens, (low, high), scored, ORDERS, size)
    order = int(ngrams[:, :border].mean(axis=1).argmin()) + 1

    def made(about: str, simple: bool, losses: NDArray[np.float64]) -> Baseline:
        parts = zip(SCORED, positions, np.split(losses.astype(np.float32), [border]), strict=True)
        tables = {
            split: pd.DataFrame({"position": rows, "actual": tokens[rows].astype(np.int64), "loss_nats": part})
            for split, rows, part in parts
        }
        return Baseline(about, simple, tables)

    return {
        "uniform": made(
            f"Each of the {size} characters equally likely.", False, text.uniform_losses(len(scored), size)
        ),
        "unigram": made("The training text's frequencies of single characters, whatever came before.", False, unigram),
        "n_gram": made(
            f"Interpolated Kneser-Ney model of a character after {order - 1} others (order {order} of 1 to {ORDERS}, chosen on "
            "validation), counted in the training text.",
            True,
            ngrams[order - 1],
        ),
        **_compressors(windows),
    }


def _compressors(windows: WindowSet) -> dict[str, Baseline]:
    vocabulary = np.array(list(windows.meta["vocabulary"]))

    def characters(split: SplitName) -> str:
        low, high = windows.split(split)
        return "".join(vocabulary[windows.arrays["tokens"][low:high]])

    train, test = characters("train"), characters("test")
    limits = {
        "xz": "with a dictionary larger than both texts",
        "bz2": "in blocks of 900 kB that each start afresh, so that most of the training text does not help",
    }
    baselines = {}
    for name, limit in limits.items():
        bits = text.compressed_bits(train, test, name)
        about = f"What the test adds to the training text compressed by {name}, {limit}."
        baselines[name] = Baseline(about, False, scores=_scores_of_bits(bits))
    return baselines


def _scores_of_bits(bits: float) -> dict[str, float]:
    nats = bits * float(np.log(2))
    return {"bits_per_char": bits, "loss_nats": nats, "perplexity": metrics.perplexity(nats)}


def save_baselines(folder: Path, windows: WindowSet, baselines: Mapping[str, Baseline]) -> None:
    """Write each baseline's tables into a folder of its name, and ``meta.json``."""
    told: dict[str, dict[str, Any]] = {}
    for name, baseline in baselines.items():
        for split, table in baseline.tables.items():
            (folder / name).mkdir(exist_ok=True)
            table.to_parquet(folder / name / f"{split}.parquet", index=False)
        told[name] = {"about": baseline.about, "simple": baseline.simple}
        if baseline.scores is not None:
            told[name]["scores"] = dict(baseline.scores)
    meta = {
        "task": windows.meta["task"],
        "data_source": windows.meta["source"],
        "data_digest": windows.meta["digest"],
        "baselines": told,
    }
    (folder / "meta.json").write_text(json.dumps(meta, indent=1) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the stage: ``python -m unrolled.baseline task=energy``."""
    from unrolled.arguments import parse_arguments, required
    from unrolled.checkout import project_root
    from unrolled.config import compose_config, names
    from unrolled.console import one_line_errors
    from unrolled.outputs import check_writable, whole_folder
    from unrolled.windowset import open_windows

    with one_line_errors():
        root = project_root()
        given = parse_arguments(sys.argv[1:] if arguments is None else arguments, {"task": None})
        task = required(given, "task", names(root, "task"))
        judge = compose_config([f"task={task}"], root, needs=("task",))["judge"]
        windows = open_windows(root / "data" / "windows" / task)
        check_writable(root / "data" / "baselines")
        baselines = make_baselines(windows, judge)
        with whole_folder(root / "data" / "baselines" / task) as folder:
            save_baselines(folder, windows, baselines)
        print(f"{task}: {', '.join(baselines)}")


if __name__ == "__main__":
    main()
