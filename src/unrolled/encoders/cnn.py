"""Causal convolutions with doubling dilation and residual connections, a temporal convolutional network.

    y^0_t = P x_t,    y^l_t = y^{l-1}_t + relu(b^l + sum_{i=0}^{k-1} W^l_i y^{l-1}_{t - i d_l}),    d_l = 2^{l-1}
    h_t = Q y^L_t

Bai, Kolter and Koltun, "An empirical evaluation of generic convolutional and recurrent networks for sequence modeling",
arXiv:1803.01271 (2018); the dilations are WaveNet's (van den Oord et al. 2016).
"""

from typing import Any

import torch
from torch import Tensor, nn

from unrolled.encoders.convolution import CausalConv, masked


class Encoder(nn.Module):
    """A bounded memory that doubles with every layer."""

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
        filters: int = 64,
        kernel_size: int = 5,
        levels: int | None = None,
    ) -> None:
        """Build it.

        Args:
            in_features: features per step.
            context: steps of a window of the data.
            hidden_size: outputs per step.
            num_layers: how often the whole pyramid of levels is stacked.
            input_dropout: on the inputs.
            dropout: after each level.
            output_dropout: on the outputs.
            filters: per level.
            kernel_size: inputs that a filter sees.
            levels: dilations 1, 2, 4 ...; None: as many as it takes to see the whole context.
        """
        super().__init__()
        count = levels or _levels(context, kernel_size)
        dilations = [2**level for level in range(count)] * num_layers
        self.causal = True
        self.receptive_field: int | None = 1 + (kernel_size - 1) * sum(dilations)
        self.out_features = hidden_size
        self.input_dropout, self.output_dropout = nn.Dropout(input_dropout), nn.Dropout(output_dropout)
        self.dropout = nn.Dropout(dropout)
        self.lift, self.readout = nn.Linear(in_features, filters), nn.Linear(filters, hidden_size)
        self.convs = nn.ModuleList(CausalConv(filters, filters, kernel_size, d) for d in dilations)

    def forward(self, x: Tensor, state: Any = None, lengths: Tensor | None = None) -> tuple[Tensor, Any]:
        """Return (batch, time, hidden_size) and the state, each level's last inputs; see ``RecurrentEncoder.forward``."""
        hidden = self.lift(self.input_dropout(x)).transpose(1, 2)  # (batch, filters, time)
        states = []
        for level, conv in enumerate(self.convs):
            change, left = conv(hidden, None if state is None else state[level])
            hidden = hidden + self.dropout(torch.relu(change))
            states.append(left)
        return masked(self.output_dropout(self.readout(hidden.transpose(1, 2))), lengths), tuple(states)


def _levels(context: int, kernel_size: int) -> int:
    """Return how many doubling dilations see ``context`` steps."""
    levels = 1
    while kernel_size > 1 and 1 + (kernel_size - 1) * (2**levels - 1) < context:
        levels += 1
    return levels
