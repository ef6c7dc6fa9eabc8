"""Refuse configuration that is more than values: what Hydra would call, what OmegaConf would look up outside it."""

import re
from typing import Any

from unrolled.errors import UserError

# Hydra's keys for "call this". Its own blocklist of callables is no boundary: https://github.com/facebookresearch/hydra/issues/3214
_CALL = re.compile(r"(?<!\w)_(?:target|partial|recursive|args|convert)_(?!\w)")
# ${window.context} points at a neighbour; anything else in ${} is a resolver, such as ${oc.env:HOME}, or hides one.
_NEIGHBOUR = re.compile(r"\$\{[\w.\[\]]+\}")


def check_inert(value: Any, key: str = "", resolvers: bool = False) -> None:
    """Refuse a key or text, at any depth, that would run code or read the environment.

    Args:
        value: plain values, lists and dicts, before any interpolation is resolved.
        key: where it stands, for the error.
        resolvers: whether ``${name:...}`` is let through.

    Raises:
        UserError: names the key and the value.
    """
    if isinstance(value, dict):
        for name, item in value.items():
            place = f"{key}.{name}" if key else str(name)
            _check_text(str(name), f"{place}={item!r}", resolvers)
            check_inert(item, place, resolvers)
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            check_inert(item, f"{key}[{number}]", resolvers)
    elif isinstance(value, str):
        _check_text(value, f"{key}={value!r}" if key else value, resolvers)


def _check_text(text: str, told: str, resolvers: bool) -> None:
    call = _CALL.search(text)
    if call:
        raise UserError(
            f"{told}: {call[0]} would have code run, and a configuration holds values only; leave it out, and choose "
            "encoder, head and task by their names"
        )
    if not resolvers and "${" in _NEIGHBOUR.sub("", text):
        raise UserError(
            f"{told}: a resolver would read what is not in the configuration, such as the environment; write the value "
            "itself, or a neighbour's key as in ${window.context}"
        )
