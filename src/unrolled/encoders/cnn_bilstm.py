"""Convolutions over rows and columns whose rows are a bidirectional LSTM's time steps.

    y = pool(relu(W2 * pool(relu(W1 * x + b1)) + b2)),    h_t = [LSTM(y_1 .. y_t); LSTM(y_T .. y_t)]

``*`` is a convolution over the rows (time) and the columns (features of a step) of the window as an image, ``pool`` the
greater of two neighbouring columns: as many rows come out as went in. LeCun et al., "Gradient-based learning applied to
document recognition", Proc. IEEE 86 (1998); Schuster and Paliwal, "Bidirectional recurrent neural networks", IEEE Trans.
Signal Processing 45 (1997).
"""

from typing import Any

import torch
from torch import Tensor, nn

from unrolled.encoders.convolution import masked
from unrolled.encoders.recurrent import RecurrentEncoder, set_forget_bias
from unrolled.errors import UserError


class Encoder(nn.Module):
    """Filters find strokes, the LSTM reads them row by row from both ends."""

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
        bidirectional: bool = True,
        orthogonal: bool = True,
        forget_bias: float = 1.0,
    ) -> None:
        """Build it; ``context`` is not needed.

        Args:
            in_features: features per step: the columns.
            context: steps of a window of the data: the rows.
            hidden_size: LSTM units per layer and direction.
            num_layers: LSTM layers.
            input_dropout: on the inputs.
            dropout: on what the convolutions give, and between LSTM layers.
            output_dropout: on the outputs.
            filters: outputs of each convolution and column.
            kernel_size: rows and columns that a filter sees, an odd number.
            bidirectional: true: the filters see later rows too, so nothing here could be causal.
            orthogonal: start each gate's recurrent matrix orthogonal.
            forget_bias: start of the forget gate's bias.

        Raises:
            UserError: an even ``kernel_size``, or ``bidirectional`` is false.
        """
        super().__init__()
        if not bidirectional:
            raise UserError(
                "encoder.bidirectional=False does not fit encoder.name='cnn_bilstm': its filters see later rows; "
                "use model=cnn_lstm"
            )
        if kernel_size % 2 == 0:
            raise UserError(f"encoder.kernel_size={kernel_size}: expected an odd number, as a row stays a row")
        self.input_dropout, self.dropout = nn.Dropout(input_dropout), nn.Dropout(dropout)
        same = kernel_size // 2
        self.first = nn.Conv2d(1, filters, kernel_size, padding=same)
        self.second = nn.Conv2d(filters, filters, kernel_size, padding=same)
        self.pool = nn.MaxPool2d((1, 2), ceil_mode=True)
        columns = -(-in_features // 4)  # pooled twice
        self.lstm = RecurrentEncoder(
            nn.LSTM,
            filters * columns,
            hidden_size=hidden_size,
            num_layers=num_layers,
            input_dropout=0.0,
            dropout=dropout,
            output_dropout=output_dropout,
            bidirectional=True,
            orthogonal=orthogonal,
        )
        set_forget_bias(self.lstm.layer, forget_bias)
        self.causal = False
        self.receptive_field: int | None = None
        self.out_features = self.lstm.out_features

    def forward(self, x: Tensor, state: Any = None, lengths: Tensor | None = None) -> tuple[Tensor, Any]:
        """Return (batch, time, 2 * hidden_size) and the LSTM's state; see ``RecurrentEncoder.forward``."""
        image = self.input_dropout(masked(x, lengths))[:, None]  # (batch, 1, rows, columns)
        strokes = self.pool(torch.relu(self.first(image)))
        strokes = self.pool(
            torch.relu(self.second(_masked_rows(strokes, lengths)))
        )  # (batch, filters, rows, columns / 4)
        rows = strokes.transpose(1, 2).flatten(2)  # (batch, rows, filters * columns / 4)
        hidden, state = self.lstm(self.dropout(rows), state, lengths)
        return hidden, state


def _masked_rows(image: Tensor, lengths: Tensor | None) -> Tensor:
    """Return ``image`` (batch, filters, rows, columns) with the rows from ``lengths`` on set to 0, as outside of it."""
    if lengths is None:
        return image
    rows = torch.arange(image.shape[2], device=image.device)
    return image * (rows[None, :] < lengths[:, None].to(image.device))[:, None, :, None]
