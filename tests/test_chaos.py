"""Faults in the real pipeline: DVC, its stages, their files. After each the same command finishes with the same bytes.

`make chaos` runs these, on trainings of seconds; see ``faulthook`` for how a fault comes at its moment.
"""

import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import scratchcheckout
from conftest import Fault, clean_environment
from faultycheckout import PATIENCE_SECONDS, STEPS, Ended, FaultyCheckout, copied, make_reference, statuses
from loopback import PROXIES

pytestmark = [pytest.mark.slow, pytest.mark.chaos]


CELLS = ("energy-gru-0", "shakespeare-gru-0")
FIRST_SAVED = 16  # the first epoch, of 15 steps, is saved in any case
FOLDERS = 4  # that only the first run has to make
KILLED = "kill -9"


def kills() -> list[Any]:
    """Twenty kills, the same ones in every run: what is undone before, what the report calls it, and the fault."""
    choose = random.Random(20)
    found: list[tuple[str, list[str], dict[str, Any]]] = []
    stages = (
        "fetch@energy",
        "fetch@shakespeare",
        "window@energy",
        "window@shakespeare",
        "judge@energy",
        "judge@shakespeare",
    )
    for stage in (*stages, *(f"evaluate@{cell}" for cell in CELLS), "report"):
        found.append((f"in {stage.partition('@')[0]}", [stage], {"stage": stage, "share": choose.random()}))
    for number in range(5):
        stage = f"train@{CELLS[number % 2]}"
        found.append(("at a step of training", [stage], {"stage": stage, "step": choose.randrange(FIRST_SAVED, STEPS)}))
    for number in range(3):
        stage = f"train@{CELLS[number % 2]}"
        moment = {"stage": stage, "write": choose.randrange(20, 150), "under": "data/resume", "save_seconds": 0}
        found.append(("while a checkpoint is written", [stage], moment))
    chain = ["train@energy-gru-0", "evaluate@energy-gru-0", "ensemble@energy", "judge@energy", "report"]
    for number in range(3):
        moment = {"stage": chain[number], "after": round(choose.uniform(0, 1.5), 2)}
        found.append(("between two stages", chain[number:], moment))
    victims = ["stage", "dvc", "all"]
    return [
        pytest.param(
            undone, where, fault | {"kill": "dvc" if "after" in fault else victims[number % 3]}, id=f"{number}"
        )
        for number, (where, undone, fault) in enumerate(found)
    ]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[FaultyCheckout, Ended]:
    """A checkout in which every stage ran, and how that went."""
    return make_reference(tmp_path_factory.mktemp("undisturbed") / "unrolled")


@pytest.fixture
def reference(undisturbed: tuple[FaultyCheckout, Ended]) -> FaultyCheckout:
    return undisturbed[0]


@pytest.fixture
def checkout(reference: FaultyCheckout, tmp_path: Path) -> FaultyCheckout:
    return copied(reference, tmp_path / "unrolled")


@pytest.mark.parametrize(("undone", "where", "struck"), kills())
def test_a_kill_costs_no_more_than_running_the_same_command_again(
    undone: list[str],
    where: str,
    struck: dict[str, Any],
    undisturbed: tuple[FaultyCheckout, Ended],
    checkout: FaultyCheckout,
    fault: Fault,
) -> None:
    reference, undisturbed_run = undisturbed
    if "share" in struck:
        struck = struck | {"write": 1 + int(struck["share"] * (undisturbed_run.writes(struck["stage"]) - FOLDERS))}
    victim = {"stage": "the stage", "dvc": "DVC", "all": "both"}[struck["kill"]]
    # Between stages DVC rewrites files of its own: plain `dvc` in place, which a kill can hit (docs/reliability.md), the one
    # that `make` and `unrolled repro` start whole.
    dvc = "unrolled.dvccommand" if "after" in struck else "dvc"
    with fault(KILLED, f"{victim} killed {where}"):
        checkout.forget(*undone)
        ended = checkout.run(dvc, "repro", **struck)
        assert ended.struck()
        assert ended.code != 0
        again = checkout.run(dvc, "repro").succeeded()
        checkout.check_whole(reference)
        stage, _, cell = undone[0].partition("@")
        if stage == "train" and "after" not in struck:
            assert 0 < again.steps(cell) < STEPS, "training went on where it was"
            assert ended.steps(cell) + again.steps(cell) >= STEPS


