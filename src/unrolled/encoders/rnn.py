"""The plain recurrent network.

    h_t = tanh(W x_t + U h_{t-1} + b)

Elman, "Finding structure in time", Cognitive Science 14 (1990).
"""

from torch import nn

from unrolled.encoders.recurrent import RecurrentEncoder


class Encoder(RecurrentEncoder):
    """One hidden state, rewritten at every step; its gradient shrinks or grows with every step that it goes back."""

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
        bidirectional: bool = False,
        orthogonal: bool = True,
    ) -> None:
        """Build it; ``context`` is not needed. See ``RecurrentEncoder`` for the rest."""
        super().__init__(
            nn.RNN,
            in_features,
            hidden_size=hidden_size,
            num_layers=num_layers,
            input_dropout=input_dropout,
            dropout=dropout,
            output_dropout=output_dropout,
            bidirectional=bidirectional,
            orthogonal=orthogonal,
        )
