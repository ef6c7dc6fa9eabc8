"""The identity changes with what decides a run, and with nothing else."""

import ast
import copy
import re
from pathlib import Path
from typing import Any

import pytest
from trainedfolders import config_for
from windowsets import series_windows

from unrolled.identity import DISPLAY, SECTIONS, asked_of, code_digest, identity_of
from unrolled.imports import MIRROR_MODULES, import_closure

SRC = Path(__file__).parents[1] / "src"
CONFIG = config_for(series_windows())


def identity(config: dict[str, Any], data: str, code: str) -> str:
    return identity_of(asked_of(config, data, code))


def _changed(section: str, key: str, value: Any) -> dict[str, Any]:
    config = copy.deepcopy(CONFIG)
    config[section][key] = value
    return config


def test_identity_is_a_hash_that_repeats() -> None:
    first = identity(CONFIG, "data", "code")
    assert re.fullmatch("[0-9a-f]{64}", first)
    assert first == identity(dict(reversed(copy.deepcopy(CONFIG).items())), "data", "code")


@pytest.mark.parametrize("section", SECTIONS)
def test_identity_changes_with_every_section(section: str) -> None:
    config = copy.deepcopy(CONFIG)
    config[section] = {**config[section], "new": 1} if isinstance(config[section], dict) else "other"
    assert identity(config, "data", "code") != identity(CONFIG, "data", "code")


def test_identity_changes_with_data_and_code() -> None:
    assert len({identity(CONFIG, data, code) for data in "ab" for code in "cd"}) == 4
    assert identity(CONFIG, "a", "b") != identity(CONFIG, "b", "a")


@pytest.mark.parametrize("key", sorted(DISPLAY))
def test_identity_ignores_what_is_only_shown(key: str) -> None:
    assert identity(_changed("trainer", key, "whatever"), "data", "code") == identity(CONFIG, "data", "code")


def test_identity_ignores_judgement_and_place() -> None:
    assert identity({**CONFIG, "judge": {"season": 7}, "out": "x"}, "data", "code") == identity(CONFIG, "data", "code")


def test_code_digest_depends_on_names_and_contents_but_not_on_order_or_place(tmp_path: Path) -> None:
    digests = []
    for place, first, second in (("a", "1", "2"), ("b", "1", "2"), ("c", "2", "1"), ("d", "1", "3")):
        src = tmp_path / place
        src.mkdir()
        (src / "one.py").write_text(first)
        (src / "two.py").write_text(second)
        digests.append(code_digest([src / "one.py", src / "two.py"], src))
        assert digests[-1] == code_digest([src / "two.py", src / "one.py"], src)
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Write a package whose start module reaches others in every way that Python has, and one only when typing."""
    files = {
        "__init__.py": "",
        "start.py": "import unrolled.plain\nfrom unrolled import named\nfrom unrolled.attribute import thing\n"
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from unrolled import typing_only\n"
        "else:\n    from unrolled import otherwise\n"
        "def late():\n    from unrolled.inside import thing\n    import json\n",
        "plain.py": "from . import relative",
        "relative.py": "import unrolled.start",
        "named.py": "from .deep.leaf import x",
        "attribute.py": "thing = 1",
        "inside.py": "",
        "otherwise.py": "",
        "typing_only.py": "",
        "unused.py": "",
        "deep/__init__.py": "",
        "deep/leaf.py": "from .. import uncle\nfrom .sibling import y",
        "deep/sibling.py": "",
        "uncle.py": "",
    }
    for name, text in files.items():
        path = tmp_path / "unrolled" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def _names(paths: set[Path], src: Path) -> set[str]:
    return {path.relative_to(src / "unrolled").as_posix() for path in paths}


def test_closure_follows_every_kind_of_import(package: Path) -> None:
    assert _names(import_closure("unrolled.start", package), package) == {
        *("start.py", "plain.py", "relative.py", "named.py", "attribute.py", "inside.py", "otherwise.py"),
        *("deep/leaf.py", "deep/sibling.py", "uncle.py"),
    }


def test_closure_does_not_go_past_what_is_left_out(package: Path) -> None:
    names = _names(import_closure("unrolled.start", package, without={"unrolled.named"}), package)
    assert not names & {"named.py", "deep/leaf.py", "uncle.py"}
    assert "plain.py" in names


def test_closure_of_no_module_is_an_error(package: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"unrolled\.nothing"):
        import_closure("unrolled.nothing", package)


def test_modules_that_only_report_exist() -> None:
    for module in MIRROR_MODULES:
        assert SRC.joinpath(*module.split(".")).with_suffix(".py").is_file(), module


@pytest.mark.parametrize("path", sorted((SRC / "unrolled").rglob("__init__.py")), ids=lambda path: path.parent.name)
def test_package_files_have_only_a_docstring_and_the_version(path: Path) -> None:
    """Closures leave them out, so they must not decide anything."""
    for node in ast.parse(path.read_text()).body:
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        version = isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__version__"]
        assert docstring or version, ast.unparse(node)
