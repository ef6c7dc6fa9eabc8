"""A step of the fast path says what the model says, for every encoder, layer count and precision."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from trainedfolders import config_for
from windowsets import text_windows

from unrolled.generate import generate
from unrolled.model import SequenceModel, build, encoder_names
from unrolled.stepper import FoldedStepper, PlainStepper, can_fold, make_stepper

PROMPT = torch.tensor([0, 1, 2])
CAUSAL = sorted({*encoder_names()} - {"cnn_bilstm"})  # which reads from both ends and so can't write
Made = Callable[..., SequenceModel]


def _model(name: str, layers: int = 1, **options: Any) -> SequenceModel:
    """Return a model with weights so large that every gate leaves its linear part, and dropout that must not act."""
    config = config_for(text_windows())
    config["encoder"] |= {"name": name, "num_layers": layers, "hidden_size": 5, "output_dropout": 0.5, **options}
    torch.manual_seed(layers)
    model = build(config, text_windows().meta).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape))
    return model


@torch.inference_mode()
def _logits(
    model: SequenceModel, kind: Callable[..., Any], texts: int, precision: torch.dtype = torch.float32
) -> Tensor:
    _, state = model(PROMPT.expand(texts, -1))
    stepper = kind(model, state, precision)
    tokens = np.arange(texts)
    return torch.from_numpy(np.stack([stepper.step((tokens + step) % 7) for step in range(12)]))


@pytest.mark.parametrize("texts", [1, 3])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("name", CAUSAL)
def test_the_fast_path_says_what_the_model_says(name: str, layers: int, texts: int) -> None:
    model = _model(name, layers)
    plain, fast = (_logits(model, kind, texts) for kind in (PlainStepper, make_stepper))
    torch.testing.assert_close(fast, plain, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("texts", [1, 2])
@pytest.mark.parametrize("name", CAUSAL)
def test_the_same_seed_writes_the_same_text_on_both_paths(
    name: str, texts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = _model(name, 2)
    fast = generate(model, PROMPT, 300, 1.0, 3, seed=4, streams=texts)
    monkeypatch.setattr("unrolled.generate.make_stepper", PlainStepper)
    assert torch.equal(generate(model, PROMPT, 300, 1.0, 3, seed=4, streams=texts), fast)


@pytest.mark.parametrize("texts", [1, 3])
@pytest.mark.parametrize("name", CAUSAL)
def test_reduced_precision_rounds_and_no_more(name: str, texts: int) -> None:
    model = _model(name, 2)
    exact, rounded = _logits(model, PlainStepper, texts), _logits(model, make_stepper, texts, torch.bfloat16)
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    assert (rounded - exact).abs().mean() < 0.05 * exact.abs().mean()


def test_recurrent_encoders_take_the_fast_path_and_no_others() -> None:
    assert {name for name in CAUSAL if can_fold(_model(name))} == {"rnn", "lstm", "lstm_dropconnect", "gru"}
    assert isinstance(make_stepper(_model("gru"), torch.zeros(1, 1, 5)), FoldedStepper)


def test_an_encoder_with_weights_of_its_own_beside_the_cells_is_called_as_it_is() -> None:
    model = _model("gru")
    model.encoder.norm = nn.LayerNorm(5)
    assert not can_fold(model)


def test_the_model_is_left_as_it_was() -> None:
    model = _model("lstm", 2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    generate(model, PROMPT, 5, 1.0, 0, seed=0, precision=torch.bfloat16)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
