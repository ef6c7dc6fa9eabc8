"""Find the trained model that a command means."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unrolled.arguments import required, whole_number
from unrolled.config import names
from unrolled.errors import UserError
from unrolled.jsonfile import read_json

# What becomes part of a path, of a query to MLflow or of an experiment's name.
FORMS = {
    "task": r"\w[\w.-]*",
    "model": r"\w[\w.-]*",
    "seed": "[0-9]+",
    "identity": "[0-9a-f]{64}",
    "data_digest": "[0-9a-f]{64}",
}


def model_folder(root: Path, given: Mapping[str, str | None]) -> Path:
    """Return the model folder that ``run=FOLDER``, or ``task= model= seed=``, names.

    Raises:
        UserError: there is none; the message says how to train it.
    """
    if given["run"] is not None:
        folder = root / given["run"]
        if not (folder / "meta.json").is_file():
            raise UserError(
                f"run={given['run']}: {folder} is not a model folder; `unrolled train` makes them in outputs/"
            )
        return folder
    task, model = required(given, "task", names(root, "task")), required(given, "model", names(root, "model"))
    cell = f"{task}-{model}-{whole_number(given, 'seed')}"
    folder = root / "data" / "models" / cell
    if not (folder / "meta.json").is_file():
        raise UserError(f"there is no trained model in {folder}; train it with: dvc repro train@{cell}")
    return folder


def read_about(folder: Path) -> dict[str, Any]:
    """Return a model folder's meta.json: what was trained, and under ``windows`` on which data.

    Raises:
        UserError: it is damaged, or a name in it is none.
    """
    about = read_json(folder / "meta.json", dict, "train this model again")
    if not {"task", "data_digest", "windows"} <= set(about):
        raise UserError(f"{folder}/meta.json is not what `unrolled train` writes; train this model again")
    for key, form in FORMS.items():
        if key in about and not re.fullmatch(form, str(about[key])):
            raise UserError(f"{folder}/meta.json: {key}={about[key]!r} is no {key}; train this model again")
    return about
