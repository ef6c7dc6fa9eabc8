"""A stage lives no longer than the DVC that started it, and no stage of one name runs twice at a time."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unrolled.errors import UserError

LOCKS = Path(".dvc", "tmp", "stages")
LOOK_SECONDS = 0.25  # between two looks at who our parent is
GRACE_SECONDS = 15.0  # for a training to save where it stands
WAIT_SECONDS = 30.0  # for the stage that a killed DVC left behind; more than the grace
SHELLS = {"sh", "dash", "ash", "bash", "zsh", "ksh", "fish"}  # dash stays between DVC and us, bash does not
OURS = "UNROLLED_STAGE"  # the stage whose lock a process, or the one that started it, holds


@contextmanager
def guarded_stage() -> Iterator[None]:
    """Run a stage's block alone, and end it if DVC ends; a command that DVC did not start is let be.

    Raises:
        UserError: the same stage is still run by a process that an earlier DVC left behind.
    """
    stage = os.environ.get("DVC_STAGE")
    if not stage:
        yield
        return
    with ended_with_parent():
        if os.environ.get(OURS) == stage:  # one of several processes of a training, of which the first has the lock
            yield
            return
        with _alone(stage):
            os.environ[OURS] = stage
            try:
                yield
            finally:
                del os.environ[OURS]


@contextmanager
def _alone(stage: str) -> Iterator[None]:
    from filelock import FileLock, Timeout

    path = LOCKS / f"{stage}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=WAIT_SECONDS)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"waiting for process {_holder(path)}, which an earlier DVC left behind in stage {stage}", flush=True)
        try:
            lock.acquire()
        except Timeout as error:
            holder = _holder(path)
            raise UserError(
                f"stage {stage} is still run by process {holder}, which an earlier DVC left behind; wait for its end, or "
                f"end it with `kill {holder}`, then run again"
            ) from error
    try:
        path.write_text(str(os.getpid()), encoding="utf-8")
        yield
    finally:
        lock.release()


def _holder(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8") or "(unknown)"
    except OSError:
        return "(unknown)"  # it has just let go


@contextmanager
def ended_with_parent() -> Iterator[None]:
    """End this process if the one that started it ends before the block does: asked by SIGTERM first, then killed."""
    started_by, done = parents(), threading.Event()

    def watch() -> None:
        while not done.wait(LOOK_SECONDS):
            if parents() != started_by:
                os.kill(os.getpid(), signal.SIGTERM)
                if not done.wait(GRACE_SECONDS):
                    os.kill(os.getpid(), signal.SIGKILL)

    watcher = threading.Thread(target=watch, name="parent watch", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def parents() -> list[int]:
    """Return the process that started us; of a shell between us, first the shell."""
    import psutil

    parent = os.getppid()
    try:
        shell = psutil.Process(parent)
        return [parent, shell.ppid()] if shell.name() in SHELLS else [parent]
    except psutil.Error:
        return [parent]  # it has just ended


@contextmanager
def stopped_cleanly() -> Iterator[None]:
    """Let SIGTERM and a closed terminal end the block as an exception, so that what it holds is put in order."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _: Any) -> None:
        sys.exit(128 + number)  # the exit code that a shell gives such a process

    heard = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_DFL]
    for number in heard:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in heard:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Keep SIGTERM and a closed terminal waiting until the block has ended.

    Who is told to stop is often told twice: by the signal, and by ``ended_with_parent`` when the same signal has ended DVC. The
    second must not tear what the first has us put in order.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with caught_signals(signal.SIGTERM, signal.SIGHUP) as waiting:
        yield
    for late in waiting:
        signal.raise_signal(late)


@contextmanager
def caught_signals(*numbers: int) -> Iterator[list[int]]:
    """Collect signals in place of dying of them; what was ignored (nohup), or is not Python's to handle, stays as it is."""
    caught: list[int] = []
    heard = [number for number in numbers if signal.getsignal(number) not in (None, signal.SIG_IGN)]
    earlier = {number: signal.signal(number, lambda number, _: caught.append(number)) for number in heard}
    try:
        yield caught
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
