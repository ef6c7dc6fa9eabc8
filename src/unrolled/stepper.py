"""Advance a language model one symbol at a time, many texts side by side: what generating spends its time in.

A recurrent model needs little for one step. Its first layer sees only as many different inputs as there are symbols, so
W x + b is computed once per symbol and looked up; what is left is a matrix product per layer, the gates and the readout, without
the modules, checks and state handling that ``model(inputs, state)`` passes through. A model whose step is not of this form is
called as it is.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from unrolled.heads import LanguageHead
from unrolled.model import SequenceModel


class Stepper(Protocol):
    """Reads one symbol of every text and says what may follow."""

    def step(self, tokens: Tensor) -> Tensor:
        """Return the logits (texts, vocabulary) float32 after ``tokens`` (texts,) int64."""


class PlainStepper:
    """Call the model on one step at a time; right for every encoder."""

    def __init__(self, model: SequenceModel, state: Any, precision: torch.dtype = torch.float32) -> None:
        """Args: see ``make_stepper``."""
        self.model, self.state = model, state
        self.reduced = precision != torch.float32

    def step(self, tokens: Tensor) -> Tensor:
        """See ``Stepper``."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.reduced):
            logits, self.state = self.model(tokens[:, None], self.state)
        return logits[:, -1].float()  # type: ignore[no-any-return]


class Weights(NamedTuple):
    """One layer, its candidate gate doubled, because tanh(a) = 2 sigmoid(2 a) - 1 and torch's sigmoid is four times as fast."""

    into: Tensor  # (inputs, gates * hidden)
    own: Tensor  # (hidden, gates * hidden)
    bias: Tensor  # (gates * hidden,): of the input's projection, and of the hidden state's where the two are only added up
    own_bias: Tensor  # (gates * hidden,): of the hidden state's projection, for the GRU, whose reset gate scales it


MINUS_ONE = torch.tensor(-1.0)  # as a tensor: torch makes one of every number at every call
State = tuple[
    Tensor, ...
]  # hidden (texts, hidden), for the LSTM also the cell state: float32 whatever the products are in


def _rnn(x: Tensor, weights: Weights, state: State) -> State:
    return (_tanh_of_half(_product(x, state[0], weights.own).float()),)


def _gru(x: Tensor, weights: Weights, state: State) -> State:
    size = state[0].shape[1]
    from_input, candidate = x.float().split_with_sizes((2 * size, size), dim=1)
    gates, own = _product(weights.own_bias, state[0], weights.own).float().split_with_sizes((2 * size, size), dim=1)
    reset, update = gates.add_(from_input).sigmoid_().chunk(2, dim=1)
    candidate = _tanh_of_half(torch.addcmul(candidate, reset, own))
    return (candidate.lerp_(state[0], update),)  # (1 - update) * candidate + update * hidden


def _lstm(x: Tensor, weights: Weights, state: State) -> State:
    gates = _product(x, state[0], weights.own).float().sigmoid_()
    write, keep, doubled, show = gates.chunk(4, dim=1)
    memory = torch.addcmul(write * _twice_less_one(doubled), keep, state[1])
    return (_tanh_of_half(memory + memory).mul_(show), memory)


def _product(added: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """Return ``added + x @ weight`` in the weight's precision. A conversion to what is there already costs a microsecond."""
    return torch.addmm(added, x if x.dtype is weight.dtype else x.to(weight.dtype), weight)


def _tanh_of_half(doubled: Tensor) -> Tensor:
    return _twice_less_one(doubled.sigmoid_())


def _twice_less_one(x: Tensor) -> Tensor:
    return torch.add(MINUS_ONE, x, alpha=2)


class Cell(NamedTuple):
    """One kind of recurrent layer; the equations stand in encoders/."""

    advance: Callable[[Tensor, Weights, State], State]
    candidate: int  # which of its gates, in torch's order, is a tanh


CELLS = {"RNN_TANH": Cell(_rnn, 0), "GRU": Cell(_gru, 2), "LSTM": Cell(_lstm, 2)}  # by torch's name of the mode


class FoldedStepper:
    """Step a recurrent model whose embedding is folded into its first layer's input projection."""

    def __init__(self, model: SequenceModel, state: Any, precision: torch.dtype = torch.float32) -> None:
        """Args: see ``make_stepper``."""
        layer: nn.RNNBase = model.encoder.layer
        readout = model.head.readout
        self.advance = CELLS[layer.mode].advance
        layers = [_weights(layer, number) for number in range(layer.num_layers)]
        symbols = model.embed(torch.arange(readout.out_features))  # (vocabulary, features)
        self.table = torch.addmm(layers[0].bias, symbols, layers[0].into).to(precision)
        self.layers = [Weights(*(part.to(precision) for part in weights)) for weights in layers]
        self.readout, self.readout_bias = readout.weight.t().to(precision).contiguous(), readout.bias.to(precision)
        parts = state if isinstance(state, tuple) else (state,)  # each (layers, texts, hidden)
        self.states = [tuple(part[number] for part in parts) for number in range(layer.num_layers)]

    def step(self, tokens: Tensor) -> Tensor:
        """See ``Stepper``."""
        x = self.table.index_select(0, tokens)
        for number, weights in enumerate(self.layers):
            if number:
                x = _product(weights.bias, self.states[number - 1][0], weights.into)
            self.states[number] = self.advance(x, weights, self.states[number])
        return _product(self.readout_bias, self.states[-1][0], self.readout).float()


def _weights(layer: nn.RNNBase, number: int) -> Weights:
    size, place = layer.hidden_size, CELLS[layer.mode].candidate
    candidate = slice(place * size, (place + 1) * size)
    into, own, bias, own_bias = (
        getattr(layer, f"{name}_l{number}").clone() for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    for part in (into, own, bias, own_bias):
        part[candidate] *= 2
    if layer.mode != "GRU":
        bias += own_bias
    # Copied so that a step's product reads the weights in the order in which they lie.
    return Weights(into.t().contiguous(), own.t().contiguous(), bias, own_bias)


def can_fold(model: SequenceModel) -> bool:
    """Tell whether a step of ``model`` is a symbol's embedding, a stack of known cells and a linear readout, and nothing else.

    Everything else that the encoder has must be without weights, as dropout is.
    """
    encoder = model.encoder
    layer = getattr(encoder, "layer", None)
    return (
        isinstance(layer, nn.RNNBase)
        and layer.mode in CELLS
        and not layer.bidirectional
        and layer.proj_size == 0
        and all(name.startswith("layer.") for name in encoder.state_dict())
        and isinstance(model.head, LanguageHead)
    )


def make_stepper(model: SequenceModel, state: Any, precision: torch.dtype = torch.float32) -> Stepper:
    """Return the fastest stepper for ``model`` that goes on from ``state``.

    Args:
        model: a trained language model in eval mode.
        state: as the model returned it for a batch of as many texts as are to be written.
        precision: of the matrix products: float32, or bfloat16, which is faster for many texts and rounds.
    """
    return (FoldedStepper if can_fold(model) else PlainStepper)(model, state, precision)
