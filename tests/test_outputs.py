"""Folders and files appear whole or not at all."""

import os
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from conftest import ROOT
from windowsets import series_windows

from unrolled.outputs import check_writable, whole_folder, write_whole
from unrolled.windowset import save_windows


def test_a_folder_that_fails_leaves_the_earlier_one_as_it_was(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with whole_folder(out) as folder:
        (folder / "a").write_text("first")
    with pytest.raises(ZeroDivisionError), whole_folder(out) as folder:
        (folder / "a").write_text("second")
        raise ZeroDivisionError
    assert (out / "a").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_that_succeeds_replaces_the_earlier_one_whole(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    for name in ("a", "b"):
        with whole_folder(out) as folder:
            (folder / name).write_text(name)
    assert [path.name for path in out.iterdir()] == ["b"]
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    write_whole(tmp_path / "deep" / "a.txt", "one")
    write_whole(tmp_path / "deep" / "a.txt", "two")
    assert (tmp_path / "deep" / "a.txt").read_text() == "two"
    assert len(list((tmp_path / "deep").iterdir())) == 1


def test_a_place_that_cannot_be_written_to_is_found_before_work_starts(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        check_writable(tmp_path / "file" / "models")


@pytest.mark.parametrize(
    ("stage", "work", "place"),
    [
        ("baseline", "make_baselines", "data/baselines"),
        ("ensemble", "make_ensemble", "data/ensembles"),
        ("ensemble", "make_ensemble", "reports/energy/ensemble"),
        ("judge", "judge_task", "data/judgements"),
        ("judge", "judge_task", "reports/energy"),
        ("evaluate", "predict_run", "data/predictions/energy"),
        ("evaluate", "predict_run", "reports/energy/gru"),
    ],
)
def test_a_stage_looks_whether_it_can_write_before_it_works(
    stage: str, work: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unrolled.checkout.project_root", lambda: tmp_path)
    monkeypatch.setattr(f"unrolled.{stage}.{work}", lambda *_, **__: pytest.fail("it has worked in vain"))
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    (tmp_path / "data/windows/energy").mkdir(parents=True)
    save_windows(series_windows(), tmp_path / "data/windows/energy")
    (tmp_path / "data/models/energy-gru-0").mkdir(parents=True)
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).touch()  # a file where the folder would be: nobody, root included, can write into it
    with pytest.raises(SystemExit, match=f"error: .*{place}"):
        import_module(f"unrolled.{stage}").main(["task=energy", *(["model=gru"] if stage == "evaluate" else [])])


def _killed(code: str, folder: Path) -> None:
    """Run ``code`` in a process that dies in the middle of it, as by kill -9."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    before = "import os, sys; from pathlib import Path; from unrolled.outputs import *\n"
    died = subprocess.run([sys.executable, "-c", before + code], cwd=folder, env=environment)
    assert died.returncode == -signal.SIGKILL


WRITES = "with whole_folder(Path('out')) as folder: (folder / 'a').write_text('second')"


@pytest.mark.parametrize(
    ("code", "found"),
    [
        (f"{WRITES}; os.kill(os.getpid(), 9)", "first"),
        (
            "rename = Path.rename; count = []\n"
            "def dying(*paths):\n"
            "    count.append(rename(*paths)); len(count) == 1 and os.kill(os.getpid(), 9)\n"
            f"Path.rename = dying\n{WRITES}",
            "first",
        ),
        (f"import shutil; shutil.rmtree = lambda *_, **__: os.kill(os.getpid(), 9)\n{WRITES}", "second"),
    ],
    ids=["while writing", "between the renames", "before the earlier one is gone"],
)
def test_a_kill_loses_neither_the_earlier_folder_nor_leaves_anything_for_good(
    code: str, found: str, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").write_text("first")
    _killed(code, tmp_path)
    with pytest.raises(ZeroDivisionError), whole_folder(tmp_path / "out"):
        raise ZeroDivisionError
    assert (tmp_path / "out" / "a").read_text() == found
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_a_killed_write_left_is_removed_by_the_next_and_what_a_living_one_writes_stays(tmp_path: Path) -> None:
    _killed("Path.replace = lambda *_: os.kill(os.getpid(), 9); write_whole(Path('a.json'), '1')", tmp_path)
    (left,) = tmp_path.iterdir()
    living = tmp_path / f".a.json.{os.getppid()}.partial"
    others = tmp_path / left.name.replace("a.json", "b.json")
    living.touch()
    others.touch()
    write_whole(tmp_path / "a.json", "2")
    assert {path.name for path in tmp_path.iterdir()} == {"a.json", living.name, others.name}


def test_what_a_zombie_or_a_process_that_cannot_be_left_is_removed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and is a zombie until we wait for it
        for process in (ended.pid, 0, 10**30):
            (tmp_path / f".a.json.{process}.partial").touch()
        write_whole(tmp_path / "a.json", "1")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_new_folder_that_cannot_take_its_place_leaves_the_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with whole_folder(tmp_path / "out") as folder:
        (folder / "a").write_text("first")
    rename = Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if path.suffix == ".partial":
            raise OSError("no more")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match="no more"), whole_folder(tmp_path / "out") as folder:
        (folder / "a").write_text("second")
    assert (tmp_path / "out" / "a").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
