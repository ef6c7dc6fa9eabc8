"""Supervised learning: minimise the head's loss. Knows no task."""

import math
from collections.abc import Callable
from typing import Any, TypedDict

import pytorch_lightning as pl
import torch
from torch import Tensor

from unrolled.augmentation import augment
from unrolled.batch import Batch
from unrolled.errors import UserError
from unrolled.model import SequenceModel


class EpochRow(TypedDict):
    """One line of the learning curve; losses are means over the scored targets, in the (transformed) target's space."""

    epoch: int
    step: int
    train_loss: float
    validation_loss: float
    learning_rate: float


class SupervisedLearner(pl.LightningModule):
    """Train a model with AdamW on a schedule, carrying the state from chunk to chunk where the batches are streams.

    Attributes:
        history: one row per finished epoch; it is kept in the checkpoint.
    """

    def __init__(
        self,
        model: SequenceModel,
        training: dict[str, Any],
        *,
        seed: int,
        streams: bool,
        on_epoch: Callable[[EpochRow], None] | None = None,
    ) -> None:
        """Wrap ``model``.

        Args:
            model: what learns.
            training: that section of the configuration.
            seed: dropout is a function of it and of the step.
            streams: batch k + 1 goes on where batch k ended.
            on_epoch: called with each new row of the history.
        """
        super().__init__()
        self.model = model
        self.training_config = training
        self.seed, self.streams, self.on_epoch = seed, streams, on_epoch
        self.state: Any = None
        self.history: list[EpochRow] = []
        self.sums: dict[str, list[Tensor]] = {"train": [], "validation": []}
        self.counts: dict[str, list[Tensor]] = {"train": [], "validation": []}

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Make this step's random numbers (dropout) a function of (seed, step), so that a resumed run repeats them."""
        torch.manual_seed(self.seed * 1_000_003 + self.global_step)

    def on_train_epoch_start(self) -> None:
        """Streams start again at their beginning."""
        self.state = None

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the batch's loss.

        Raises:
            UserError: the loss is no longer a finite number.
        """
        if self.training_config["augmentation"]:
            batch = batch._replace(inputs=augment(batch.inputs, self.training_config["augmentation"]))
        loss = self._loss(batch, "train")
        if not torch.isfinite(loss):
            raise UserError(self._diverged("training", loss.item()))
        return loss

    def on_validation_epoch_start(self) -> None:
        """Validation streams have a state of their own; training's is put aside by the epoch's end."""
        self.state = None

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add the batch to the epoch's mean."""
        self._loss(batch, "validation")

    def _loss(self, batch: Batch, part: str) -> Tensor:
        loss, state = self.model.loss(batch, self.state if self.streams else None)
        if self.streams:
            self.state = detached(state)
        count = batch.target_mask.sum() if batch.target_mask is not None else torch.tensor(len(batch.target))
        self.sums[part].append(loss.detach() * count)
        self.counts[part].append(count)
        return loss

    def on_validation_epoch_end(self) -> None:
        """Publish the mean, by which the best epoch is chosen."""
        self.log("validation_loss", self._mean("validation"), sync_dist=True)

    def on_train_epoch_end(self) -> None:
        """Add the epoch to the history.

        Raises:
            UserError: the validation loss is not a finite number.
        """
        row: EpochRow = {
            "epoch": self.current_epoch,
            "step": self.global_step,
            "train_loss": self._mean("train").item(),
            "validation_loss": self.trainer.callback_metrics["validation_loss"].item(),
            "learning_rate": self.optimizers().param_groups[0]["lr"],  # type: ignore[union-attr]
        }
        if not math.isfinite(row["validation_loss"]):
            raise UserError(self._diverged("validation", row["validation_loss"]))
        self.history.append(row)
        if self.on_epoch is not None:
            self.on_epoch(row)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the learning curve so far."""
        checkpoint["history"] = [dict(row) for row in self.history]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the learning curve up again."""
        self.history = checkpoint["history"]

    def _mean(self, part: str) -> Tensor:
        total, count = torch.stack(self.sums[part]).sum(), torch.stack(self.counts[part]).sum()
        self.sums[part].clear()
        self.counts[part].clear()
        return (total / count.clamp(min=1)).to(torch.float32)

    def _diverged(self, part: str, loss: float) -> str:
        config = self.training_config
        clip = config["gradient_clip"]
        return (
            f"the {part} loss became {loss} at step {self.global_step} (epoch {self.current_epoch + 1}); lower "
            f"training.learning_rate ({config['learning_rate']:g}) or "
            + ("set training.gradient_clip=1.0" if clip is None else f"training.gradient_clip ({clip})")
        )

    def configure_optimizers(self) -> Any:
        """Return AdamW, without weight decay on biases and other vectors, and its schedule by step."""
        config = self.training_config
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config["weight_decay"]},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=config["learning_rate"], betas=(0.9, config["beta2"]))
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: rate_factor(step, steps, config["schedule"], config["warmup_steps"])
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def detached(state: Any) -> Any:
    """Return ``state``, a tensor or nested tuple of tensors, cut off from the graph that made it."""
    if state is None:
        return None
    return state.detach() if isinstance(state, Tensor) else tuple(detached(part) for part in state)


def rate_factor(step: int, steps: int, schedule: str, warmup_steps: int) -> float:
    """Return the learning rate at ``step`` of ``steps`` as a share of the configured one.

    constant: 1. cosine: down to 0.02. one_cycle: from 0.04 up over the first 30 % of the steps and down to 0.0004, both
    along half a cosine (Smith and Topin 2018). The first ``warmup_steps`` rise linearly on top of that.
    """
    done = min(step / max(steps, 1), 1.0)
    warm = min((step + 1) / (warmup_steps + 1), 1.0)
    if schedule == "constant":
        return warm
    if schedule == "cosine":
        return warm * _half_cosine(1.0, 0.02, done)
    rise = 0.3
    if done < rise:
        return warm * _half_cosine(0.04, 1.0, done / rise)
    return warm * _half_cosine(1.0, 0.0004, (done - rise) / (1 - rise))


def _half_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
