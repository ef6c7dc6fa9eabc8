"""Predict every target of a split once, in physical units, as a table."""

from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from unrolled import metrics, transform
from unrolled.batch import Batch
from unrolled.batches import ExampleWindows, SeriesWindows, TextStreams, in_order
from unrolled.errors import UserError
from unrolled.model import SequenceModel
from unrolled.windowset import SplitName, WindowSet

BATCH = 512
TEXT_CHUNK = 2048


@torch.inference_mode()
def predict_split(model: SequenceModel, windows: WindowSet, split: SplitName) -> pd.DataFrame:
    """Return one row per target of ``split``, each target scored once.

    Series: ``date``, ``step`` (1 to horizon), ``actual``, ``predicted``, ``anchor`` (last known value), physical units.
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
    start = np.datetime64(date.fromisoformat(windows.meta["start"]), "D")
    truth = windows.arrays["series"][:, 0]
    parts = []
    for batch in in_order(dataset, BATCH):
        assert batch.origin is not None
        assert batch.anchor is not None
        predicted = model.predict(batch).values.numpy()  # (batch, horizon)
        rows = batch.origin.numpy()[:, None] + np.arange(predicted.shape[1])
        parts.append(
            pd.DataFrame(
                {
                    "date": (start + rows).astype("datetime64[s]").reshape(-1),
                    "step": np.tile(np.arange(1, predicted.shape[1] + 1), len(rows)),
                    "actual": truth[rows].reshape(-1),
                    "predicted": predicted.reshape(-1).astype(np.float64),
                    "anchor": np.repeat(batch.anchor[:, -1].numpy(), predicted.shape[1]),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def _examples_table(model: SequenceModel, windows: WindowSet, split: SplitName) -> pd.DataFrame:
    parts = []
    for batch in in_order(ExampleWindows(windows, split), BATCH):
        assert batch.origin is not None
        probabilities = model.predict(batch).values.numpy()  # (batch, classes)
        columns = {f"p{digit}": probabilities[:, digit] for digit in range(probabilities.shape[1])}
        told = {"actual": batch.target.numpy(), "predicted": probabilities.argmax(axis=1)}
        parts.append(pd.DataFrame({"index": batch.origin.numpy(), **told, **columns}))
    return pd.concat(parts, ignore_index=True)


def _text_table(model: SequenceModel, windows: WindowSet, split: SplitName) -> pd.DataFrame:
    streams = TextStreams(windows, split, streams=1, chunk=TEXT_CHUNK)
    state: Any = None
    parts = []
    for item in range(len(streams)):
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


def score(table: pd.DataFrame, windows: WindowSet, season: int | None) -> dict[str, float]:
    """Return the plain metrics of one split's predictions.

    Forecasts: ``mae``, ``rmse`` (unit of the data), ``mape`` (percent), ``mase`` (scaled on the training part).
    Classifiers: ``accuracy``, ``nll`` (nats). Language: ``loss_nats``, ``bits_per_char``, ``perplexity``.

    Args:
        table: from ``predict_split``.
        windows: the data; MASE needs its training part.
        season: lag of the naive forecast that scales MASE, in rows.
    """
    kind = windows.meta["kind"]
    if kind == "series":
        actual, predicted = table["actual"].to_numpy(), table["predicted"].to_numpy()
        train = np.asarray(windows.arrays["series"][: windows.split("train")[1], 0])
        scale = metrics.mase_scale(train, season or 1)
        return {
            "mae": metrics.mae(actual, predicted),
            "rmse": metrics.rmse(actual, predicted),
            "mape": metrics.mape(actual, predicted),
            "mase": metrics.mase(actual, predicted, scale),
        }
    if kind == "examples":
        actual = table["actual"].to_numpy()
        probabilities = table[[f"p{digit}" for digit in range(windows.meta["classes"])]].to_numpy()
        return {
            "accuracy": metrics.accuracy(actual, table["predicted"].to_numpy()),
            "nll": metrics.nll(actual, probabilities),
        }
    loss = float(table["loss_nats"].to_numpy(dtype=np.float64).mean())
    return {"loss_nats": loss, "bits_per_char": metrics.bits_per_char(loss), "perplexity": metrics.perplexity(loss)}


@torch.inference_mode()
def forecast_next(model: SequenceModel, values: NDArray[np.float64], meta: dict[str, Any]) -> NDArray[np.float64]:
    """Return the forecast (horizon,) of the rows after the last row of ``values``, in physical units.

    Args:
        model: a trained forecaster.
        values: (rows, features), physical units, column 0 the target.
        meta: the windows' meta data that the model was trained with; its scaler is used as it is.

    Raises:
        UserError: fewer rows than the context needs, or another number of features.
    """
    need = meta["context"] + transform.lookback(meta["transform"])
    if values.shape[1] != meta["in_features"]:
        raise UserError(f"the rows have {values.shape[1]} features, but the model was trained on {meta['in_features']}")
    if len(values) < need:
        raise UserError(f"{len(values)} rows are too few: a context of {meta['context']} needs {need}; give more rows")
    model.eval()
    inputs = torch.from_numpy(transform.features(meta["transform"], values[-need:])[-meta["context"] :])[None]
    anchor = torch.tensor([[values[-1, 0]]], dtype=torch.float64)
    nothing = torch.empty(1, 1, meta["horizon"])
    return model.predict(Batch(inputs, nothing, anchor=anchor)).values[0].numpy().astype(np.float64)
