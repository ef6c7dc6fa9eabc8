"""Store a trained model in MLflow so that ``mlflow.pyfunc.load_model`` serves it, without a pickle."""

import os
import tempfile
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from unrolled.card import card
from unrolled.runrecord import TrainedRun
from unrolled.trackingstore import choose_defaults

# What the environment that loads it needs; said here, because MLflow would load the model in a new process to find out.
REQUIREMENTS = ("torch", "numpy", "pandas", "safetensors", "PyYAML")
PACKAGE = Path(__file__).parent
NAME = "model"


def log_model(client: Any, run_id: str, experiment_id: str, run: TrainedRun) -> None:
    """Store the model folder of ``run`` with signature, input example and our code, as the run's only model.

    Nothing but ``client`` is used: MLflow's fluent functions would change its tracking address for the whole process.
    """
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model

    # An attempt that the server did not survive, or this identity's earlier weights from another kind of machine.
    for old in client.search_logged_models([experiment_id], f"source_run_id = '{run_id}'"):
        client.delete_logged_model(old.model_id)
    logged = client.create_logged_model(
        experiment_id,
        name=NAME,
        source_run_id=run_id,
        tags={"unrolled.identity": run.record.identity, "unrolled.data_source": run.record.windows["source"]},
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / NAME
        about = Model(
            artifact_path=logged.artifact_location, run_id=run_id, model_uuid=logged.model_id, model_id=logged.model_id
        )
        _save(run, folder, about)
        client.log_model_artifacts(logged.model_id, str(folder))
    client.finalize_logged_model(logged.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])


def load_served(run: TrainedRun) -> Any:
    """Return the model of ``run`` as mlflow.pyfunc.load_model would, by this checkout's code whatever its folder brings."""
    choose_defaults()
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    with tempfile.TemporaryDirectory() as scratch:
        _save(run, Path(scratch) / NAME)
        from mlflow.pyfunc import load_model

        return load_model(str(Path(scratch) / NAME))


def _save(run: TrainedRun, folder: Path, mlflow_model: Any = None) -> None:
    """Write ``run`` to ``folder`` in MLflow's form: the model folder, its card, our code, signature and an input example."""
    with warnings.catch_warnings():
        # MLflow 3.17 complains of its own type hints while it is imported.
        warnings.filterwarnings("ignore", ".*type hint", UserWarning)
        from mlflow.pyfunc import save_model

    levels = run.record.config["head"].get("quantiles")
    with tempfile.TemporaryDirectory() as scratch:
        about = Path(scratch) / "card.md"
        about.write_text(card(run.record), encoding="utf-8")
        save_model(
            folder,
            mlflow_model=mlflow_model,
            python_model=str(PACKAGE / "serving.py"),
            artifacts={"model": str(run.folder), "card": str(about)},
            code_paths=[str(PACKAGE)],
            signature=signature_of(run.record.windows, levels),
            input_example=example_of(run.record.windows),
            pip_requirements=[f"{name}=={version(name).partition('+')[0]}" for name in REQUIREMENTS],
            metadata={
                "identity": run.record.identity,
                "data_source": run.record.windows["source"],
                **({"quantiles": levels} if levels else {}),
            },
        )


def describe_model(client: Any, run_id: str, experiment_id: str, text: str) -> None:
    """Make ``text``, Markdown, the description of the model that ``run_id`` stored."""
    for logged in client.search_logged_models([experiment_id], f"source_run_id = '{run_id}'"):
        client.set_logged_model_tags(logged.model_id, {"mlflow.note.content": text})


def signature_of(windows: Any, levels: Sequence[float] | None = None) -> Any:
    """Return what the served model takes and gives.

    Series: (batch, rows, features) float64 in physical units -> (batch, horizon) float64, or with quantiles at ``levels``
    (batch, horizon, levels). Examples: (batch, time, features) uint8 as in the data -> (batch, classes) float32. Text: one
    prompt a row -> (batch, vocabulary) float32.
    """
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    def tensor(dtype: str, *shape: int) -> Any:
        return Schema([TensorSpec(np.dtype(dtype), (-1, *shape))])

    if windows["kind"] == "text":
        return ModelSignature(Schema([ColSpec("string")]), tensor("float32", len(windows["vocabulary"])))
    if windows["kind"] == "examples":
        pixels = tensor("uint8", windows["context"], windows["in_features"])
        return ModelSignature(pixels, tensor("float32", windows["classes"]))
    rows = tensor("float64", _rows(windows), windows["in_features"])
    forecast = (windows["horizon"], len(levels)) if levels else (windows["horizon"],)
    return ModelSignature(rows, tensor("float64", *forecast))


def example_of(windows: Any) -> Any:
    """Return an input of two examples in the form of ``signature_of``, with values of the training part's size."""
    import numpy as np

    if windows["kind"] == "text":
        return [windows["vocabulary"][-5:], windows["vocabulary"][-3:]]
    if windows["kind"] == "examples":
        return np.zeros((2, windows["context"], windows["in_features"]), dtype=np.uint8)
    level = max(abs(float(windows["transform"]["mean"])), 1.0)
    ramp = level * (1 + np.arange(_rows(windows)) / 1000)
    example = np.broadcast_to(ramp[None, :, None], (2, len(ramp), windows["in_features"])).copy()
    example[:, :, len(windows["features"]) :] = 0  # what is known ahead: no holiday, no weekday
    return example


def _rows(windows: Any) -> int:
    from unrolled.transform import lookback

    return int(windows["context"]) + lookback(windows["transform"])
