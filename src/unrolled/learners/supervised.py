"""Supervised learning: minimise the head's loss. Knows no task."""

import math
from array import array
from collections.abc import Callable
from typing import Any, TypedDict

import pytorch_lightning as pl
import torch
from torch import Tensor

from unrolled.augmentation import augment
from unrolled.batch import Batch
from unrolled.errors import UserError
from unrolled.model import SequenceModel

NORMS_TOLD = 5  # gradients before a divergence


class EpochRow(TypedDict):
    """One line of the learning curve; losses are means over the scored targets, in the (transformed) target's space."""

    epoch: int
    step: int
    train_loss: float
    validation_loss: float
    learning_rate: float


class SupervisedLearner(pl.LightningModule):
    """Train a model with AdamW on a schedule, carrying the state from chunk to chunk where the batches are streams.

    A checkpoint, also one in the middle of an epoch, holds all of it: a resumed run ends at the same bits.

    Attributes:
        history: one row per finished epoch.
        steps: what ``curve`` returns, one number after the other.
        best: the weights to keep, averaged ones where they are: after the epoch that ``kept`` chooses among those so far.
    """

    def __init__(
        self,
        model: SequenceModel,
        training: dict[str, Any],
        *,
        seed: int,
        streams: bool,
        identity: str = "",
        on_epoch: Callable[[EpochRow], None] | None = None,
    ) -> None:
        """Wrap ``model``.

        Args:
            model: what learns.
            training: that section of the configuration.
            seed: dropout is a function of it and of the step.
            streams: batch k + 1 goes on where batch k ended.
            identity: the run's, which its checkpoints carry.
            on_epoch: called with each new row of the history.
        """
        super().__init__()
        self.model = model
        self.training_config = training
        self.seed, self.streams, self.identity, self.on_epoch = seed, streams, identity, on_epoch
        self.state: Any = None
        self.history: list[EpochRow] = []
        self.steps = array("d")
        self.best: dict[str, Tensor] = {}
        self.validated: dict[str, Tensor] = {}
        self.batches_done = 0  # of this epoch
        self.resumed_at = 0
        self.saved: tuple[int, int] | None = None  # step and epoch, from 1, of the last checkpoint
        self.last_loss = math.nan
        self.sums: dict[str, list[Tensor]] = {"train": [], "validation": []}
        self.counts: dict[str, list[Tensor]] = {"train": [], "validation": []}

    def on_train_start(self) -> None:
        """Move what a checkpoint brought back to the device."""
        self.state = moved(self.state, self.device)
        for sums in (self.sums["train"], self.counts["train"]):
            sums[:] = [tensor.to(self.device) for tensor in sums]

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Make this step's random numbers (dropout) a function of (seed, step), so that a resumed run repeats them."""
        number = self.seed * 1_000_003 + self.global_step
        # Not torch.manual_seed: for each kind of device that is not there it also queues the seed with the call stack in
        # words, which takes longer than a small network's step.
        torch.default_generator.manual_seed(number)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(number)
        elif self.device.type == "mps":
            torch.mps.manual_seed(number)

    def on_train_epoch_start(self) -> None:
        """Streams start again at their beginning."""
        self.state = None
        self.batches_done = 0

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the batch's loss.

        Raises:
            UserError: the loss is no longer a finite number.
        """
        if self.training_config["augmentation"]:
            batch = batch._replace(inputs=augment(batch.inputs, self.training_config["augmentation"]))
        loss = self._loss(batch, "train")
        self.last_loss = loss.item()
        if not math.isfinite(self.last_loss):
            raise UserError(self._diverged("training loss", self.last_loss))
        self.batches_done += 1
        return loss

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip, and record the step.

        Raises:
            UserError: the gradient is not finite: the weights of the step before are the last good ones.
        """
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters])
        self.steps.extend((self.last_loss, norm.item()))
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)  # which passes over such steps by itself
        if not math.isfinite(self.steps[-1]) and scaler is None:
            raise UserError(self._diverged("gradient's norm", self.steps[-1]))
        if gradient_clip_val and gradient_clip_algorithm in (None, "norm"):
            torch.nn.utils.clip_grads_with_norm_(parameters, gradient_clip_val, norm)
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def on_validation_epoch_start(self) -> None:
        """Validation streams have a state of their own, as training's have come to their end; note what is validated."""
        self.state = None
        self.validated = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}

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
        """Publish the mean, by which early stopping decides, and which epoch is the best."""
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
            raise UserError(self._diverged("validation loss", row["validation_loss"]))
        self.history.append(row)
        if self.kept() is row:
            self.best = self.validated
        self.batches_done = 0
        if self.on_epoch is not None:
            self.on_epoch(row)

    def kept(self) -> EpochRow:
        """Return the epoch whose weights are kept: the last one, or the first with the lowest validation loss."""
        if self.training_config["keep"] == "last":
            return self.history[-1]
        return min(self.history, key=lambda row: row["validation_loss"])

    def curve(self) -> list[tuple[float, float]]:
        """Return loss and gradient norm (before clipping) of each optimizer step so far."""
        return list(zip(self.steps[::2], self.steps[1::2], strict=True))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the learning curve so far and, in the middle of an epoch, how far it has come."""
        self.saved = checkpoint["global_step"], checkpoint["epoch"] + 1
        checkpoint["identity"] = self.identity
        checkpoint["history"] = [dict(row) for row in self.history]
        checkpoint["steps"] = torch.tensor(self.steps, dtype=torch.float64)
        checkpoint["best"] = self.best
        checkpoint["batches_done"] = self.batches_done
        if self.batches_done:
            checkpoint["state"] = moved(self.state, torch.device("cpu"))
            checkpoint["sums"] = [torch.stack(parts["train"]).cpu() for parts in (self.sums, self.counts)]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on from there."""
        self.saved = checkpoint["global_step"], checkpoint["epoch"] + 1
        self.history = checkpoint["history"]
        self.steps, self.best = array("d", checkpoint["steps"].tolist()), checkpoint["best"]
        self.batches_done, self.resumed_at = checkpoint["batches_done"], checkpoint["global_step"]
        self.trainer.datamodule.skip = self.batches_done  # type: ignore[attr-defined]
        if self.batches_done:
            self.state = checkpoint["state"]
            self.sums["train"], self.counts["train"] = (list(parts) for parts in checkpoint["sums"])

    def _mean(self, part: str) -> Tensor:
        total, count = torch.stack(self.sums[part]).sum(), torch.stack(self.counts[part]).sum()
        self.sums[part].clear()
        self.counts[part].clear()
        return (total / count.clamp(min=1)).to(torch.float32)

    def _diverged(self, what: str, value: float) -> str:
        config = self.training_config
        clip = config["gradient_clip"]
        norms = ", ".join(f"{norm:.3g}" for norm in self.steps[1::2][-NORMS_TOLD:]) or "none"
        kept = "no checkpoint had been saved"
        if self.saved is not None:
            kept = f"the checkpoint of step {self.saved[0]} (epoch {self.saved[1]}) is kept"
        return (
            f"the {what} became {value} at step {self.global_step} (epoch {self.current_epoch + 1}), after gradients with "
            f"norms {norms}; {kept}; lower training.learning_rate ({config['learning_rate']:g}) or "
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


def moved(state: Any, device: torch.device) -> Any:
    """Return ``state``, a tensor or nested tuple of tensors or None, on ``device``."""
    if state is None:
        return None
    return state.to(device) if isinstance(state, Tensor) else tuple(moved(part, device) for part in state)


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
