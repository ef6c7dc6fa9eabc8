"""Pools and heads: from hidden states to a readout, a loss and a prediction. One head per kind of task."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Kind = Literal["point", "quantiles", "probabilities"]


@dataclass(frozen=True)
class Prediction:
    """What a model says of a batch.

    Attributes:
        kind: ``point``: values (batch, horizon) in physical units; ``quantiles``: (batch, horizon, levels), likewise;
            ``probabilities``: (batch, classes), or for text (batch, time, vocabulary).
        values: the tensor.
        levels: of the quantiles, increasing, 0.5 among them; empty for the other kinds.
    """

    kind: Kind
    values: Tensor
    levels: tuple[float, ...] = ()

    def points(self) -> Tensor:
        """Return a forecast's points (batch, horizon) in physical units: the median, where there are quantiles."""
        return self.values[..., self.levels.index(0.5)] if self.kind == "quantiles" else self.values


class Pool(nn.Module):
    """Choose what of the hidden states (batch, time, features) the head reads: (batch, steps, pooled features)."""

    def __init__(self, name: Literal["last", "every", "mean_max"], in_features: int) -> None:
        """Args: ``name``: the last step, every step, or mean and maximum over time side by side."""
        super().__init__()
        self.name = name
        self.out_features = in_features * (2 if name == "mean_max" else 1)

    def forward(self, hidden: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return the pooled states; steps from ``lengths`` on are padding and do not count."""
        if self.name == "every":
            return hidden
        if self.name == "last":
            if lengths is None:
                return hidden[:, -1:]
            return hidden[torch.arange(len(hidden), device=hidden.device), lengths.to(hidden.device) - 1][:, None]
        if lengths is None:
            return torch.cat([hidden.mean(dim=1), hidden.amax(dim=1)], dim=1)[:, None]
        steps = lengths.to(hidden.device)[:, None, None]
        valid = torch.arange(hidden.shape[1], device=hidden.device)[None, :, None] < steps
        mean = (hidden * valid).sum(dim=1) / steps[:, 0]
        return torch.cat([mean, hidden.masked_fill(~valid, -torch.inf).amax(dim=1)], dim=1)[:, None]


class ForecastHead(nn.Module):
    """A linear readout of ``horizon`` values from each pooled step, in the transformed target's space."""

    losses: ClassVar[dict[str, Callable[..., Tensor]]] = {"l1": F.l1_loss, "mse": F.mse_loss, "huber": F.huber_loss}

    def __init__(self, in_features: int, horizon: int, loss: str, skip: int) -> None:
        """Args: ``skip``: first steps that are not scored when every step is."""
        super().__init__()
        self.readout = nn.Linear(in_features, horizon)
        self.loss_name, self.skip = loss, skip

    def forward(self, pooled: Tensor) -> Tensor:
        """Return (batch, steps, horizon)."""
        values: Tensor = self.readout(pooled)
        return values

    def loss(self, outputs: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
        """Return the mean loss over the scored targets.

        Args:
            outputs: (batch, steps, horizon).
            target: (batch, steps, horizon), or (batch, 1, horizon) if only the last step has one.
            mask: which targets count, or None for all.
        """
        each = self.losses[self.loss_name](outputs[:, -target.shape[1] :], target, reduction="none")
        return _mean_of_scored(each, mask, self.skip)


class QuantileHead(nn.Module):
    """A linear readout of ``horizon`` values, each at every level, from each pooled step, in the transformed target's space.

    The quantiles never cross: the median is read out as it is, and each level outwards from it adds a softplus, which is
    positive, to its neighbour's distance (Gasthaus et al., "Probabilistic forecasting with spline quantile function RNNs",
    2019, make theirs monotone by positive steps too).
    """

    def __init__(self, in_features: int, horizon: int, levels: Sequence[float], skip: int) -> None:
        """Args: ``levels``: increasing, 0.5 among them; ``skip``: first steps that are not scored when every step is."""
        super().__init__()
        self.readout = nn.Linear(in_features, horizon * len(levels))
        self.levels, self.median, self.skip = tuple(levels), tuple(levels).index(0.5), skip

    def forward(self, pooled: Tensor) -> Tensor:
        """Return (batch, steps, horizon, levels), not decreasing along the levels."""
        raw = self.readout(pooled).unflatten(-1, (-1, len(self.levels)))
        median = raw[..., self.median, None]
        gaps = F.softplus(raw)
        below = gaps[..., : self.median].flip(-1).cumsum(-1).flip(-1)
        above = gaps[..., self.median + 1 :].cumsum(-1)
        return torch.cat([median - below, median, median + above], dim=-1)

    def loss(self, outputs: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
        """Return the pinball loss, its mean over the levels and the scored targets; at 0.5 it is half the absolute error.

        Koenker and Bassett, "Regression quantiles", 1978.

        Args:
            outputs: (batch, steps, horizon, levels).
            target: (batch, steps, horizon), or (batch, 1, horizon) if only the last step has one.
            mask: which targets count, or None for all.
        """
        above = target[..., None] - outputs[:, -target.shape[1] :]  # how far the target lies above each quantile
        levels = torch.tensor(self.levels, device=above.device, dtype=above.dtype)
        each = torch.maximum(levels * above, (levels - 1) * above).mean(dim=-1)
        return _mean_of_scored(each, mask, self.skip)


def _mean_of_scored(each: Tensor, mask: Tensor | None, skip: int) -> Tensor:
    """Return the mean of the losses ``each`` (batch, steps, horizon) where ``mask``, without the first ``skip`` steps."""
    mask = torch.ones_like(each, dtype=torch.bool) if mask is None else mask
    if each.shape[1] > 1 and skip:
        mask = mask & (torch.arange(each.shape[1], device=mask.device) >= skip)[None, :, None]
    return (each * mask).sum() / mask.sum().clamp(min=1)


class ClassifyHead(nn.Module):
    """A linear readout of one logit per class from the pooled step."""

    def __init__(self, in_features: int, classes: int, smoothing: float = 0.0) -> None:
        """Args: ``smoothing``: share of the target spread evenly over all classes (Szegedy et al. 2016)."""
        super().__init__()
        self.readout = nn.Linear(in_features, classes)
        self.smoothing = smoothing

    def forward(self, pooled: Tensor) -> Tensor:
        """Return the logits (batch, classes)."""
        logits: Tensor = self.readout(pooled[:, 0])
        return logits

    def loss(self, outputs: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
        """Return the mean cross-entropy in nats; target (batch,).

        Validation smooths too: the epoch with the lowest plain cross-entropy is an early one, before what smoothing does to
        it and to the share of errors has happened.
        """
        return F.cross_entropy(outputs.float(), target, label_smoothing=self.smoothing)


class LanguageHead(nn.Module):
    """A linear readout of one logit per symbol from every step."""

    def __init__(self, in_features: int, vocabulary: int) -> None:
        super().__init__()
        self.readout = nn.Linear(in_features, vocabulary)

    def forward(self, pooled: Tensor) -> Tensor:
        """Return the logits (batch, time, vocabulary)."""
        logits: Tensor = self.readout(pooled)
        return logits

    def loss(self, outputs: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
        """Return the mean cross-entropy in nats per scored symbol; target and mask (batch, time)."""
        each = F.cross_entropy(outputs.float().flatten(0, 1), target.flatten(), reduction="none")
        if mask is None:
            return each.mean()
        return (each * mask.flatten()).sum() / mask.sum().clamp(min=1)


Head = ForecastHead | QuantileHead | ClassifyHead | LanguageHead
