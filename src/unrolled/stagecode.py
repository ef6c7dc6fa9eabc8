"""Stage code: the hash of the code behind every stage, task and model; what the other stages depend on.

usage: python -m unrolled.stagecode

DVC cannot follow imports; this stage does, from the source, and leaves a line in ``data/code/<stage>``,
``data/code/tasks/<task>`` and ``data/code/models/<model>``. An edit changes the files of what runs it and no others: only
those stages run anew. A model file may name any encoder, so a recipe (``lstm_wide.yaml``) is a model of its own name.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from unrolled.errors import UserError

STAGES = ("fetch", "window", "baseline", "train", "evaluate", "ensemble", "judge", "report")


def code_lines(root: Path) -> dict[str, str]:
    """Return for every stage, task and model the line to write: its module's name and the sha256 of all our code it runs.

    A stage's line leaves out what it looks up by name, the task's or the model's module: those have lines of their own.

    Raises:
        UserError: a model file is not YAML or names no encoder of ours.
    """
    from unrolled.identity import code_digest
    from unrolled.imports import MIRROR_MODULES, import_closure

    src = root / "src"
    modules = {stage: stage for stage in STAGES}
    tasks = (path.stem for path in sorted((src / "unrolled" / "tasks").glob("[!_]*.py")))
    modules |= {f"tasks/{task}": f"tasks.{task}" for task in tasks}
    modules |= {f"models/{model}": f"encoders.{encoder}" for model, encoder in _encoders(root).items()}
    lines = {}
    for name, module in modules.items():
        digest = code_digest(import_closure(f"unrolled.{module}", src, without=MIRROR_MODULES), src)
        lines[name] = f"{module} {digest}\n"
    return lines


def _encoders(root: Path) -> dict[str, str]:
    """Return the name of the encoder of every file of conf/model."""
    from unrolled.yamlfile import read_yaml

    encoders = {}
    valid = sorted(path.stem for path in (root / "src" / "unrolled" / "encoders").glob("[!_]*.py"))
    for path in sorted((root / "conf" / "model").glob("*.yaml")):
        try:
            name = (read_yaml(path) or {}).get("encoder", {}).get("name")
        except (ValueError, AttributeError) as error:
            raise UserError(f"conf/model/{path.name} is not a model file: {' '.join(str(error).split())}") from error
        if name not in valid:
            raise UserError(f"conf/model/{path.name}: encoder.name is {name!r}; valid: {', '.join(valid)}")
        encoders[path.stem] = name
    return encoders


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the stage: ``python -m unrolled.stagecode``."""
    from unrolled.arguments import parse_arguments
    from unrolled.checkout import project_root
    from unrolled.console import one_line_errors
    from unrolled.outputs import whole_folder
    from unrolled.privatecache import keep_private

    with one_line_errors():
        parse_arguments(sys.argv[1:] if arguments is None else arguments, {})
        root = project_root()
        keep_private(root)
        lines = code_lines(root)
        with whole_folder(root / "data" / "code") as folder:
            for name, line in lines.items():
                path = folder / name
                path.parent.mkdir(exist_ok=True)
                path.write_text(line, encoding="utf-8")
        print(f"code: hashed for {len(lines)} stages, tasks and models")


if __name__ == "__main__":
    main()
