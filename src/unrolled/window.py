"""Stage window: raw files in; one stored array, its splits and a scaler fitted on the training part out.

usage: unrolled window task=energy [window.context=14 ...]

A context or split on the command line changes the grid's windows until the next `dvc repro`; for one run outside the grid,
give it to `unrolled train` instead.
"""

import hashlib
import inspect
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled import transform
from unrolled.dataset import Examples, RawData, Series, Text
from unrolled.errors import UserError
from unrolled.jsonfile import read_json
from unrolled.windowset import WindowSet, digest_of, save_windows


def make_windows(
    data: RawData, splits: dict[str, tuple[int, int]], name: str | None, about: dict[str, Any]
) -> WindowSet:
    """Return the window set of ``data``.

    Args:
        data: what the task's reader returned.
        splits: half-open ranges of target rows, examples or characters.
        name: transform of a series: level, log_return or min_max.
        about: what else goes into the meta data: task, source, context, horizon, licence and so on.

    Raises:
        UserError: a split is too short for the context and the horizon, or a later split has an unknown character.
    """
    arrays: dict[str, NDArray[Any]]
    _check_steps(data, splits, about)
    if isinstance(data, Series):
        if name is None:
            raise UserError(
                f"{about['task']}: window.transform is null, but a series needs level, log_return or min_max"
            )
        splits = {**splits, "train": _first_whole_window(splits["train"], about["context"], name)}
        _check_lengths(splits, about)
        meta = _series_meta(data, splits, name)
        arrays = {"series": data.values}
        if data.known is not None:
            meta |= _known_meta(data, about)
            arrays["known"] = np.ascontiguousarray(data.known)
    elif isinstance(data, Examples):
        meta = _examples_meta(data, splits)
        arrays = {"inputs": data.inputs, "targets": data.targets}
    else:
        meta, tokens = _text_meta(data, splits)
        arrays = {"tokens": tokens}
    meta |= about | {"splits": {split: list(bounds) for split, bounds in splits.items()}}
    return WindowSet(meta | {"digest": digest_of(meta, arrays)}, arrays)


def _check_steps(data: RawData, splits: dict[str, tuple[int, int]], about: dict[str, Any]) -> None:
    """Refuse a context or horizon that examples or a text cannot have: it would be noted and mean nothing."""
    task, context, horizon = about["task"], about["context"], about["horizon"]
    if not isinstance(data, Series) and horizon != 1:
        raise UserError(f"window.horizon={horizon}: {task} is no series, so its horizon is 1")
    if isinstance(data, Examples) and context != data.inputs.shape[1]:
        raise UserError(
            f"window.context={context}: the examples of {task} have {data.inputs.shape[1]} steps, no more and no fewer"
        )
    low, high = splits["train"]
    if isinstance(data, Text) and context >= high - low:
        raise UserError(
            f"{task}: context {context} + horizon 1 needs {context + 1} characters in the train split, but it has "
            f"{high - low}; lower window.context or give the train split more"
        )


def _first_whole_window(train: tuple[int, int], context: int, name: str) -> tuple[int, int]:
    """Start the training targets where a whole context lies before them."""
    return max(train[0], context + transform.lookback({"name": name})), train[1]


def _check_lengths(splits: dict[str, tuple[int, int]], about: dict[str, Any]) -> None:
    context, horizon = about["context"], about["horizon"]
    for split, (low, high) in splits.items():
        if high - low < horizon:
            rows = high if split == "train" else high - low
            need = context + horizon if split == "train" else horizon
            raise UserError(
                f"{about['task']}: context {context} + horizon {horizon} needs {need} rows in the {split} split, "
                f"but it has {rows}; lower window.context or window.horizon, or give the {split} split more rows"
            )


def _series_meta(data: Series, splits: dict[str, tuple[int, int]], name: str) -> dict[str, Any]:
    return {
        "kind": "series",
        "unit": data.unit,
        "features": list(data.features),
        "in_features": data.values.shape[1],
        "start": data.start.isoformat(),
        "transform": transform.fit(name, data.values[: splits["train"][1]]),
    }


def _known_meta(data: Series, about: dict[str, Any]) -> dict[str, Any]:
    assert data.known is not None
    horizon, ahead = about["horizon"], len(data.known) - len(data.values)
    if ahead < horizon:
        raise UserError(
            f"window.horizon={horizon}: {about['task']} knows {ahead} rows ahead of its last one; lower window.horizon"
        )
    return {
        "known": list(data.known_names),
        "in_features": data.values.shape[1] + len(data.known_names) * horizon,
    }


def _examples_meta(data: Examples, splits: dict[str, tuple[int, int]]) -> dict[str, Any]:
    low, high = splits["train"]
    levels = np.arange(256)
    # Counting each of the 256 pixel values needs no floating-point copy of the images.
    counts = np.bincount(data.inputs[low:high].reshape(-1), minlength=256)
    mean = float((counts * levels).sum() / counts.sum())
    scale = float(np.sqrt((counts * (levels - mean) ** 2).sum() / counts.sum()))
    if scale == 0:
        raise UserError(f"every training input has the value {mean:g}: nothing can be learned; check the raw files")
    return {
        "kind": "examples",
        "unit": None,
        "features": [f"column {i}" for i in range(data.inputs.shape[2])],
        "in_features": data.inputs.shape[2],
        "classes": data.classes,
        "scaler": {"mean": mean, "scale": scale},
    }


