"""Read a YAML file that may come from elsewhere: bounded before anything of it is built.

A few hundred bytes of YAML can stand for more than any memory holds: an alias of a list of aliases, again and again, or an
interpolation likewise. Ours need neither, nor tags, long values or many levels, so a look at the parser's events refuses them.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unrolled.errors import UserError

MOST_BYTES = 100_000  # the largest of ours, params.yaml, has 8,000
MOST_LEVELS = 20  # ours have 4
MOST_CHARACTERS = 1_000  # in one value; Python prints no whole number of more than 4,300 digits


def read_yaml(path: Path) -> Any:
    """Return what a YAML file of plain values holds.

    Raises:
        ValueError: it is not UTF-8 or not YAML, or larger, deeper or otherwise more than such a file may be; the caller
            knows what to do about it.
        OSError: it cannot be read.
    """
    import yaml

    text = _checked_text(path)
    try:
        return _safe_loader()(text).get_single_data()
    except yaml.YAMLError as error:
        raise ValueError(_one_line(error)) from error


def check_yaml_files(folder: Path) -> None:
    """Look through the YAML files below ``folder`` before somebody else's loader expands them.

    Raises:
        UserError: names the first that is not what ``read_yaml`` takes, or that has an interpolation or a byte order mark.
    """
    for path in sorted(folder.rglob("*.yaml")):
        try:
            text = _checked_text(path)
            if text.startswith("\ufeff"):
                raise ValueError(
                    "it starts with a byte order mark, behind which Hydra overlooks `# @package`; save it as UTF-8 without one"
                )
            if "${" in text:
                raise ValueError("it has an interpolation ${...}, which DVC would not resolve; write out the value")
        except ValueError as error:
            raise UserError(f"{path.relative_to(folder.parent)} cannot be composed: {_one_line(error)}") from error


def _checked_text(path: Path) -> str:
    import yaml

    if path.exists() and not path.is_file():
        raise ValueError("it is no file")
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"it has more than {MOST_BYTES:,} bytes")
    text = content.decode("utf-8")
    try:
        for problem in _problems(text):
            raise ValueError(problem)
    except yaml.YAMLError as error:
        raise ValueError(_one_line(error)) from error
    return text


def _problems(text: str) -> Iterator[str]:
    """Yield what is wrong with a YAML text, event by event: nothing is built, however much it stands for."""
    import yaml

    level = documents = 0
    for event in yaml.parse(text, Loader=_safe_loader()):
        line = event.start_mark.line + 1 if event.start_mark else 0
        tag = getattr(event, "tag", None)
        documents += isinstance(event, yaml.DocumentStartEvent)
        if documents > 1:
            yield f"line {line}: a second document starts here; leave one"
        if tag is not None:
            yield f"line {line}: it has the tag {tag.replace('tag:yaml.org,2002:', '!!')}; write a plain value"
        if isinstance(event, yaml.AliasEvent):
            yield f"line {line}: it has the alias *{event.anchor}; write out what it stands for"
        elif isinstance(event, yaml.CollectionStartEvent):
            level += 1
            if level > MOST_LEVELS:
                yield f"line {line}: it has more than {MOST_LEVELS} levels"
        elif isinstance(event, yaml.CollectionEndEvent):
            level -= 1
        elif isinstance(event, yaml.ScalarEvent) and len(event.value) > MOST_CHARACTERS:
            yield f"line {line}: a value has {len(event.value):,} characters, but expected at most {MOST_CHARACTERS:,}"


def _safe_loader() -> Any:
    """Return PyYAML's loader of plain values; the one in C, if it is there, is ten times as fast."""
    import yaml

    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
