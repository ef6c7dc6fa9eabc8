"""A receipt: the same run gives the same bytes, and every thing that decides or is a result has a checksum in it."""

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import ROOT
from trainedfolders import FACTS, STEPS, write_trained
from windowsets import series_windows

from unrolled.errors import UserError
from unrolled.identity import asked_of, identity_of
from unrolled.receipt import MACHINE, SOFTWARE, read_receipt, receipt_of, table_digest, write_receipt
from unrolled.receiptdiff import receipt_place
from unrolled.yamlfile import read_yaml


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_trained(tmp_path, series_windows())


@pytest.fixture
def table() -> pd.DataFrame:
    return pd.DataFrame({"date": pd.to_datetime(["2020-01-01", "2020-01-02"]), "predicted": [1.5, 2.5]})


def test_every_checksum_is_that_of_its_file(folder: Path) -> None:
    receipt, steps = receipt_of(folder), (folder / "steps.csv").read_bytes()
    assert receipt["weights"]["sha256"] == hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
    assert receipt["curve"]["sha256"] == hashlib.sha256(steps).hexdigest()
    assert receipt["curve"]["steps"] == len(STEPS) == 15
    assert list(receipt["curve"]["through"]) == ["1", "2", "4", "8", "15"]
    for step, digest in receipt["curve"]["through"].items():
        beginning = b"".join(steps.splitlines(keepends=True)[: int(step) + 1])
        assert hashlib.sha256(beginning).hexdigest().startswith(digest)
        assert receipt["curve"]["losses"][step] == STEPS[int(step) - 1][0]
    assert receipt["windows"] == series_windows().meta["digest"]
    assert receipt["software"] == {key: FACTS[key] for key in ("lock", "python", "libraries", "deterministic")}
    assert receipt["machine"]["threads"] == 1


def test_its_parts_are_those_that_the_identity_is_made_of(folder: Path) -> None:
    receipt, config = receipt_of(folder), read_yaml(folder / "config.yaml")
    asked = asked_of(config, receipt["windows"], receipt["code"])
    canonical = json.dumps(asked["config"], sort_keys=True, separators=(",", ":"))
    assert receipt["config"]["sha256"] == hashlib.sha256(canonical.encode()).hexdigest()
    config["trainer"]["enable_progress_bar"] = False
    assert identity_of(asked) == identity_of(asked_of(config, receipt["windows"], receipt["code"])), "only shown"


def test_it_says_nothing_of_time_place_or_host_and_is_small(folder: Path, table: pd.DataFrame, tmp_path: Path) -> None:
    write_receipt(tmp_path / "one.json", receipt_of(folder, {"test": table}))
    elsewhere = shutil.copytree(folder, tmp_path / "elsewhere" / "folder")
    write_receipt(tmp_path / "two.json", receipt_of(elsewhere, {"test": table}))
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()
    assert (tmp_path / "one.json").stat().st_size < 3000


def test_dvc_finds_nothing_to_draw_in_it(folder: Path, table: pd.DataFrame) -> None:
    """It stands under `plots`, where DVC draws the first list that it finds."""

    def lists(value: Any) -> list[Any]:
        if isinstance(value, dict):
            return [found for part in value.values() for found in lists(part)]
        return [value] if isinstance(value, list) else []

    assert lists(receipt_of(folder, {"test": table})) == []
    plots = read_yaml(ROOT / "dvc.yaml")["stages"]["evaluate"]["do"]["plots"]
    assert {"cache": False} in [
        body for entry in plots for name, body in entry.items() if name.endswith("receipt.json")
    ]


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.assign(predicted=[1.5, 2.5000000001]),
        lambda table: table.assign(date=table["date"] + pd.Timedelta(days=1)),
        lambda table: table.rename(columns={"predicted": "forecast"}),
        lambda table: table.iloc[::-1],
        lambda table: table.iloc[:1],
    ],
)
def test_a_table_has_another_checksum_when_anything_in_it_changes(
    table: pd.DataFrame, change: Callable[[pd.DataFrame], pd.DataFrame]
) -> None:
    assert table_digest(change(table)) != table_digest(table)


def test_a_table_keeps_its_checksum_through_its_file(table: pd.DataFrame, tmp_path: Path) -> None:
    table.to_parquet(tmp_path / "table.parquet", index=False)
    assert table_digest(pd.read_parquet(tmp_path / "table.parquet")) == table_digest(table)


@pytest.mark.parametrize("name", ["weights.safetensors", "steps.csv", "facts.json", "meta.json", "config.yaml"])
@pytest.mark.parametrize("content", [None, b"", b"{}", b"step,loss,gradient_norm\n2,0.5,0.5\n"])
def test_a_damaged_model_folder_gets_no_receipt(name: str, content: bytes | None, folder: Path) -> None:
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(UserError, match="train it again"):
        receipt_of(folder)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"cell": "energy-gru-0"}'])
def test_a_damaged_receipt_is_told(content: str, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "receipt.json").write_text(content)
    with pytest.raises(UserError, match=r"receipt.json is .* bring it back with `git restore`"):
        read_receipt(tmp_path / "receipt.json")
    for part in ("curve", "weights", "machine"):
        (tmp_path / "receipt.json").write_text(json.dumps(receipt_of(folder) | {part: {"sha256": "0"}}))
        with pytest.raises(UserError, match=rf"{part}\.\w+ is missing"):
            read_receipt(tmp_path / "receipt.json")


CELLS = read_yaml(ROOT / "params.yaml")["cells"]
LIBRARIES = {"torch", "pytorch-lightning", "numpy", "safetensors", "hydra-core", "omegaconf"}


@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_has_a_whole_receipt(cell: str, folder: Path) -> None:
    receipt = read_receipt(ROOT / receipt_place(cell))
    assert receipt.keys() == receipt_of(folder).keys()
    assert receipt["cell"] == cell == "-".join(str(CELLS[cell][key]) for key in ("task", "model", "seed"))
    software, curve, weights = (receipt[key] for key in ("software", "curve", "weights"))
    assert software.keys() == set(SOFTWARE)
    assert receipt["machine"].keys() == set(MACHINE)
    assert software["libraries"].keys() >= LIBRARIES
    assert software["deterministic"]["algorithms"] is True
    assert receipt["predictions"].keys() == {"validation", "test"}
    assert receipt["data"]
    assert receipt["config"].keys() > {"encoder", "head", "training", "trainer"}
    digests = [receipt[key] for key in ("windows", "code")] + [software["lock"], curve["sha256"], weights["sha256"]]
    digests += [*receipt["data"].values(), *receipt["predictions"].values(), receipt["config"]["sha256"]]
    assert [digest for digest in digests if not re.fullmatch("[0-9a-f]{64}", digest)] == []
    assert curve["through"].keys() == curve["losses"].keys() >= {"1", str(curve["steps"])}
    assert weights["tensors"]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no git checkout")
def test_every_cells_receipt_is_committed() -> None:
    listed = subprocess.run(["git", "ls-files", "reports"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert [cell for cell in CELLS if receipt_place(cell).as_posix() not in listed.splitlines()] == []
