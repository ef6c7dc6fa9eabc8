"""A stage ends with the DVC that started it, and runs once at a time. Real processes; ``sh`` stands for DVC's shell."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from conftest import ROOT, clean_environment, skip_if_ignored
from test_sidebyside import WRITER, _alive, _wait_for

from unrolled import stageguard
from unrolled.console import one_line_errors
from unrolled.errors import UserError
from unrolled.stageguard import guarded_stage

STAGE = "from unrolled.console import one_line_errors\nwith one_line_errors():\n"
STAGE += "\n".join(f"    {line}" for line in WRITER.strip().splitlines())
# Stands for DVC: starts a shell, which starts the stage and stays in between as dash does, and waits.
PARENT = """
import subprocess, sys
subprocess.run(["/bin/sh", "-c", '"$0" -c "$1" written; exit 0', sys.executable, sys.argv[1]])
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("DVC_STAGE", stageguard.OURS):
        monkeypatch.delenv(name, raising=False)


def _start(code: str, *arguments: str, **more: str) -> "subprocess.Popen[bytes]":
    environment = clean_environment() | {"PYTHONPATH": str(ROOT / "src")} | more
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _written() -> int:
    """Wait for the writer and return its process id."""
    _wait_for(lambda: Path("written.pid").is_file() and bool(Path("written.pid").read_text()))
    return int(Path("written.pid").read_text())


@pytest.fixture
def orphaned() -> Iterator[list[int]]:
    """Processes to end whatever the test found."""
    found: list[int] = []
    yield found
    for process in found:
        if _alive(process):
            os.kill(process, signal.SIGKILL)


def test_a_stage_ends_when_its_dvc_is_killed_though_a_shell_stays_between(orphaned: list[int]) -> None:
    dvc = _start(PARENT, STAGE, DVC_STAGE="train@x")
    orphaned.append(_written())
    shell = psutil.Process(orphaned[0]).ppid()
    assert psutil.Process(shell).ppid() == dvc.pid
    dvc.kill()
    dvc.wait()
    _wait_for(lambda: not _alive(orphaned[0]))


def test_a_command_that_dvc_did_not_start_outlives_its_parent(orphaned: list[int]) -> None:
    parent = _start(PARENT, STAGE)
    orphaned.append(_written())
    parent.kill()
    parent.wait()
    with pytest.raises(psutil.TimeoutExpired):
        psutil.Process(orphaned[0]).wait(timeout=4 * stageguard.LOOK_SECONDS)


def test_a_stage_that_does_not_heed_the_stop_is_killed(orphaned: list[int]) -> None:
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    deaf += "from unrolled import stageguard; stageguard.GRACE_SECONDS = 0.2\n"
    dvc = _start(PARENT, deaf + STAGE, DVC_STAGE="train@x")
    orphaned.append(_written())
    dvc.kill()
    dvc.wait()
    _wait_for(lambda: not _alive(orphaned[0]))


def test_a_stage_that_still_runs_is_named_and_nothing_is_started_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    left = _start(STAGE, "written", DVC_STAGE="train@x")
    pid = _written()
    monkeypatch.setenv("DVC_STAGE", "train@x")
    monkeypatch.setattr(stageguard, "WAIT_SECONDS", 0.1)
    with pytest.raises(UserError, match=f"stage train@x is still run by process {pid}.*kill {pid}"), guarded_stage():
        pytest.fail("both run")
    left.kill()
    left.wait()
    with guarded_stage():
        pass


def test_a_stage_waits_for_the_one_that_is_just_ending(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    left = _start(f"{STAGE}".replace("while True:", "for _ in range(50):"), "written", DVC_STAGE="train@x")
    pid = _written()
    monkeypatch.setenv("DVC_STAGE", "train@x")
    with guarded_stage():
        assert left.wait(timeout=30) == 0
    assert f"waiting for process {pid}" in capsys.readouterr().out


def test_other_stages_run_beside_it_and_so_do_the_processes_that_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    for stage in ("train@a", "train@b"):
        monkeypatch.setenv("DVC_STAGE", stage)
        with guarded_stage():
            inner = "from unrolled.stageguard import guarded_stage\nwith guarded_stage(): print('inside')"
            environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
            done = subprocess.run([sys.executable, "-c", inner], env=environment, capture_output=True, text=True)
            assert (done.returncode, done.stdout) == (0, "inside\n"), done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_command_asked_to_stop_puts_in_order_what_it_holds(number: signal.Signals) -> None:
    skip_if_ignored(number)
    with pytest.raises(SystemExit) as stopped, one_line_errors():
        signal.raise_signal(number)
    assert stopped.value.code == 128 + number
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
