"""dvc.yaml and the code agree: what a stage runs is what it depends on, and imports point one way."""

import ast
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from unrolled.errors import UserError
from unrolled.identity import code_digest
from unrolled.imports import MIRROR_MODULES, import_closure
from unrolled.stagecode import STAGES as CODE_STAGES
from unrolled.stagecode import code_lines

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src"
STAGES: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())


@pytest.mark.parametrize("stage", sorted(set(STAGES) - {"code"}))
def test_a_stage_runs_the_module_of_its_name_and_depends_on_all_that_it_imports(stage: str) -> None:
    body = STAGES[stage].get("do", STAGES[stage])
    assert re.search(rf"python -m unrolled\.{stage}\b", body["cmd"])
    assert f"data/code/{stage}" in body["deps"]
    closure = import_closure(f"unrolled.{stage}", SRC, without=MIRROR_MODULES)
    assert code_lines(ROOT)[stage] == f"{stage} {code_digest(closure, SRC)}\n"


def test_the_code_stage_sees_every_file_that_it_hashes() -> None:
    assert set(STAGES["code"]["deps"]) == {"src/unrolled", "conf/model"}
    assert set(CODE_STAGES) == set(STAGES) - {"code"}


@pytest.mark.parametrize("stage", ["fetch", "window"])
def test_a_task_depends_on_its_own_module_and_what_that_imports(stage: str) -> None:
    assert "data/code/tasks/${item}" in STAGES[stage]["do"]["deps"]
    lines = code_lines(ROOT)
    for task in PARAMS["tasks"]:
        closure = import_closure(f"unrolled.tasks.{task}", SRC)
        assert lines[f"tasks/{task}"] == f"tasks.{task} {code_digest(closure, SRC)}\n"
    assert SRC / "unrolled/tasks/energy.py" in import_closure("unrolled.tasks.energy_calendar", SRC)


@pytest.mark.parametrize("stage", ["train", "evaluate"])
def test_a_cell_depends_on_the_code_of_its_own_encoder(stage: str) -> None:
    assert "data/code/models/${item.model}" in STAGES[stage]["do"]["deps"]
    lines = code_lines(ROOT)
    assert {f"models/{cell['model']}" for cell in PARAMS["cells"].values()} <= set(lines)
    gru = code_digest(import_closure("unrolled.encoders.gru", SRC), SRC)
    assert lines["models/gru"] == f"encoders.gru {gru}\n"
    assert len({lines[f"models/{name}"].split()[1] for name in ("dense", "cnn", "gru", "lstm")}) == 4


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(SRC / "unrolled", tmp_path / "src" / "unrolled", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    return tmp_path


def _changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before if after[name] != before[name]}


def test_an_edit_of_an_encoder_changes_its_own_models_only(copy: Path) -> None:
    before = code_lines(copy)
    (copy / "conf/model/lstm_wide.yaml").write_text("encoder: {name: lstm, hidden_size: 512}\n")
    (copy / "src/unrolled/encoders/mine.py").write_text("import torch\n")
    with (copy / "src/unrolled/encoders/convolution.py").open("a") as file:
        file.write("# an edit\n")
    after = code_lines(copy)
    with_convolutions = ("encoders.dense", "encoders.cnn", "encoders.cnn_lstm", "encoders.cnn_bilstm")
    assert _changed(before, after) == {name for name in before if before[name].split()[0] in with_convolutions}
    assert after["models/lstm_wide"] == after["models/lstm"]
    (copy / "conf/model/wrong.yaml").write_text("encoder: {name: gur}\n")
    with pytest.raises(UserError, match=r"wrong.yaml: encoder.name is 'gur'; valid: cnn"):
        code_lines(copy)


@pytest.mark.parametrize(
    ("edited", "stages"),
    [
        ("judgement.py", {"judge"}),
        ("learners/supervised.py", {"train"}),
        ("tracking.py", set()),
        ("tasks/bitcoin.py", {"tasks/bitcoin", "tasks/bitcoin_prices"}),
        ("germancalendar.py", {"tasks/energy_calendar"}),
    ],
)
def test_an_edit_changes_the_stages_that_run_it_and_no_others(copy: Path, edited: str, stages: set[str]) -> None:
    before = code_lines(copy)
    with (copy / "src/unrolled" / edited).open("a") as file:
        file.write("# an edit\n")
    assert _changed(before, code_lines(copy)) == stages


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
        shared = ("unrolled.encoders.recurrent", "unrolled.encoders.convolution", "unrolled.errors")
        assert all(name.startswith(shared) for name in ours), path
        others = {name.split(".")[0] for name in _imports(path) if not name.startswith("unrolled")}
        assert others <= {"torch", "math", "typing", "collections", "dataclasses", "functools", "itertools"}, path


LAYERS = [
    {
        "addresses",
        "errors",
        "inert",
        "dataset",
        "batch",
        "metrics",
        "imports",
        "windowset",
        "yamlfile",
        "jsonfile",
        "losses",
        "breakdowns",
        "significance",
        "shown",
        "mixture",
        "precision",
    },
    {
        "csvcolumns",
        "transform",
        "outputs",
        "augmentation",
        "germancalendar",
        "identity",
        "arguments",
        "predictiontable",
        "receipt",
        "receiptdiff",
        "stageguard",
    },
    {"baselines.examples", "baselines.series", "baselines.text", "scores", "predicted", "intervals", "calibration"},
    {"verdicts", "uncertainty"},
    {"judgement"},
    {"batches", "heads"},
    {"model"},
    {"predictions", "datamodule", "describe", "generate", "stepper", "learners.supervised"},
    {"epochloop", "resume"},
    {"training", "samples"},
    {"privatecache"},
    {
        "fetch",
        "window",
        "baseline",
        "ensemble",
        "stagecode",
        "train",
        "evaluate",
        "judge",
        "report",
        "workshop",
        "leakpipeline",
        "lagone",
        "shuffledtargets",
        "leakguard",
        "verifydata",
        "verify",
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
        ("unrolled.ensemble", {"torch", "pytorch_lightning", "mlflow"}),
        ("unrolled.judge", {"torch", "pytorch_lightning", "mlflow"}),
        ("unrolled.report", {"torch", "pytorch_lightning", "mlflow"}),
        ("unrolled.evaluate", {"pytorch_lightning", "mlflow"}),
    ],
)
def test_a_light_stage_imports_nothing_heavy(module: str, banned: set[str]) -> None:
    for path in import_closure(module, SRC, without=MIRROR_MODULES | {"unrolled.report"} - {module}):
        assert not {name.split(".")[0] for name in _imports(path)} & banned, f"{module} reaches {path.name}"
