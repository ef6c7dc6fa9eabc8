"""The report: every cell of params.yaml beside the baselines, told apart by where its score comes from."""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from trainedfolders import write_trained
from windowsets import series_windows

from unrolled.errors import UserError
from unrolled.evaluate import flat_metrics, predict_run, save_predictions
from unrolled.judge import judge_task
from unrolled.report import leaderboard_text, report_files
from unrolled.windowset import WindowSet, digest_of, save_windows

SEASON = 7


def _real(windows: WindowSet) -> WindowSet:
    meta = windows.meta | {"source": "real"}
    meta.pop("digest")
    return WindowSet(meta | {"digest": digest_of(meta, windows.arrays)}, windows.arrays)


def _checkout(root: Path, windows: WindowSet, cells: list[str]) -> Path:
    """A checkout with the task ``ramp``, whose gru was run and evaluated here."""
    named = {f"ramp-{c}-0": {"task": "ramp", "model": c, "seed": 0} for c in cells}
    (root / "params.yaml").write_text(json.dumps({"tasks": ["ramp"], "cells": named}))
    folder = root / "data/windows/ramp"
    folder.mkdir(parents=True)
    save_windows(windows, folder)
    model = write_trained(root, windows)
    about, tables = predict_run(model, windows, ("validation", "test"))
    predictions = root / "data/predictions/ramp/gru-0"
    predictions.mkdir(parents=True)
    save_predictions(predictions, about, tables)
    reports = root / "reports/ramp/gru/0"
    reports.mkdir(parents=True)
    (reports / "history.csv").write_text((model / "history.csv").read_text())
    (reports / "metrics.json").write_text(json.dumps(flat_metrics(about, tables, windows, SEASON)))
    judge(root, windows)
    return root


def judge(root: Path, windows: WindowSet) -> None:
    judgement, table = judge_task(windows, root / "data/predictions/ramp", SEASON)
    (root / "reports/ramp/judgement.json").write_text(json.dumps(judgement))
    (root / "data/judgements/ramp").mkdir(parents=True, exist_ok=True)
    table.to_parquet(root / "data/judgements/ramp/baselines.parquet")


@pytest.fixture
def windows() -> WindowSet:
    return _real(series_windows())


@pytest.fixture
def root(tmp_path: Path, windows: WindowSet) -> Path:
    return _checkout(tmp_path, windows, ["gru", "lstm"])


def _rows(root: Path) -> dict[str, dict[str, Any]]:
    return {row["row"]: row for row in csv.DictReader(io.StringIO(report_files(root)["leaderboard.csv"]))}


def test_rows_say_where_their_score_comes_from(root: Path) -> None:
    rows = _rows(root)
    assert {name: row["state"] for name, row in rows.items()} == {
        "gru-0": "run here",
        "lstm-0": "missing",
        "persistence": "run here",
        "seasonal_naive": "run here",
    }
    assert rows["lstm-0"]["value"] == ""
    assert float(rows["persistence"]["mae"]) == pytest.approx(1)


def test_a_score_on_other_data_is_committed_not_run_here(root: Path) -> None:
    meta = root / "data/windows/ramp/meta.json"
    meta.write_text(meta.read_text().replace('"digest": "', '"digest": "0'))
    assert {row["state"] for row in _rows(root).values()} == {"committed, not run here", "missing"}
    assert "committed, not run here" in report_files(root)["index.html"]
    assert "gru-0" not in leaderboard_text(root)


def test_a_fresh_clone_shows_what_is_committed(root: Path) -> None:
    import shutil

    shutil.rmtree(root / "data")
    rows = _rows(root)
    assert rows["gru-0"]["state"] == "committed, not run here"
    assert rows["gru-0"]["value"] != ""
    assert "<svg" in report_files(root)["index.html"], "the learning curves are committed"


def test_skill_is_beside_the_strongest_baseline_of_the_same_data(root: Path) -> None:
    rows = _rows(root)
    assert float(rows["persistence"]["skill"]) == pytest.approx(0)
    assert float(rows["seasonal_naive"]["skill"]) == pytest.approx(-6)
    mae = float(rows["gru-0"]["mae"])
    assert float(rows["gru-0"]["skill"]) == pytest.approx(1 - mae / 1.0)
    metrics = root / "reports/ramp/gru/0/metrics.json"
    metrics.write_text(metrics.read_text().replace('"data_digest": "', '"data_digest": "0'))
    assert _rows(root)["gru-0"]["skill"] == "", "another data set's score saves no share of this baseline's error"


def test_the_page_is_self_contained_and_runs_nothing(root: Path) -> None:
    page = report_files(root)["index.html"]
    assert "default-src 'none'" in page
    assert "<script" not in page
    addresses = set(re.findall(r"(?:src|href)=\"([^\"]+)\"", page))
    assert all(address.startswith("#") for address in addresses), addresses
    assert not re.findall(r"url\((?!#)", page)
    assert len(page.encode()) < 3_000_000


def test_the_page_repeats_to_the_byte(root: Path) -> None:
    assert report_files(root) == report_files(root)


def test_what_comes_from_files_is_escaped(root: Path) -> None:
    meta = root / "data/windows/ramp/meta.json"
    content = json.loads(meta.read_text()) | {"attribution": "<script>alert(1)</script> & sons"}
    meta.write_text(json.dumps(content))
    page = report_files(root)["index.html"]
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; sons" in page


def test_stand_in_data_cannot_be_overlooked(tmp_path: Path) -> None:
    root = _checkout(tmp_path, series_windows(), ["gru"])
    files = report_files(root)
    assert "Stand-in data: ramp" in files["index.html"]
    assert "STAND-IN DATA" in files["index.html"]
    assert "stand-in" in files["leaderboard.csv"]
    assert "stand-in" in files["leaderboard.md"]
    assert "STAND-IN DATA" in leaderboard_text(root)


def test_real_data_carry_no_such_mark(root: Path) -> None:
    files = report_files(root)
    assert all("stand-in" not in content.lower() for content in files.values())
    assert "made for a test" in files["index.html"], "the attribution"


def test_before_anything_ran_every_cell_is_missing(tmp_path: Path) -> None:
    cells = {"ramp-gru-0": {"task": "ramp", "model": "gru", "seed": 0}}
    (tmp_path / "params.yaml").write_text(json.dumps({"tasks": ["ramp"], "cells": cells}))
    files = report_files(tmp_path)
    assert "missing" in files["index.html"]
    assert files["leaderboard.md"].splitlines()[4] == "|  | skill | parameters | data | state |"


def test_a_damaged_file_is_named(root: Path) -> None:
    (root / "reports/ramp/gru/0/metrics.json").write_text("{")
    with pytest.raises(UserError, match="metrics.json is not JSON"):
        report_files(root)
