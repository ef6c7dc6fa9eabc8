"""Read a JSON file that a stage wrote, and tell what is damaged together with how it comes back."""

import json
from pathlib import Path
from typing import TypeVar

from unrolled.errors import UserError

MOST_BYTES = 10_000_000  # the largest of ours, a judgement's details, has 200,000
VERIFY = "`unrolled verify data` names the command that brings it back"

Kind = TypeVar("Kind", dict, list)  # type: ignore[type-arg]


def read_json(path: Path, kind: type[Kind], again: str = VERIFY) -> Kind:
    """Return what a JSON file holds.

    Args:
        path: a file of at most ten million bytes.
        kind: what it must hold, ``dict`` or ``list``.
        again: what to do if it is damaged.

    Raises:
        UserError: it is missing, damaged, too large or holds something else.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
        if len(text) > MOST_BYTES:
            raise ValueError(f"it has more than {MOST_BYTES:,} bytes")
        content = json.loads(text)
        if not isinstance(content, kind):
            raise ValueError(f"it holds {type(content).__name__}, not {kind.__name__}")
    except FileNotFoundError as error:
        raise UserError(f"there is no {path}; {again}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({type(error).__name__}: {error}); {again}") from error
    return content
