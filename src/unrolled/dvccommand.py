"""How DVC is started from here: with this Python, which is also the one that the stages find.

``python -m unrolled.dvccommand repro ...`` is DVC with three promises more: it ends with the process that started it, a
kill tears neither dvc.lock nor .dvc/tmp/rwlock, and kept out by another DVC it says which process that is.
"""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unrolled.outputs import write_whole


def dvc_command(*arguments: str) -> tuple[str, ...]:
    """Return the command line of DVC with ``arguments``."""
    return sys.executable, "-m", "unrolled.dvccommand", *arguments


def dvc_environment() -> dict[str, str]:
    """Return the environment with this Python first on the path, and this very code for Python."""
    code, others = str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")
    return os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{code}{os.pathsep}{others}" if others else code,
    }


def write_yaml_whole() -> None:
    """Have DVC write dvc.lock beside its place and then move it there.

    DVC 3.67 empties the file first and then writes it, which takes seconds for a grid of a hundred cells: killed meanwhile,
    it leaves a torn file that every later `dvc` refuses.
    """
    from dvc.utils.serialize import _common, _yaml

    def dump_whole(path: Any, data: Any, dumper: Any, fs: Any = None, **options: Any) -> None:
        text = io.StringIO()
        dumper(data, text, **options)
        write_whole(Path(path), text.getvalue())

    _common._dump_data = _yaml._dump_data = dump_whole


def write_rwlock_whole() -> None:
    """Have DVC write .dvc/tmp/rwlock, its list of who reads and writes what, beside its place too.

    DVC 3.67 empties it and then writes it, before and after each stage. A torn one, as plain `dvc` may leave it, is told of with
    what to do; it is not removed here, since the list of a DVC that still runs may have stood in it.
    """
    from dvc import rwlock
    from dvc.exceptions import DvcException

    edit = rwlock._edit_rwlock

    @contextmanager
    def edit_whole(lock_dir: str, fs: Any, hardlink: bool) -> Iterator[Any]:
        try:
            with edit(lock_dir, _WholeFiles(fs), hardlink) as lock:
                yield lock
        except rwlock.RWLockFileCorruptedError:
            file = Path(lock_dir, rwlock.RWLOCK_FILE)
            told = f"{file} is torn, as a DVC that is killed can leave it; if no other DVC runs in this checkout"
            raise DvcException(f"{told}, remove it: rm {file}; then run again") from None

    rwlock._edit_rwlock = edit_whole


class _WholeFiles:
    """A file system of DVC's, as ``_edit_rwlock`` uses it, on which what is written is whole or not there."""

    def __init__(self, fs: Any) -> None:
        self._fs = fs

    def join(self, *parts: str) -> str:
        return str(self._fs.join(*parts))

    @contextmanager
    def open(self, path: str, mode: str = "r", encoding: str | None = None) -> Iterator[Any]:
        if mode == "r":
            with self._fs.open(path, encoding=encoding) as file:
                yield file
            return
        text = io.StringIO()
        yield text
        write_whole(Path(path), text.getvalue())


def name_lock_holders() -> None:
    """Have DVC name the process that keeps it out.

    DVC 3.67 names those that read or write what a stage needs, but of the lock on the whole checkout, which is held between
    stages, only that "most likely another DVC process is running".
    """
    from dvc.lock import Lock, LockError

    lock = Lock.lock

    def lock_or_name(self: Any) -> None:
        try:
            lock(self)
        except LockError:
            holder = lock_holder(Path(self.lockfile))
            if holder is None:
                raise
            told = f"the lock {self.lockfile} is held by {holder}; wait until it has ended, then run again"
            raise LockError(told) from None  # DVC would show both, and "most likely another" last

    Lock.lock = lock_or_name


def lock_holder(file: Path) -> str | None:
    """Return the process that DVC's lock ``file`` names, ``(PID 12): dvc repro``; None unless it has the file open."""
    import psutil

    try:
        process = psutil.Process(int(file.read_text(encoding="utf-8")))
        if str(file.resolve()) not in (opened.path for opened in process.open_files()):
            return None  # another one, after the holder's end
        return f"(PID {process.pid}): {' '.join(process.cmdline())}"
    except (OSError, ValueError, OverflowError, psutil.Error):
        return None


def main() -> None:
    """Run DVC with the arguments of the command line."""
    from unrolled.stageguard import ended_with_parent

    with ended_with_parent():
        from dvc.cli import main as dvc

        write_yaml_whole()
        write_rwlock_whole()
        name_lock_holders()
        sys.exit(dvc(sys.argv[1:]))


if __name__ == "__main__":
    main()
