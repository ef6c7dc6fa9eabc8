"""DVC as our commands start it: a kill tears no file of its own, it ends with its starter, kept out it names the holder."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import zc.lockfile
from conftest import ROOT, clean_environment
from test_sidebyside import WRITER, _alive, _wait_for

from unrolled.dvccommand import dvc_command, lock_holder

ENVIRONMENT = clean_environment() | {"PYTHONPATH": str(ROOT / "src")}
TEAR = """
import os
from dvc.utils import serialize
from unrolled import dvccommand
dvccommand.write_yaml_whole()
def tear(data, file):
    file.write("stages:\\n  torn: {")
    file.flush()
    os.kill(os.getpid(), 9)
serialize._yaml._dump = tear
with serialize.modify_yaml("dvc.lock") as data:
    data["stages"] = {}
"""
DIE = """
import os
from pathlib import Path
from dvc.utils import serialize
from unrolled import dvccommand
dvccommand.write_yaml_whole()
Path.replace = os.replace = lambda *_: os.kill(os.getpid(), 9)
serialize.dump_yaml("dvc.lock", {"stages": {}})
"""
WRITE = """
from dvc.utils import serialize
from unrolled import dvccommand
dvccommand.write_yaml_whole()
serialize.dump_yaml("dvc.lock", {"stages": {}})
"""
# As DVC brackets a stage: what it reads and writes is listed, and taken from the list when it has ended.
LIST = """
import json, os
from dvc import rwlock
from dvc.fs import localfs
from unrolled import dvccommand
dvccommand.write_rwlock_whole()
def tear(data, file):
    file.write('{"write": {')
    file.flush()
    os.kill(os.getpid(), 9)
with rwlock.rwlock(".", localfs, "dvc repro", [], ["data"], False):
    print(open("rwlock").read())
    if os.environ.get("TEAR"):
        json.dump = tear
"""
# Stands for `unrolled repro`, which starts DVC in a session of its own.
PARENT = """
import subprocess
from unrolled.dvccommand import dvc_command
subprocess.run(dvc_command("repro"), start_new_session=True)
"""


def test_a_kill_while_dvc_writes_its_lock_file_leaves_the_earlier_one(tmp_path: Path) -> None:
    (tmp_path / "dvc.lock").write_text("schema: '2.0'\n")
    died = subprocess.run([sys.executable, "-c", TEAR], cwd=tmp_path, env=ENVIRONMENT)
    assert died.returncode == -signal.SIGKILL
    assert (tmp_path / "dvc.lock").read_text() == "schema: '2.0'\n"
    assert [path.name for path in tmp_path.iterdir()] == ["dvc.lock"]


def test_what_a_kill_leaves_of_a_lock_file_git_ignores_and_the_next_to_write_removes(tmp_path: Path) -> None:
    died = subprocess.run([sys.executable, "-c", DIE], cwd=tmp_path, env=ENVIRONMENT)
    assert died.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert subprocess.run(["git", "check-ignore", "--quiet", left.name], cwd=ROOT).returncode == 0, left.name
    subprocess.run([sys.executable, "-c", WRITE], cwd=tmp_path, env=ENVIRONMENT, check=True)
    assert [path.name for path in tmp_path.iterdir()] == ["dvc.lock"]
    assert (tmp_path / "dvc.lock").read_text() == "stages: {}\n"


def test_a_kill_while_dvc_lists_who_uses_what_leaves_the_earlier_list(tmp_path: Path) -> None:
    died = subprocess.run([sys.executable, "-c", LIST], cwd=tmp_path, env=ENVIRONMENT | {"TEAR": "1"})
    assert died.returncode == -signal.SIGKILL
    assert list(json.loads((tmp_path / "rwlock").read_text())["write"]) == ["data"]
    done = subprocess.run(
        [sys.executable, "-c", LIST], cwd=tmp_path, env=ENVIRONMENT, check=True, capture_output=True, text=True
    )
    assert list(json.loads(done.stdout)["write"]) == ["data"]
    assert "write" not in json.loads((tmp_path / "rwlock").read_text()), "the stage has ended"


def test_a_torn_list_of_who_uses_what_is_told_of_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "rwlock").write_text("")
    failed = subprocess.run([sys.executable, "-c", LIST], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
    assert failed.returncode == 1
    assert "rwlock is torn" in failed.stderr
    assert failed.stderr.rstrip().endswith("remove it: rm rwlock; then run again")
    assert (tmp_path / "rwlock").read_text() == "", "a DVC that still runs may have been listed there"


def test_a_lock_is_held_by_the_process_that_it_names_if_that_has_it_open(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    assert lock_holder(file) is None
    held = zc.lockfile.LockFile(str(file))  # as DVC does
    told = lock_holder(file)
    assert told is not None
    assert told.startswith(f"(PID {os.getpid()}): ")
    held.close()
    assert lock_holder(file) is None, "it still names us"
    for content in ("", "me", "-1", f"{2**70}"):
        file.write_text(content)
        assert lock_holder(file) is None


@pytest.mark.slow
def test_a_dvc_that_is_kept_out_names_who_holds_the_lock(tmp_path: Path) -> None:
    for command in (["git", "init", "--quiet"], [sys.executable, "-m", "dvc", "init", "--quiet"]):
        subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, check=True)
    held = zc.lockfile.LockFile(str(tmp_path / ".dvc/tmp/lock"))
    try:
        out = subprocess.run(dvc_command("repro"), cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
    finally:
        held.close()
    assert out.returncode
    assert f"the lock {tmp_path / '.dvc/tmp/lock'} is held by (PID {os.getpid()}): " in out.stderr
    assert "most likely" not in out.stderr.lower()


@pytest.mark.slow
def test_dvc_and_its_stage_end_with_the_command_that_started_them(tmp_path: Path) -> None:
    (tmp_path / "writer.py").write_text(
        "import sys\nfrom unrolled.console import one_line_errors\nwith one_line_errors():\n"
        + "\n".join(f"    {line}" for line in WRITER.strip().splitlines())
    )
    (tmp_path / "dvc.yaml").write_text(f"stages: {{write: {{cmd: '{sys.executable} writer.py written'}}}}\n")
    for command in (["git", "init", "--quiet"], [sys.executable, "-m", "dvc", "init", "--quiet"]):
        subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, check=True)
    parent = subprocess.Popen([sys.executable, "-c", PARENT], cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    pid = tmp_path / "written.pid"
    _wait_for(lambda: pid.is_file() and bool(pid.read_text()))
    below = [process.pid for process in psutil.Process(parent.pid).children(recursive=True)]
    assert int(pid.read_text()) in below
    parent.kill()
    parent.wait()
    try:
        _wait_for(lambda: not any(_alive(process) for process in below))
    finally:
        for process in filter(_alive, below):
            os.kill(process, signal.SIGKILL)
