"""The model as MLflow serves it: raw values in physical units in, forecasts or probabilities out.

MLflow runs this file when it loads the model ("models from code"): nothing is pickled. It works on the model folder that
train wrote, which MLflow keeps as the artifact ``model``.
"""

import json
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import torch
from mlflow.pyfunc import PythonModel
from numpy.typing import NDArray

from unrolled import transform
from unrolled.batch import Batch
from unrolled.generate import encode
from unrolled.model import load


class ServedModel(PythonModel):  # type: ignore[misc]
    """A trained model behind MLflow's ``predict``."""

    def load_context(self, context: Any) -> None:
        """Load the model folder."""
        folder = Path(context.artifacts["model"])
        self.model = load(folder)
        self.meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))["windows"]

    # MLflow reads the hint of ``model_input`` and has none for either-or: text comes as a DataFrame of one column.
    def predict(
        self,
        context: Any,
        model_input: np.ndarray,
        params: dict[str, Any] | None = None,
    ) -> NDArray[Any]:
        """Return what the model says of each example of ``model_input``.

        Series: (batch, rows, features) in physical units, as many rows as the context (under log_return one more): the
        next ``horizon`` values (where a calendar is known, a row's further columns tell it of the rows after it) or, from a
        model with quantiles, (batch, horizon, levels). Examples: (batch, time,
        features), raw pixels: class probabilities. Text: one column of prompts of any length: probabilities of the next
        character.
        """
        with torch.inference_mode():
            if self.meta["kind"] == "text":
                return self._next_character(model_input)
            values = np.asarray(model_input, dtype=np.float64)
            if self.meta["kind"] == "series":
                return self._forecast(values)
            scaler = self.meta["scaler"]
            inputs = torch.from_numpy(((values - scaler["mean"]) / scaler["scale"]).astype(np.float32))
            return self.model.predict(Batch(inputs, torch.empty(0))).values.numpy()

    def _forecast(self, values: NDArray[Any]) -> NDArray[Any]:
        params, context = self.meta["transform"], self.meta["context"]
        own = len(self.meta["features"])
        seen = np.stack([transform.features(params, window[:, :own])[-context:] for window in values])
        seen = np.concatenate([seen, values[:, -context:, own:].astype(np.float32)], axis=2)
        anchor = torch.from_numpy(values[:, -1:, 0])
        return self.model.predict(Batch(torch.from_numpy(seen), torch.empty(0), anchor=anchor)).values.numpy()

    def _next_character(self, prompts: pd.DataFrame) -> NDArray[Any]:
        encoded = [encode(text, self.meta["vocabulary"])[None] for text in prompts.iloc[:, 0]]
        return np.stack([self.model.predict(Batch(tokens, tokens)).values[0, -1].numpy() for tokens in encoded])


mlflow.models.set_model(ServedModel())
