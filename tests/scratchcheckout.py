"""A git checkout of this code with small cells on stand-in data, run once from end to end."""

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from conftest import ROOT, clean_environment

PARAMS = """\
# a comment that must survive
data: stand-in
trainer: smoke
tasks: [energy, shakespeare]
cells:
  energy-rnn-0: {task: energy, model: rnn, seed: 0}
  energy-gru-0: {task: energy, model: gru, seed: 0}
  shakespeare-gru-0: {task: shakespeare, model: gru, seed: 0}
"""
PARTS = ("src", "conf", ".dvc/config", ".dvc/.gitignore", ".dvc/plots", ".dvcignore", "dvc.yaml", ".gitignore")


def make_checkout(root: Path) -> Path:
    """Copy what the stages need to ``root``, commit it, run every cell and commit the results."""
    copy_parts(root)
    (root / "params.yaml").write_text(PARAMS)
    git(root, "init", "--quiet")
    commit(root, "start")
    dvc(root, "repro")
    commit(root, "results")
    return root


def copy_checkout(made: Path, root: Path) -> Path:
    """Copy a checkout with all that it ran to ``root``, which what names its files by their full paths names from then on."""
    shutil.copytree(made, root, symlinks=True)
    for path in (root / ".dvc/config.local", *(root / "mlartifacts").rglob("MLmodel")):
        path.write_text(path.read_text().replace(str(made), str(root)))
    with closing(sqlite3.connect(root / "mlflow.db")) as store, store:
        for column in ("artifact_location", "artifact_uri"):
            tables = store.execute(
                "SELECT m.name FROM sqlite_master m, pragma_table_info(m.name) c WHERE c.name = ?", (column,)
            )
            for (table,) in tables.fetchall():
                store.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (str(made), str(root)))
    return root


def copy_parts(root: Path) -> None:
    """Copy what the stages need, as git has it, to ``root``."""
    for name in PARTS:
        source, target = ROOT / name, root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(source, target)


def dvc(root: Path, *arguments: str, fails: bool = False) -> str:
    """Run DVC in ``root`` and return what it printed."""
    return _run(root, "dvc", *arguments, fails=fails)


def unrolled(root: Path, *arguments: str, fails: bool = False) -> str:
    """Run the command line in ``root``, with that checkout's own code, and return what it printed."""
    return _run(root, "unrolled.cli", *arguments, fails=fails)


def _run(root: Path, module: str, *arguments: str, fails: bool) -> str:
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=root,
        env=clean_environment() | {"PYTHONPATH": "src"},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert bool(done.returncode) == fails, f"{module} {' '.join(arguments)}:\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def git(root: Path, *arguments: str) -> None:
    """Run git in ``root``."""
    who = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", *who, *arguments], cwd=root, check=True, capture_output=True, env=clean_environment())


def commit(root: Path, message: str) -> None:
    """Commit everything."""
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", message)
