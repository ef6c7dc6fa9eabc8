"""The batch: the one structure that travels from the data to the model."""

from typing import NamedTuple

from torch import Tensor


class Batch(NamedTuple):
    """What one training or prediction step sees. B examples, T time steps, F features, H steps of horizon.

    Series: ``inputs`` (B, T, F) float32, transformed; ``target`` and ``target_mask`` (B, S, H), where S is T under a
    head that scores every step and else 1 (the last of them is the window's own forecast); ``anchor`` (B, 1) float64,
    the last known raw value; ``origin`` (B,) int64, the row of the last step's first target.
    Examples: ``inputs`` (B, T, F) float32, ``target`` (B,) int64.
    Text: ``inputs`` (B, T) int64 tokens, ``target`` and ``target_mask`` (B, T).
    """

    inputs: Tensor
    target: Tensor
    target_mask: Tensor | None = None
    lengths: Tensor | None = None
    anchor: Tensor | None = None
    origin: Tensor | None = None
