"""The gated recurrent unit.

    r_t = sigmoid(W_r x_t + U_r h_{t-1} + b_r)             reset gate: how much of the past the candidate sees
    z_t = sigmoid(W_z x_t + U_z h_{t-1} + b_z)             update gate: how much of the past stays
    n_t = tanh(W_n x_t + b_n + r_t * (U_n h_{t-1} + c_n))  candidate
    h_t = (1 - z_t) * n_t + z_t * h_{t-1}

Cho et al., "Learning phrase representations using RNN encoder-decoder", EMNLP 2014; torch's form of the reset gate.
"""

from torch import nn

from unrolled.encoders.recurrent import RecurrentEncoder


class Encoder(RecurrentEncoder):
    """Two gates and one state; where the update gate is open, the past and its gradient pass unchanged."""

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
            nn.GRU,
            in_features,
            hidden_size=hidden_size,
            num_layers=num_layers,
            input_dropout=input_dropout,
            dropout=dropout,
            output_dropout=output_dropout,
            bidirectional=bidirectional,
            orthogonal=orthogonal,
        )
