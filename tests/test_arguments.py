"""The ``key=value`` arguments of small commands."""

import pytest

from unrolled.arguments import decimal, parse_arguments, required, whole_number
from unrolled.errors import UserError


def test_arguments_override_defaults() -> None:
    assert parse_arguments(["seed=3", "run=a=b"], {"seed": "0", "run": None, "x": None}) == {
        "seed": "3",
        "run": "a=b",
        "x": None,
    }


@pytest.mark.parametrize(
    ("argument", "told"), [("sed=1", "unknown key 'sed'.*valid: seed"), ("seed", "expected key=value")]
)
def test_an_unknown_argument_is_refused(argument: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        parse_arguments([argument], {"seed": "0"})


def test_where_nothing_can_be_set_it_says_so() -> None:
    with pytest.raises(UserError, match="unknown key 'seed' in 'seed=1'; valid: none at all"):
        parse_arguments(["seed=1"], {})
    with pytest.raises(UserError, match="cannot read 'now': expected nothing more"):
        parse_arguments(["now"], {})


@pytest.mark.parametrize("text", ["-1", "--5", "one", "1.5", "", "1_0", "٣", str(2**63), "9" * 5000])
def test_a_seed_is_a_whole_number(text: str) -> None:
    with pytest.raises(UserError, match="expected a whole number, at least 0"):
        whole_number({"seed": text}, "seed")


@pytest.mark.parametrize("text", ["-0.1", "hot", "nan", "inf", ""])
def test_a_temperature_is_a_finite_number(text: str) -> None:
    with pytest.raises(UserError, match="expected a number, at least 0"):
        decimal({"temperature": text}, "temperature")


def test_a_name_is_one_of_the_valid_ones() -> None:
    with pytest.raises(UserError, match="unknown task 'x'.*energy"):
        required({"task": "x"}, "task", ["energy"])
    with pytest.raises(UserError, match="no task was given.*energy"):
        required({"task": None}, "task", ["energy"])