def _text_meta(data: Text, splits: dict[str, tuple[int, int]]) -> tuple[dict[str, Any], NDArray[Any]]:
    low, high = splits["train"]
    vocabulary = "".join(sorted(set(data.text[low:high])))
    index = {character: token for token, character in enumerate(vocabulary)}
    unknown = next((i for i, character in enumerate(data.text) if character not in index), None)
    if unknown is not None:
        raise UserError(
            f"character {data.text[unknown]!r} at position {unknown} is not among the {len(vocabulary)} of the training "
            "text; remove it or put it into the training part"
        )
    dtype = np.uint8 if len(vocabulary) <= 256 else np.uint16 if len(vocabulary) <= 65536 else np.int32
    tokens = np.fromiter((index[character] for character in data.text), dtype=dtype, count=len(data.text))
    meta = {"kind": "text", "unit": None, "features": ["character"], "in_features": 1, "vocabulary": vocabulary}
    return meta, tokens


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the stage: ``python -m unrolled.window task=energy``."""
    from unrolled.checkout import project_root
    from unrolled.config import compose_config
    from unrolled.console import one_line_errors
    from unrolled.outputs import whole_folder
    from unrolled.taskmodule import task_module

    with one_line_errors():
        root = project_root()
        config = compose_config(sys.argv[1:] if arguments is None else arguments, root, needs=("task",))
        task = config["task"]
        raw = root / "data" / "raw" / task
        windows = window_raw(task_module(task), raw, config, read_source(raw))
        with whole_folder(root / "data" / "windows" / task) as folder:
            save_windows(windows, folder)
        sizes = ", ".join(f"{split} {high - low:,}" for split, (low, high) in windows.meta["splits"].items())
        print(f"{task}: {sizes} targets, {windows.meta['source']} data, digest {windows.meta['digest'][:12]}")


def window_raw(module: Any, raw: Path, config: dict[str, Any], source: dict[str, Any]) -> WindowSet:
    """Read ``raw`` with the task's ``module`` and make its windows as ``config`` asks."""
    data, splits, about = read_raw(module, raw, config, source)
    return make_windows(data, splits, config["window"]["transform"], about)


def read_raw(
    module: Any, raw: Path, config: dict[str, Any], source: dict[str, Any]
) -> tuple[RawData, dict[str, tuple[int, int]], dict[str, Any]]:
    """Return the raw data, its splits and what else goes into the windows' meta data.

    Args:
        module: the task's.
        raw: folder of its raw files.
        config: the composed configuration.
        source: what source.json says of the files.

    Raises:
        UserError: the files or the section ``split`` are not as the task needs them.
    """
    data = module.read(raw)
    takes = {name: value for name, value in inspect.signature(module.split).parameters.items() if name != "data"}
    needs, wanted = {name for name, value in takes.items() if value.default is value.empty}, set(takes)
    if not needs <= set(config["split"]) <= wanted:
        raise UserError(f"split has the keys {', '.join(config['split'])}; expected {', '.join(sorted(wanted))}")
    about = {
        "context": config["window"]["context"],
        "horizon": config["window"]["horizon"],
        "task": config["task"],
        "source": source["source"],
        "raw_sha256": source["sha256"],
        "licence": module.LICENCE,
        "attribution": module.ATTRIBUTION,
        "asked": asked_of(config),
    }
    return data, module.split(data, **config["split"]), about


def asked_of(config: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a configuration that decides what the windows are."""
    return {section: config[section] for section in ("split", "window")}


def read_source(raw: Path) -> dict[str, Any]:
    """Return what fetch noted of the files in ``raw``, ``source`` and ``sha256``, after a look whether it is still so.

    Raises:
        UserError: nothing was fetched, or a file is gone or has been changed since: what is made of it would be called
            real, under a checksum that is not its own.
    """
    path, again = raw / "source.json", f"fetch again with: dvc repro fetch@{raw.name}"
    if not path.is_file():
        raise UserError(f"there are no raw files in {raw}; {again}")
    try:
        source = read_json(path, dict, again)
        noted: dict[str, Any] = {"source": str(source["source"]), "sha256": dict(source["sha256"])}
        for name in noted["sha256"]:
            if Path(name).name != name:
                raise ValueError(f"it names {name!r}, which is not a file in its folder")
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({type(error).__name__}: {error}); {again}") from error
    for name, expected in noted["sha256"].items():
        if not (raw / name).is_file():
            raise UserError(f"{raw} has no {name}; {again}")
        with (raw / name).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != expected:
            raise UserError(
                f"{raw / name} has been changed since it was fetched (sha256 {found[:12]}, expected {expected[:12]}); {again}; "
                "for data of your own, see 'Add a data set' in the README"
            )
    return noted


if __name__ == "__main__":
    main()
