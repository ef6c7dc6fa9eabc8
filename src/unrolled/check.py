"""Look before anything starts: does every cell compose and build, and can its data be had?"""

import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from unrolled.errors import UserError
from unrolled.yamlfile import read_yaml

DATA = ("real", "stand-in")
CELL = ("task", "model", "seed")


def read_params(root: Path) -> dict[str, Any]:
    """Return params.yaml, checked.

    Raises:
        UserError: it is not YAML, or a key, a value or a cell is not as dvc.yaml needs it.
    """
    path = root / "params.yaml"
    try:
        params = read_yaml(path)
    except ValueError as error:
        raise UserError(f"params.yaml is not YAML: {' '.join(str(error).split())}") from error
    for key, kind in (("data", str), ("trainer", str), ("tasks", list), ("cells", dict)):
        if not isinstance(params, dict) or not isinstance(params.get(key), kind):
            found = params.get(key) if isinstance(params, dict) else params
            raise UserError(f"params.yaml: {key} is {found!r}, but expected a {kind.__name__}")
    if params["data"] not in DATA:
        raise UserError(f"params.yaml: data is {params['data']!r}; valid: {', '.join(DATA)}")
    for name, cell in params["cells"].items():
        if not isinstance(cell, dict) or set(cell) != set(CELL):
            raise UserError(f"params.yaml: the cell {name} is {cell!r}, but expected the keys {', '.join(CELL)}")
        expected = f"{cell['task']}-{cell['model']}-{cell['seed']}"
        if name != expected:
            raise UserError(f"params.yaml: the cell {name} must be called {expected}, after its task, model and seed")
        if cell["task"] not in params["tasks"]:
            raise UserError(
                f"params.yaml: the cell {name} needs {cell['task']} among tasks, which has {params['tasks']}"
            )
    return dict(params)


def check_cells(root: Path, cells: Mapping[str, Mapping[str, Any]], trainer: str) -> None:
    """Compose every cell, cut a stand-in of its data as it asks, build its model and its Trainer; nothing stays.

    Raises:
        UserError: names the cell and what is wrong with it.
    """
    from unrolled.config import compose_config
    from unrolled.model import build
    from unrolled.training import make_trainer

    metas: dict[str, Mapping[str, Any]] = {}
    for name, cell in cells.items():
        try:
            config = compose_config([f"{key}={cell[key]}" for key in CELL] + [f"trainer={trainer}"], root)
            if cell["task"] not in metas:
                metas[cell["task"]] = _stand_in_meta(config)
            build(config, metas[cell["task"]])
            make_trainer(config, [])
        except UserError as error:
            raise UserError(f"{name}: {error}") from error


def _stand_in_meta(config: dict[str, Any]) -> Mapping[str, Any]:
    from unrolled.taskmodule import task_module
    from unrolled.window import window_raw

    module = task_module(config["task"])
    with tempfile.TemporaryDirectory() as folder:
        module.stand_in(Path(folder))
        return window_raw(module, Path(folder), config, {"source": "stand-in", "sha256": {}}).meta


def missing_data(root: Path, tasks: Collection[str], mirror: str | None) -> Iterator[tuple[str, str]]:
    """Yield (task, why) for every task whose real files can be had from nowhere.

    Raises:
        UserError: ``mirror`` is no place at all.
    """
    from unrolled.fetch import unavailable
    from unrolled.taskmodule import task_module

    for task in tasks:
        why = unavailable(task_module(task), root / "data" / "raw" / task, mirror)
        if why:
            yield task, why
