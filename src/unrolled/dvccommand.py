"""How DVC is started from here: with this Python, which is also the one that the stages find.

``python -m unrolled.dvccommand repro ...`` is DVC with three promises more: it ends with the process that started it, a
kill loses no dvc.lock, and kept out by another DVC it says which process that is.
"""

import io
import os
import sys
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
        name_lock_holders()
        sys.exit(dvc(sys.argv[1:]))


if __name__ == "__main__":
    main()
