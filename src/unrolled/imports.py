"""Which of our own files a module runs: read from the source, nothing is imported."""

import ast
from collections.abc import Collection, Iterator
from pathlib import Path

PACKAGE = "unrolled"
# What only reports on a run: an edit of these changes no output of any stage, so none depends on them.
MIRROR_MODULES = frozenset(
    {"unrolled.tracking", "unrolled.sidecar", "unrolled.runrecord", "unrolled.progress", "unrolled.console"}
)


def import_closure(module: str, src: Path, without: Collection[str] = ()) -> set[Path]:
    """Return the files of ``module`` and of every ``unrolled`` module that it imports, directly or not.

    Imports inside functions count, those under ``if TYPE_CHECKING`` do not. A module chosen by name at run time
    (``encoders/<name>.py``) is not seen: call again for it and unite. The packages' ``__init__.py`` are left out: a
    test holds that they only have a docstring and the version.

    Args:
        module: dotted name, ``unrolled.train``.
        src: the folder that has ``unrolled/``.
        without: modules that are neither counted nor followed, such as ``MIRROR_MODULES``.

    Raises:
        FileNotFoundError: there is no such module.
    """
    closure: set[Path] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _file(name, src)
        if path is None:
            raise FileNotFoundError(f"no module {name} under {src}")
        if path in closure:
            continue
        closure.add(path)
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for found in _imported(ast.parse(path.read_text(encoding="utf-8")), package):
            known = _known(found, src)
            if known is not None and known not in without:
                waiting.append(known)
    return {path for path in closure if path.name != "__init__.py"}


def _file(module: str, src: Path) -> Path | None:
    base = src.joinpath(*module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def _known(name: str, src: Path) -> str | None:
    """Return the module that a dotted name belongs to: ``unrolled.model.build`` is in ``unrolled.model``."""
    while name.split(".")[0] == PACKAGE:
        if _file(name, src):
            return name
        name = name.rpartition(".")[0]
    return None


def _imported(node: ast.AST, package: str) -> Iterator[str]:
    """Yield the dotted names that the code below ``node`` imports; ``package`` is where relative ones start."""
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        children: list[ast.AST] = list(node.orelse)
    else:
        children = list(ast.iter_child_nodes(node))
    for child in children:
        yield from _imported(child, package)
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
        base = ".".join([*above, *(node.module or "").split(".")]).strip(".")
        yield from (f"{base}.{alias.name}" for alias in node.names)
