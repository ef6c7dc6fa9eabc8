"""Read ``key=value`` arguments of the commands that compose no configuration."""

import math
import re
from collections.abc import Collection, Mapping, Sequence

from unrolled.errors import UserError


def parse_arguments(arguments: Sequence[str], defaults: Mapping[str, str | None]) -> dict[str, str | None]:
    """Return ``defaults`` with the values that ``arguments`` give.

    Raises:
        UserError: an argument that is not ``key=value``, or a key that ``defaults`` does not have.
    """
    values = dict(defaults)
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals:
            raise UserError(f"cannot read {argument!r}: expected {_expected(defaults)}")
        if key not in defaults:
            raise UserError(f"unknown key {key!r} in {argument!r}; valid: {', '.join(defaults) or 'none at all'}")
        values[key] = value
    return values


def _expected(keys: Collection[str]) -> str:
    return f"key=value with one of: {', '.join(keys)}" if keys else "nothing more"


def required(values: Mapping[str, str | None], key: str, valid: Sequence[str]) -> str:
    """Return the value of ``key``, which must be one of ``valid``.

    Raises:
        UserError: it is missing or another one.
    """
    value = values[key]
    if value is None or value not in valid:
        problem = f"no {key} was given" if value is None else f"unknown {key} {value!r}"
        raise UserError(f"{problem}; add {key}=NAME, one of: {', '.join(valid)}")
    return value


def whole_number(values: Mapping[str, str | None], key: str, low: int = 0) -> int:
    """Return the value of ``key`` as a whole number of at least ``low``, below 2^63: more fits no seed and no array.

    Raises:
        UserError: it is not one.
    """
    text = values[key] or ""
    number = int(text) if re.fullmatch(r"-?[0-9]{1,19}", text) else None
    if number is None or not low <= number < 2**63:
        raise UserError(f"{key}={text}: expected a whole number, at least {low} and below 2^63")
    return number


def decimal(values: Mapping[str, str | None], key: str) -> float:
    """Return the value of ``key`` as a finite number of at least 0.

    Raises:
        UserError: it is not one.
    """
    text = values[key] or ""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise UserError(f"{key}={text}: expected a number, at least 0")
    return number
