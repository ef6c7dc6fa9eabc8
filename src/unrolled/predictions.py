"""Predict every target of a split once, in physical units, as a table."""

import sys
from collections.abc import Iterable
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from unrolled import transform
from unrolled.batch import Batch
from unrolled.batches import ExampleWindows, SeriesWindows, TextStreams, in_order
from unrolled.errors import UserError
from unrolled.heads import Prediction
from unrolled.model import SequenceModel
from unrolled.predictiontable import class_table, forecast_table
from unrolled.windowset import SplitName, WindowSet

Item = TypeVar("Item")

BATCH = 512
TEXT_CHUNK = 2048


@torch.inference_mode()
def predict_split(model: SequenceModel, windows: WindowSet, split: SplitName) -> pd.DataFrame:
    """Return one row per target of ``split``, each target scored once.

    Series: ``date``, ``step`` (1 to horizon), ``actual``, ``predicted``, ``anchor`` (last known value) and, if the model
    has quantiles, one column a level, ``q0.05`` ..., of which ``predicted`` is the median; physical units.
    Examples: ``index``, ``actual``, ``predicted``, ``p0`` ... (probability of each class).
    Text: ``position``, ``actual`` and ``predicted`` (tokens), ``confidence``, ``loss_nats``; read in one pass, the
    state warmed on the characters before the split.
    """
    model.eval()
    kind = windows.meta["kind"]
    if kind == "series":
        return _series_table(model, windows, split)
    return _examples_table(model, windows, split) if kind == "examples" else _text_table(model, windows, split)


def _series_table(model: SequenceModel, windows: WindowSet, split: SplitName) -> pd.DataFrame:
    dataset = SeriesWindows(windows, split, every_step=False)
    parts = []
    for batch in _shown(in_order(dataset, BATCH), split, -(-len(dataset) // BATCH)):
        assert batch.origin is not None
        prediction = model.predict(batch)
        table = forecast_table(windows, batch.origin.numpy(), prediction.points().numpy())
        quantiles = {f"q{level}": prediction.values[..., k].reshape(-1) for k, level in enumerate(prediction.levels)}
        parts.append(table.assign(**{name: values.numpy() for name, values in quantiles.items()}))
    return pd.concat(parts, ignore_index=True)


def _examples_table(model: SequenceModel, windows: WindowSet, split: SplitName) -> pd.DataFrame:
    parts = []
    dataset = ExampleWindows(windows, split)
    for batch in _shown(in_order(dataset, BATCH), split, -(-len(dataset) // BATCH)):
        assert batch.origin is not None
        probabilities = model.predict(batch).values.numpy()  # (batch, classes)
        parts.append(class_table(batch.origin.numpy(), batch.target.numpy(), probabilities))
    return pd.concat(parts, ignore_index=True)


def _text_table(model: SequenceModel, windows: WindowSet, split: SplitName) -> pd.DataFrame:
    streams = TextStreams(windows, split, streams=1, chunk=TEXT_CHUNK)
    state: Any = None
    parts = []
    for item in _shown(range(len(streams)), split, len(streams)):
        batch = streams[item]
        assert batch.target_mask is not None
        assert batch.origin is not None
        logits, state = model(batch.inputs, state)
        log_probabilities = torch.log_softmax(logits[0], dim=-1)  # (chunk, vocabulary)
        actual, scored = batch.target[0], batch.target_mask[0]
        best = log_probabilities.max(dim=-1)
        loss = -log_probabilities.gather(1, actual[:, None])[:, 0]
        table = {
            "position": batch.origin[0],
            "actual": actual,
            "predicted": best.indices,
            "confidence": best.values.exp(),
            "loss_nats": loss,
        }
        parts.append(pd.DataFrame({name: column[scored].numpy() for name, column in table.items()}))
    return pd.concat(parts, ignore_index=True)


def _shown(items: Iterable[Item], split: str, total: int) -> Iterable[Item]:
    """Show progress and the time left, unless it is done in a moment."""
    every = 0.5 if sys.stderr.isatty() else 15.0
    bar: Iterable[Item] = tqdm(items, f"predict {split}", total, leave=False, mininterval=every, delay=2.0)
    return bar


@torch.inference_mode()
def forecast_next(
    model: SequenceModel,
    values: NDArray[np.float64],
    meta: dict[str, Any],
    known: NDArray[np.float32] | None = None,
) -> Prediction:
    """Return the forecast of the ``horizon`` rows after the last row of ``values``: a batch of one, physical units.

    Args:
        model: a trained forecaster.
        values: (rows, features), physical units, column 0 the target.
        meta: the windows' meta data that the model was trained with; its scaler is used as it is.
        known: (rows and at least horizon more, columns), from the same first row on, for a task with known columns.

    Raises:
        UserError: fewer rows than the context needs, or another number of features.
    """
    context, horizon = meta["context"], meta["horizon"]
    need = context + transform.lookback(meta["transform"])
    if values.shape[1] != len(meta["features"]):
        raise UserError(
            f"the rows have {values.shape[1]} features, but the model was trained on {len(meta['features'])}"
        )
    if len(values) < need:
        raise UserError(f"{len(values)} rows are too few: a context of {context} needs {need}; give more rows")
    if (known is not None) != bool(meta.get("known")):
        raise UserError("the model was trained with other known columns than these rows have; train it again")
    model.eval()
    inputs = torch.from_numpy(transform.features(meta["transform"], values[-need:])[-context:])[None]
    if known is not None:
        first = len(values) - context + 1
        ahead = torch.from_numpy(known[first : first + context + horizon - 1]).unfold(0, horizon, 1)
        inputs = torch.cat([inputs, ahead.flatten(1)[None]], dim=2)
    anchor = torch.tensor([[values[-1, 0]]], dtype=torch.float64)
    nothing = torch.empty(1, 1, horizon)
    return model.predict(Batch(inputs, nothing, anchor=anchor))
