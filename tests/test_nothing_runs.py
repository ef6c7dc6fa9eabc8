"""Nothing that is read is run: no line of the source would, and hostile files leave no trace and get a clear error."""

import ast
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import ROOT, Fault
from trainedfolders import write_trained
from windowsets import series_windows

from unrolled.config import compose_config
from unrolled.errors import UserError
from unrolled.model import build, load
from unrolled.runrecord import read_trained
from unrolled.trained import read_about
from unrolled.training import assemble, fit, prepare_machine

SOURCES = [path for folder in ("src", "audit", "benchmarks", "tests") for path in sorted((ROOT / folder).rglob("*.py"))]
SOURCES = [path for path in SOURCES if ".venv" not in path.parts]
UNPICKLERS = {"pickle", "_pickle", "cloudpickle", "joblib", "dill", "shelve", "marshal", "jsonpickle", "hickle"}
CALLS = {"eval", "exec", "compile", "execfile", "os.system", "os.popen", "subprocess.getoutput", "builtins.exec"}
CALLS |= {"yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load", "yaml.full_load_all", "runpy.run_path"}
CALLS |= {"hydra.utils.instantiate", "hydra.utils.call", "hydra.utils.get_method", "instantiate"}
METHODS = {"read_pickle", "to_pickle", "load_from_checkpoint", "unsafe_load"}


def _dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def dangers(source: str) -> list[str]:
    """Return what in ``source`` unpickles, runs text, or starts a shell: line and words."""
    tree, found = ast.parse(source), []
    # The exception alone harms nobody: torch.load raises it.
    attributes = {_dotted(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    harmless = {name for name in attributes if name.startswith("pickle.")} == {"pickle.UnpicklingError"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if not (alias.name == "pickle" and harmless)]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""] if [alias.name for alias in node.names] != ["UnpicklingError"] else []
        else:
            names = []
        found += [f"{node.lineno}: import {name}" for name in names if name.partition(".")[0] in UNPICKLERS]
        if isinstance(node, ast.Call):
            found += [f"{node.lineno}: {danger}" for danger in _dangers_of(node)]
    return found


def _dangers_of(call: ast.Call) -> Iterator[str]:
    name, given = _dotted(call.func), {keyword.arg: keyword.value for keyword in call.keywords}
    literal = {key: value.value for key, value in given.items() if isinstance(value, ast.Constant)}
    if name in CALLS or name.rpartition(".")[2] in METHODS:
        yield name
    if name == "torch.load" and literal.get("weights_only") is not True:
        yield "torch.load without weights_only=True"
    if "shell" in given and literal.get("shell") is not False:
        yield "shell="
    if "allow_pickle" in given and literal.get("allow_pickle") is not False:
        yield "allow_pickle="


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_source_unpickles_runs_text_or_starts_a_shell(path: Path) -> None:
    assert dangers(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "import pickle as p",
        "import pickle; pickle.loads(b'')",
        "import pickle; e = pickle.UnpicklingError; pickle.load",
        "from pickle import load",
        "import joblib",
        "from dill import loads",
        "import cloudpickle",
        "import torch; torch.load('x')",
        "import torch; torch.load('x', weights_only=False)",
        "import torch; torch.load('x', weights_only=flag)",
        "import yaml; yaml.load('x', Loader=yaml.Loader)",
        "import yaml; yaml.unsafe_load('x')",
        "eval('1')",
        "exec('1')",
        "import os; os.system('ls')",
        "import subprocess; subprocess.run('ls', shell=True)",
        "import subprocess; subprocess.run('ls', shell=flag)",
        "import numpy as np; np.load('x', allow_pickle=True)",
        "import pandas as pd; pd.read_pickle('x')",
        "from hydra.utils import instantiate; instantiate(config)",
    ],
)
def test_the_walk_sees_it(line: str) -> None:
    assert dangers(line)


@pytest.mark.parametrize(
    "line",
    [
        "import pickle\ntry:\n    x\nexcept pickle.UnpicklingError: pass",
        "import torch; torch.load('x', weights_only=True)",
        "model.eval()",
        "import re; re.compile('x')",
        "import yaml; yaml.safe_load('x')",
        "import numpy as np; np.load('x', allow_pickle=False)",
    ],
)
def test_the_walk_lets_pass_what_is_harmless(line: str) -> None:
    assert dangers(line) == []


