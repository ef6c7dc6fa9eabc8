"""Windows for runs outside the grid."""

import json
from pathlib import Path

from unrolled.config import Config
from unrolled.errors import UserError
from unrolled.windowset import open_windows, save_windows


def windows_for(config: Config, root: Path) -> Path:
    """Return the folder of the windows that ``config`` asks for.

    The grid's if they are those; else the ones cut from data/raw for such runs, kept in ``outputs/windows``.

    Raises:
        UserError: there is no raw data, or it cannot be cut so.
    """
    from unrolled.outputs import whole_folder
    from unrolled.taskmodule import task_module
    from unrolled.window import asked_of, window_raw

    task: str = config["task"]
    grid = root / "data" / "windows" / task
    if open_windows(grid).meta["asked"] == asked_of(config):
        return grid
    raw = root / "data" / "raw" / task
    if not (raw / "source.json").is_file():
        raise UserError(f"there are no raw files in {raw}; fetch them with: dvc repro fetch@{task}")
    windows = window_raw(task_module(task), raw, config, json.loads((raw / "source.json").read_text(encoding="utf-8")))
    folder = windows_folder(root, task, str(windows.meta["digest"]))
    if not folder.is_dir():
        with whole_folder(folder) as partial:
            save_windows(windows, partial)
    return folder


def windows_folder(root: Path, task: str, digest: str) -> Path:
    """Return where the windows with ``digest`` are: the grid's folder or the one-off runs'."""
    grid = root / "data" / "windows" / task
    if (grid / "meta.json").is_file() and open_windows(grid).meta["digest"] == digest:
        return grid
    return root / "outputs" / "windows" / f"{task}-{digest[:10]}"
