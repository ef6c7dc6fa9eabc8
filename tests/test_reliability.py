"""The report of `make chaos`: what it counts, that a failed fault is not counted as survived, and a skipped one not at all."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, clean_environment
from reliability import RECORD, counted, report, summary

TESTS = """
import pytest

@pytest.fixture
def namespace():
    pytest.skip("needs unshare | and more")

@pytest.fixture
def broken():
    raise OSError("no\\nroom")

@pytest.mark.parametrize("name", "ab")
def test_skipped_by_its_fixture(name, namespace, fault):
    with fault("full disk", name):
        pass

@pytest.mark.skipif(True, reason="needs Linux")
def test_skipped_by_its_mark(fault):
    with fault("memory", "much"):
        pass

def test_whose_fixture_breaks(broken, fault):
    with fault("kill -9", "in fetch"):
        pass

def test_fails(fault):
    with fault("kill -9", "in judge"):
        raise AssertionError

def test_passes(fault):
    with fault("kill -9", "in report"):
        pass
"""


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
    assert "**4 faults tried, 3 survived, no tests not tried; stopped before the end.**" in told
    assert "Not tried" not in told
    assert "| in fetch | 3 | 2 | `tests/test_x.py::test_y` |" in told
    assert told.index("## full disk") < told.index("## kill -9")


def test_without_make_chaos_nothing_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(RECORD, raising=False)
    monkeypatch.chdir(tmp_path)
    with counted("kill -9", "in fetch", "test"):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("processes", [0, 2])
def test_what_is_skipped_or_breaks_before_its_fault_is_told_as_not_tried(processes: int, tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / "conftest.py").write_text((ROOT / "tests/conftest.py").read_text())
    record = tmp_path / "record"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--numprocesses", str(processes), "test_some.py"],
        cwd=tmp_path,
        env=clean_environment()
        | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT / 'tests'}", RECORD: str(record), "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    told = report([json.loads(line) for line in record.read_text().splitlines()])
    assert "**2 faults tried, 1 survived, 4 tests not tried; 0." in told
    assert "| `test_some.py::test_skipped_by_its_fixture` | 2 | needs unshare &#124; and more |" in told
    assert "| `test_some.py::test_skipped_by_its_mark` | 1 | needs Linux |" in told
    assert "| `test_some.py::test_whose_fixture_breaks` | 1 | no room |" in told
    assert told.index("## Not tried") < told.index("## kill -9")


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([{"began": 0.0}, {"ended": 990.0}], "no tests not tried; 16.5 minutes of the 25 that it may take"),
        ([{"began": 0.0}, {"ended": 1590.0}], "no tests not tried; 26.5 minutes instead of the 25 that it may take"),
        ([{"began": 0.0}], "no tests not tried; stopped before the end"),
    ],
)
def test_how_long_it_took_is_told_against_what_it_may_take(lines: list[dict[str, Any]], told: str) -> None:
    assert summary(lines) == f"0 faults tried, 0 survived, {told}"
