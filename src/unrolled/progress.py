"""A training progress bar that refreshes by time, with the time left."""

import sys
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar
from tqdm import tqdm


class TimedProgressBar(ProgressBar):
    """One bar over all steps of all epochs: redrawn twice a second on a terminal, every 15 s in a log."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.bar: tqdm[Any] | None = None

    def disable(self) -> None:
        """Lightning calls this on the processes that must not print."""
        self.bar = None

    def enable(self) -> None:
        """Nothing to do: the bar opens with the training."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the bar where a resumed run goes on."""
        if trainer.is_global_zero:
            every = 0.5 if sys.stderr.isatty() else 15.0
            self.bar = tqdm(
                total=int(trainer.estimated_stepping_batches),
                initial=trainer.global_step,
                desc=self.name,
                unit="step",
                mininterval=every,
                maxinterval=every,
                dynamic_ncols=True,
            )

    def on_train_batch_end(self, *_: Any) -> None:
        """Count the step; tqdm draws when it is time."""
        if self.bar is not None:
            self.bar.update()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show where the training stands."""
        if self.bar is not None:
            loss = trainer.callback_metrics["validation_loss"].item()
            self.bar.set_postfix_str(f"epoch {trainer.current_epoch + 1}, validation loss {loss:.4f}", refresh=False)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close the bar."""
        self.teardown(trainer, pl_module, "fit")

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Close the bar after an error too."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None
