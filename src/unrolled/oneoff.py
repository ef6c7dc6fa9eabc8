"""Windows for runs outside the grid."""

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
    from unrolled.window import asked_of, read_source, window_raw

    task: str = config["task"]
    grid = root / "data" / "windows" / task
    if open_windows(grid).meta["asked"] == asked_of(config):
        return grid
    raw = root / "data" / "raw" / task
    windows = window_raw(task_module(task), raw, config, read_source(raw))
    folder = kept_folder(root, task, str(windows.meta["digest"]))
    if not folder.is_dir():
        with whole_folder(folder) as partial:
            save_windows(windows, partial)
    return folder


def windows_folder(root: Path, task: str, digest: str) -> Path:
    """Return where the windows with ``digest``, on which a model was trained, are: the grid's folder or the one-off runs'.

    Raises:
        UserError: they are no longer there.
    """
    grid, kept = root / "data" / "windows" / task, kept_folder(root, task, digest)
    if (grid / "meta.json").is_file() and open_windows(grid).meta["digest"] == digest:
        return grid
    if not kept.is_dir():
        raise UserError(
            f"the windows that this model was trained on (digest {digest[:10]}) are neither in {grid} nor in {kept}; "
            f"if they are the grid's, make them with: dvc repro window@{task}; else train it again"
        )
    return kept


def kept_folder(root: Path, task: str, digest: str) -> Path:
    """Return where windows for runs outside the grid are kept."""
    return root / "outputs" / "windows" / f"{task}-{digest[:10]}"
