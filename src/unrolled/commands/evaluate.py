"""Evaluate a run outside the grid, on validation unless test is asked for.

usage: unrolled evaluate run=outputs/energy-gru-0-1a2b3c4d5e [split=validation|test]

Prints the metrics and writes predictions/ and metrics.json into the run's folder. Choose between runs on validation;
ask for test once, at the end. The grid's cells are evaluated with: dvc repro evaluate@<task>-<model>-<seed>
"""

import json
from collections.abc import Sequence
from typing import cast

from unrolled.arguments import parse_arguments, required
from unrolled.checkout import project_root
from unrolled.config import compose_config
from unrolled.console import one_line_errors
from unrolled.errors import UserError
from unrolled.trained import model_folder, read_about


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    from unrolled.evaluate import predict_run
    from unrolled.oneoff import windows_folder
    from unrolled.outputs import whole_folder, write_whole
    from unrolled.predictiontable import save_predictions
    from unrolled.windowset import SplitName, open_windows

    with one_line_errors():
        root = project_root()
        given = parse_arguments(arguments, {"run": None, "split": "validation"})
        split = cast(SplitName, required(given, "split", ("validation", "test")))
        if given["run"] is None:
            raise UserError("no run was given; add run=outputs/NAME, as `unrolled train` printed it")
        run = model_folder(root, given)
        if run.resolve().is_relative_to((root / "data").resolve()):
            raise UserError(
                f"run={given['run']} is a cell of the grid; evaluate it with: dvc repro evaluate@{run.name}"
            )
        about = read_about(run)
        windows = open_windows(windows_folder(root, about["task"], about["data_digest"]))
        meta, tables = predict_run(run, windows, [split])

        from unrolled.scores import score

        season = compose_config([f"task={about['task']}"], root, needs=("task",))["judge"]["season"]
        scores = score(tables[split], windows, season)
        prefix = "" if split == "test" else "validation_"
        metrics = {f"{prefix}{name}": value for name, value in scores.items()} | {f"n_{split}": len(tables[split])}
        with whole_folder(run / "predictions") as folder:
            save_predictions(folder, meta, tables)
        kept = {key: meta[key] for key in ("parameters", "data_source", "data_digest")}
        write_whole(run / "metrics.json", json.dumps(metrics | kept, indent=1) + "\n")
        unit = f" ({windows.meta['unit']})" if windows.meta["unit"] else ""
        print(f"{run.name} on {split}{unit}: " + ", ".join(f"{name} {value:.5g}" for name, value in scores.items()))

        from unrolled.tracking import mirror

        mirror(root, run)
