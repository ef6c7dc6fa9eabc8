"""The windows that benchmarks train on: the grid's, or stand-ins of the same form and nearly the same size."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from unrolled.checkout import project_root
from unrolled.config import Config, compose_config
from unrolled.taskmodule import task_module
from unrolled.window import window_raw
from unrolled.windowset import WindowSet, open_windows

ROOT = project_root()
WITHOUT_BF16 = "not run: the cases in bfloat16, which this processor would emulate"


def config_of(task: str, model: str, *overrides: str) -> Config:
    """Return the configuration of a cell on the CPU."""
    return compose_config([f"task={task}", f"model={model}", "trainer=cpu", *overrides], ROOT)


@cache
def windows_of_task(task: str) -> WindowSet:
    """Return the grid's windows of ``task``, or stand-ins where it has none yet."""
    folder = ROOT / "data" / "windows" / task
    if folder.is_dir():
        return open_windows(folder)
    module = task_module(task)
    with TemporaryDirectory() as scratch:
        module.stand_in(Path(scratch))
        config = compose_config([f"task={task}"], ROOT, ("task",))
        return window_raw(module, Path(scratch), config, {"source": "stand-in", "sha256": {}})


def sources(*tasks: str) -> list[str]:
    """Return a note that names which of ``tasks`` have stand-ins for windows, if any."""
    lacking = [task for task in tasks if not (ROOT / "data" / "windows" / task).is_dir()]
    return [f"stand-in data for {', '.join(lacking)}: run `dvc repro window` for the real ones"] if lacking else []
