"""One contract for every architecture, walked over conf/model by glob: a new file is covered when it exists."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from unrolled.errors import UserError
from unrolled.model import build_encoder

ROOT = Path(__file__).parents[1]
SIZES = {"hidden_size": 8, "num_layers": 2, "input_dropout": 0.0, "dropout": 0.0, "output_dropout": 0.0}
B, T, F = 3, 12, 2


def _sections() -> dict[str, dict[str, Any]]:
    found = {path.stem: yaml.safe_load(path.read_text())["encoder"] for path in (ROOT / "conf/model").glob("*.yaml")}
    both_ways = {
        f"{name}, both ways": section | {"bidirectional": True}
        for name, section in found.items()
        if not section.get("bidirectional", True)
    }
    return found | both_ways


SECTIONS = _sections()
CAUSAL = [name for name, section in SECTIONS.items() if not section.get("bidirectional")]
every = pytest.mark.parametrize("name", sorted(SECTIONS))
causal = pytest.mark.parametrize("name", sorted(CAUSAL))


def _encoder(name: str, seed: int = 0, context: int = T) -> Any:
    torch.manual_seed(seed)
    return build_encoder(SIZES | SECTIONS[name], F, context).eval()


def _input(steps: int = T) -> torch.Tensor:
    return torch.randn(B, steps, F, generator=torch.Generator().manual_seed(1))


@every
def test_the_output_has_one_hidden_vector_a_step(name: str) -> None:
    encoder = _encoder(name)
    hidden, _ = encoder(_input())
    assert hidden.shape == (B, T, encoder.out_features)


@every
def test_causality_is_as_declared(name: str) -> None:
    encoder, x = _encoder(name), _input()
    changed = x.clone()
    changed[:, 7:] += 1
    before, after = encoder(x)[0][:, :7], encoder(changed)[0][:, :7]
    assert torch.equal(before, after) == encoder.causal
    assert encoder.causal == (name in CAUSAL)


@every
def test_examples_do_not_see_each_other(name: str) -> None:
    encoder, x = _encoder(name), _input()
    torch.testing.assert_close(encoder(x)[0][1:2], encoder(x[1:2])[0], rtol=1e-5, atol=1e-6)


@every
def test_padding_changes_nothing(name: str) -> None:
    encoder, x = _encoder(name), _input()
    lengths = torch.tensor([T, 5, 1])
    padded = encoder(x, lengths=lengths)[0]
    noisy = x.clone()
    for row, length in enumerate(lengths):
        noisy[row, length:] = 99.0
    torch.testing.assert_close(encoder(noisy, lengths=lengths)[0], padded)
    for row, length in enumerate(lengths):
        alone = encoder(x[row : row + 1, :length])[0]
        torch.testing.assert_close(padded[row : row + 1, :length], alone, rtol=1e-5, atol=1e-6)
        assert not padded[row, length:].any()


@causal
@pytest.mark.parametrize("context", [4, T])
def test_the_gradient_reaches_back_as_far_as_the_receptive_field(name: str, context: int) -> None:
    torch.manual_seed(0)
    section = SECTIONS[name] | ({"window": context} if "window" in SECTIONS[name] else {})
    encoder = build_encoder(SIZES | section, F, context).eval()
    steps = 90
    x = _input(steps).requires_grad_()
    encoder(x)[0][:, -1].square().sum().backward()
    reached = steps if encoder.receptive_field is None else min(steps, encoder.receptive_field)
    nonzero = x.grad.abs().sum(dim=(0, 2)) > 0
    assert not nonzero[: steps - reached].any()
    if encoder.receptive_field is not None:
        assert nonzero[steps - reached].item()
    else:
        assert nonzero[-T].item()


@every
def test_a_sequence_of_one_step_works(name: str) -> None:
    encoder = _encoder(name)
    assert encoder(_input(1))[0].shape == (B, 1, encoder.out_features)


@causal
@pytest.mark.parametrize("cuts", [(5,), (1, 2, 3), tuple(range(1, T))])
def test_chunks_with_a_carried_state_equal_one_long_pass(name: str, cuts: tuple[int, ...]) -> None:
    encoder, x = _encoder(name), _input()
    state, parts = None, []
    for begin, end in zip((0, *cuts), (*cuts, T), strict=True):
        hidden, state = encoder(x[:, begin:end], state)
        parts.append(hidden)
    torch.testing.assert_close(torch.cat(parts, dim=1), encoder(x)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", sorted(set(SECTIONS) - set(CAUSAL)))
def test_both_ways_refuses_to_go_on_from_a_state(name: str) -> None:
    encoder = _encoder(name)
    _, state = encoder(_input())
    with pytest.raises(ValueError, match="bidirectional encoder cannot go on from a state"):
        encoder(_input(), state)


@every
def test_the_state_dict_holds_all_there_is(name: str) -> None:
    encoder, other = _encoder(name, seed=0), _encoder(name, seed=1)
    assert not torch.equal(encoder(_input())[0], other(_input())[0])
    other.load_state_dict(encoder.state_dict())
    assert torch.equal(encoder(_input())[0], other(_input())[0])


@every
def test_the_same_seed_gives_the_same_output(name: str) -> None:
    assert torch.equal(_encoder(name)(_input())[0], _encoder(name)(_input())[0])


@every
@pytest.mark.parametrize("kind", ["input_dropout", "output_dropout"])
def test_dropout_works_in_training_only(name: str, kind: str) -> None:
    torch.manual_seed(0)
    encoder = build_encoder(SIZES | SECTIONS[name] | {kind: 0.5}, F, T)
    assert torch.equal(encoder.eval()(_input())[0], encoder(_input())[0])
    encoder.train()
    assert not torch.equal(encoder(_input())[0], encoder(_input())[0])


@pytest.mark.parametrize("name", ["lstm", "cnn_lstm"])
def test_the_forget_gate_starts_open(name: str) -> None:
    encoder = _encoder(name)
    layer = encoder.layer if name == "lstm" else encoder.lstm.layer
    for level in range(2):
        total = getattr(layer, f"bias_ih_l{level}") + getattr(layer, f"bias_hh_l{level}")
        assert torch.equal(total.chunk(4)[1], torch.ones(8))


@pytest.mark.parametrize(("name", "gates"), [("rnn", 1), ("gru", 3), ("lstm", 4)])
def test_each_gates_recurrent_matrix_starts_orthogonal(name: str, gates: int) -> None:
    for gate in _encoder(name).layer.weight_hh_l0.chunk(gates):
        torch.testing.assert_close(gate @ gate.T, torch.eye(8), rtol=1e-4, atol=1e-5)


def test_a_gru_computes_its_equations() -> None:
    encoder, x = _encoder("gru"), _input(1)
    layer = encoder.layer
    i = (x[:, 0] @ layer.weight_ih_l0.T + layer.bias_ih_l0).chunk(3, dim=1)
    h = (torch.zeros(B, 8) @ layer.weight_hh_l0.T + layer.bias_hh_l0).chunk(3, dim=1)
    r, z = torch.sigmoid(i[0] + h[0]), torch.sigmoid(i[1] + h[1])
    expected = (1 - z) * torch.tanh(i[2] + r * h[2])
    one_layer = build_encoder(SIZES | SECTIONS["gru"] | {"num_layers": 1}, F, T).eval()
    one_layer.load_state_dict({k: v for k, v in encoder.state_dict().items() if "_l1" not in k})
    torch.testing.assert_close(one_layer(x)[0][:, 0], expected)


@pytest.mark.parametrize("name", sorted(CAUSAL))
def test_every_docstring_has_equations_and_a_citation(name: str) -> None:
    module = __import__(f"unrolled.encoders.{SECTIONS[name]['name']}", fromlist=["x"])
    assert "h_t" in module.__doc__
    assert any(f"{year}" in module.__doc__ for year in range(1980, 2027)), "cites its source"


def test_dropconnect_drops_recurrent_weights_in_training_alone() -> None:
    plain, dropping = _encoder("lstm"), build_encoder(SIZES | SECTIONS["lstm_640"] | SIZES, F, T)
    dropping.load_state_dict(plain.state_dict())
    whole = {name: weight.clone() for name, weight in dropping.layer.named_parameters()}
    x = _input()
    torch.testing.assert_close(dropping.eval()(x)[0], plain(x)[0], rtol=0, atol=0)
    torch.manual_seed(0)
    first, second = dropping.train()(x)[0], dropping(x)[0]
    # At the first step there is no state yet that a recurrent weight could carry on.
    torch.testing.assert_close(first[0, 0], second[0, 0], rtol=0, atol=0)
    assert not torch.equal(first[:, -1], second[:, -1])
    first.sum().backward()
    assert all(torch.equal(weight, whole[name]) for name, weight in dropping.layer.named_parameters())
    gradient = dropping.layer.weight_hh_l1.grad
    assert 0.1 < (gradient == 0).float().mean().item() < 0.5  # some 0.3 of the weights had no part in it


def test_filters_over_rows_need_later_rows_and_an_odd_height() -> None:
    section = SIZES | SECTIONS["cnn_bilstm"]
    with pytest.raises(UserError, match="its filters see later rows; use model=cnn_lstm"):
        build_encoder(section | {"bidirectional": False}, F, T)
    with pytest.raises(UserError, match=r"encoder.kernel_size=4: expected an odd number"):
        build_encoder(section | {"kernel_size": 4}, F, T)
