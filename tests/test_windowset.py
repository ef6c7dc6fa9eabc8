"""Windows on disk: what is damaged is told, and nothing is learned from what has changed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from windowsets import example_windows, known_windows, series_windows, text_windows

from unrolled.errors import UserError
from unrolled.windowset import WindowSet, check_digest, open_windows, save_windows


def _kept(windows: WindowSet, folder: Path) -> Path:
    folder.mkdir(parents=True)
    save_windows(windows, folder)
    return folder


@pytest.mark.parametrize("make", [series_windows, known_windows, example_windows, text_windows])
def test_what_was_written_is_read_and_has_the_digest_that_it_says(
    make: Callable[[], WindowSet], tmp_path: Path
) -> None:
    folder = _kept(make(), tmp_path / "ramp")
    check_digest(open_windows(folder), folder)
    for path in folder.iterdir():
        whole = path.read_bytes()
        place = whole.rindex(b"5") if path.name == "meta.json" else len(whole) - 1
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(UserError, match=r"have changed since they were made .* --single-item window@ramp"):
            check_digest(open_windows(folder), folder)
        path.write_bytes(whole)


def _header(shape: str, kind: str = "<f8") -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


DAMAGED = {
    "series.npy": [
        b"",
        b"\x93NUMPY",
        _header("(2147483648, 1)"),
        _header("(9,)", "|O"),
        _header("(" * 90),
        b"PK\x03\x04",
    ],
    "meta.json": [b"", b"{", b"[]", b"{}", b"[" * 100_000, b'{"kind": "sound"}', b"\xff\xfe"],
}


@pytest.mark.parametrize(("name", "content"), [(name, content) for name in DAMAGED for content in DAMAGED[name]])
def test_a_damaged_file_is_told_with_the_command_that_makes_it_anew(name: str, content: bytes, tmp_path: Path) -> None:
    folder = _kept(series_windows(), tmp_path / "ramp")
    (folder / name).write_bytes(content)
    with pytest.raises(UserError, match=r"are damaged .*: dvc repro --force --single-item window@ramp"):
        open_windows(folder)


def test_the_windows_of_a_one_off_run_are_made_anew_without_dvc(tmp_path: Path) -> None:
    folder = _kept(series_windows(), tmp_path / "outputs/windows/ramp-0123456789")
    (folder / "series.npy").unlink()
    with pytest.raises(UserError, match="remove this folder and run again"):
        open_windows(folder)
    np.save(folder / "series.npy", np.zeros((60, 1)))
    with pytest.raises(UserError, match="remove this folder and run again"):
        check_digest(open_windows(folder), folder)
