"""The model that MLflow serves says what the pipeline says, and is loaded without a pickle."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from trainedfolders import write_trained
from windowsets import example_windows, known_windows, series_windows, text_windows

from unrolled import trackingstore
from unrolled.loggedmodel import example_of
from unrolled.model import load
from unrolled.predictions import predict_split
from unrolled.tracking import mirror
from unrolled.windowset import WindowSet

WINDOWS = {
    "series": series_windows,
    "returns": lambda: series_windows(name="log_return"),
    "quantiles": lambda: series_windows(horizon=2, name="log_return"),
    "calendar": lambda: known_windows(horizon=2),
    "examples": example_windows,
    "text": text_windows,
}
# MLflow 3.17 warns of its own: the type hints of its classes, and how it will keep models one day.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A checkout with one trained model of each kind, mirrored."""
    kept = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(("MLFLOW_", "DVC_"))}
    root = tmp_path_factory.mktemp("serving")
    for number, (kind, make) in enumerate(WINDOWS.items()):
        head = {"quantiles": [0.05, 0.5, 0.95]} if kind == "quantiles" else {}
        mirror(root, write_trained(root, make(), place=f"outputs/{kind}", identity=f"{number}" * 64, **head))
    yield root
    os.environ.update(kept)


def _model_uri(root: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> str:
    store = trackingstore.connect(root)
    number = list(WINDOWS).index(kind)
    experiments = [e.experiment_id for e in store.client.search_experiments()]
    (run,) = store.client.search_runs(experiments, f"tags.`unrolled.identity` = '{str(number) * 64}'")
    (model,) = store.client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run.info.run_id}'")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    mlflow.set_tracking_uri(store.uri)
    return f"models:/{model.model_id}"


@pytest.mark.parametrize("kind", WINDOWS)
def test_it_is_whole_and_holds_no_pickle(store: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(mlflow.artifacts.download_artifacts(_model_uri(store, kind, monkeypatch)))
    names = {path.name for path in folder.rglob("*") if path.is_file()}
    assert {"MLmodel", "weights.safetensors", "serving.py", "requirements.txt"} <= names
    (card,) = folder.rglob("card.md")
    assert "Attribution of the data: made for a test" in card.read_text()
    assert "STAND-IN DATA" in card.read_text()
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".pt", ".ckpt", ".bin"))]
    about = mlflow.models.get_model_info(str(folder))
    assert about.signature is not None
    assert about.saved_input_example_info is not None


@pytest.mark.parametrize("kind", WINDOWS)
def test_its_input_example_can_be_served(store: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    served = mlflow.pyfunc.load_model(_model_uri(store, kind, monkeypatch))
    example: Any = example_of(WINDOWS[kind]().meta)
    answer = np.asarray(served.predict(pd.DataFrame({"prompt": example}) if kind == "text" else example))
    assert len(answer) == 2
    assert np.isfinite(answer).all()


@pytest.mark.parametrize("kind", ["series", "returns"])
def test_a_forecast_is_the_pipelines(store: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    windows = WINDOWS[kind]()
    table = predict_split(load(store / "outputs" / kind), windows, "test")
    low, _ = windows.split("test")
    seen = windows.meta["context"] + (kind == "returns")
    values = np.stack([windows.arrays["series"][row - seen : row] for row in range(low, low + 3)])
    served = mlflow.pyfunc.load_model(_model_uri(store, kind, monkeypatch))
    assert served.predict(values)[:, 0] == pytest.approx(table["predicted"][:3].to_numpy())


def test_quantiles_are_the_pipelines_as_the_signature_says(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    windows = WINDOWS["quantiles"]()
    table = predict_split(load(store / "outputs/quantiles"), windows, "test")
    uri = _model_uri(store, "quantiles", monkeypatch)
    answer = mlflow.pyfunc.load_model(uri).predict(windows.arrays["series"][None, 44:50])
    assert answer.shape == (1, 2, 3)
    assert answer[0] == pytest.approx(table[["q0.05", "q0.5", "q0.95"]][:2].to_numpy())
    about = mlflow.models.get_model_info(uri)
    assert about.signature.outputs.inputs[0].shape == (-1, 2, 3)
    assert about.metadata["quantiles"] == [0.05, 0.5, 0.95]


def test_probabilities_are_the_pipelines(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    windows: WindowSet = example_windows()
    table = predict_split(load(store / "outputs/examples"), windows, "test")
    served = mlflow.pyfunc.load_model(_model_uri(store, "examples", monkeypatch))
    answer = served.predict(windows.arrays["inputs"][50:53])
    assert answer == pytest.approx(table[["p0", "p1", "p2"]][:3].to_numpy(), abs=1e-6)
    assert answer.sum(axis=1) == pytest.approx(1, abs=1e-6)
