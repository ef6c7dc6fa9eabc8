"""What the convolutional encoders share: a causal convolution over time that can go on from a state."""

import torch
from torch import Tensor, nn


class CausalConv(nn.Module):
    """A convolution over time whose output at step t sees the inputs t - reach .. t and no later one.

    The sequence is padded on the left by ``reach`` = (kernel_size - 1) * dilation steps, so that T inputs give T
    outputs; the padding is zeros at a sequence's start and the last inputs of the earlier chunk when it goes on.
    """

    def __init__(self, in_features: int, out_features: int, kernel_size: int, dilation: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv1d(in_features, out_features, kernel_size, dilation=dilation)
        self.in_features, self.out_features = in_features, out_features
        self.kernel_size = kernel_size
        self.reach = (kernel_size - 1) * dilation

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return (batch, out_features, time) and the new state, the last ``reach`` inputs.

        Args:
            x: (batch, in_features, time).
            state: (batch, in_features, reach), or None at a sequence's start.
        """
        if state is None:
            state = x.new_zeros(x.shape[0], self.in_features, self.reach)
        padded = torch.cat([state, x], dim=2)  # (batch, in_features, reach + time)
        return self.conv(padded), padded[:, :, padded.shape[2] - self.reach :]


def masked(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Return ``x`` (batch, time, features) with the steps from ``lengths`` on set to 0."""
    if lengths is None:
        return x
    steps = torch.arange(x.shape[1], device=x.device)
    return x * (steps[None, :] < lengths[:, None].to(x.device))[:, :, None]
