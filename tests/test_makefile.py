"""What make promises that needs no installation."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT

KEPT = (
    "data/models/energy-gru-0/weights.safetensors",
    "reports/index.html",
    ".dvc/cache/files/md5/ab/cd",
    ".dvc/config",
)
GONE = (".venv/bin/python", "outputs/run/meta.json", "mlflow.db", "mlartifacts/x", ".dvc/tmp/x", "dvc_plots/index.html")

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def _make(folder: Path, target: str) -> str:
    return subprocess.run(["make", target], cwd=folder, check=True, capture_output=True, text=True).stdout


def test_clean_keeps_what_was_trained_and_what_dvc_restores_it_from(tmp_path: Path) -> None:
    for name in (*KEPT, *GONE, "src/unrolled/__pycache__/x.pyc", "tests/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    shutil.copy(ROOT / "Makefile", tmp_path)
    _make(tmp_path, "clean")
    assert [name for name in KEPT if not (tmp_path / name).exists()] == []
    assert [name for name in GONE if (tmp_path / name).exists()] == []
    assert not list(tmp_path.rglob("__pycache__"))


def test_help_lists_every_target() -> None:
    text = (ROOT / "Makefile").read_text()
    (targets,) = re.findall(r"^.PHONY: (.*)$", text, re.MULTILINE)
    listed = re.findall(r"^make (\w+) ", _make(ROOT, "help"), re.MULTILINE)
    assert set(listed) == set(targets.split())


def test_make_refuses_to_unpickle_a_model_whatever_the_user_has_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for name in ("requirements.lock", "pyproject.toml", "constraints.txt", ".venv/installed"):
        (tmp_path / name).touch()
    started = tmp_path / ".venv" / "bin" / "mlflow"
    started.write_text('#!/bin/sh\necho "unpickles: $MLFLOW_ALLOW_PICKLE_DESERIALIZATION"\n')
    started.chmod(0o755)
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "true")
    assert "unpickles: false" in _make(tmp_path, "ui").splitlines()
