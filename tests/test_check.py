"""Before anything runs: params.yaml, every cell, and the data's source."""

import gzip
import hashlib
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, clean_environment

from unrolled.check import check_cells, missing_data, read_params
from unrolled.errors import UserError
from unrolled.model import encoder_names
from unrolled.taskmodule import task_module
from unrolled.workshop import PAIRS, cells_of, choose_data, set_data

PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
CELL = {"task": "energy", "model": "gru", "seed": 0}


def test_the_grid_is_every_task_with_every_encoder_and_every_model() -> None:
    params = read_params(ROOT)
    cells = {(cell["task"], cell["model"]) for cell in params["cells"].values()}
    tasks = set(params["tasks"]) - {"bitcoin_prices"}  # shows what one mistake costs, with the recurrent models
    architectures = set(encoder_names()) - {"cnn_bilstm", "lstm_dropconnect"}  # made for one recipe each
    assert {(task, encoder) for task in tasks for encoder in architectures} <= cells
    outside = {"lstm_long"}  # the recipe for mnist_pixels, which takes too long for the grid
    assert {model for _, model in cells} | outside == {path.stem for path in (ROOT / "conf/model").glob("*.yaml")}
    assert cells_of(params) == ["energy-rnn-0", "mnist-lstm-0", "shakespeare-gru-0", "bitcoin-cnn_lstm-0"]


def test_every_cell_of_the_grid_composes_and_builds() -> None:
    check_cells(ROOT, PARAMS["cells"], PARAMS["trainer"])


@pytest.mark.parametrize(
    ("cell", "trainer", "told"),
    [
        (CELL | {"model": "gur"}, "default", "energy-gru-0: unknown model 'gur'; valid: cnn, cnn_13k"),
        (CELL | {"seed": -1}, "default", "energy-gru-0: seed=-1: expected a whole number"),
        (CELL, "tpu9", "energy-gru-0: unknown trainer 'tpu9'; valid: cpu"),
    ],
)
def test_a_cell_that_cannot_work_is_named(cell: dict[str, object], trainer: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        check_cells(ROOT, {"energy-gru-0": cell}, trainer)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"data": "reel"}, "data is 'reel'; valid: real, stand-in"),
        ({"cells": []}, "cells is [], but expected a dict"),
        ({"cells": {"mine": CELL}}, "the cell mine must be called energy-gru-0"),
        ({"cells": {"energy-gru-0": {"task": "energy"}}}, "expected the keys task, model, seed"),
        ({"tasks": ["mnist"], "cells": {"energy-gru-0": CELL}}, "needs energy among tasks"),
    ],
)
def test_params_that_cannot_work_are_refused(change: dict[str, object], told: str, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(PARAMS | change))
    with pytest.raises(UserError) as refused:
        read_params(tmp_path)
    assert told in str(refused.value)


def test_a_workshop_without_its_cells_says_so() -> None:
    with pytest.raises(UserError, match="params.yaml has no cell energy-rnn-0"):
        cells_of({"cells": {}})


def test_set_data_changes_one_line(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text())
    set_data(path, "stand-in")
    before, after = (ROOT / "params.yaml").read_text().splitlines(), path.read_text().splitlines()
    assert [line for line in after if line not in before] == [
        next(line for line in before if line.startswith("data:")).replace("data: real", "data: stand-in")
    ]
    set_data(path, "real")
    assert path.read_text().splitlines() == before
    path.write_text("tasks: []\n")
    with pytest.raises(UserError, match="has 0 lines `data: real`"):
        set_data(path, "real")


def test_a_kill_while_params_is_rewritten_leaves_the_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("data: real\n")
    code = (
        "import os; from pathlib import Path; from unrolled.workshop import set_data\n"
        "def tear(path, *_, **__): path.open('w').close(); os.kill(os.getpid(), 9)\n"
        "Path.write_text = tear; set_data(Path('params.yaml'), 'stand-in')"
    )
    environment = clean_environment() | {"PYTHONPATH": str(ROOT / "src")}
    died = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment)
    assert died.returncode == -signal.SIGKILL
    assert path.read_text() == "data: real\n"
    set_data(path, "stand-in")
    assert path.read_text() == "data: stand-in\n"
    assert [left.name for left in tmp_path.iterdir()] == ["params.yaml"]


def test_without_a_source_the_stand_ins_are_chosen_loudly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    monkeypatch.setattr("unrolled.workshop.missing_data", lambda *_: [("energy", "days.csv: no answer from nowhere")])
    choose_data(tmp_path, None)
    shown = capsys.readouterr().out
    assert "!" * 100 in shown
    assert "STAND-IN DATA" in shown
    assert "energy: days.csv: no answer from nowhere" in shown
    assert "\ndata: stand-in" in (tmp_path / "params.yaml").read_text()
    monkeypatch.setattr("unrolled.workshop.missing_data", lambda *_: [])
    choose_data(tmp_path, "/mirror")
    assert "\ndata: real" in (tmp_path / "params.yaml").read_text()


def test_a_mirror_folder_is_a_source_if_its_files_are_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for task in PAIRS:
        module = task_module(task)
        empty = [replace(file, addresses=(), sha256=hashlib.sha256(b"").hexdigest()) for file in module.FILES]
        monkeypatch.setattr(module, "FILES", empty)
        for file in empty:
            (tmp_path / file.mirror_path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file.mirror_path).write_bytes(gzip.compress(b"") if file.packed else b"")
    assert dict(missing_data(tmp_path / "checkout", PAIRS, str(tmp_path))) == {}
    (tmp_path / "energy/opsd_germany_daily.csv").write_bytes(b"Date")
    (tmp_path / "mnist/t10k-labels-idx1-ubyte.gz").unlink()
    missing = dict(missing_data(tmp_path / "checkout", PAIRS, str(tmp_path)))
    assert set(missing) == {"energy", "mnist"}
    assert "4 bytes with another sha256" in missing["energy"]
    assert "No such file" in missing["mnist"]
    with pytest.raises(UserError, match="expected an absolute folder that exists"):
        dict(missing_data(tmp_path / "checkout", PAIRS, "no/such/folder"))
