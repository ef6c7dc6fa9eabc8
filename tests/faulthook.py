"""Injects a fault at a chosen moment into a stage that DVC runs; not part of the code that is tested.

A test copies this file as ``src/sitecustomize.py`` into a scratch checkout: Python then runs it at the start of every stage,
as DVC starts them with PYTHONPATH=src. It is in no stage's code hash. UNROLLED_FAULT, JSON, says what to do:

- ``stage``: in which stage;
- ``step``: at this training step (counted from this process's first), or ``write``: at this file operation (opened for
  writing, renamed, made or removed) under the folder ``under``, or ``after``: so many seconds after the stage has ended;
- ``kill``: the ``stage``, ``dvc`` or ``all`` of them, by SIGKILL or by the ``signal`` named; or ``remove``: a folder, and go
  on; or ``fail``: raise an error as a defect would.

What happened is noted in the folder ``log``: a byte per step taken, the number of file operations, that the fault came.
"""

import atexit
import importlib.abc
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

FAULT: dict[str, Any] = json.loads(os.environ.get("UNROLLED_FAULT", "{}"))
STAGE = os.environ.get("DVC_STAGE", "")
HERE = os.getcwd()
WRITES = {"os.rename": 2, "os.remove": 1, "os.mkdir": 1, "os.rmdir": 1}  # audit events, and how many paths they tell


def note(name: str, content: bytes = b".") -> None:
    """Append to a file of the log."""
    with (Path(FAULT["log"]) / name).open("ab") as file:
        file.write(content)


def strike() -> None:
    """Do what was asked for."""
    note("came")
    if "remove" in FAULT:
        shutil.rmtree(FAULT["remove"])
        return
    if "fail" in FAULT:
        raise RuntimeError(FAULT["fail"])
    victim, number = FAULT["kill"], getattr(signal, FAULT.get("signal", "SIGKILL"))
    dvc = os.getpgrp()  # the test starts DVC as the leader of a group
    if victim == "dvc":
        os.kill(dvc, number)
    elif victim == "all":
        os.killpg(dvc, number)
    else:
        os.kill(os.getpid(), number)


def count_writes() -> None:
    """Count this process's file operations under the folder, and strike at the one asked for."""
    under, at, seen = os.path.join(HERE, FAULT.get("under", "")), FAULT.get("write"), 0

    def heard(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if event == "open":
            path, mode, flags = arguments
            writes = any(letter in mode for letter in "wax+") if mode else flags & (os.O_WRONLY | os.O_RDWR)
            paths = (path,) if writes else ()
        else:
            paths = arguments[: WRITES.get(event, 0)]
        named = [os.path.join(HERE, path) for path in paths if isinstance(path, str | os.PathLike)]
        if not any(path.startswith(under) and "__pycache__" not in path and "/.dvc/" not in path for path in named):
            return
        seen += 1
        if seen == at:
            strike()

    sys.addaudithook(heard)
    atexit.register(lambda: note("writes", f"{STAGE} {seen}\n".encode()))


class Patched(importlib.abc.MetaPathFinder):
    """Counts training steps where the progress bar does, and has checkpoints written every moment."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name not in ("unrolled.progress", "unrolled.resume"):
            return None
        sys.meta_path.remove(self)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            sys.meta_path.insert(0, self)
        load = spec.loader.exec_module

        def exec_module(module: Any) -> None:
            load(module)
            if name == "unrolled.progress":
                self.count(module.TimedProgressBar)
            else:  # trainings here take a second
                module.EPOCHS_SECONDS, module.WITHIN_EPOCH_SECONDS = 0.1, FAULT.get("save_seconds", 0.2)

        spec.loader.exec_module = exec_module
        return spec

    def count(self, bar: Any) -> None:
        ended, steps = bar.on_train_batch_end, 0

        def on_train_batch_end(*arguments: Any) -> None:
            nonlocal steps
            ended(*arguments)
            steps += 1
            note(f"steps {STAGE}")
            if FAULT.get("kill") == "dvc":
                time.sleep(0.05)  # as a real training, not one that is over before it can notice
            if FAULT.get("stage") == STAGE and steps == FAULT.get("step"):
                strike()

        bar.on_train_batch_end = on_train_batch_end


def strike_afterwards() -> None:
    """Kill DVC when this stage has ended: while it looks at the outputs, keeps them, or starts the next one."""
    note("came")
    command = ["/bin/sh", "-c", f"sleep {FAULT['after']}; kill -9 {os.getpgrp()}"]
    subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


if FAULT and STAGE:
    sys.meta_path.insert(0, Patched())
    if FAULT.get("stage", STAGE) == STAGE:
        if "after" in FAULT:
            atexit.register(strike_afterwards)
        count_writes()
