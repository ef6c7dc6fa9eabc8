"""A convolution whose outputs are an LSTM's time steps.

    y_t = relu(b + sum_{i=0}^{k-1} W_i x_{t-i}),    h_t, c_t = LSTM(y_t, h_{t-1}, c_{t-1})

The convolution is padded on the left, so that a window of T steps gives T outputs a filter. Sainath et al.,
"Convolutional, long short-term memory, fully connected deep neural networks", ICASSP 2015.
"""

from typing import Any

import torch
from torch import Tensor, nn

from unrolled.encoders.convolution import CausalConv
from unrolled.encoders.recurrent import RecurrentEncoder, set_forget_bias


class Encoder(nn.Module):
    """Filters find short patterns, the LSTM remembers which came when."""

    def __init__(
        self,
        in_features: int,
        context: int,
        *,
        hidden_size: int,
        num_layers: int,
        input_dropout: float,
        dropout: float,
        output_dropout: float,
        filters: int = 32,
        kernel_size: int = 3,
        orthogonal: bool = True,
        forget_bias: float = 1.0,
    ) -> None:
        """Build it; ``context`` is not needed.

        Args:
            in_features: features per step.
            context: steps of a window of the data.
            hidden_size: LSTM units per layer.
            num_layers: LSTM layers.
            input_dropout: on the inputs.
            dropout: between LSTM layers.
            output_dropout: on the outputs.
            filters: outputs of the convolution.
            kernel_size: inputs that a filter sees.
            orthogonal: start each gate's recurrent matrix orthogonal.
            forget_bias: start of the forget gate's bias.
        """
        super().__init__()
        self.input_dropout = nn.Dropout(input_dropout)
        self.conv = CausalConv(in_features, filters, kernel_size)
        self.lstm = RecurrentEncoder(
            nn.LSTM,
            filters,
            hidden_size=hidden_size,
            num_layers=num_layers,
            input_dropout=0.0,
            dropout=dropout,
            output_dropout=output_dropout,
            bidirectional=False,
            orthogonal=orthogonal,
        )
        set_forget_bias(self.lstm.layer, forget_bias)
        self.causal = True
        self.receptive_field: int | None = None
        self.out_features = hidden_size

    def forward(self, x: Tensor, state: Any = None, lengths: Tensor | None = None) -> tuple[Tensor, Any]:
        """Return (batch, time, hidden_size) and the state of both parts; see ``RecurrentEncoder.forward``."""
        before, memory = (None, None) if state is None else state
        filtered, left = self.conv(self.input_dropout(x).transpose(1, 2), before)
        hidden, memory = self.lstm(torch.relu(filtered).transpose(1, 2), memory, lengths)
        return hidden, (left, memory)
