"""Nobody else reads or writes what DVC caches, from the first command on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, clean_environment
from scratchcheckout import copy_parts, git

from unrolled.privatecache import FOLDERS, keep_private

PIPELINE = {
    "stages": {
        "code": {"cmd": "PYTHONPATH=src python -m unrolled.stagecode", "deps": ["conf/model"], "outs": ["data/code"]},
        "late": {"cmd": "cp data/code/train late.txt", "deps": ["data/code"], "params": ["seed"], "outs": ["late.txt"]},
    }
}


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """This checkout's code and DVC configuration with a pipeline of two quick stages, as git clones it: folders 0755."""
    root = tmp_path / "unrolled"
    copy_parts(root)
    (root / "dvc.yaml").write_text(yaml.safe_dump(PIPELINE))
    (root / "params.yaml").write_text("seed: 0\n")
    git(root, "init", "--quiet")
    return root


def _dvc(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], cwd=root, env=clean_environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _open_to_others(root: Path) -> list[str]:
    """Return what under .dvc others can reach and what is not git's."""
    kept = [root / ".dvc" / name for name in ("config", ".gitignore", "plots", "config.local")]
    found = []
    for folder, folders, files in os.walk(root / ".dvc"):
        paths = [Path(folder) / name for name in (*folders, *files)]
        found += [str(path) for path in paths if path.stat().st_mode & 0o077 and path not in kept]
        folders[:] = [name for name in folders if (Path(folder) / name).stat().st_mode & 0o077 and name != "plots"]
    return found


def _site_cache(root: Path) -> Path:
    script = "from dvc.repo import Repo; print(Repo().site_cache_dir)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root / "src", env=clean_environment(), capture_output=True, text=True
    )
    return Path(done.stdout.strip())


@pytest.mark.slow
def test_after_the_install_nothing_is_open_to_others(clone: Path) -> None:
    keep_private(clone)
    _dvc(clone, "repro")
    assert list((clone / ".dvc/cache/files").rglob("*")), "DVC has cached something"
    assert list((clone / ".dvc/site/repo").iterdir()), "and kept its state"
    assert _site_cache(clone).is_relative_to(clone / ".dvc/site"), "wherever in the checkout it is run"
    assert _open_to_others(clone) == []


@pytest.mark.slow
def test_plain_dvc_repro_sees_to_it(clone: Path) -> None:
    _dvc(clone, "repro")
    assert [(clone / name).stat().st_mode & 0o777 for name in FOLDERS] == [0o700] * len(FOLDERS)
    _dvc(clone, "repro", "--force")
    assert list((clone / ".dvc/site/repo").iterdir())
    assert _open_to_others(clone) == []


@pytest.mark.slow
def test_a_queued_experiment_keeps_to_it(clone: Path) -> None:
    keep_private(clone)
    _dvc(clone, "repro")
    git(clone, "add", "--all")
    git(clone, "commit", "--quiet", "--message", "start")
    _dvc(clone, "exp", "run", "--queue", "--name", "other", "-S", "seed=1", "late")
    _dvc(clone, "queue", "start", "--jobs", "1")
    _dvc(clone, "queue", "logs", "--follow", "other")
    assert "Success" in _dvc(clone, "queue", "status")
    assert _open_to_others(clone) == []


def test_it_is_told_once_and_anew_where_the_checkout_has_moved(clone: Path) -> None:
    keep_private(clone)
    local = clone / ".dvc/config.local"
    written = local.stat().st_mtime_ns
    keep_private(clone)
    assert local.stat().st_mtime_ns == written
    moved = clone.rename(clone.parent / "moved")
    keep_private(moved)
    assert f"site_cache_dir = {moved}/.dvc/site\n" in (moved / ".dvc/config.local").read_text()


def test_what_the_user_chose_stays(clone: Path, tmp_path: Path) -> None:
    _dvc(clone, "config", "--local", "core.site_cache_dir", str(tmp_path / "mine"))
    (tmp_path / "shared").mkdir(mode=0o775)
    (tmp_path / "shared").chmod(0o775)
    (clone / ".dvc/cache").symlink_to(tmp_path / "shared")
    keep_private(clone)
    assert f"site_cache_dir = {tmp_path}/mine\n" in (clone / ".dvc/config.local").read_text()
    assert (tmp_path / "shared").stat().st_mode & 0o777 == 0o775


def test_the_install_sees_to_it() -> None:
    assert "-m unrolled.privatecache" in (ROOT / "Makefile").read_text()