ASKED = {
    "Ctrl-C": ("SIGINT", "all", CELLS[0]),
    "Ctrl-C, where a state is carried from chunk to chunk": ("SIGINT", "all", CELLS[1]),
    "SIGTERM to all": ("SIGTERM", "all", CELLS[1]),
    "SIGTERM to DVC alone": ("SIGTERM", "dvc", CELLS[0]),
    "the terminal is closed": ("SIGHUP", "all", CELLS[0]),
}


@pytest.mark.parametrize("how", ASKED)
def test_a_training_that_is_asked_to_stop_saves_the_step_and_says_killed(
    how: str, reference: FaultyCheckout, checkout: FaultyCheckout, fault: Fault
) -> None:
    number, victim, cell = ASKED[how]
    with fault("asked to stop", f"{how}, in the middle of an epoch"):
        checkout.forget(f"train@{cell}")
        # Without a word nothing would be saved after the first epoch.
        moment = {"stage": f"train@{cell}", "step": 37, "save_seconds": 1000}
        ended = checkout.run("dvc", "repro", kill=victim, signal=number, **moment)
        assert ended.struck()
        assert ended.code != 0
        assert statuses(checkout.root / "mlflow.db") == ["KILLED"]
        again = checkout.run("dvc", "repro").succeeded()
        if number != "SIGHUP":
            assert ended.steps(cell) + again.steps(cell) == STEPS, "not one step is repeated"
        checkout.check_whole(reference)
        assert statuses(checkout.root / "mlflow.db") == ["FINISHED"]


def test_a_crash_is_marked_failed_and_the_next_run_goes_on(
    reference: FaultyCheckout, checkout: FaultyCheckout, fault: Fault
) -> None:
    with fault("a defect in training", "an error that nobody foresaw"):
        checkout.forget("train@energy-gru-0")
        ended = checkout.run("dvc", "repro", stage="train@energy-gru-0", step=40, fail="a defect")
        assert "RuntimeError: a defect" in ended.told
        assert statuses(checkout.root / "mlflow.db") == ["FAILED"]
        again = checkout.run("dvc", "repro").succeeded()
        assert again.steps("energy-gru-0") < STEPS
        checkout.check_whole(reference)


def test_a_training_of_something_else_starts_afresh_and_says_so(
    reference: FaultyCheckout, checkout: FaultyCheckout, fault: Fault
) -> None:
    changes = {
        "a changed configuration": (
            "conf/task/energy.yaml",
            "learning_rate: 0.003",
            "learning_rate: 0.002",
            "learning_rate was",
        ),
        "changed data": ("conf/task/energy.yaml", "context: 33", "context: 32", "the data changed"),
        "changed code": ("src/unrolled/heads.py", '"""', '"""Changed. ', "the code changed"),
    }
    for what, (name, before, after, told) in changes.items():
        with fault("resume of something else", what):
            checkout.forget("train@energy-gru-0")
            assert checkout.run("dvc", "repro", stage="train@energy-gru-0", step=40, kill="all").struck()
            path, text = checkout.root / name, (checkout.root / name).read_text()
            assert before in text
            path.write_text(text.replace(before, after, 1))
            again = checkout.run("dvc", "repro", "train@energy-gru-0").succeeded()
            assert again.steps("energy-gru-0") == STEPS
            assert told in again.told
            path.write_text(text)
            checkout.run("dvc", "repro").succeeded()
            checkout.check_whole(reference)


COMMANDS = {
    "dvc repro": ("dvc", "repro"),
    "unrolled repro jobs=2": ("unrolled.cli", "repro", "jobs=2"),
    "make run": ("unrolled.workshop",),  # what it runs
}


