"""Predictions on disk, read back: the tables of a task's cells and baselines, checked against the windows here."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from unrolled.errors import UserError
from unrolled.windowset import WindowSet


@dataclass(frozen=True)
class Predicted:
    """What one cell or baseline predicted.

    Attributes:
        name: ``gru-0`` or a baseline's name.
        about: the folder's meta.json, or for a baseline its part of it.
        validation: the table of ``predictions.predict_split``.
        test: likewise; the two are None for a baseline that has a score and no rows.
    """

    name: str
    about: dict[str, Any]
    validation: pd.DataFrame | None
    test: pd.DataFrame | None


def read_cells(folder: Path, windows: WindowSet) -> Iterator[Predicted]:
    """Yield the cells whose predictions lie in ``folder``, by name.

    Raises:
        UserError: predictions were made on other data than ``windows``.
    """
    for path in sorted(folder.glob("*-*")):
        if (path / "meta.json").is_file():
            about = json.loads((path / "meta.json").read_text(encoding="utf-8"))
            _check(about, windows, f"{path.name} was predicted", f"evaluate@{windows.meta['task']}-{path.name}")
            yield _read(path.name, path, about)


def read_baselines(folder: Path, windows: WindowSet) -> list[Predicted]:
    """Return the baselines that the baseline stage left in ``folder``.

    Raises:
        UserError: there are none, or they were made on other data than ``windows``.
    """
    stage = f"baseline@{windows.meta['task']}"
    if not (folder / "meta.json").is_file():
        raise UserError(f"there are no baselines in {folder}; make them with: dvc repro {stage}")
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    _check(meta, windows, "the baselines were made", stage)
    return [_read(name, folder / name, about) for name, about in meta["baselines"].items()]


def _read(name: str, folder: Path, about: dict[str, Any]) -> Predicted:
    tables = [folder / f"{split}.parquet" for split in ("validation", "test")]
    validation, test = (pd.read_parquet(path) if path.is_file() else None for path in tables)
    return Predicted(name, about, validation, test)


def _check(about: dict[str, Any], windows: WindowSet, what: str, stage: str) -> None:
    if about["data_digest"] != windows.meta["digest"]:
        raise UserError(
            f"{what} on data {about['data_digest'][:12]}, but the windows are {windows.meta['digest'][:12]}; "
            f"run: dvc repro {stage}"
        )
