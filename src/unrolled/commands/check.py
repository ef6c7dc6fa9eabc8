"""Check, before anything runs, that every cell of params.yaml composes and builds and that its data can be had.

usage: unrolled check
       unrolled check task=energy [model=gru] [key=value ...]

Nothing is written. UNROLLED_MIRROR, if set, is looked at first, as `unrolled fetch` would.

With a task, of ours or of your own (tasks/mine.py, conf/task/mine.yaml), its raw files in data/raw/<task> are searched
for leaks instead, by experiment and in under a minute; the overrides are those of `unrolled train`, the model is made
small. A line per check says ok, LEAK or, for you to judge, `look at this`; a leak ends with exit code 1.

  split             parts lie apart and in order; no target and no training context leaves its part
  windows           change every raw row after training, then after validation: what lies before and what was fitted
  batches           (scaler, vocabulary) stays byte for byte, and so do the batches cut for targets before the change,
  predictions       a model's outputs for them
  weights           and the weights after a few steps of training
  shuffled targets  after training on them, a model is no better on validation than the training mean
  lag one           where there are predictions: do predicted changes resemble those of the day before most?
"""

import os
from collections.abc import Sequence

from unrolled.checkout import project_root
from unrolled.console import one_line_errors
from unrolled.errors import UserError

MODEL = "gru"  # for a task without a model named


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    with one_line_errors():
        if arguments:
            guard(arguments)
        else:
            check_grid()


def guard(arguments: Sequence[str]) -> None:
    """Search one task for leaks.

    Raises:
        UserError: a check found a leak, or the task cannot be read or cut.
    """
    from unrolled.config import compose_config
    from unrolled.taskmodule import task_module

    root = project_root()
    chosen = any(argument.startswith("model=") for argument in arguments)
    config = compose_config(arguments if chosen else [*arguments, f"model={MODEL}"], root)
    module, raw = task_module(config["task"]), root / "data" / "raw" / config["task"]
    for file in module.FILES:
        if not (raw / file.name).is_file():
            raise UserError(f"there is no {raw / file.name}; put it there or run: dvc repro fetch@{config['task']}")

    import torch

    from unrolled.leakguard import check_all
    from unrolled.leakpipeline import pipeline_of

    torch.set_num_threads(1)  # bits are compared
    print(f"{config['task']} with a small {config['model']}: searching {raw.relative_to(root)} for leaks", flush=True)
    leaks = []
    for finding in check_all(module.read(raw), pipeline_of(module, config), root / "data/predictions" / config["task"]):
        print(f"{finding.verdict:<12}  {finding.check:<16}  {finding.told}", flush=True)
        leaks += [finding.check] if finding.verdict == "LEAK" else []
    if leaks:
        raise UserError(
            f"{config['task']} leaks ({', '.join(leaks)}): mend its reader, its split or what cuts its windows"
        )


def check_grid() -> None:
    """Check what params.yaml says is to run.

    Raises:
        UserError: a cell cannot work, or its data cannot be had.
    """
    from unrolled.check import check_cells, missing_data, read_params

    root = project_root()
    params = read_params(root)
    check_cells(root, params["cells"], params["trainer"])
    print(f"configuration: {len(params['cells'])} cells compose and build, trainer={params['trainer']}", flush=True)
    if params["data"] != "real":
        print("data: stand-ins, as params.yaml says; nothing to fetch")
        return
    missing = dict(missing_data(root, params["tasks"], os.environ.get("UNROLLED_MIRROR")))
    if missing:
        reasons = "; ".join(f"{task}: {why}" for task, why in missing.items())
        raise UserError(
            f"real data cannot be had ({reasons}); set UNROLLED_MIRROR to a folder or an address that has the files, "
            "or say `data: stand-in` in params.yaml"
        )
    print(f"data: real files of {', '.join(params['tasks'])} are there or can be fetched")
