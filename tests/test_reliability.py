"""The report of `make chaos`: what it counts, and that a failed fault is not counted as survived."""

import json
from pathlib import Path

import pytest
from reliability import RECORD, counted, report


def test_a_fault_counts_as_survived_only_if_its_block_ends_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(RECORD, str(tmp_path / "record"))
    for ends_well in (True, False, True):
        try:
            with counted("kill -9", "in fetch", "tests/test_x.py::test_y"):
                assert ends_well
        except AssertionError:
            assert not ends_well
    with counted("full disk", "in report", "tests/test_x.py::test_z"):
        pass
    told = report([json.loads(line) for line in (tmp_path / "record").read_text().splitlines()])
    assert "**4 faults tried, 3 survived.**" in told
    assert "| in fetch | 3 | 2 | `tests/test_x.py::test_y` |" in told
    assert told.index("## full disk") < told.index("## kill -9")


def test_without_make_chaos_nothing_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(RECORD, raising=False)
    monkeypatch.chdir(tmp_path)
    with counted("kill -9", "in fetch", "test"):
        pass
    assert not list(tmp_path.iterdir())