def _let_make_run_be_small(root: Path, mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it take the checkout's own two cells, and nowhere find the real data, also where there is a network."""
    workshop = root / "src/unrolled/workshop.py"
    pairs = dict(cell.split("-")[:2] for cell in CELLS)
    text, count = re.subn(r"(?m)^PAIRS = .*$", f"PAIRS = {pairs}", workshop.read_text())
    assert count == 1
    workshop.write_text(text)
    mirror.mkdir()
    monkeypatch.setenv("UNROLLED_MIRROR", str(mirror))
    for proxy in PROXIES:
        monkeypatch.setenv(proxy, "http://127.0.0.1:9")


@pytest.mark.parametrize("name", COMMANDS)
def test_of_two_at_once_each_finishes_or_names_who_holds_the_lock(
    name: str,
    reference: FaultyCheckout,
    checkout: FaultyCheckout,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: Fault,
) -> None:
    if name == "make run":
        _let_make_run_be_small(checkout.root, tmp_path / "empty", monkeypatch)
    with fault("two at once", f"two `{name}` in one checkout"):
        checkout.forget(*(f"{stage}@{cell}" for stage in ("train", "evaluate") for cell in CELLS))
        started = [checkout.start(*COMMANDS[name]) for _ in range(2)]
        ended = [checkout.ended(*one) for one in started]
        assert any("Running stage" in one.told or "done in" in one.told for one in ended)
        for one in ended:
            assert one.code == 0 or "(PID " in one.told or "another DVC process" in one.told, one.told
        checkout.run(*COMMANDS[name]).succeeded()
        checkout.check_whole(reference)


def test_what_a_killed_command_has_started_ends_with_it(
    reference: FaultyCheckout, checkout: FaultyCheckout, fault: Fault
) -> None:
    with fault(KILLED, "`unrolled repro jobs=2` killed, whose DVCs have sessions of their own"):
        checkout.forget(*(f"train@{cell}" for cell in CELLS))
        process, log = checkout.start("unrolled.cli", "repro", "jobs=2")
        checkout.wait_until(lambda: all(Ended(0, "", log).steps(cell) > FIRST_SAVED for cell in CELLS))
        process.kill()
        process.wait()
        checkout.wait_for_end()
        again = checkout.run("unrolled.cli", "repro", "jobs=2").succeeded()
        assert all(again.steps(cell) < STEPS for cell in CELLS)
        checkout.check_whole(reference)


def test_a_lock_file_that_a_kill_tore_comes_back_from_git(
    reference: FaultyCheckout, checkout: FaultyCheckout, fault: Fault
) -> None:
    lock = checkout.root / "dvc.lock"
    whole = lock.read_bytes()
    choose = random.Random(3)
    for kept in (0, *(choose.randrange(1, len(whole)) for _ in range(3))):
        with fault(KILLED, "plain `dvc` killed while it writes dvc.lock: `git restore dvc.lock`, then again"):
            checkout.forget("evaluate@energy-gru-0")
            lock.write_bytes(whole[:kept])
            ended = checkout.run("dvc", "repro")
            assert ended.code == 0 or "dvc.lock" in ended.told
            scratchcheckout.git(checkout.root, "restore", "dvc.lock")
            checkout.run("dvc", "repro").succeeded()
            checkout.check_whole(reference)


REMOVED = {
    "raw files under window": ("window@energy", {"write": 2}, "data/raw/energy"),
    "windows under a training": ("train@energy-gru-0", {"step": 30}, "data/windows/energy"),
    "checkpoints under a training": ("train@energy-gru-0", {"step": 30}, "data/resume"),
    "a model under its evaluation": ("evaluate@energy-gru-0", {"write": 2}, "data/models/energy-gru-0"),
    "predictions under their judge": ("judge@energy", {"write": 2}, "data/predictions/energy"),
    "a stage's own unfinished folder": ("window@shakespeare", {"write": 4}, "data/windows"),
}


@pytest.mark.parametrize("what", REMOVED)
def test_a_file_removed_under_a_running_stage_is_named_and_comes_back(
    what: str, reference: FaultyCheckout, checkout: FaultyCheckout, fault: Fault
) -> None:
    stage, moment, folder = REMOVED[what]
    with fault("files removed under a running stage", what):
        checkout.forget(stage)
        ended = checkout.run("dvc", "repro", stage=stage, remove=folder, **moment)
        assert ended.struck()
        assert ended.code == 0 or Path(folder).name in ended.told, ended.told
        assert "Traceback" not in ended.told
        checkout.run("dvc", "repro").succeeded()
        checkout.check_whole(reference)


# Runs as root of a user namespace of its own: the file systems that it mounts are nobody else's and go with it.
INSIDE = ("unshare", "--user", "--map-root-user", "--mount", "/bin/sh", "-eu", "-c")
FULL = """
mkdir small
mount -t tmpfs -o size=64m tmpfs small
cp -a unrolled small/unrolled
cd small/unrolled
head -c $(($(df --output=avail -B1 . | tail -1) - {left})) /dev/zero > ../filling || true
"$0" -m {command} && exit 3
rm ../filling
"$0" -m {command}
cp -a . ../../after
"""
READ_ONLY = """
cd unrolled
mkdir -p {folder}
mount --bind {folder} {folder}
mount -o remount,bind,ro {folder}
"$0" -m {command} && exit 3
mount -o remount,bind,rw {folder}
"$0" -m {command}
umount {folder}
"""
# The stages' own commands, and one through DVC; what is undone before; the folder that they write to.
STAGES = {
    "fetch": ("unrolled.fetch task=shakespeare data=stand-in", ["fetch@shakespeare"], "data/raw"),
    "window": ("unrolled.window task=shakespeare", ["window@shakespeare"], "data/windows"),
    "train": (
        "unrolled.train task=energy model=gru seed=0 trainer=seconds out=data/models/energy-gru-0",
        ["train@energy-gru-0"],
        "data/models",
    ),
    "evaluate": ("unrolled.evaluate task=energy model=gru seed=0", ["evaluate@energy-gru-0"], "data/predictions"),
    "judge": ("unrolled.judge task=energy", ["judge@energy"], "data/judgements"),
    "report": ("unrolled.report", ["report"], "reports"),
    "dvc": ("dvc repro", ["evaluate@energy-gru-0"], "data/predictions"),
}


@pytest.fixture
def namespace() -> None:
    try:
        subprocess.run([*INSIDE, "mount -t tmpfs tmpfs /mnt"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"needs unshare with user and mount namespaces: {error}")


def _inside(script: str, folder: Path) -> str:
    """Run a script in ``folder``, in file systems of its own, and return what it told; it must end well."""
    environment = clean_environment() | {"PYTHONPATH": "src"}
    done = subprocess.run(
        [*INSIDE, script, sys.executable],
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.usefixtures("namespace")
@pytest.mark.parametrize("name", STAGES)
def test_a_full_disk_is_named_and_the_same_command_finishes_when_there_is_room(
    name: str, reference: FaultyCheckout, checkout: FaultyCheckout, tmp_path: Path, fault: Fault
) -> None:
    command, undone, _ = STAGES[name]
    with fault("full disk", f"no room in {name}"):
        checkout.forget(*undone)
        told = _inside(FULL.format(left=16384, command=command), checkout.root.parent)
        assert "No space left on device" in told
        if name != "dvc":
            assert "make room, then run again" in told
        assert "Traceback" not in told
        FaultyCheckout(tmp_path / "after").check_whole(reference)


@pytest.mark.usefixtures("namespace")
@pytest.mark.parametrize("name", STAGES)
def test_a_read_only_folder_is_named_and_the_same_command_finishes_when_it_is_writable(
    name: str, reference: FaultyCheckout, checkout: FaultyCheckout, fault: Fault
) -> None:
    command, undone, folder = STAGES[name]
    with fault("read-only folder", f"{folder}/ in {name}"):
        checkout.forget(*undone)
        told = _inside(READ_ONLY.format(folder=folder, command=command), checkout.root.parent)
        assert folder in told
        if name != "dvc":
            assert "make it writable, then run again" in told
        assert "Traceback" not in told
        checkout.check_whole(reference)
