"""Score a forecaster at rolling origins, or train it anew before each.

usage: unrolled backtest task=energy model=gru [seed=0] [origins=8]
       unrolled backtest task=energy model=gru refit=true [scheme=expanding|sliding] [key=value ...]

The test part is cut into as many consecutive parts as there are origins; at each, all that lies before it is known. Without
refit, the grid's trained model is scored on each part. With refit=true the model is trained before each origin on what was
known then, validation right before the origin: on all of the past (expanding) or on as many days as the task's own
training part has (sliding). Further key=value are overrides, as `unrolled train` takes them. Results go to outputs/.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from unrolled.arguments import parse_arguments, required, whole_number
from unrolled.checkout import project_root
from unrolled.config import Config, compose_config
from unrolled.console import one_line_errors
from unrolled.errors import UserError

if TYPE_CHECKING:
    from unrolled.backtest import Scheme

DEFAULTS: dict[str, str | None] = {"origins": "8", "refit": "false", "scheme": "expanding"}


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    with one_line_errors():
        root = project_root()
        own = [argument for argument in arguments if argument.partition("=")[0] in DEFAULTS]
        given = parse_arguments(own, DEFAULTS)
        origins, refit = whole_number(given, "origins", low=1), required(given, "refit", ("true", "false")) == "true"
        scheme = cast("Scheme", required(given, "scheme", ("expanding", "sliding")))
        overrides = [argument for argument in arguments if argument not in own]
        config = compose_config(overrides, root)
        told = _retrained(config, root, origins, scheme) if refit else _scored(config, overrides, root, origins)

        from unrolled.backtest import as_text
        from unrolled.outputs import write_whole

        place = root / "outputs" / "backtest" / f"{config['task']}-{config['model']}-{config['seed']}"
        place = place / f"{scheme if refit else 'scored'}-{origins}.json"
        write_whole(place, json.dumps({"refit": refit, **told}, indent=1) + "\n")
        print(as_text(told["origins"], told["unit"]))
        print(f"written to {place.relative_to(root)}")


def _scored(config: Config, overrides: list[str], root: Path, count: int) -> dict[str, Any]:
    """Score the grid's model, which was trained once, on each part of the test."""
    from unrolled.backtest import rolling_origins, score_origins
    from unrolled.evaluate import predict_run
    from unrolled.trained import model_folder
    from unrolled.windowset import open_windows

    changed = [text for text in overrides if text.partition("=")[0] not in ("task", "model", "seed")]
    if changed:
        raise UserError(f"{changed[0]} changes the model, so it must be trained: add refit=true")
    given = {key: str(config[key]) for key in ("task", "model", "seed")}
    windows = open_windows(root / "data" / "windows" / config["task"])
    _check_kind(windows.meta)
    rolling_origins(windows.split("test"), count, windows.meta["horizon"])
    _, tables = predict_run(model_folder(root, given | {"run": None}), windows, ["test"])
    season = config["judge"]["season"] or 1
    return {"unit": windows.meta["unit"], "origins": score_origins(tables["test"], windows, season, count)}


def _retrained(config: Config, root: Path, count: int, scheme: "Scheme") -> dict[str, Any]:
    """Train before each origin, under the window stage's own rules, and score the part that follows."""
    import tempfile

    from unrolled.backtest import rolling_origins, score_part, windows_before
    from unrolled.dataset import Series
    from unrolled.evaluate import predict_run
    from unrolled.leakguard import check_split
    from unrolled.leakpipeline import pipeline_of
    from unrolled.taskmodule import task_module
    from unrolled.train import train
    from unrolled.window import read_raw, read_source
    from unrolled.windowset import open_windows, save_windows

    module = task_module(config["task"])
    raw = root / "data" / "raw" / config["task"]
    data, splits, about = read_raw(module, raw, config, read_source(raw))
    if not isinstance(data, Series):
        raise UserError(f"backtest forecasts series, and {config['task']} is none; try task=energy or task=bitcoin")
    about |= {"asked": {"window": config["window"]}}
    told, guarded = [], pipeline_of(module, config)
    season = config["judge"]["season"] or 1
    for number, origin in enumerate(rolling_origins(splits["test"], count, about["horizon"]), start=1):
        windows = windows_before(data, splits, origin, scheme, about)
        finding = check_split(windows, guarded)
        if finding.verdict == "LEAK":
            raise UserError(f"origin {number} of {config['task']} leaks: {finding.told}; see `unrolled check`")
        with tempfile.TemporaryDirectory() as scratch:
            save_windows(windows, Path(scratch))
            name = f"{config['task']}-{config['model']}-{config['seed']}/{scheme}-{count}-{number}"
            out = root / "outputs" / "backtest" / name
            train(config, Path(scratch), out, root)
            _, tables = predict_run(out, open_windows(Path(scratch)), ["test"])
        told.append(score_part(tables["test"], windows, season))
        print(f"origin {number} of {count}, {told[-1]['first']}: skill {told[-1]['skill']:+.1%}", flush=True)
    return {"unit": data.unit, "scheme": scheme, "origins": told}


def _check_kind(meta: Any) -> None:
    if meta["kind"] != "series":
        raise UserError(f"backtest forecasts series, and {meta['task']} is none; try task=energy or task=bitcoin")
