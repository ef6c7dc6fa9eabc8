"""Long short-term memory.

    i_t = sigmoid(W_i x_t + U_i h_{t-1} + b_i)   input gate: what is written
    f_t = sigmoid(W_f x_t + U_f h_{t-1} + b_f)   forget gate: what is kept
    g_t = tanh(W_g x_t + U_g h_{t-1} + b_g)      candidate
    o_t = sigmoid(W_o x_t + U_o h_{t-1} + b_o)   output gate: what is shown
    c_t = f_t * c_{t-1} + i_t * g_t
    h_t = o_t * tanh(c_t)

Hochreiter and Schmidhuber, "Long short-term memory", Neural Computation 9 (1997); with the forget gate of Gers et al. 2000.
"""

from torch import nn

from unrolled.encoders.recurrent import RecurrentEncoder, set_forget_bias


class Encoder(RecurrentEncoder):
    """Three gates and a cell state that is added to, not rewritten: the way by which gradients survive."""

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
        forget_bias: float = 1.0,
    ) -> None:
        """Build it; ``context`` is not needed. See ``RecurrentEncoder`` for the rest."""
        super().__init__(
            nn.LSTM,
            in_features,
            hidden_size=hidden_size,
            num_layers=num_layers,
            input_dropout=input_dropout,
            dropout=dropout,
            output_dropout=output_dropout,
            bidirectional=bidirectional,
            orthogonal=orthogonal,
        )
        set_forget_bias(self.layer, forget_bias)
