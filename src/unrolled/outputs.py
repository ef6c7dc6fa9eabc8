"""Write a stage's folder or file whole or not at all, whatever kills the stage meanwhile."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``folder`` that takes its place, synced to the disk, when the block ends well.

    On an error nothing of it stays, and what stood at ``folder`` stands there still. After a kill or a power cut the next
    to write there puts back what stood there and removes the rest.

    Raises:
        OSError: the place cannot be written to.
    """
    with scratch_folder(folder) as partial:
        yield partial
        _sync(partial)
        earlier = folder.parent / f".{folder.name}.{os.getpid()}.earlier"
        if folder.exists():
            folder.rename(earlier)
        partial.rename(folder)
        _sync(folder.parent, deep=False)


@contextmanager
def scratch_folder(place: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``place`` that is gone after the block; what a killed process left goes first.

    Raises:
        OSError: the place cannot be written to.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    clear_leftovers(place)
    partial = partial_of(place)
    partial.mkdir()
    try:
        yield partial
    finally:
        clear_leftovers(place)


def check_writable(folder: Path) -> None:
    """Make ``folder`` and a file in it, and remove the file: better now than after an hour of training.

    Raises:
        OSError: it is read-only or the disk is full.
    """
    write_whole(folder / "writable", "." * 4096)
    (folder / "writable").unlink()


def write_whole(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` by way of a temporary file beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    clear_leftovers(path)
    partial = partial_of(path)
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def partial_of(place: Path) -> Path:
    """Return where to write what is to stand at ``place``; ``clear_leftovers`` knows it by its name."""
    return place.parent / f".{place.name}.{os.getpid()}.partial"


def clear_leftovers(place: Path) -> None:
    """Put back or remove what we, and processes that are gone, left beside ``place``; what another one writes stays."""
    name = re.compile(rf"\.{re.escape(place.name)}\.(\d+)\.(partial|earlier)")
    for path in sorted(place.parent.iterdir()):
        found = name.fullmatch(path.name)
        if not found or _alive(int(found[1])):
            continue
        if found[2] == "earlier" and not place.exists():
            path.rename(place)  # stopped between the two renames of ``whole_folder``
        elif path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _alive(process: int) -> bool:
    """Tell whether another process with this id can still write; a leftover with our own id is of one before us."""
    if process == os.getpid():
        return False
    import psutil

    try:
        # A zombie has ended; its parent has yet to hear of it.
        return bool(psutil.Process(process).status() != psutil.STATUS_ZOMBIE)
    except (psutil.NoSuchProcess, OverflowError):
        return False
    except psutil.AccessDenied:
        return True  # another user's


def _sync(folder: Path, deep: bool = True) -> None:
    """Have the disk take ``folder``, and everything in it if ``deep``, before anything that relies on it goes on."""
    for path in [*(folder.rglob("*") if deep else ()), folder]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
