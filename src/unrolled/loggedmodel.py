"""Log a trained model to MLflow so that ``mlflow.pyfunc.load_model`` serves it, without a pickle."""

import os
import warnings
from pathlib import Path
from typing import Any

from unrolled.runrecord import TrainedRun

# What a loading environment needs; given, because MLflow would otherwise load the model twice to find out.
REQUIREMENTS = ("torch", "numpy", "safetensors", "pyyaml", "mlflow", "pandas")
PACKAGE = Path(__file__).parent


def log_model(client: Any, run_id: str, experiment_id: str, run: TrainedRun) -> None:
    """Log the model folder of ``run`` with signature, input example and our code."""
    import mlflow

    # The example is written down; to run it through a server's parser as well would only cost seconds.
    os.environ.setdefault("MLFLOW_REQUIREMENTS_INFERENCE_RAISE_ERRORS", "false")
    mlflow.set_tracking_uri(client.tracking_uri)
    example, answer = example_of(run)
    with warnings.catch_warnings(), mlflow.start_run(run_id=run_id):
        # MLflow advises type hints that it could infer a schema from; the signature is given.
        warnings.filterwarnings("ignore", ".*type hint.*")
        # MLflow 3.17 on SQLAlchemy 2.1; nothing that a user could do about it.
        warnings.filterwarnings("ignore", "The ``noload`` loader strategy", DeprecationWarning)
        mlflow.pyfunc.log_model(
            name="model",
            python_model=str(PACKAGE / "serving.py"),
            artifacts={"model": str(run.folder)},
            code_paths=[str(PACKAGE)],
            signature=mlflow.models.infer_signature(example, answer),
            input_example=example,
            pip_requirements=_requirements(),
            metadata={"identity": run.record.identity, "data_source": run.record.windows["source"]},
        )


def _requirements() -> list[str]:
    from importlib.metadata import version

    return [f"{name}=={version(name).partition('+')[0]}" for name in REQUIREMENTS]


def example_of(run: TrainedRun) -> tuple[Any, Any]:
    """Return an input example of two rows in the served model's form, and an answer of the right shape."""
    import numpy as np
    import pandas as pd

    from unrolled import transform

    meta = run.record.windows
    if meta["kind"] == "text":
        size = len(meta["vocabulary"])
        prompts = pd.DataFrame({"prompt": [meta["vocabulary"][-5:], meta["vocabulary"][-3:]]})
        return prompts, np.full((2, size), 1 / size, dtype=np.float32)
    if meta["kind"] == "series":
        rows = meta["context"] + transform.lookback(meta["transform"])
        level = max(abs(float(meta["transform"]["mean"])), 1.0)
        ramp = level * (1 + np.arange(rows) / 1000)
        example = np.broadcast_to(ramp[None, :, None], (2, rows, meta["in_features"])).copy()
        return example, np.zeros((2, meta["horizon"]))
    images = np.zeros((2, meta["context"], meta["in_features"]))
    return images, np.full((2, meta["classes"]), 1 / meta["classes"], dtype=np.float32)
