"""Train one library's GRU and print the seconds of its epochs as a JSON list: ``rival_worker.py NAME < asked.json``.

``asked``: values of the series, batch, epochs. A process of its own per case, in the environment that has the library.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CONTEXT, HIDDEN, RATE = 33, 64, 0.001


class Epochs:
    """Notes the time at the start of training and at the end of every epoch."""

    def __init__(self) -> None:
        self.marks: list[float] = []

    def mark(self, *_: Any, **__: Any) -> None:
        """Note the time."""
        self.marks.append(time.perf_counter())

    def seconds(self) -> list[float]:
        """Return how long each epoch took."""
        return [b - a for a, b in zip(self.marks, self.marks[1:], strict=False)]


def lightning_callback(epochs: Epochs) -> Any:
    """Return a callback that marks the epochs of any Lightning Trainer."""
    import pytorch_lightning as pl

    class Marks(pl.Callback):  # type: ignore[misc]
        on_train_start = epochs.mark
        on_train_epoch_end = epochs.mark

    return Marks()


def ours(values: list[float], batch: int, count: int, epochs: Epochs) -> None:
    """Train as `unrolled train` does, tracking apart; the validation loss of every epoch is ours alone to compute."""
    from datetime import date

    import numpy as np
    from taskdata import config_of

    from unrolled import training
    from unrolled.dataset import Series
    from unrolled.model import build
    from unrolled.window import make_windows

    config = config_of(
        "energy", "gru", f"training.batch_size={batch}", f"training.epochs={count}", "training.schedule=constant",
        f"training.learning_rate={RATE}", "head.pool=last", "trainer.limit_val_batches=1",
    )  # fmt: skip
    rows = len(values)
    series = Series(np.array(values)[:, None], ("load",), date(2006, 1, 1), "GWh")
    parts = {"train": (0, rows - 20), "validation": (rows - 20, rows - 10), "test": (rows - 10, rows)}
    about = {"task": "energy", "context": CONTEXT, "horizon": 1, "source": "real", "asked": {}}
    training.prepare_machine(1, 0)
    windows = make_windows(series, parts, "level", about)
    with tempfile.TemporaryDirectory() as resume:
        trainer, learner, data = training.assemble(config, windows, build(config, windows.meta), Path(resume))
        trainer.callbacks.append(lightning_callback(epochs))  # type: ignore[attr-defined]
        trainer.fit(learner, data)


def neuralforecast(values: list[float], batch: int, count: int, epochs: Epochs) -> None:
    """Train neuralforecast's GRU on windows of one series; its budget is in steps, so an epoch is as many as fill one."""
    import pandas as pd
    from neuralforecast import NeuralForecast
    from neuralforecast.losses.pytorch import MAE
    from neuralforecast.models import GRU

    steps = -(-(len(values) - CONTEXT) // batch)
    callback = lightning_callback(epochs)
    callback.on_train_epoch_end = lambda *_: None
    callback.on_train_batch_end = lambda trainer, *_: trainer.global_step % steps or epochs.mark()
    model = GRU(
        h=1, input_size=CONTEXT, encoder_hidden_size=HIDDEN, encoder_n_layers=1, loss=MAE(), max_steps=steps * count,
        learning_rate=RATE, batch_size=1, windows_batch_size=batch, scaler_type="identity", recurrent=False,
        accelerator="cpu", devices=1, enable_progress_bar=True, logger=False, enable_checkpointing=False, callbacks=[callback],
    )  # fmt: skip
    frame = pd.DataFrame(
        {"unique_id": "load", "ds": pd.date_range("2006-01-01", periods=len(values)), "y": scaled(values)}
    )
    NeuralForecast(models=[model], freq="D").fit(frame)


def darts(values: list[float], batch: int, count: int, epochs: Epochs) -> None:
    """Train darts' GRU; its training length is the context and one."""
    import numpy as np
    from darts import TimeSeries
    from darts.models import RNNModel

    series = TimeSeries.from_values(np.array(scaled(values), dtype=np.float32))
    model = RNNModel(
        CONTEXT, model="GRU", hidden_dim=HIDDEN, n_rnn_layers=1, training_length=CONTEXT, batch_size=batch, n_epochs=count,
        optimizer_kwargs={"lr": RATE},
        pl_trainer_kwargs={"accelerator": "cpu", "devices": 1, "callbacks": [lightning_callback(epochs)]},
    )  # fmt: skip
    model.fit(series, verbose=True)


def keras(backend: str) -> Callable[[list[float], int, int, Epochs], None]:
    """Return the training with Keras' GRU on ``backend``."""

    def train(values: list[float], batch: int, count: int, epochs: Epochs) -> None:
        os.environ["KERAS_BACKEND"] = backend
        import keras
        import numpy as np

        series = np.array(scaled(values), dtype=np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(series, CONTEXT + 1)
        inputs, target = windows[:, :CONTEXT, None].copy(), windows[:, CONTEXT:].copy()
        layers = [keras.layers.Input((CONTEXT, 1)), keras.layers.GRU(HIDDEN), keras.layers.Dense(1)]
        model = keras.Sequential(layers)
        model.compile(keras.optimizers.AdamW(RATE), "mae")
        marks = keras.callbacks.LambdaCallback(on_train_begin=epochs.mark, on_epoch_end=epochs.mark)
        model.fit(inputs, target, batch_size=batch, epochs=count, callbacks=[marks], verbose=2)

    return train


def scaled(values: list[float]) -> list[float]:
    """Return ``values`` with mean 0 and deviation 1."""
    import numpy as np

    array = np.array(values)
    return ((array - array.mean()) / array.std()).tolist()  # type: ignore[no-any-return]


TRAININGS = {
    "ours": ours,
    "neuralforecast": neuralforecast,
    "darts": darts,
    "keras on torch": keras("torch"),
    "keras on jax": keras("jax"),
}


def main(name: str) -> None:
    """Train and print."""
    asked, epochs = json.load(sys.stdin), Epochs()
    if name != "keras on jax":
        import torch

        torch.set_num_threads(1)
    TRAININGS[name](asked["values"], asked["batch"], asked["epochs"], epochs)
    print(json.dumps(epochs.seconds()))


if __name__ == "__main__":
    main(sys.argv[1])
