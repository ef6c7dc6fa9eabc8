"""What the recurrent encoders share: dropout, orthogonal start, state, and sequences of different lengths."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class RecurrentEncoder(nn.Module):
    """Wrap one of torch's recurrent layers.

    Attributes:
        out_features: size of the hidden state, doubled if bidirectional.
        causal: whether an output depends on no later input.
        receptive_field: None: no bound on how far back an output can see.
    """

    def __init__(
        self,
        layer: Callable[..., nn.RNNBase],
        in_features: int,
        *,
        hidden_size: int,
        num_layers: int,
        input_dropout: float,
        dropout: float,
        output_dropout: float,
        bidirectional: bool,
        orthogonal: bool,
    ) -> None:
        """Build the layers.

        Args:
            layer: ``nn.RNN``, ``nn.LSTM`` or ``nn.GRU``.
            in_features: features per step.
            hidden_size: units per layer and direction.
            num_layers: layers on top of each other.
            input_dropout: on the inputs.
            dropout: between layers.
            output_dropout: on the outputs of the last layer.
            bidirectional: also read from the end; the encoder is then not causal.
            orthogonal: start each gate's recurrent matrix orthogonal (Saxe et al. 2014).
        """
        super().__init__()
        between = dropout if num_layers > 1 else 0.0
        self.layer = layer(
            in_features, hidden_size, num_layers, batch_first=True, dropout=between, bidirectional=bidirectional
        )
        self.input_dropout, self.output_dropout = nn.Dropout(input_dropout), nn.Dropout(output_dropout)
        self.out_features = hidden_size * (2 if bidirectional else 1)
        self.causal = not bidirectional
        self.receptive_field: int | None = None
        if orthogonal:
            for name, weight in self.layer.named_parameters():
                if "weight_hh" in name:
                    for gate in weight.data.chunk(weight.shape[0] // hidden_size):
                        nn.init.orthogonal_(gate)

    def forward(self, x: Tensor, state: Any = None, lengths: Tensor | None = None) -> tuple[Tensor, Any]:
        """Return the hidden states (batch, time, out_features) and the state after the last step.

        Args:
            x: (batch, time, features).
            state: what an earlier call returned, to go on from there.
            lengths: (batch,) steps that count; later ones are padding, their outputs are 0.

        Raises:
            ValueError: a state for a bidirectional encoder, which has read its future already.
        """
        if state is not None and not self.causal:
            raise ValueError("a bidirectional encoder cannot go on from a state: it has to see the whole sequence")
        x = self.input_dropout(x)
        if lengths is None:
            hidden, state = self.layer(x, state)
        else:
            packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
            hidden, state = self.layer(packed, state)
            hidden, _ = pad_packed_sequence(hidden, batch_first=True, total_length=x.shape[1])
        return self.output_dropout(hidden), state


def set_forget_bias(lstm: nn.RNNBase, value: float) -> None:
    """Set the forget gate's bias of every layer, so that memory is kept at the start (Jozefowicz et al. 2015)."""
    with torch.no_grad():
        for name, bias in lstm.named_parameters():
            if "bias" in name:
                # Torch's order of gates is input, forget, cell, output; its two biases are added up.
                bias.chunk(4)[1].fill_(value if "bias_ih" in name else 0.0)
