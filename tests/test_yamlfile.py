"""A YAML file from elsewhere: what would expand without end is refused before anything of it is built."""

import re
import time
from pathlib import Path

import pytest
from conftest import ROOT

from unrolled.config import compose_config
from unrolled.errors import UserError
from unrolled.yamlfile import check_yaml_files, read_yaml

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{this}: &{this} [{', '.join([f'*{before}'] * 9)}]\n" for before, this in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGED = "a: &a {x: 1}\nb: &b {<<: [*a, *a]}\nc: {<<: [*b, *b]}\n"
BAD = {
    "a billion laughs": (LAUGHS, "line 2: it has the alias *a"),
    "merge keys": (MERGED, "line 2: it has the alias *a"),
    "an alias of itself": ("a: &a [*a]\n", "line 1: it has the alias *a"),
    "ten thousand levels": ("[" * 10_000, "line 1: it has more than 20 levels"),
    "a long value": (f"a: 0x{'f' * 5_000}\n", "line 1: a value has 5,002 characters, but expected at most 1,000"),
    "a large file": ("a: 1\n" * 30_000, "it has more than 100,000 bytes"),
    "an object of Python's": (
        "a: !!python/object/apply:os.system [true]\n",
        "line 1: it has the tag !!python/object/apply:os.system",
    ),
    "a tag of somebody's": ("a: 1\nb: !thing 2\n", "line 2: it has the tag !thing; write a plain value"),
    "two documents": ("a: 1\n---\na: 2\n", "line 2: a second document starts here; leave one"),
    "a NUL byte": ("a: \0\n", "control characters are not allowed"),
    "what is not YAML": ("a: [1,\n", "did not find expected"),
    "an impossible date": ("a: 2020-13-01\n", "month must be in 1..12"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_expands_or_is_no_yaml_of_ours_is_refused_at_once(kind: str, tmp_path: Path) -> None:
    content, told = BAD[kind]
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    began = time.perf_counter()
    with pytest.raises(ValueError, match=re.escape(told)) as refused:
        read_yaml(path)
    assert time.perf_counter() - began < 1
    assert "\n" not in str(refused.value)


def test_bytes_that_are_no_text_and_what_is_no_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_bytes("a: 1".encode("utf-16"))
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "endless.yaml").symlink_to("/dev/zero")
    for name, told in (("mine", "codec can't decode"), ("folder", "it is no file"), ("endless", "it is no file")):
        with pytest.raises(ValueError, match=told):
            read_yaml(tmp_path / f"{name}.yaml")


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_bytes(b"\xef\xbb\xbfencoder: {name: gru}\n")
    assert read_yaml(tmp_path / "mine.yaml") == {"encoder": {"name": "gru"}}


def test_every_file_of_conf_is_one_of_ours() -> None:
    check_yaml_files(ROOT / "conf")


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    for path in (ROOT / "conf").rglob("*.yaml"):
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    assert compose_config(["task=energy"], tmp_path, ("task",))["task"] == "energy"
    return tmp_path


ENERGY = (ROOT / "conf/task/energy.yaml").read_bytes()
WRONG = {
    "a byte order mark": (
        b"\xef\xbb\xbf" + ENERGY,
        "conf/task/mine.yaml cannot be composed: it starts with a byte order mark, .*; save it as UTF-8 without one",
    ),
    "a tag of Python's": (
        ENERGY.replace(b"context: 33", b"context: !!python/object/apply:os.system [false]"),
        "conf/task/mine.yaml cannot be composed: line 7: it has the tag !!python/object/apply:os.system; write a plain",
    ),
    "a key given twice": (
        ENERGY.replace(b"  context: 33\n", b"  context: 33\n  context: 34\n"),
        "found duplicate key context in .*conf/task/mine.yaml., line 8",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_with_a_users_task_file_is_told_in_a_line(kind: str, copied: Path) -> None:
    content, told = WRONG[kind]
    (copied / "conf/task/mine.yaml").write_bytes(content)
    with pytest.raises(UserError, match=told) as refused:
        compose_config(["task=mine", "model=gru"], copied)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", [LAUGHS, "encoder: {a: xx, b: '${encoder.a}${encoder.a}'}\n", "[" * 1000])
def test_a_users_task_file_that_expands_is_refused_before_it_is_composed(content: str, copied: Path) -> None:
    (copied / "conf/task/mine.yaml").write_text(content)
    began = time.perf_counter()
    with pytest.raises(UserError, match=r"conf/task/mine.yaml cannot be composed: (line|it)"):
        compose_config(["task=mine", "model=gru"], copied)
    assert time.perf_counter() - began < 1
