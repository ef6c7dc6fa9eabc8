"""dvc.yaml and the code agree: what a stage runs is what it depends on, and imports point one way."""

import ast
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from unrolled.encodercode import encoder_codes
from unrolled.errors import UserError
from unrolled.identity import code_digest
from unrolled.imports import MIRROR_MODULES, import_closure

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src"
STAGES: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
CELLS = yaml.safe_load((ROOT / "params.yaml").read_text())["cells"]


def _declared(stage: str, **item: str) -> set[Path]:
    body = STAGES[stage].get("do", STAGES[stage])
    files = set()
    for dependency in body["deps"]:
        for name, value in item.items():
            dependency = dependency.replace(f"${{item.{name}}}", value).replace("${item}", value)
        if dependency.startswith("src/"):
            path = ROOT / dependency
            files |= set(path.glob("[!_]*.py")) if path.is_dir() else {path}
    return files


def _cases() -> Iterator[tuple[str, dict[str, str], list[str]]]:
    tasks = sorted({cell["task"] for cell in CELLS.values()})
    for task in tasks:
        for stage in ("fetch", "window"):
            yield stage, {"task": task}, [f"unrolled.{stage}", f"unrolled.tasks.{task}"]
    for stage in ("baseline", "judge"):
        yield stage, {"task": "energy"}, [f"unrolled.{stage}"]
    yield "report", {}, ["unrolled.report"]
    for stage in ("train", "evaluate"):
        yield stage, {}, [f"unrolled.{stage}"]
    encoders = [path.stem for path in (SRC / "unrolled" / "encoders").glob("[!_]*.py")]
    yield "encoders", {}, ["unrolled.encodercode", *(f"unrolled.encoders.{name}" for name in encoders)]


@pytest.mark.parametrize(("stage", "item", "modules"), list(_cases()), ids=lambda value: str(value))
def test_a_stage_depends_on_every_module_that_it_imports(stage: str, item: dict[str, str], modules: list[str]) -> None:
    closure = set().union(*(import_closure(module, SRC, without=MIRROR_MODULES) for module in modules))
    declared = _declared(stage, **item)
    assert closure <= declared, f"add to {stage} in dvc.yaml: {sorted(p.name for p in closure - declared)}"
    for path in declared:
        assert path.is_file(), f"{stage} depends on {path}, which is not there"


@pytest.mark.parametrize("stage", ["train", "evaluate"])
def test_a_cell_depends_on_the_code_of_its_own_encoder(stage: str) -> None:
    assert "data/encoders/${item.model}" in STAGES[stage]["do"]["deps"]
    codes = encoder_codes(ROOT)
    assert {cell["model"] for cell in CELLS.values()} <= set(codes)
    assert codes["gru"].split() == ["gru", code_digest(import_closure("unrolled.encoders.gru", SRC), SRC)]
    assert len({line.split()[1] for name, line in codes.items() if name in ("dense", "cnn", "gru", "lstm")}) == 4


def test_an_edit_of_an_encoder_changes_its_own_models_only(tmp_path: Path) -> None:
    shutil.copytree(SRC / "unrolled", tmp_path / "src" / "unrolled", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    before = encoder_codes(tmp_path)
    (tmp_path / "conf/model/lstm_wide.yaml").write_text("encoder: {name: lstm, hidden_size: 512}\n")
    (tmp_path / "src/unrolled/encoders/mine.py").write_text("import torch\n")
    with (tmp_path / "src/unrolled/encoders/convolution.py").open("a") as file:
        file.write("# an edit\n")
    after = encoder_codes(tmp_path)
    changed = {name for name, line in before.items() if after[name] != line}
    assert changed == {name for name in before if before[name].split()[0] in ("dense", "cnn", "cnn_lstm")}
    assert after["lstm_wide"] == after["lstm"]
    (tmp_path / "conf/model/wrong.yaml").write_text("encoder: {name: gur}\n")
    with pytest.raises(UserError, match=r"wrong.yaml: encoder.name is 'gur'; valid: cnn"):
        encoder_codes(tmp_path)


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_a_stage_depends_on_no_module_that_it_does_not_import(stage: str) -> None:
    """A dependency too many would re-run stages for nothing."""
    cases = [case for case in _cases() if case[0] == stage]
    needed: set[Path] = set()
    declared: set[Path] = set()
    for _, item, modules in cases:
        needed |= set().union(*(import_closure(module, SRC, without=MIRROR_MODULES) for module in modules))
        declared |= _declared(stage, **item)
    declared = {path for path in declared if path.suffix == ".py"}
    assert declared <= needed, f"remove from {stage}: {sorted(str(p) for p in declared - needed)}"


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_only_config_imports_hydra() -> None:
    users = {p.stem for p in SRC.rglob("*.py") if any(i.split(".")[0] in ("hydra", "omegaconf") for i in _imports(p))}
    assert users == {"config"}


def test_encoders_import_torch_and_their_shared_layers_only() -> None:
    for path in (SRC / "unrolled" / "encoders").glob("[!_]*.py"):
        ours = {name for name in _imports(path) if name.startswith("unrolled")}
        assert all(
            name.startswith(("unrolled.encoders.recurrent", "unrolled.encoders.convolution")) for name in ours
        ), path
        others = {name.split(".")[0] for name in _imports(path) if not name.startswith("unrolled")}
        assert others <= {"torch", "math", "typing", "collections", "dataclasses", "itertools"}, path


LAYERS = [
    {"errors", "dataset", "batch", "metrics", "imports", "windowset", "losses", "breakdowns", "significance", "shown"},
    {"transform", "outputs", "identity", "arguments", "predictiontable"},
    {"baselines.examples", "baselines.series", "baselines.text", "scores", "predicted", "intervals", "calibration"},
    {"verdicts", "uncertainty"},
    {"judgement"},
    {"batches", "heads"},
    {"model"},
    {"predictions", "datamodule", "describe", "generate", "stepper", "learners.supervised"},
    {"training", "samples"},
    {
        "fetch",
        "window",
        "baseline",
        "encodercode",
        "train",
        "evaluate",
        "judge",
        "report",
        "workshop",
        "leakguard",
        "backtest",
    },
]


def test_imports_point_one_way() -> None:
    level = {f"unrolled.{name}": depth for depth, names in enumerate(LAYERS) for name in names}
    for module, depth in level.items():
        path = SRC.joinpath(*module.split(".")).with_suffix(".py")
        for name in _imports(path):
            target = next((m for m in level if name == m or name.startswith(f"{m}.")), None)
            assert target is None or target == module or level[target] <= depth, f"{module} imports {name}"


@pytest.mark.parametrize(
    ("module", "banned"),
    [
        ("unrolled.fetch", {"torch", "pytorch_lightning", "mlflow"}),
        ("unrolled.window", {"torch", "pytorch_lightning", "mlflow"}),
        ("unrolled.baseline", {"torch", "pytorch_lightning", "mlflow"}),
        ("unrolled.judge", {"torch", "pytorch_lightning", "mlflow"}),
        ("unrolled.report", {"torch", "pytorch_lightning", "mlflow"}),
        ("unrolled.evaluate", {"pytorch_lightning", "mlflow"}),
    ],
)
def test_a_light_stage_imports_nothing_heavy(module: str, banned: set[str]) -> None:
    for path in import_closure(module, SRC, without=MIRROR_MODULES | {"unrolled.report"} - {module}):
        assert not {name.split(".")[0] for name in _imports(path)} & banned, f"{module} reaches {path.name}"
