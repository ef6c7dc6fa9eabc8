"""Recurrent layers that torch runs one step at a time where it has no kernel for the whole sequence: the GRU and the RNN on a CPU.

In bfloat16 such a step would make its own copy of the weights: Lightning turns off autocast's memory of what it has
converted. A quarter to a sixth of a training step of the text models went there (`benchmarks/training_throughput.py`).
"""

from typing import Any

import torch
from torch import Tensor

from unrolled.encoders.recurrent import RecurrentEncoder


class StepwiseEncoder(RecurrentEncoder):
    """A recurrent encoder whose weights are converted once a call, not once a step."""

    def forward(self, x: Tensor, state: Any = None, lengths: Tensor | None = None) -> tuple[Tensor, Any]:
        """See ``RecurrentEncoder``."""
        device = x.device.type
        if not torch.is_autocast_enabled(device):
            return super().forward(x, state, lengths)
        with torch.autocast(device, torch.get_autocast_dtype(device), cache_enabled=True):
            return super().forward(x, state, lengths)
