"""What is on disk between window and train: one stored series, text or set of examples, its splits and its scaler."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any, Literal

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from unrolled.errors import UserError

SplitName = Literal["train", "validation", "test"]
ARRAYS = {"series": ("series",), "examples": ("inputs", "targets"), "text": ("tokens",)}


@dataclass(frozen=True)
class WindowSet:
    """One task's data as the later stages see it.

    Windows are never stored: they are views on one stored array.

    Attributes:
        meta: kind, splits, unit, transform or scaler, vocabulary, checksums; all that the data can tell.
        arrays: memory-mapped. series: ``series`` (rows, features) float64 in physical units, column 0 the target.
            ``known`` (rows and some more, columns) float32, if there is something known ahead of each row.
            examples: ``inputs`` (examples, time, features) and ``targets`` (examples,), uint8. text: ``tokens``
            (characters,) uint8, each an index into ``meta["vocabulary"]``.
    """

    meta: dict[str, Any]
    arrays: dict[str, NDArray[Any]]

    def split(self, name: SplitName) -> tuple[int, int]:
        """Return the half-open range of the split's target rows, examples or characters."""
        low, high = self.meta["splits"][name]
        return low, high


def digest_of(meta: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> str:
    """Return the sha256 over the arrays' bytes and everything else that ``meta`` says."""
    content = hashlib.sha256()
    for name in sorted(arrays):
        content.update(name.encode())
        content.update(np.ascontiguousarray(arrays[name]).data)
    content.update(json.dumps({k: v for k, v in meta.items() if k != "digest"}, sort_keys=True).encode())
    return content.hexdigest()


def save_windows(windows: WindowSet, folder: Path) -> None:
    """Write ``windows`` into ``folder``, which must be empty, the meta data last."""
    for name, array in windows.arrays.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)
    (folder / "meta.json").write_text(json.dumps(windows.meta, indent=1, sort_keys=True) + "\n")


# What json and numpy's reader of headers, which is Python's own parser, raise on what they did not write.
_DAMAGE = (
    ValueError, KeyError, TypeError, AttributeError, EOFError, SyntaxError, TokenError, RecursionError, MemoryError,
    FileNotFoundError,
)  # fmt: skip


def open_windows(folder: Path) -> WindowSet:
    """Open what the window stage wrote, the arrays memory-mapped.

    Raises:
        UserError: ``folder`` is not a window set, or a file of it is damaged.
    """
    path = folder / "meta.json"
    if not path.is_file():
        raise UserError(f"there are no windows in {folder}; make them with: dvc repro window@{folder.name}")
    try:
        meta = json.loads(path.read_text())
        # "c": private copy-on-write pages, because torch warns about memory that it may not write.
        names = [*ARRAYS[meta["kind"]], *(["known"] if meta.get("known") else [])]
        arrays: dict[str, NDArray[Any]] = {name: open_memmap(folder / f"{name}.npy", mode="c") for name in names}
    except _DAMAGE as error:
        raise UserError(
            f"the windows in {folder} are damaged ({type(error).__name__}: {error}); {_again(folder)}"
        ) from error
    return WindowSet(meta, arrays)


def check_digest(windows: WindowSet, folder: Path) -> None:
    """Read all of ``windows``, so that nothing is learned from a file that has changed since it was written.

    Raises:
        UserError: the content of ``folder`` is not what its meta.json says.
    """
    found, expected = digest_of(windows.meta, windows.arrays), windows.meta.get("digest")
    if found != expected:
        raise UserError(
            f"the windows in {folder} have changed since they were made (digest {found[:12]}, expected {str(expected)[:12]}); "
            f"{_again(folder)}, and see with `unrolled verify data` what else has changed"
        )


def _again(folder: Path) -> str:
    """Return how damaged windows are made anew: the grid's by DVC, those of one-off runs when they are missing."""
    if folder.parent.parent.name == "outputs":
        return "remove this folder and run again"
    return f"make them anew with: dvc repro --force --single-item window@{folder.name}"
