"""The queue of commands: all run, so many at a time, failures are told, and a stop leaves nothing behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from conftest import ROOT, skip_if_ignored

from unrolled.sidebyside import Job, run_side_by_side, stop_groups, tail

# Writes its process id, then for ever into a file, as a training would; a grandchild of the job, started by a shell.
WRITER = """
import os, pathlib, sys, time
pathlib.Path(sys.argv[1] + ".pid").write_text(str(os.getpid()))
while True:
    pathlib.Path(sys.argv[1]).write_text(str(time.time()))
    time.sleep(0.01)
"""
MEET = """
import pathlib, sys, time
mine, other = map(pathlib.Path, sys.argv[1:])
mine.touch()
until = time.monotonic() + 30
while not other.exists() and time.monotonic() < until:
    time.sleep(0.01)
sys.exit(not other.exists())
"""


def _shell(name: str, command: str) -> Job:
    return Job(name, ("/bin/sh", "-c", command), Path("logs", f"{name}.log"))


def _run(jobs: list[Job], count: int, folder: Path) -> list[str]:
    return [job.name for job in run_side_by_side(jobs, count, folder, os.environ)]


def _wait_for(done: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not done():
        assert time.monotonic() < until, "waited for 30 s"
        time.sleep(0.01)


def _alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has looked at does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_two_jobs_run_at_the_same_time(tmp_path: Path) -> None:
    # Each ends well only if the other has started.
    jobs = [
        Job("a", (sys.executable, "-c", MEET, "a", "b"), Path("a.log")),
        Job("b", (sys.executable, "-c", MEET, "b", "a"), Path("b.log")),
    ]
    assert _run(jobs, 2, tmp_path) == []


def test_no_more_run_at_a_time_than_asked(tmp_path: Path) -> None:
    # mkdir fails if the folder is there: if another job is between its first and its last command.
    jobs = [_shell(name, "mkdir busy && sleep 0.02 && rmdir busy") for name in "abcd"]
    assert _run(jobs, 1, tmp_path) == []


def test_jobs_start_in_their_order(tmp_path: Path) -> None:
    _run([_shell(name, f"echo {name} >> order") for name in "cab"], 1, tmp_path)
    assert (tmp_path / "order").read_text().split() == ["c", "a", "b"]


def test_a_failed_job_is_named_with_the_end_of_its_log_and_the_others_run(tmp_path: Path, capfd) -> None:
    jobs = [_shell("bad", "seq 1 100; echo error: no such thing >&2; exit 3"), *(_shell(n, "true") for n in "abc")]
    assert _run(jobs, 2, tmp_path) == ["bad"]
    told = capfd.readouterr().out
    assert {f"{name}: started" for name in ("bad", "a", "b", "c")} <= set(told.splitlines())
    assert told.count("done in 0 s") == 3
    assert "(4 of 4)" in told
    assert "bad: FAILED after 0 s" in told
    assert "the end of logs/bad.log:\n    90\n" in told
    assert "    error: no such thing\n" in told
    assert (tmp_path / "logs/bad.log").read_text().startswith("1\n2\n")


def test_a_log_is_written_anew(tmp_path: Path) -> None:
    for said in ("one", "two"):
        _run([_shell("a", f"echo {said}")], 1, tmp_path)
    assert (tmp_path / "logs/a.log").read_text() == "two\n"


def test_a_job_without_log_speaks_on_the_terminal(tmp_path: Path, capfd) -> None:
    assert _run([Job("a", ("/bin/sh", "-c", "echo hello; exit 1"))], 1, tmp_path) == ["a"]
    assert capfd.readouterr().out == "hello\n"


def test_the_end_of_a_log_takes_each_drawing_of_a_bar_for_a_line(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"first\n\r 10 %\r 20 %\n\nerror: \xff\n")
    assert tail(log, 2) == [" 20 %", "error: \N{REPLACEMENT CHARACTER}"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_ends_what_a_job_has_started(number: signal.Signals, tmp_path: Path) -> None:
    skip_if_ignored(number)
    job = f'{sys.executable} -c "$0" written; exit 1'
    code = (
        "import os, sys; from pathlib import Path; from unrolled.sidebyside import Job, run_side_by_side\n"
        f"job = Job('a', ('/bin/sh', '-c', {job!r}, sys.argv[1]), Path('a.log'))\n"
        "run_side_by_side([job, job], 1, Path.cwd(), os.environ)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    runner = subprocess.Popen(
        [sys.executable, "-c", code, WRITER], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    )
    pid = tmp_path / "written.pid"
    _wait_for(lambda: pid.is_file() and bool(pid.read_text()))
    runner.send_signal(number)
    told, _ = runner.communicate(timeout=60)
    assert runner.returncode == 128 + number
    assert "stopping what runs: a" in told
    assert not _alive(int(pid.read_text()))
    assert told.count("started") == 1, "what waited is not started any more"


def test_what_does_not_heed_the_stop_is_killed(tmp_path: Path) -> None:
    deaf = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
    writer = subprocess.Popen(
        [sys.executable, "-c", f"{deaf}\n{WRITER}", "written"], cwd=tmp_path, start_new_session=True
    )
    _wait_for((tmp_path / "written").is_file)
    stop_groups([writer], grace=0.2)
    assert writer.returncode == -signal.SIGKILL


def test_a_group_is_stopped_though_its_leader_has_ended(tmp_path: Path) -> None:
    command = f'{sys.executable} -c "$0" written & exit 0'
    leader = subprocess.Popen(["/bin/sh", "-c", command, WRITER], cwd=tmp_path, start_new_session=True)
    leader.wait()
    _wait_for(lambda: (tmp_path / "written.pid").is_file() and bool((tmp_path / "written.pid").read_text()))
    stop_groups([leader], grace=0.2)
    _wait_for(lambda: not _alive(int((tmp_path / "written.pid").read_text())))


def test_signals_are_put_back(tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    _run([_shell("a", "true")], 1, tmp_path)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
