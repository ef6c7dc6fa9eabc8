"""Stage evaluate: a model folder and its windows in; predictions on validation and test, plain metrics and a receipt out."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unrolled.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from unrolled.windowset import SplitName, WindowSet


def predict_run(
    model_folder: Path, windows: "WindowSet", splits: Sequence["SplitName"]
) -> tuple[dict[str, Any], dict["SplitName", "pd.DataFrame"]]:
    """Return the meta data of a trained model and its predictions on ``splits``.

    Raises:
        UserError: the model was trained on other data than ``windows``.
    """
    import torch

    from unrolled.model import load
    from unrolled.predictions import predict_split
    from unrolled.trained import read_about

    about = read_about(model_folder)
    if about["data_digest"] != windows.meta["digest"]:
        raise UserError(
            f"{model_folder} was trained on data {about['data_digest'][:12]}, but the windows here are "
            f"{windows.meta['digest'][:12]}; train it again"
        )
    torch.set_num_threads(1)
    model = load(model_folder)
    kept = ("identity", "task", "model", "seed", "data_digest", "data_source", "parameters")
    meta = {key: about[key] for key in kept} | {"kind": windows.meta["kind"], "unit": windows.meta["unit"]}
    return meta, {split: predict_split(model, windows, split) for split in splits}


def save_samples(folder: Path, model_folder: Path, windows: "WindowSet") -> None:
    """Write what a language model writes, at several temperatures, to ``folder/samples.json``."""
    from unrolled.model import load
    from unrolled.samples import write_samples

    samples = write_samples(load(model_folder), windows)
    (folder / "samples.json").write_text(json.dumps(samples, indent=1) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the stage: ``python -m unrolled.evaluate task=energy model=gru seed=0``."""
    from unrolled.arguments import parse_arguments, required, whole_number
    from unrolled.checkout import project_root
    from unrolled.config import compose_config, names
    from unrolled.console import one_line_errors
    from unrolled.outputs import check_writable, whole_folder, write_whole
    from unrolled.predictiontable import save_predictions
    from unrolled.receipt import receipt_of, write_receipt
    from unrolled.scores import flat_metrics
    from unrolled.windowset import open_windows

    with one_line_errors():
        root = project_root()
        given = parse_arguments(
            sys.argv[1:] if arguments is None else arguments, {"task": None, "model": None, "seed": "0"}
        )
        task, model = required(given, "task", names(root, "task")), required(given, "model", names(root, "model"))
        seed = whole_number(given, "seed")
        season = compose_config([f"task={task}"], root, needs=("task",))["judge"]["season"]
        windows = open_windows(root / "data" / "windows" / task)
        model_folder = root / "data" / "models" / f"{task}-{model}-{seed}"
        if not model_folder.is_dir():
            raise UserError(f"there is no model in {model_folder}; train it with: dvc repro train@{model_folder.name}")
        reports = root / "reports" / task / model / str(seed)
        check_writable(root / "data" / "predictions" / task)
        check_writable(reports)
        meta, tables = predict_run(model_folder, windows, ("validation", "test"))
        metrics = flat_metrics(meta, tables, windows, season)
        with whole_folder(root / "data" / "predictions" / task / f"{model}-{seed}") as folder:
            save_predictions(folder, meta, tables)
            if meta["kind"] == "text":
                save_samples(folder, model_folder, windows)
        write_whole(reports / "history.csv", (model_folder / "history.csv").read_text(encoding="utf-8"))
        write_whole(reports / "metrics.json", json.dumps(metrics, indent=1) + "\n")
        write_receipt(reports / "receipt.json", receipt_of(model_folder, tables))
        print(
            f"{task}-{model}-{seed}: " + ", ".join(f"{k} {v:.5g}" for k, v in metrics.items() if isinstance(v, float))
        )

        from unrolled.tracking import mirror

        mirror(root, model_folder)


if __name__ == "__main__":
    main()
