"""Predictions on disk, read back: the tables of a task's cells, ensemble and baselines, checked against the windows here."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from unrolled.errors import UserError
from unrolled.jsonfile import read_json
from unrolled.predictiontable import read_table
from unrolled.windowset import WindowSet

ENSEMBLE = "ensemble"  # takes a model's place wherever models are compared, with the seed 0


@dataclass(frozen=True)
class Predicted:
    """What one cell, ensemble or baseline predicted.

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
    for path in sorted(folder.glob("[!.]*-*")):
        if (path / "meta.json").is_file():
            about = read_json(path / "meta.json", dict)
            _check(about, windows, f"{path.name} was predicted", f"evaluate@{windows.meta['task']}-{path.name}")
            yield _read(path.name, path, about)


def predictions_of(root: Path, task: str, cell: str) -> Path:
    """Return the folder of a cell's tables; the ensemble is the cell ``ensemble-0``."""
    ensemble = root / "data" / "ensembles" / task
    return ensemble if cell == f"{ENSEMBLE}-0" else root / "data" / "predictions" / task / cell


def read_ensemble(folder: Path, windows: WindowSet, cells: Sequence[Predicted]) -> Predicted | None:
    """Return what the ensemble stage left in ``folder``; None if it found nothing to combine.

    Raises:
        UserError: it has not run, or it ran on other data or on other cells than ``cells``.
    """
    stage = f"ensemble@{windows.meta['task']}"
    if not (folder / "meta.json").is_file():
        raise UserError(f"there is no ensemble in {folder}; make it with: dvc repro {stage}")
    about = read_json(folder / "meta.json", dict)
    _check(about, windows, "the ensemble was made", stage)
    here = {cell.name: cell.about["identity"] for cell in cells}
    changed = sorted(name for name in here.keys() | about["cells"].keys() if here.get(name) != about["cells"].get(name))
    if changed:
        raise UserError(
            f"the ensemble was made of other cells than are here now ({changed[0]}); run: dvc repro {stage}"
        )
    return _read(f"{ENSEMBLE}-0", folder, about) if about["members"] else None


def read_baselines(folder: Path, windows: WindowSet) -> list[Predicted]:
    """Return the baselines that the baseline stage left in ``folder``.

    Raises:
        UserError: there are none, or they were made on other data than ``windows``.
    """
    stage = f"baseline@{windows.meta['task']}"
    if not (folder / "meta.json").is_file():
        raise UserError(f"there are no baselines in {folder}; make them with: dvc repro {stage}")
    meta = read_json(folder / "meta.json", dict)
    _check(meta, windows, "the baselines were made", stage)
    return [_read(name, folder / name, about) for name, about in meta["baselines"].items()]


def _read(name: str, folder: Path, about: dict[str, Any]) -> Predicted:
    tables = [folder / f"{split}.parquet" for split in ("validation", "test")]
    validation, test = (read_table(path) if path.is_file() else None for path in tables)
    return Predicted(name, about, validation, test)


def _check(about: dict[str, Any], windows: WindowSet, what: str, stage: str) -> None:
    if about.get("data_digest") != windows.meta["digest"]:
        raise UserError(
            f"{what} on data {str(about.get('data_digest'))[:12]}, but the windows are {windows.meta['digest'][:12]}; "
            f"run: dvc repro {stage}"
        )