class _Trap:
    """Unpickled, it makes a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.trace,)


def _pickled_trap(trace: Path) -> bytes:
    """A pickle (protocol 0) that makes a file when it is loaded by whatever loads pickles."""
    return f"cos\nsystem\n(S'touch {trace}'\ntR.".encode()


Hostile = Callable[[str], AbstractContextManager[Path]]


@pytest.fixture
def hostile(tmp_path: Path, fault: Fault) -> Hostile:
    """``with hostile(what) as trace:`` counts one hostile file that would make the file ``trace`` if it were run."""

    @contextmanager
    def tried(what: str) -> Iterator[Path]:
        trace = tmp_path / "trace"
        with fault("hostile files, of which nothing runs", what):
            yield trace
            assert not trace.exists(), "what was read has run"

    return tried


def test_the_traps_work(tmp_path: Path) -> None:
    torch.save({"x": _Trap(tmp_path / "sprung")}, tmp_path / "trap.ckpt")
    assert "weights_only" not in str(torch.serialization.load)  # only here, to see that the trap is one:
    getattr(torch, "load")(tmp_path / "trap.ckpt", weights_only=False)  # noqa: B009
    assert (tmp_path / "sprung").exists()


def _config() -> dict[str, Any]:
    config = compose_config(["task=energy", "model=gru", "trainer=cpu", "encoder.hidden_size=4"], ROOT)
    config["head"]["skip"] = 0
    config["trainer"]["enable_progress_bar"] = False
    config["training"] |= {"batch_size": 8, "epochs": 3}
    return config


def _train(resume: Path, on_epoch: Any = None) -> dict[str, torch.Tensor]:
    config, windows = _config(), series_windows()
    prepare_machine(1, 0)
    model = build(config, windows.meta)
    fit(*assemble(config, windows, model, resume, on_epoch), resume)
    return model.state_dict()


class _Killed(Exception):
    pass


@pytest.fixture(scope="module")
def half_trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The resume folder of a training that was killed after its second epoch."""

    def kill(row: Any) -> None:
        if row["epoch"] == 1:
            raise _Killed

    folder = tmp_path_factory.mktemp("killed")
    with pytest.raises(_Killed):
        _train(folder, kill)
    return folder


@pytest.mark.chaos(make_test=True)
@pytest.mark.parametrize("kind", ["zip", "pickle"])
def test_a_hostile_checkpoint_is_not_unpickled(
    kind: str, half_trained: Path, hostile: Hostile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    resume = shutil.copytree(half_trained, tmp_path / "resume")
    path = resume / "last.ckpt"
    with hostile(f"a checkpoint with a pickle that makes a file, {kind}") as trace:
        if kind == "zip":
            content = torch.load(path, weights_only=True)
            torch.save(content | {"hyper_parameters": {"x": _Trap(trace)}}, path)
        else:
            path.write_bytes(_pickled_trap(trace))
        _train(resume)
        assert "afresh" in capsys.readouterr().out, "it is told that the checkpoint was not used"


@pytest.mark.chaos(make_test=True)
def test_a_checkpoint_that_names_a_class_makes_none(half_trained: Path, hostile: Hostile, tmp_path: Path) -> None:
    resume = shutil.copytree(half_trained, tmp_path / "resume")
    with hostile("a checkpoint that names a function to call") as trace:
        call = {"_target_": "os.system", "_args_": [f"touch {trace}"], "command": f"touch {trace}"}
        names = {"_instantiator": "os.system", "_class_path": "os.system", "class_path": "os.system", "init_args": call}
        for path in resume.glob("*.ckpt"):
            content = torch.load(path, weights_only=True)
            content |= {"hyper_parameters": call | names, "hparams_name": "kwargs", "hparams_type": "os.system"}
            content |= {"datamodule_hyper_parameters": call | names, "datamodule_hparams_type": "os.system"}
            torch.save(content, path)
        whole = _train(tmp_path / "whole")
        assert all(torch.equal(tensor, whole[name]) for name, tensor in _train(resume).items())


@pytest.mark.chaos(make_test=True)
def test_pickled_weights_are_refused(hostile: Hostile, tmp_path: Path) -> None:
    folder = write_trained(tmp_path, series_windows(), place="outputs/foreign")
    weights = folder / "weights.safetensors"
    with hostile("a model's weights with a pickle that makes a file, zip") as trace:
        torch.save({"x": _Trap(trace)}, weights)
        _refused(lambda: load(folder), "is no whole model folder (SafetensorError: ")
    with hostile("a model's weights with a pickle that makes a file, pickle") as trace:
        weights.write_bytes(_pickled_trap(trace))
        _refused(lambda: load(folder), "is no whole model folder (SafetensorError: ")


def _refused(action: Callable[[], Any], told: str) -> None:
    with pytest.raises(UserError) as refused:
        action()
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.chaos(make_test=True)
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("task", "../../elsewhere"),
        ("task", ".."),
        ("task", ["energy"]),
        ("model", "../x"),
        ("seed", "../0"),
        ("identity", "../../elsewhere"),
        ("identity", "' OR 1=1"),
        ("data_digest", "../../etc"),
    ],
)
def test_a_name_in_a_models_meta_data_is_no_path(key: str, value: Any, hostile: Hostile, tmp_path: Path) -> None:
    folder = write_trained(tmp_path, series_windows(), place="outputs/foreign")
    about = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps(about | {key: value}))
    told = f"meta.json: {key}={value!r} is no {key}; train this model again"
    with hostile(f"a model's meta data with {value!r} for its {key}"):
        _refused(lambda: read_about(folder), told)
        _refused(lambda: read_trained(tmp_path, folder), told)


