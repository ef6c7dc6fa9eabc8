"""Nothing that is read is run: no line of the source would, and hostile files leave no trace and get a clear error."""

import ast
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import ROOT, Fault
from trainedfolders import write_trained
from windowsets import series_windows

from unrolled import trackingstore
from unrolled.config import compose_config
from unrolled.errors import UserError
from unrolled.model import build, load
from unrolled.resume import WholeCheckpoints
from unrolled.runrecord import read_trained
from unrolled.trained import read_about
from unrolled.training import assemble, fit, prepare_machine

SOURCES = [path for folder in ("src", "audit", "benchmarks", "tests") for path in sorted((ROOT / folder).rglob("*.py"))]
SOURCES = [path for path in SOURCES if ".venv" not in path.parts]
UNPICKLERS = {"pickle", "_pickle", "cloudpickle", "joblib", "dill", "shelve", "marshal", "jsonpickle", "hickle"}
IMPORTERS = {"__import__", "importlib.import_module", "importlib.__import__"}
# Found wherever they are named, called or not: what is named can be called by another name.
RUNNERS = {"eval", "exec", "compile", "execfile", "os.system", "os.popen", "subprocess.getoutput"}
RUNNERS |= {"yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load", "yaml.full_load_all", "runpy.run_path"}
RUNNERS |= {"hydra.utils.instantiate", "hydra.utils.call", "hydra.utils.get_method", "subprocess.getstatusoutput"}
METHODS = {"read_pickle", "to_pickle", "load_from_checkpoint", "unsafe_load"}
# Modules of which not even everything may be imported at once: it would be in there.
STARLESS = {"torch", "builtins"} | {name.rpartition(".")[0] for name in RUNNERS if "." in name}
# What is worth following through assignments: what leads to one of them.
LEADING = [name.split(".") for name in RUNNERS | IMPORTERS | {"torch.load", "torch.serialization", "builtins.eval"}]
WATCHED = {".".join(parts[:count]) for parts in LEADING for count in range(1, len(parts) + 1)}
Aliases = dict[str, set[str]]


def _names(node: ast.AST | None, aliases: Aliases) -> set[str]:
    """Return the dotted names that an expression may stand for: ``t.load`` is torch.load after ``import torch as t``."""
    if isinstance(node, ast.Name):
        return aliases.get(node.id, {node.id})
    if isinstance(node, ast.Attribute):
        return {_canonical(f"{name}.{node.attr}") for name in _names(node.value, aliases)}
    if isinstance(node, ast.Call):
        literals = [part.value for part in _given(node) if isinstance(part, ast.Constant)]
        if _names(node.func, aliases) & IMPORTERS and literals and isinstance(literals[0], str):
            return {literals[0]}
        if isinstance(node.func, ast.Name) and node.func.id == "getattr" and literals:
            return {_canonical(f"{name}.{literals[0]}") for name in _names(node.args[0], aliases)}
    return {"?"}


def _given(call: ast.Call) -> list[ast.expr]:
    return [*call.args, *(keyword.value for keyword in call.keywords)]


def _canonical(name: str) -> str:
    return name.removeprefix("builtins.").replace("torch.serialization.", "torch.")


def _aliases(tree: ast.AST) -> Aliases:
    """Return what each name that is imported or assigned may stand for, itself included, anywhere in the file."""
    aliases: Aliases = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                bound = alias.asname or alias.name.partition(".")[0]
                aliases.setdefault(bound, {bound}).add(alias.name if alias.asname else bound)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                bound = alias.asname or alias.name
                aliases.setdefault(bound, {bound}).add(_canonical(f"{node.module}.{alias.name}"))
    assigned = (node for node in ast.walk(tree) if isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr))
    for node in sorted(assigned, key=lambda node: node.lineno):
        names = {
            name for name in _names(node.value, aliases) if name in WATCHED or name.partition(".")[0] in UNPICKLERS
        }
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            if isinstance(target, ast.Name):
                aliases[target.id] = aliases.get(target.id, {target.id}) | names
    return aliases


def dangers(source: str) -> list[str]:
    """Return what in ``source`` unpickles, runs text, or starts a shell: line and words."""
    tree = ast.parse(source)
    aliases = _aliases(tree)
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.stmt | ast.expr)]
    inner = {id(node.value) for node in nodes if isinstance(node, ast.Attribute)}
    inner |= {id(node.func) for node in nodes if isinstance(node, ast.Call) and _only_weights(node)}
    named = [(node, _names(node, aliases)) for node in nodes if id(node) not in inner]
    # The exception alone harms nobody: torch.load raises it.
    uses = {name for _, names in named for name in names if name.partition(".")[0] == "pickle"}
    harmless = {"pickle"} if uses == {"pickle.UnpicklingError"} else set()
    found = []
    for node, names in named:
        if isinstance(node, ast.Import | ast.ImportFrom):
            found += [f"{node.lineno}: import {name}" for name in _imported(node) - harmless]
        found += [f"{node.lineno}: {name}" for name in names if _runs(name) and name != "pickle.UnpicklingError"]
        if isinstance(node, ast.Call):
            found += [f"{node.lineno}: {danger}" for danger in _dangers_of(node)]
    return found


