"""Stage judge: all of a task's predictions beside the baselines that they must beat. Retrains and re-predicts nothing.

usage: unrolled judge task=energy
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unrolled import baselines, metrics
from unrolled.errors import UserError
from unrolled.windowset import WindowSet

PRIMARY = {"series": "mae", "examples": "accuracy", "text": "loss_nats"}


def judge_task(windows: WindowSet, predictions: Path, season: int | None) -> tuple[dict[str, Any], pd.DataFrame]:
    """Return the judgement of a task and its baselines' test predictions.

    The judgement has ``baselines.<name>`` with the baseline's metrics, ``strongest`` of them, and ``cells.<model>-<seed>``
    with the cell's metrics, ``baseline``, ``baseline_value`` and ``skill``: the share of the baseline's error that the
    cell saves.

    Args:
        windows: the task's data.
        predictions: folder with one folder per cell.
        season: lag of the seasonal naive forecast in rows; None or 1 for none.

    Raises:
        UserError: predictions were made on other data.
    """
    kind, meta = windows.meta["kind"], windows.meta
    primary = PRIMARY[kind]
    scores, table = _BASELINES[kind](windows, season)
    strongest = min(scores, key=lambda name: error_of(primary, scores[name][primary]))
    cells = {}
    for folder in sorted(path for path in predictions.glob("*") if (path / "meta.json").is_file()):
        score = _cell_scores(folder, windows, season)
        reference = scores[strongest][primary]
        skill = 1 - error_of(primary, score[primary]) / error_of(primary, reference)
        cells[folder.name] = score | {"baseline": strongest, "baseline_value": reference, "skill": skill}
    low, high = windows.split("test")
    judgement = {
        "task": meta["task"],
        "data_source": meta["source"],
        "data_digest": meta["digest"],
        "metric": primary,
        "unit": meta["unit"],
        "n_test": high - low,
        "strongest": strongest,
        "baselines": scores,
        "cells": cells,
    }
    return judgement, table


def error_of(metric: str, value: float) -> float:
    """Return the score as an error, lower is better: what accuracy lacks of 1, any other metric as it is."""
    return 1 - value if metric == "accuracy" else value


def _forecasts(windows: WindowSet, season: int | None) -> tuple[dict[str, Any], pd.DataFrame]:
    low, high = windows.split("test")
    series, rows = np.asarray(windows.arrays["series"][:, 0]), np.arange(low, high)
    made = {"persistence": baselines.persistence(series, rows)}
    if season and season > 1:
        made["seasonal_naive"] = baselines.seasonal_naive(series, rows, season)
    actual = series[rows]
    scores = {name: forecast_scores(actual, values, windows, season) for name, values in made.items()}
    return scores, pd.DataFrame({"row": rows, "actual": actual, **made})


def forecast_scores(
    actual: NDArray[np.float64], predicted: NDArray[np.float64], windows: WindowSet, season: int | None
) -> dict[str, float]:
    """Return mae and rmse in the data's unit, mape in percent and mase, scaled on the training rows alone."""
    train = np.asarray(windows.arrays["series"][: windows.split("train")[1], 0])
    return {
        "mae": metrics.mae(actual, predicted),
        "rmse": metrics.rmse(actual, predicted),
        "mape": metrics.mape(actual, predicted),
        "mase": metrics.mase(actual, predicted, metrics.mase_scale(train, season or 1)),
    }


def _guesses(windows: WindowSet, season: int | None) -> tuple[dict[str, Any], pd.DataFrame]:
    (low, high), (begin, end) = windows.split("test"), windows.split("train")
    targets, classes = np.asarray(windows.arrays["targets"]), windows.meta["classes"]
    shares = baselines.class_frequencies(targets[begin:end], classes)
    actual = targets[low:high]
    guess = np.full(len(actual), int(shares.argmax()))
    spread = np.broadcast_to(shares, (len(actual), classes))
    scores = {"accuracy": metrics.accuracy(actual, guess), "nll": metrics.nll(actual, spread)}
    return {"majority_class": scores}, pd.DataFrame(
        {"index": np.arange(low, high), "actual": actual, "majority_class": guess}
    )


def _frequencies(windows: WindowSet, season: int | None) -> tuple[dict[str, Any], pd.DataFrame]:
    (low, high), (begin, end) = windows.split("test"), windows.split("train")
    tokens = np.asarray(windows.arrays["tokens"]).astype(np.int64)
    losses = baselines.unigram_losses(tokens[begin:end], tokens[low:high], len(windows.meta["vocabulary"]))
    return {"unigram": text_scores(losses)}, pd.DataFrame({"position": np.arange(low, high), "unigram": losses})


def text_scores(losses: NDArray[np.float64]) -> dict[str, float]:
    """Return loss_nats, bits_per_char and perplexity of losses per character."""
    loss = float(losses.astype(np.float64).mean())
    return {"loss_nats": loss, "bits_per_char": metrics.bits_per_char(loss), "perplexity": metrics.perplexity(loss)}


_BASELINES = {"series": _forecasts, "examples": _guesses, "text": _frequencies}


def _cell_scores(folder: Path, windows: WindowSet, season: int | None) -> dict[str, float]:
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    if meta["data_digest"] != windows.meta["digest"]:
        raise UserError(
            f"{folder.name} was predicted on data {meta['data_digest'][:12]}, but the windows are "
            f"{windows.meta['digest'][:12]}; run: dvc repro evaluate@{windows.meta['task']}-{folder.name}"
        )
    table = pd.read_parquet(folder / "test.parquet")
    kind = windows.meta["kind"]
    if kind == "series":
        return forecast_scores(table["actual"].to_numpy(), table["predicted"].to_numpy(), windows, season)
    if kind == "text":
        return text_scores(table["loss_nats"].to_numpy())
    actual = table["actual"].to_numpy()
    probabilities = table[[f"p{c}" for c in range(windows.meta["classes"])]].to_numpy()
    return {
        "accuracy": metrics.accuracy(actual, table["predicted"].to_numpy()),
        "nll": metrics.nll(actual, probabilities),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the stage: ``python -m unrolled.judge task=energy``."""
    from unrolled.arguments import parse_arguments, required
    from unrolled.checkout import project_root
    from unrolled.config import compose_config, names
    from unrolled.console import one_line_errors
    from unrolled.outputs import whole_folder, write_whole
    from unrolled.windowset import open_windows

    with one_line_errors():
        root = project_root()
        given = parse_arguments(sys.argv[1:] if arguments is None else arguments, {"task": None})
        task = required(given, "task", names(root, "task"))
        season = compose_config([f"task={task}"], root, needs=("task",))["judge"]["season"]
        windows = open_windows(root / "data" / "windows" / task)
        judgement, table = judge_task(windows, root / "data" / "predictions" / task, season)
        text = json.dumps(judgement, indent=1) + "\n"
        with whole_folder(root / "data" / "judgements" / task) as folder:
            table.to_parquet(folder / "baselines.parquet", index=False)
            (folder / "judgement.json").write_text(text, encoding="utf-8")
        write_whole(root / "reports" / task / "judgement.json", text)
        print(f"{task}: {len(judgement['cells'])} cells beside {', '.join(judgement['baselines'])}")


if __name__ == "__main__":
    main()
