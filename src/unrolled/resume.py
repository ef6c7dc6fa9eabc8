"""What a training that was stopped leaves behind, and when the next one goes on from it."""

import io
import json
import os
import shutil
import signal
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import pytorch_lightning as pl
import torch
from filelock import FileLock, Timeout
from lightning_fabric.plugins.io import TorchCheckpointIO
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.utilities.exceptions import SIGTERMException

from unrolled.errors import UserError
from unrolled.outputs import clear_leftovers, partial_of, write_whole

CHECKPOINT = "last.ckpt"
DIFFERENCES_TOLD = 3
# A kill loses no more than that of training and the step, or the epoch, that was under way.
EPOCHS_SECONDS = 2.0
WITHIN_EPOCH_SECONDS = 30.0
# What Lightning and the learner look up in a checkpoint.
PARTS: dict[str, type] = {
    "pytorch-lightning_version": str,
    "identity": str,
    "epoch": int,
    "global_step": int,
    "loops": dict,
    "state_dict": dict,
    "optimizer_states": list,
    "lr_schedulers": list,
    "callbacks": dict,
    "history": list,
    "steps": torch.Tensor,
    "best": dict,
    "batches_done": int,
}
# What torch.load, and the unpickler in it, say of bytes that torch.save never wrote.
_UNREADABLE = (
    EOFError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)


@contextmanager
def resume_folder(folders: Path, identity: str, asked: Mapping[str, Any], out: str) -> Iterator[Path]:
    """Yield the folder for a run's checkpoints and remove it when the block ends well; else the next run goes on from it.

    Args:
        folders: where all runs have theirs.
        identity: the run's.
        asked: what that is the hash of.
        out: the model folder that is being made, which names a run over changes of ``asked``.

    Raises:
        UserError: another process is training this very run.
    """
    folder = folders / identity
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "lock", timeout=0)
    if (
        os.environ.get("LOCAL_RANK", "0") != "0"
    ):  # one of several processes of one training, of which the first holds it
        yield folder
        return
    try:
        lock.acquire()
    except Timeout as error:
        holder = (folder / "pid").read_text(encoding="utf-8") if (folder / "pid").is_file() else "unknown"
        raise UserError(
            f"the process {holder} is training this very run now (it holds {folder / 'lock'}); wait for it or stop it"
        ) from error
    with lock:
        write_whole(folder / "pid", str(os.getpid()))
        _forget_others(folders, identity, asked, out)
        write_whole(folder / "asked.json", json.dumps({"out": out, "asked": asked}, sort_keys=True) + "\n")
        yield folder
        shutil.rmtree(folder, ignore_errors=True)


def _forget_others(folders: Path, identity: str, asked: Mapping[str, Any], out: str) -> None:
    """Remove unfinished attempts at the same model folder that asked for something else, and say what."""
    for other in sorted(folders.glob("*/asked.json")):
        folder = other.parent
        told = _read(other)
        if folder.name == identity or told is None or told.get("out") != out or not (folder / CHECKPOINT).is_file():
            continue
        try:
            with FileLock(folder / "lock", timeout=0):
                shutil.rmtree(folder)
        except Timeout:
            continue  # at work right now
        changes = differences(told["asked"], asked)
        shown = ", ".join(changes[:DIFFERENCES_TOLD]) + (", ..." if len(changes) > DIFFERENCES_TOLD else "")
        print(
            f"notice: an unfinished training of {out} is not gone on with: {shown}; training starts afresh", flush=True
        )


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # torn or just removed: there is nothing to tell of it


def differences(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return in words what differs between two runs' ``asked``."""
    before, after = (_flat(asked["config"]) for asked in (earlier, now))
    changes = [
        f"{key} was {before.get(key)!r} and is {after.get(key)!r}"
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key)
    ]
    changes += [f"the {part} changed" for part in ("data", "code") if earlier[part] != now[part]]
    return changes


