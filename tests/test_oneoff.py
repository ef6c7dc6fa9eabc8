"""Windows of runs outside the grid are found again, or their loss is told."""

from pathlib import Path

import pytest
from windowsets import series_windows

from unrolled.errors import UserError
from unrolled.oneoff import kept_folder, windows_folder
from unrolled.windowset import save_windows


def test_the_windows_of_a_model_are_the_grids_or_the_kept_ones_or_told_to_be_gone(tmp_path: Path) -> None:
    windows = series_windows()
    digest = windows.meta["digest"]
    with pytest.raises(UserError, match="make them with: dvc repro window@ramp; else train it again"):
        windows_folder(tmp_path, "ramp", digest)
    kept = kept_folder(tmp_path, "ramp", digest)
    grid = tmp_path / "data" / "windows" / "ramp"
    for folder in (kept, grid):
        folder.mkdir(parents=True)
        save_windows(windows, folder)
        assert windows_folder(tmp_path, "ramp", digest) == folder
