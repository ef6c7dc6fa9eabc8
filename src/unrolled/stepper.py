"""Advance a language model one symbol at a time, many texts side by side: what generating spends its time in.

A recurrent model needs little for one step. Its first layer sees only as many different inputs as there are symbols, so
W x + b is computed once per symbol and looked up; what is left is a matrix product per layer, the gates and the readout, without
the modules, checks and state handling that ``model(inputs, state)`` passes through. A model whose step is not of this form is
called as it is.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unrolled.heads import LanguageHead
from unrolled.model import SequenceModel


class Stepper(Protocol):
    """Reads one symbol of every text and says what may follow."""

    def step(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the logits (texts, vocabulary) after ``tokens`` (texts,)."""


class PlainStepper:
    """Call the model on one step at a time; right for every encoder."""

    def __init__(self, model: SequenceModel, state: Any, precision: torch.dtype = torch.float32) -> None:
        """Args: see ``make_stepper``."""
        self.model, self.state = model, state
        self.reduced = precision != torch.float32

    def step(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """See ``Stepper``."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.reduced):
            logits, self.state = self.model(torch.from_numpy(tokens)[:, None], self.state)
        return logits[:, -1].float().numpy()  # type: ignore[no-any-return]


class Arithmetic(NamedTuple):
    """What a cell needs of an array library beside operators."""

    own: Callable[[Tensor], Any]  # from torch's tensors to its arrays
    take: Callable[[Any, NDArray[np.int64]], Any]  # rows of a table
    product: Callable[[Any, Any, Any], Any]  # (added, x, weight) -> added + x @ weight, float32
    sigmoid: Callable[[Any], Any]  # may overwrite what it is given
    tanh: Callable[[Any], Any]


HALF = np.float32(0.5)

# For one text it is the calls that cost, and numpy's take half as long as torch's; its product of a vector does, too.
NUMPY = Arithmetic(
    own=lambda tensor: tensor.detach().numpy(),
    take=lambda table, tokens: table.take(tokens, axis=0),
    product=lambda added, x, weight: x @ weight + added,
    sigmoid=lambda x: np.tanh(x * HALF) * HALF + HALF,
    tanh=np.tanh,
)
# For many texts it is the products, which torch also does in bfloat16. numpy's tanh is six times as fast as torch's.
TORCH = Arithmetic(
    own=lambda tensor: tensor,
    take=lambda table, tokens: table.index_select(0, torch.from_numpy(tokens)),
    product=lambda added, x, weight: torch.addmm(added.to(weight.dtype), x.to(weight.dtype), weight).float(),
    sigmoid=torch.sigmoid_,
    tanh=lambda x: torch.from_numpy(np.tanh(x.numpy())),
)


class Weights(NamedTuple):
    """One layer's, as arrays of the library that multiplies them."""

    into: Any  # (inputs, gates * hidden)
    own: Any  # (hidden, gates * hidden)
    bias: Any  # (gates * hidden,): of the input's projection, and of the hidden state's where the two are only added up
    own_bias: Any  # (gates * hidden,): of the hidden state's projection, for the GRU, whose reset gate scales it


State = tuple[
    Any, ...
]  # hidden (texts, hidden), for the LSTM also the cell state: float32 whatever the products are in
Cell = Callable[[Arithmetic, Any, Weights, State], State]  # from the projected input; the equations stand in encoders/


def _rnn(by: Arithmetic, x: Any, weights: Weights, state: State) -> State:
    return (by.tanh(by.product(x, state[0], weights.own)),)


def _gru(by: Arithmetic, x: Any, weights: Weights, state: State) -> State:
    (hidden,) = state
    size = hidden.shape[1]
    own = by.product(weights.own_bias, hidden, weights.own)
    gates = by.sigmoid(x[:, : 2 * size] + own[:, : 2 * size])
    reset, update = gates[:, :size], gates[:, size:]
    candidate = by.tanh(x[:, 2 * size :] + reset * own[:, 2 * size :])
    return (candidate + update * (hidden - candidate),)


def _lstm(by: Arithmetic, x: Any, weights: Weights, state: State) -> State:
    hidden, memory = state
    size = hidden.shape[1]
    gates = by.product(x, hidden, weights.own)
    write_keep, show = by.sigmoid(gates[:, : 2 * size]), by.sigmoid(gates[:, 3 * size :])
    memory = write_keep[:, size:] * memory + write_keep[:, :size] * by.tanh(gates[:, 2 * size : 3 * size])
    return (show * by.tanh(memory), memory)


CELLS: dict[str, Cell] = {"RNN_TANH": _rnn, "GRU": _gru, "LSTM": _lstm}  # by torch's name of the mode


class FoldedStepper:
    """Step a recurrent model whose embedding is folded into its first layer's input projection."""

    def __init__(self, model: SequenceModel, state: Any, precision: torch.dtype = torch.float32) -> None:
        """Args: see ``make_stepper``."""
        layer: nn.RNNBase = model.encoder.layer
        readout = model.head.readout
        parts = state if isinstance(state, tuple) else (state,)  # each (layers, texts, hidden)
        self.by = by = NUMPY if parts[0].shape[1] == 1 and precision == torch.float32 else TORCH
        self.cell = CELLS[layer.mode]
        layers = [_weights(layer, number) for number in range(layer.num_layers)]
        symbols = model.embed(torch.arange(readout.out_features))  # (vocabulary, features)
        table = torch.addmm(layers[0].bias, symbols, layers[0].into)
        # The GRU adds it to its own product, which is float32; the others' product takes it in.
        self.table = by.own(table if layer.mode == "GRU" else table.to(precision))
        self.layers = [Weights(*(by.own(part.to(precision)) for part in weights)) for weights in layers]
        self.readout = by.own(readout.weight.t().to(precision).contiguous())
        self.readout_bias = by.own(readout.bias.to(precision))
        self.states = [tuple(by.own(part[number]) for part in parts) for number in range(layer.num_layers)]

    def step(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """See ``Stepper``."""
        by, states = self.by, self.states
        x = by.take(self.table, tokens)
        for number, weights in enumerate(self.layers):
            if number:
                x = by.product(weights.bias, states[number - 1][0], weights.into)
            states[number] = self.cell(by, x, weights, states[number])
        return np.asarray(by.product(self.readout_bias, states[-1][0], self.readout))


def _weights(layer: nn.RNNBase, number: int) -> Weights:
    into, own, bias, own_bias = (
        getattr(layer, f"{name}_l{number}").detach() for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    if layer.mode != "GRU":
        bias = bias + own_bias
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
