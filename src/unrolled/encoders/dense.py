"""The feed-forward reference: a perceptron over the last w steps, slid along the sequence.

    h_t = relu(W_n ... relu(W_1 [x_{t-w+1}, ..., x_t] + b_1) ... + b_n)

Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors", Nature 323 (1986).
"""

from typing import Any

from torch import Tensor, nn

from unrolled.encoders.convolution import CausalConv, masked


class Encoder(nn.Module):
    """No memory but its window: what lies further back than ``receptive_field`` steps does not exist for it."""

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
        window: int | None = None,
    ) -> None:
        """Build it.

        Args:
            in_features: features per step.
            context: steps of a window of the data.
            hidden_size: units per hidden layer.
            num_layers: hidden layers on top of the first.
            input_dropout: on the inputs.
            dropout: between layers.
            output_dropout: on the outputs.
            window: steps that the perceptron sees; None: the whole context.
        """
        super().__init__()
        self.receptive_field: int | None = window or context
        self.causal = True
        self.out_features = hidden_size
        self.input_dropout, self.output_dropout = nn.Dropout(input_dropout), nn.Dropout(output_dropout)
        # A convolution as wide as the window is the same perceptron at every step.
        self.first = CausalConv(in_features, hidden_size, window or context)
        layers: list[nn.Module] = [nn.ReLU()]
        for _ in range(num_layers):
            layers += [nn.Dropout(dropout), nn.Linear(hidden_size, hidden_size), nn.ReLU()]
        self.rest = nn.Sequential(*layers)

    def forward(self, x: Tensor, state: Any = None, lengths: Tensor | None = None) -> tuple[Tensor, Any]:
        """Return (batch, time, hidden_size) and the state, the last inputs; see ``RecurrentEncoder.forward``."""
        hidden, state = self.first(self.input_dropout(x).transpose(1, 2), state)
        return masked(self.output_dropout(self.rest(hidden.transpose(1, 2))), lengths), state