@pytest.mark.chaos(make_test=True)
def test_a_hostile_configuration_is_not_mirrored(hostile: Hostile, tmp_path: Path) -> None:
    folder = write_trained(tmp_path, series_windows(), place="outputs/foreign")
    config = yaml.safe_load((folder / "config.yaml").read_text())
    (folder / "config.yaml").write_text(yaml.safe_dump(config | {"training": {"x": {"_target_": "os.system"}}}))
    with hostile("a model's configuration that names a function to call"):
        _refused(
            lambda: read_trained(tmp_path, folder),
            "outputs/foreign/config.yaml: training.x._target_='os.system': _target_ would",
        )


def _mlflow_model(folder: Path, **flavor: Any) -> Path:
    folder.mkdir()
    flavors = {"python_function": {"env": {}, "python_version": "3.11.0", **flavor}}
    (folder / "MLmodel").write_text(yaml.safe_dump({"flavors": flavors, "model_uuid": "0" * 32}))
    return folder


def _with_pickle(folder: Path, trace: Path) -> Path:
    _mlflow_model(folder, loader_module="mlflow.pyfunc.model", python_model="python_model.pkl")
    (folder / "python_model.pkl").write_bytes(_pickled_trap(trace))
    return folder


def _with_code(folder: Path, trace: Path) -> Path:
    _mlflow_model(folder, loader_module="hostile_loader", code="code")
    (folder / "code").mkdir()
    (folder / "code/hostile_loader.py").write_text(f"open({str(trace)!r}, 'w')\n")
    return folder


@pytest.mark.chaos(make_test=True)
@pytest.mark.filterwarnings("ignore")
def test_a_pickled_mlflow_model_is_refused(hostile: Hostile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    with (
        hostile("an MLflow model with a pickle that makes a file") as trace,
        pytest.raises(mlflow.MlflowException, match="Deserializing model using pickle is disallowed"),
    ):
        mlflow.pyfunc.load_model(str(_with_pickle(tmp_path / "model", trace)))


@pytest.mark.chaos(make_test=True)
@pytest.mark.parametrize(("make", "brought"), [(_with_pickle, "a pickle"), (_with_code, "code")])
@pytest.mark.parametrize("with_model_folder", [False, True])
def test_serving_runs_nothing_that_a_foreign_model_brings(
    make: Callable[[Path, Path], Path],
    brought: str,
    with_model_folder: bool,
    hostile: Hostile,
    tmp_path: Path,
    run_module: Any,
) -> None:
    with hostile(f"an MLflow model that brings {brought}, served") as trace:
        folder = make(tmp_path / "model", trace)
        if with_model_folder:  # a hostile MLflow model may also look like a model folder of ours
            shutil.copytree(write_trained(tmp_path, series_windows(), place="w"), folder, dirs_exist_ok=True)
            config = yaml.safe_load((folder / "config.yaml").read_text())
            config["encoder"]["name"] = "hostile_loader"
            (folder / "config.yaml").write_text(yaml.safe_dump(config))
        done = run_module("unrolled.cli", "serve", f"run={folder}", "port=0")
        assert done.returncode == 1
        told = "unknown encoder.name 'hostile_loader'" if with_model_folder else "is not a model folder"
        assert done.stderr.startswith("error: ")
        assert told in done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
