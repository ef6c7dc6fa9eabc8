"""Generated text: by seed, from the carried state, and never of unknown characters."""

import pytest
import torch
from trainedfolders import config_for
from windowsets import text_windows

from unrolled.errors import UserError
from unrolled.generate import draw, encode, generate
from unrolled.model import SequenceModel, build


@pytest.fixture
def model() -> SequenceModel:
    torch.manual_seed(0)
    return build(config_for(text_windows()), text_windows().meta).eval()


def _written(model: SequenceModel, seed: int = 0, temperature: float = 1.0, top_k: int = 0) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return generate(model, encode("abc", "abcdefg"), 40, temperature, top_k, generator).tolist()


def test_the_seed_decides_the_text(model: SequenceModel) -> None:
    assert _written(model, seed=1) == _written(model, seed=1)
    assert _written(model, seed=1) != _written(model, seed=2)


def test_one_symbol_at_a_time_equals_reading_everything_again(model: SequenceModel) -> None:
    """The carried state stands for all that came before."""
    tokens = [0, 1, 2]
    with torch.inference_mode():
        for _ in range(40):
            logits, _ = model(torch.tensor([tokens]))
            tokens.append(int(logits[0, -1].argmax()))
    assert _written(model, temperature=0) == tokens[3:]


def test_the_likeliest_is_what_a_low_temperature_and_a_top_1_take(model: SequenceModel) -> None:
    likeliest = _written(model, temperature=0)
    assert _written(model, seed=5, top_k=1) == likeliest
    assert _written(model, seed=6, temperature=1e-4) == likeliest
    assert _written(model, seed=7, temperature=1e-300) == likeliest


def test_top_k_lets_k_symbols_come() -> None:
    logits = torch.tensor([5.0, 1.0, 4.0, 3.0])
    generator = torch.Generator().manual_seed(0)
    assert {int(draw(logits, 10.0, 3, generator)) for _ in range(200)} == {0, 2, 3}
    assert {int(draw(logits, 10.0, 0, generator)) for _ in range(200)} == {0, 1, 2, 3}
    assert {int(draw(logits, 1e30, 99, generator)) for _ in range(200)} == {0, 1, 2, 3}


def test_a_length_of_0_writes_nothing(model: SequenceModel) -> None:
    assert generate(model, encode("abc", "abcdefg"), 0, 1.0, 0, torch.Generator()).tolist() == []


def test_an_unknown_character_is_named() -> None:
    with pytest.raises(UserError, match=r"the character 'é' at position 1 of the prompt is not in the training text"):
        encode("aé", "abcdefg")
    with pytest.raises(UserError, match="the prompt is empty"):
        encode("", "abcdefg")
