"""Find a task's module by name among our own."""

from importlib import import_module
from pathlib import Path
from types import ModuleType

from unrolled.errors import UserError


def task_names() -> list[str]:
    """Return the names of the tasks: the modules of ``tasks/``."""
    return sorted(path.stem for path in Path(__file__).parent.glob("tasks/[!_]*.py"))


def task_module(name: str) -> ModuleType:
    """Return the module of the task ``name``.

    Raises:
        UserError: there is no such module here.
    """
    if name not in task_names():
        raise UserError(f"unknown task {name!r}; valid: {', '.join(task_names())}")
    return import_module(f"unrolled.tasks.{name}")
