"""The command ``unrolled``: find the command's module, show its docstring or run it."""

import ast
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

HERE = Path(__file__).parent
STAGES = ("fetch", "window", "baseline", "ensemble", "judge", "report")
FLAGS = {"train": ("-m", "--multirun")}
USAGE = """unrolled: recurrent sequence models, reproducible and judged against what they must beat.

usage: unrolled COMMAND [key=value ...]        unrolled COMMAND --help

{commands}

stages, as dvc.yaml runs them:
{stages}

The whole grid is run by `dvc repro`, or cells side by side by `unrolled repro jobs=2`; what is in it stands in params.yaml,
and how it runs in conf/.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``unrolled`` with ``arguments`` (default: the command line's)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    commands = sorted(path.stem for path in (HERE / "commands").glob("[!_]*.py"))
    if not given or given[0] in ("-h", "--help", "help"):
        print(USAGE.format(commands=_table(commands), stages=_table(STAGES)), end="")
        return
    if given[0] == "--version":
        from unrolled import __version__

        print(__version__)
        return
    name, *rest = given
    if name not in (*commands, *STAGES):
        sys.exit(f"error: unknown command {name!r}; valid: {', '.join((*commands, *STAGES))}")
    if "-h" in rest or "--help" in rest:
        print(_docstring(name))
        return
    flags = [argument for argument in rest if argument.startswith("-") and argument not in FLAGS.get(name, ())]
    if flags:
        valid = ", ".join((*FLAGS.get(name, ()), "--help"))
        sys.exit(f"error: unknown option {flags[0]!r}; valid: {valid}, and key=value as `unrolled {name} --help` shows")
    import_module(_module(name)).main(rest)


def _module(name: str) -> str:
    return f"unrolled.{name}" if name in STAGES else f"unrolled.commands.{name}"


def _docstring(name: str) -> str:
    """Return a command's help without importing it, so that help never waits for torch."""
    path = HERE / f"{name}.py" if name in STAGES else HERE / "commands" / f"{name}.py"
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def _table(names: Sequence[str]) -> str:
    return "\n".join(f"  {name:<10} {_docstring(name).splitlines()[0]}" for name in names)


if __name__ == "__main__":
    main()
