"""Generated text: by seed, from the carried state, and never of unknown characters."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from trainedfolders import config_for
from windowsets import text_windows

from unrolled import training
from unrolled.commands.generate import _tell_if_emulated
from unrolled.errors import UserError
from unrolled.generate import chooser, encode, generate
from unrolled.heads import LanguageHead
from unrolled.model import SequenceModel, build


@pytest.fixture
def model() -> SequenceModel:
    torch.manual_seed(0)
    return build(config_for(text_windows()), text_windows().meta).eval()


def _written(model: SequenceModel, seed: int = 0, temperature: float = 1.0, top_k: int = 0) -> list[int]:
    return generate(model, encode("abc", "abcdefg"), 40, temperature, top_k, seed)[0].tolist()


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


@pytest.mark.parametrize("has", [True, False])
def test_a_processor_that_would_emulate_bfloat16_is_told_of(
    has: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(training, "cpu_has_bf16", lambda: has)
    _tell_if_emulated("bf16-mixed")
    assert ("precision=bf16-mixed is emulated; 32-true is" in capsys.readouterr().err) is not has


def _counts(logits: list[float], temperature: float, top_k: int) -> NDArray[np.int64]:
    """Return how often each symbol comes in 10,000 evenly spread shares."""
    shares = (np.arange(10_000, dtype=np.float32)[:, None] + 1) / 10_000
    rows = np.tile(np.array(logits, dtype=np.float32), (10_000, 1))
    return np.bincount(chooser(temperature, top_k)(rows, shares), minlength=len(logits))


def _chosen(logits: list[float], temperature: float, top_k: int) -> set[int]:
    return set(np.flatnonzero(_counts(logits, temperature, top_k)).tolist())


def test_top_k_lets_k_symbols_come() -> None:
    logits = [5.0, 1.0, 4.0, 3.0]
    assert _chosen(logits, 10.0, 3) == {0, 2, 3}
    assert _chosen(logits, 10.0, 0) == {0, 1, 2, 3}
    assert _chosen(logits, 1e30, 99) == {0, 1, 2, 3}


def test_symbols_come_as_often_as_they_are_likely() -> None:
    shares = np.exp([1.0, -0.4, 0.2]) / np.exp([1.0, -0.4, 0.2]).sum()
    assert _counts([0.5, -0.2, 0.1], 0.5, 0) / 10_000 == pytest.approx(shares, abs=2e-4)


@pytest.mark.parametrize("share", [1.0, 1 - 2**-24, 2**-24])
def test_the_outermost_shares_choose_no_symbol_without_a_chance(share: float) -> None:
    logits = np.array([[0.1, 5.0, 5.1, 5.2, 0.2]], dtype=np.float32)
    assert chooser(1.0, 3)(logits, np.array([[share]], dtype=np.float32))[0] in (1, 2, 3)


def test_a_random_number_of_0_chooses_no_symbol_without_a_chance(
    model: SequenceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(model.head, LanguageHead)
    with torch.no_grad():
        model.head.readout.bias[3] = 100.0
    monkeypatch.setattr(torch, "rand", lambda length, generator: torch.zeros(length))
    assert _written(model, top_k=1) == [3] * 40


def test_a_text_is_the_same_alone_and_beside_others(model: SequenceModel) -> None:
    beside = generate(model, encode("abc", "abcdefg"), 40, 1.0, 0, seed=5, streams=3).tolist()
    assert beside == [_written(model, seed=seed) for seed in (5, 6, 7)]


def test_a_length_of_0_writes_nothing(model: SequenceModel) -> None:
    assert generate(model, encode("abc", "abcdefg"), 0, 1.0, 0, seed=0).tolist() == [[]]


def test_an_unknown_character_is_named() -> None:
    with pytest.raises(UserError, match=r"the character 'é' at position 1 of the prompt is not in the training text"):
        encode("aé", "abcdefg")
    with pytest.raises(UserError, match="the prompt is empty"):
        encode("", "abcdefg")
