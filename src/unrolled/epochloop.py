"""The steps of an epoch on the CPU, without what Lightning does around each for cases that are not ours.

Between two batches Lightning calls some forty hooks, each through a profiler, which takes longer than a small network's own
step. Where nothing listens to them, this does the step itself, in Lightning's order and to the same bits; in every other case
(another device, several processes, accumulated gradients, a callback with hooks inside the step) Lightning does it.
"""

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loops.training_epoch_loop import _TrainingEpochLoop
from pytorch_lightning.plugins.precision import Precision

from unrolled.precision import ConvertOnce

INSIDE = ("on_before_zero_grad", "on_before_backward", "on_after_backward", "on_before_optimizer_step")


class EpochLoop(_TrainingEpochLoop):
    """Lightning's loop over the batches of an epoch, with a shorter step where it can be."""

    short: bool | None = None  # whether the step can be; found out at the first one

    def on_run_start(self, data_fetcher: Any) -> None:
        """Let an epoch that ``max_steps`` cuts short end there like any other."""
        super().on_run_start(data_fetcher)
        if self.max_steps != -1:
            together = self.trainer.accumulate_grad_batches
            whole_steps = self.batch_progress.current.ready // together + self.max_steps - self.global_step
            data_fetcher.length = min(data_fetcher.length, whole_steps * together)

    def _should_check_val_fx(self, data_fetcher: Any) -> bool:
        """Tell whether it is time to validate: after the last step, also where that is not the data's last."""
        last = self.batch_progress.is_last_batch and self._should_check_val_epoch()
        return last or super()._should_check_val_fx(data_fetcher)

    def advance(self, data_fetcher: Any) -> None:
        """Take one step."""
        if self.short is None:
            self.short = can_be_short(self.trainer)
        if not self.short or self.restarting:
            super().advance(data_fetcher)
            return
        trainer, module, progress = self.trainer, self.trainer.lightning_module, self.batch_progress
        steps = self.automatic_optimization.optim_progress.optimizer.step
        optimizer, schedule = trainer.optimizers[0], trainer.lr_scheduler_configs[0].scheduler
        batch, _, _ = next(data_fetcher)
        number = self.batch_idx + 1
        progress.is_last_batch = data_fetcher.done
        progress.increment_ready()
        module.on_train_batch_start(batch, number)
        progress.increment_started()
        steps.increment_ready()
        with trainer.precision_plugin.train_step_context():
            loss = module.training_step(batch, number)
        optimizer.zero_grad()
        loss.backward()
        module.configure_gradient_clipping(optimizer, trainer.gradient_clip_val, trainer.gradient_clip_algorithm)
        optimizer.step()
        steps.increment_completed()
        progress.increment_processed()
        self.scheduler_progress.increment_ready()
        schedule.step()
        self.scheduler_progress.increment_completed()
        for callback in trainer.callbacks:
            if _has(callback, "on_train_batch_end"):
                callback.on_train_batch_end(trainer, module, {"loss": loss.detach()}, batch, number)
        progress.increment_completed()

    def on_advance_end(self, data_fetcher: Any) -> None:
        """Validate and stop where Lightning would: after an epoch's last step."""
        within = not (self._num_ready_batches_reached() or self.trainer.should_stop or self.trainer.received_sigterm)
        if self.short and within:
            self._batches_that_stepped += 1
            return
        super().on_advance_end(data_fetcher)


def can_be_short(trainer: pl.Trainer) -> bool:
    """Tell whether a step of ``trainer`` is: batch, loss, gradients clipped by norm, one optimizer, one schedule by step."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    schedules = trainer.lr_scheduler_configs
    return (
        trainer.strategy.root_device.type == "cpu"
        and trainer.world_size == 1
        and trainer.accumulate_grad_batches == 1
        and type(trainer.precision_plugin) in (Precision, ConvertOnce)
        and trainer.gradient_clip_algorithm in (None, "norm")
        and len(trainer.optimizers) == len(schedules) == 1
        and (schedules[0].interval, schedules[0].frequency, schedules[0].reduce_on_plateau) == ("step", 1, False)
        and not any(_has(callback, hook) for callback in callbacks for hook in ("on_train_batch_start", *INSIDE))
    )


def _has(callback: Callback, hook: str) -> bool:
    return getattr(type(callback), hook) is not getattr(Callback, hook)
