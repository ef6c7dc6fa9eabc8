"""Long short-term memory whose recurrent weights drop out.

    h_t, c_t = LSTM(x_t, h_{t-1}, c_{t-1}; W, M * U / (1 - p)),    M_ij = 0 with probability p, else 1

In training, each call leaves out a share p of the recurrent weights U of `lstm.py`'s equations, one mask for all of its steps:
dropout that does not wipe out what a unit has to remember from step to step. Wan et al., "Regularization of neural networks using
DropConnect", ICML 2013; Merity et al., "Regularizing and optimizing LSTM language models", ICLR 2018.
"""

from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from unrolled.encoders.recurrent import RecurrentEncoder, set_forget_bias


class Encoder(RecurrentEncoder):
    """The LSTM, held in check where it remembers."""

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
        weight_dropout: float = 0.3,
        bidirectional: bool = False,
        orthogonal: bool = True,
        forget_bias: float = 1.0,
    ) -> None:
        """Build it; ``context`` is not needed.

        Args:
            weight_dropout: share of the recurrent weights that is dropped.

        See ``RecurrentEncoder`` for the rest.
        """
        super().__init__(
            partial(WeightDroppedLSTM, weight_dropout),
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


class WeightDroppedLSTM(nn.LSTM):
    """torch's LSTM, which in training runs each call with other recurrent weights dropped."""

    def __init__(self, weight_dropout: float, *sizes: int, **options: Any) -> None:
        """Args: ``weight_dropout``: the share; the rest is ``nn.LSTM``'s."""
        super().__init__(*sizes, **options)
        self.weight_dropout = weight_dropout

    def forward(self, x: Tensor, state: Any = None) -> tuple[Any, Any]:  # type: ignore[override]
        """See ``nn.LSTM``."""
        whole: list[Any] = self._flat_weights
        if self.training:
            names = self._flat_weights_names
            self._flat_weights = [
                F.dropout(weight, self.weight_dropout) if name.startswith("weight_hh") else weight
                for name, weight in zip(names, whole, strict=True)
            ]
        try:
            return super().forward(x, state)
        finally:
            self._flat_weights = whole