def _flat(config: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat |= _flat(value, f"{above}{key}.") if isinstance(value, Mapping) else {f"{above}{key}": value}
    return flat


def checkpoint_to_resume(folder: Path, identity: str) -> Path | None:
    """Return the checkpoint to go on from, or None; a damaged one or another run's is removed, which a notice tells."""
    path = folder / CHECKPOINT
    if not path.is_file():
        return None
    checkpoint = _read_checkpoint(path)
    if checkpoint is not None and checkpoint.get("identity") == identity:
        print(f"notice: going on from step {checkpoint['global_step']} of an earlier attempt", flush=True)
        return path
    why = "is damaged" if checkpoint is None else "is another run's"
    print(f"notice: the checkpoint of an earlier attempt in {folder} {why}; training starts afresh", flush=True)
    path.unlink(missing_ok=True)  # one of several processes of one training may have been faster
    return None


def _read_checkpoint(path: Path) -> dict[str, Any] | None:
    """Return a checkpoint without its tensors' values, or None if training can't go on from what is there."""
    try:
        checkpoint = unsealed(path.read_bytes(), "meta")
    except (OSError, ValueError):
        return None
    return checkpoint if _is_complete(checkpoint) else None


def _is_complete(checkpoint: Mapping[str, Any]) -> bool:
    if not all(isinstance(checkpoint.get(part), kind) for part, kind in PARTS.items()):
        return False
    return "fit_loop" in checkpoint["loops"] and (not checkpoint["batches_done"] or {"state", "sums"} <= {*checkpoint})


def sealed(checkpoint: dict[str, Any]) -> Iterator[bytes | memoryview]:
    """Yield the parts of a checkpoint's file: what ``torch.save`` makes of it, and the sha256 of that."""
    content = io.BytesIO()
    torch.save(checkpoint, content)
    yield content.getbuffer()
    yield sha256(content.getbuffer()).digest()


def unsealed(file: bytes, map_location: Any = "cpu") -> dict[str, Any]:
    """Return the checkpoint that a file holds; nothing is unpickled of one whose sha256 is not as it was written.

    Raises:
        ValueError: a full disk, a power cut or a bad sector damaged it, or it isn't plain tensors.
    """
    content = memoryview(file)[: -sha256().digest_size]
    if sha256(content).digest() != file[len(content) :]:
        raise ValueError("its sha256 is not that of its content")
    try:
        checkpoint = torch.load(io.BytesIO(content), map_location=map_location, weights_only=True)
    except (*_UNREADABLE, UnpicklingError, struct.error) as error:
        raise ValueError(f"it is no checkpoint ({type(error).__name__}: {error})") from error
    if not isinstance(checkpoint, dict):
        raise ValueError(f"it holds {type(checkpoint).__name__}, not a dict")
    return checkpoint


class WholeCheckpoints(TorchCheckpointIO):
    """Write checkpoints whole or not at all, the earlier one goes when the new one is on the disk; read whole ones only."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write ``checkpoint`` beside ``path``, then let it take its place.

        Raises:
            OSError: it cannot be written; torch.save, writing to the disk itself, would hide that behind a RuntimeError.
        """
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        clear_leftovers(target)
        partial = partial_of(target)
        try:
            with partial.open("wb") as file:
                for part in sealed(checkpoint):
                    file.write(part)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = True) -> dict[str, Any]:
        """Return the checkpoint at ``path``, always of plain tensors only.

        Raises:
            UserError: it is damaged.
        """
        try:
            return unsealed(Path(path).read_bytes(), map_location)
        except ValueError as error:
            raise UserError(f"{path} is damaged: {error}; remove it and run again: training starts afresh") from error


class SaveAndStop(Checkpoint):
    """Save where training stands, and on Ctrl-C or SIGTERM finish the step, save, and stop; a second Ctrl-C stops at once.

    In an epoch's last step or its validation the epoch is finished first. Several processes that train one model stop as
    Lightning lets them, and go on from the last epoch that was saved.
    """

    def __init__(self, checkpoint: Path) -> None:
        """Args: ``checkpoint``: where to save."""
        self.checkpoint = checkpoint
        self.asked = False
        self.saved, self.since = False, 0.0  # the last time, or training's start, on the monotonic clock

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listen from now on; Lightning puts all handlers back when training ends, well or not."""
        self.since = time.monotonic()
        if trainer.world_size == 1 and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._ask)
            signal.signal(signal.SIGINT, self._ask)

    def _ask(self, *_: Any) -> None:
        self.asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Save in the middle of a long epoch; stop there if asked.

        Raises:
            SIGTERMException: after saving.
        """
        if (self.asked or self._due(WITHIN_EPOCH_SECONDS)) and not trainer.is_last_batch:
            self._save(trainer)
            if self.asked:
                raise SIGTERMException

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save, the first epoch in any case, short ones not each: that would take longer than they do."""
        if self.asked or not self.saved or self._due(EPOCHS_SECONDS):
            self._save(trainer)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop between two epochs if asked.

        Raises:
            SIGTERMException: the epoch's end has saved.
        """
        if self.asked:
            raise SIGTERMException

    def _due(self, seconds: float) -> bool:
        return time.monotonic() - self.since >= seconds

    def _save(self, trainer: pl.Trainer) -> None:
        trainer.save_checkpoint(self.checkpoint)
        self.since, self.saved = time.monotonic(), True