def _imported(node: ast.Import | ast.ImportFrom) -> set[str]:
    """Return the modules of an import that are unpicklers, or that give all they have."""
    names = {alias.name for alias in node.names}
    if isinstance(node, ast.Import):
        return {name for name in names if name.partition(".")[0] in UNPICKLERS}
    module = node.module or ""
    if module.partition(".")[0] in UNPICKLERS and names != {"UnpicklingError"}:
        return {f"from {module}"}
    return {f"all of {module}"} if names == {"*"} and module in STARLESS else set()


def _runs(name: str) -> bool:
    beginnings = {name.rsplit(".", cut)[0] for cut in range(name.count(".") + 1)}
    unpickles = name.partition(".")[0] in UNPICKLERS or "torch.load" in beginnings
    return unpickles or bool(beginnings & RUNNERS) or name.rpartition(".")[2] in METHODS


def _only_weights(call: ast.Call) -> bool:
    given = {keyword.arg: keyword.value for keyword in call.keywords}.get("weights_only")
    return isinstance(given, ast.Constant) and given.value is True


def _dangers_of(call: ast.Call) -> Iterator[str]:
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    literal = {key: value.value for key, value in given.items() if isinstance(value, ast.Constant)}
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
        "import pickle as p; p.UnpicklingError; p.loads(b'')",
        "import pickle; p = pickle; e = pickle.UnpicklingError; p.loads(b'')",
        "from torch import load; load('x')",
        "from torch import load as read; read('x')",
        "from torch.serialization import load; load('x')",
        "from torch import serialization as s; s.load('x')",
        "import torch as t; t.load('x')",
        "import torch; t = torch; t.load('x')",
        "import torch; read = torch.load; read('x')",
        "import functools, torch; functools.partial(torch.load)('x')",
        "import torch; torch.load.__call__('x')",
        "import torch; getattr(torch, 'load')('x')",
        "def f():\n    from torch import load\n    return load('x')",
        "from torch import load; load('x')\ndef f():\n    from unrolled.model import load",
        "from yaml import load; load('x', Loader)",
        "from yaml import unsafe_load as safe_load; safe_load('x')",
        "import yaml as y; y.load('x', Loader)",
        "from pandas import read_pickle; read_pickle('x')",
        "from os import system; system('ls')",
        "import os as o; o.system('ls')",
        "from os import *; system('ls')",
        "import subprocess as s; s.getoutput('ls')",
        "from subprocess import run; run('ls', shell=True)",
        "f = eval",
        "f = exec; f('1')",
        "map(eval, lines)",
        "def f(model):\n    eval = model.eval\ndef g():\n    eval('1')",
        "import builtins; builtins.eval('1')",
        "from builtins import exec as run; run('1')",
        "from hydra import utils; utils.instantiate(config)",
        "import importlib; importlib.import_module('pickle')",
        "import importlib; importlib.import_module(name='pickle')",
        "from importlib import import_module; import_module('joblib.numpy_pickle')",
        "from importlib import import_module as get; get('dill').loads(b'')",
        "import importlib; t = importlib.import_module('torch'); t.load('x')",
        "__import__('pickle')",
        "__import__('os').system('ls')",
        "o = __import__('os'); o.system('ls')",
        "get = __import__; get('pickle')",
        "import builtins; builtins.__import__('pickle')",
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
        "from torch import load; load('x', weights_only=True)",
        "import torch as t; t.load('x', weights_only=True)",
        "from yaml import safe_load as load; load('x')",
        "from unrolled.model import load; load('x')",
        "from re import compile as pattern; pattern('x')",
        "from pickle import UnpicklingError",
        "import importlib; importlib.import_module('unrolled.encoders.gru')",
        "import importlib; importlib.import_module(name)",
        "import subprocess as s; s.run(['ls'])",
        "import torch; model = torch.compile(model)",
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
    read = vars(torch)["load"]  # only here, to see that the trap is one, and by a way that the walk is blind to
    read(tmp_path / "trap.ckpt", weights_only=False)
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
            content = WholeCheckpoints().load_checkpoint(path)
            WholeCheckpoints().save_checkpoint(content | {"hyper_parameters": {"x": _Trap(trace)}}, path)
        else:
            path.write_bytes(_pickled_trap(trace) + sha256(_pickled_trap(trace)).digest())
        _train(resume)
        assert "afresh" in capsys.readouterr().out, "it is told that the checkpoint was not used"


@pytest.mark.chaos(make_test=True)
def test_a_checkpoint_that_names_a_class_makes_none(half_trained: Path, hostile: Hostile, tmp_path: Path) -> None:
    resume = shutil.copytree(half_trained, tmp_path / "resume")
    with hostile("a checkpoint that names a function to call") as trace:
        call = {"_target_": "os.system", "_args_": [f"touch {trace}"], "command": f"touch {trace}"}
        names = {"_instantiator": "os.system", "_class_path": "os.system", "class_path": "os.system", "init_args": call}
        for path in resume.glob("*.ckpt"):
            content = WholeCheckpoints().load_checkpoint(path)
            content |= {"hyper_parameters": call | names, "hparams_name": "kwargs", "hparams_type": "os.system"}
            content |= {"datamodule_hyper_parameters": call | names, "datamodule_hparams_type": "os.system"}
            WholeCheckpoints().save_checkpoint(content, path)
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

    for name in trackingstore.DEFAULTS:
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    trackingstore.choose_defaults()
    assert os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"
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
