"""The pipeline through DVC, in a scratch checkout, on stand-in data: real processes, real files."""

import json
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import scratchcheckout
import yaml
from safetensors import safe_open
from scratchcheckout import git

pytestmark = pytest.mark.slow

Dvc = Callable[..., str]


@pytest.fixture
def dvc(checkout: Path) -> Iterator[Dvc]:
    """Run DVC in the checkout, which is put back to its committed state afterwards."""
    yield partial(scratchcheckout.dvc, checkout)
    git(checkout, "checkout", "--quiet", "--", ".")
    git(checkout, "clean", "--quiet", "-fd")
    scratchcheckout.dvc(checkout, "checkout", "--quiet", "--force")


def _ran(output: str) -> set[str]:
    return {line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")}


def _locked(root: Path, stage: str) -> str:
    return yaml.safe_load((root / "dvc.lock").read_text())["stages"][stage]["outs"][0]["md5"]


def _hidden_size(folder: Path) -> int:
    with safe_open(folder / "weights.safetensors", "pt") as weights:
        name = next(key for key in weights.keys() if "weight_hh_l0" in key)  # noqa: SIM118
        return int(weights.get_slice(name).get_shape()[1])


def test_every_stage_leaves_its_outputs(checkout: Path) -> None:
    metrics = json.loads((checkout / "reports/energy/gru/0/metrics.json").read_text())
    assert {"mae", "rmse", "mape", "mase", "n_test", "parameters", "data_source"} <= set(metrics)
    assert metrics["data_source"] == "stand-in"
    assert metrics["n_test"] == 731
    judgement = json.loads((checkout / "reports/energy/judgement.json").read_text())
    ensemble = json.loads((checkout / "data/ensembles/energy/meta.json").read_text())
    assert set(ensemble["cells"]) == {"rnn-0", "gru-0"}
    assert set(judgement["cells"]) == {"rnn-0", "gru-0", *(["ensemble-0"] if ensemble["members"] else [])}
    assert {"persistence", "seasonal_naive"} <= set(judgement["baselines"])
    for name in ("index.html", "leaderboard.csv", "leaderboard.md"):
        assert "stand-in" in (checkout / "reports" / name).read_text()


def test_a_model_folder_holds_no_pickle(checkout: Path) -> None:
    names = {path.name for path in (checkout / "data/models/energy-gru-0").iterdir()}
    assert names == {"weights.safetensors", "config.yaml", "history.csv", "steps.csv", "facts.json", "meta.json"}
    assert not list((checkout / "data/resume").iterdir()), "checkpoints are removed on success"


def test_a_second_repro_does_nothing(dvc: Dvc) -> None:
    assert not _ran(dvc("repro"))


def test_the_same_stage_gives_the_same_bytes(checkout: Path, dvc: Dvc) -> None:
    before = {stage: _locked(checkout, stage) for stage in ("train@energy-gru-0", "evaluate@energy-gru-0")}
    shutil.rmtree(checkout / ".dvc/cache/runs")
    dvc("repro", "--single-item", "--force", "train@energy-gru-0")
    dvc("repro", "--single-item", "--force", "evaluate@energy-gru-0")
    assert {stage: _locked(checkout, stage) for stage in before} == before


def test_an_edit_of_a_model_reruns_its_cells_and_what_judges_them(checkout: Path, dvc: Dvc) -> None:
    conf = checkout / "conf/model/gru.yaml"
    conf.write_text(conf.read_text() + "  hidden_size: 16\n")
    cells = {f"{stage}@{task}-gru-0" for stage in ("train", "evaluate") for task in ("energy", "shakespeare")}
    # `code` looks which encoder the file names now, in a moment; no other cell depends on what it finds for gru.
    judged = {f"{stage}@{task}" for stage in ("ensemble", "judge") for task in ("energy", "shakespeare")}
    assert _ran(dvc("repro")) == cells | judged | {"code", "report"}


def test_an_edit_of_a_judgement_evaluates_nothing(checkout: Path, dvc: Dvc) -> None:
    judge = checkout / "src/unrolled/judge.py"
    judge.write_text(judge.read_text() + "# an edit\n")
    ran = _ran(dvc("repro"))
    judged = {"judge@energy", "judge@shakespeare"}
    assert judged <= ran <= judged | {"code", "report"}


def test_a_new_cell_runs_itself_its_ensemble_its_judge_and_the_report(checkout: Path, dvc: Dvc) -> None:
    cell = "params.yaml:+cells.energy-gru-1={task: energy, model: gru, seed: 1}"
    ran = _ran(dvc("exp", "run", "-S", cell))
    assert ran == {"train@energy-gru-1", "evaluate@energy-gru-1", "ensemble@energy", "judge@energy", "report"}
    assert "# a comment that must survive" in (checkout / "params.yaml").read_text()


def test_an_experiment_trains_what_it_sets(checkout: Path, dvc: Dvc) -> None:
    dvc("exp", "run", "-S", "conf/task/energy.yaml:encoder.hidden_size=24", "evaluate@energy-gru-0")
    assert _hidden_size(checkout / "data/models/energy-gru-0") == 24
    assert "encoder.hidden_size" in dvc("params", "diff")
    assert "reports/energy/gru/0/metrics.json" in dvc("metrics", "diff")


def test_a_queued_experiment_trains_what_it_records(checkout: Path, dvc: Dvc) -> None:
    setting = "conf/model/gru.yaml:+encoder.hidden_size=40"
    dvc("exp", "run", "--queue", "--name", "wide", "-S", setting, "evaluate@energy-gru-0")
    dvc("queue", "start", "--jobs", "1")
    dvc("queue", "logs", "--follow", "wide")
    assert "Success" in dvc("queue", "status")
    assert _hidden_size(checkout / "data/models/energy-gru-0") == 64, "the workspace is untouched"
    dvc("exp", "apply", "wide")
    assert _hidden_size(checkout / "data/models/energy-gru-0") == 40
    assert (checkout / "mlflow.db").is_file(), "the copy logs to the main checkout"


def test_a_failed_stage_says_how_its_outputs_come_back(checkout: Path, dvc: Dvc) -> None:
    conf = checkout / "conf/task/energy.yaml"
    conf.write_text(conf.read_text().replace("learning_rate: ", "learning_rate: 1.0e+30 #"))
    told = dvc("repro", "train@energy-gru-0", fails=True)
    assert "loss became" in told
    assert "lower training.learning_rate" in told
    assert "dvc checkout train@energy-gru-0" in told
    conf.write_text(conf.read_text().replace("learning_rate: 1.0e+30 #", "learning_rate: "))
    dvc("checkout", "train@energy-gru-0")
    assert _hidden_size(checkout / "data/models/energy-gru-0") == 64


def test_what_dvc_shows(dvc: Dvc) -> None:
    assert "mae" in dvc("metrics", "show")
    assert "evaluate@energy-gru-0" in dvc("dag", "--mermaid")
    assert "file://" in dvc("plots", "show")


def test_a_glob_names_several_cells(dvc: Dvc) -> None:
    assert "train@energy-rnn-0" in dvc("repro", "--dry", "--force", "--glob", "evaluate@energy-*")


def test_a_clone_takes_from_a_remote_what_was_trained_elsewhere(checkout: Path, dvc: Dvc, tmp_path: Path) -> None:
    dvc("remote", "add", "-d", "store", str(tmp_path / "store"))
    dvc("push")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(checkout), str(clone))
    shutil.copy(checkout / ".dvc/config", clone / ".dvc/config")
    scratchcheckout.dvc(clone, "pull")
    assert not _ran(scratchcheckout.dvc(clone, "repro"))
    told = scratchcheckout.unrolled(clone, "track")
    assert all(
        f"data/models/{cell}: mirrored" in told for cell in ("energy-rnn-0", "energy-gru-0", "shakespeare-gru-0")
    )
    params = clone / "params.yaml"
    params.write_text(params.read_text() + "  energy-gru-1: {task: energy, model: gru, seed: 1}\n")
    ran = _ran(scratchcheckout.dvc(clone, "repro", "--dry", "train@energy-gru-1"))
    assert ran == {"train@energy-gru-1"}


def test_cells_side_by_side_give_the_same_bytes(checkout: Path, dvc: Dvc, tmp_path: Path) -> None:
    """The checkout was run one stage after the other; a clone, which has no data and no cache, runs two cells at a time."""
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(checkout), str(clone))
    told = scratchcheckout.unrolled(clone, "repro", "jobs=2")
    assert "5 to run, 2 side by side" in told  # three cells, two baselines
    assert "(5 of 5)" in told
    assert (clone / "dvc.lock").read_bytes() == (checkout / "dvc.lock").read_bytes()
    for folder in ("data/models", "data/predictions", "data/baselines", "data/ensembles", "data/judgements", "reports"):
        names = {path.relative_to(checkout) for path in (checkout / folder).rglob("*") if path.is_file()}
        assert names == {path.relative_to(clone) for path in (clone / folder).rglob("*") if path.is_file()}
        timed = {name for name in names if name.name in ("index.html", "card.md")}  # they show what no two runs share
        assert [name for name in names - timed if (checkout / name).read_bytes() != (clone / name).read_bytes()] == []
