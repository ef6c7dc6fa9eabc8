"""Kill -9 at random moments of writing windows, saving checkpoints and tracking: three each, or a hundred by `make chaos`."""

import hashlib
import multiprocessing
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import victims
from conftest import Fault
from faultycheckout import metrics_that_repeat, statuses
from trainedfolders import HISTORY, write_trained
from windowsets import series_windows

from unrolled import trackingstore
from unrolled.outputs import whole_folder
from unrolled.windowset import check_digest, open_windows

pytestmark = pytest.mark.slow

Processes = Any  # multiprocessing's context

KIND = "kill -9, at random moments of one process"
SECONDS = 300.0


def times(many: int) -> Any:
    return pytest.mark.parametrize("kills", [3, pytest.param(many, marks=pytest.mark.chaos)])


@pytest.fixture(scope="module")
def processes() -> Processes:
    """Start victims by forking a process that has all the heavy imports behind it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(victims.HEAVY)
    return context


def _run(
    processes: Processes, what: Callable[[Path, Path], None], place: Path, log: Path, after: float | None = None
) -> float:
    """Run one victim, killed so many seconds after its start if asked, and return how long it took."""
    process = processes.Process(target=what, args=(place, log))
    process.start()
    began = time.monotonic()
    process.join(SECONDS if after is None else after)
    if process.exitcode is None:
        assert after is not None, "it hangs"
        process.kill()
        process.join()
    elif after is None:
        assert process.exitcode == 0
    process.close()
    return time.monotonic() - began


def _digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def _count(log: Path) -> int:
    count = log.stat().st_size if log.is_file() else 0
    log.unlink(missing_ok=True)
    return count


@times(34)
def test_windows_are_whole_whenever_their_writer_is_killed(
    kills: int, processes: Processes, tmp_path: Path, fault: Fault
) -> None:
    choose, folder, log = random.Random(1), tmp_path / "windows" / "ramp", tmp_path / "log"
    _run(processes, victims.write_windows, folder, log, after=2.0)
    for _ in range(kills):
        with fault(KIND, "writing windows"):
            _run(processes, victims.write_windows, folder, log, after=0.05 + choose.uniform(0, 0.1))
            with pytest.raises(ZeroDivisionError), whole_folder(folder):
                raise ZeroDivisionError  # the next to write there
            check_digest(open_windows(folder), folder)
            assert [path.name for path in folder.parent.iterdir()] == ["ramp"]
    assert _count(log) > kills, "they were killed while they wrote"


@times(33)
def test_a_training_killed_at_any_moment_ends_at_the_same_bytes(
    kills: int, processes: Processes, tmp_path: Path, fault: Fault
) -> None:
    choose, log, resumed = random.Random(2), tmp_path / "log", 0
    _run(processes, victims.train, tmp_path / "first", log)  # the forked process' own first time is slower
    steps = _count(log)
    took = _run(processes, victims.train, tmp_path / "undisturbed", log)
    assert _count(log) == steps
    expected = _digests(tmp_path / "undisturbed/data/models/cell")
    for _ in range(kills):
        with fault(KIND, "training, a checkpoint saved at every step"):
            root = tmp_path / "killed"
            _run(processes, victims.train, root, log, after=choose.uniform(0, took))
            _count(log)
            saved = list((root / "data/resume").glob("*/last.ckpt"))
            ended = (root / "data/models/cell").is_dir()
            _run(processes, victims.train, root, log)
            taken = _count(log)
            assert _digests(root / "data/models/cell") == expected
            assert list((root / "data/resume").iterdir()) == []
            assert [path.name for path in (root / "data/models").iterdir()] == ["cell"]
            if saved and not ended:
                assert taken < steps, "it went on from the checkpoint"
                resumed += 1
            shutil.rmtree(root)
    assert resumed or kills < 10


@times(33)
def test_a_mirror_killed_at_any_moment_is_completed_with_each_metric_once(
    kills: int, processes: Processes, tmp_path: Path, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    choose, log, empty = random.Random(3), tmp_path / "log", tmp_path / "store"
    trackingstore.connect(empty)
    took = 0.0
    for number in range(kills + 2):
        root = tmp_path / str(number)
        write_trained(root, series_windows())
        shutil.copy(empty / "mlflow.db", root)
        if number < 2:  # the first is slower, the second tells how long it takes
            took = _run(processes, victims.follow, root, log)
            continue
        with fault(KIND, "tracking, then `unrolled track`"):
            _run(processes, victims.follow, root, log, after=choose.uniform(0, took))
            _run(processes, victims.complete, root, log)
            assert statuses(root / "mlflow.db") == ["FINISHED"]
            assert metrics_that_repeat(root / "mlflow.db") == []
            assert points(root) == [row["train_loss"] for row in HISTORY]
            assert not list((root / "data/sidecars").glob("*.running"))


def points(root: Path) -> list[float]:
    client = trackingstore.connect(root).client
    (run,) = client.search_runs([client.get_experiment_by_name("ramp").experiment_id])
    return [point.value for point in client.get_metric_history(run.info.run_id, "train_loss")]
