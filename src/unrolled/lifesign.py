"""Which runs are being written right now, so that one whose process is gone does not stay RUNNING in MLflow.

Whoever writes a run holds a lock on a small file beside the sidecars: the system lets go of it however the process ends. A file
that nobody holds names a run that was cut off.
"""

import fcntl
import hashlib
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from unrolled.trackingstore import Store

IDENTITY = "unrolled.identity"  # the tag by which a run is found


class LifeSign:
    """A file that stays locked while this process writes a run to a store; several may write the same one.

    Leaving its ``with`` block ends it: the store has been told how the run ended, unless an error says otherwise.
    """

    def __init__(self, store: Store, task: str, identity: str) -> None:
        """Make the file and lock it, before the run is there.

        Raises:
            OSError: the place cannot be written to.
        """
        self.path = _folder(store) / f"{identity}{_suffix(store)}"
        # Under the store's lock, so that nobody takes the file for an abandoned one before it is locked.
        with store.lock():
            self.path.write_text(task, encoding="utf-8")
            self._file = self.path.open(encoding="utf-8")
            fcntl.flock(self._file, fcntl.LOCK_SH)

    def renew(self) -> None:
        """Note that the run is alive now: one that is cut off ended no earlier."""
        os.utime(self._file.fileno())

    def end(self, told: bool) -> None:
        """Let go of the file, and remove it if the store has been ``told`` how the run ended and nobody else holds it."""
        with self._file, suppress(BlockingIOError):
            if told:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self.path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.end(told=kind is None)


def close_abandoned(store: Store) -> None:
    """Mark as KILLED the runs of this checkout that say RUNNING though no process writes them.

    Raises:
        Exception: what a store that does not work raises; see ``trackingstore.failures``.
    """
    with store.lock():
        for path in sorted(_folder(store).glob(f"*{_suffix(store)}")):
            with path.open(encoding="utf-8") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue  # alive
                _close(store.client, file.read(), path.name.partition(".")[0], round(path.stat().st_mtime * 1000))
                path.unlink()


def _close(client: Any, task: str, identity: str, ended: int) -> None:
    experiment = client.get_experiment_by_name(task)
    if experiment is None:
        return
    running = f"tags.`{IDENTITY}` = '{identity}' and attributes.status = 'RUNNING'"
    for run in client.search_runs([experiment.experiment_id], running):
        client.set_terminated(run.info.run_id, "KILLED", end_time=max(ended, run.info.start_time))


def _folder(store: Store) -> Path:
    folder = store.checkout / "data" / "sidecars"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _suffix(store: Store) -> str:
    """Return the end of the file names of a store, whose address may have a password in it."""
    return f".{hashlib.sha256(store.uri.encode()).hexdigest()[:8]}.running"
