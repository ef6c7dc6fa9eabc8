"""A scratch checkout whose stages can be struck by faults, compared byte by byte with one that was left alone."""

import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import scratchcheckout
import yaml
from conftest import ROOT, clean_environment

# A recurrent state carried over chunks, dropout, averaged weights: all that a resumed training must take up again.
STEPS = 60  # of each training
PARAMS = """\
data: stand-in
trainer: seconds
tasks: [energy, shakespeare]
cells:
  energy-gru-0: {task: energy, model: gru, seed: 0}
  shakespeare-gru-0: {task: shakespeare, model: gru, seed: 0}
"""
TRAINER = """\
accelerator: cpu
devices: 1
precision: 32-true
threads: 1
deterministic: true
max_epochs: 4
limit_train_batches: 15
limit_val_batches: 2
"""
CHANGES = {
    "energy": {"averaging: null": "averaging: 0.9", "output_dropout: 0.0": "output_dropout: 0.2"},
    "shakespeare": {
        "hidden_size: 256": "hidden_size: 64",
        "averaging: null": "averaging: 0.9",
        "precision: bf16": "precision: null",
    },
}
OUTPUTS = ("data/raw", "data/windows", "data/baselines", "data/models", "data/predictions", "data/ensembles")
OUTPUTS += ("data/judgements", "data/code", "reports")
TIMED = ("index.html", "card.md")  # they show what no two runs share
ENDED_SECONDS = 60.0  # more than a stage has to end in, on a busy machine
PATIENCE_SECONDS = 1200


def make_reference(root: Path) -> tuple["FaultyCheckout", "Ended"]:
    """Run every stage in a new checkout at ``root``, undisturbed; and an empty MLflow store beside it, for its copies."""
    from unrolled.trackingstore import connect

    connect(root.parent / "store")
    scratchcheckout.copy_parts(root)
    shutil.copy(ROOT / "tests/faulthook.py", root / "src/sitecustomize.py")
    (root / "params.yaml").write_text(PARAMS)
    (root / "conf/trainer/seconds.yaml").write_text(TRAINER)
    for task, changes in CHANGES.items():
        conf = root / f"conf/task/{task}.yaml"
        text = conf.read_text()
        for before, after in changes.items():
            assert before in text
            text = text.replace(before, after)
        conf.write_text(text)
    scratchcheckout.git(root, "init", "--quiet")
    scratchcheckout.commit(root, "start")
    checkout = FaultyCheckout(root)
    ended = checkout.run("dvc", "repro").succeeded()
    scratchcheckout.commit(root, "results")
    return checkout, ended


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    told: str
    log: Path

    def succeeded(self) -> "Ended":
        assert self.code == 0, self.told
        return self

    def steps(self, cell: str) -> int:
        """Return how many training steps were taken."""
        return (self.log / f"steps train@{cell}").stat().st_size if (self.log / f"steps train@{cell}").is_file() else 0

    def writes(self, stage: str) -> int:
        """Return how many file operations a stage that ended by itself had."""
        lines = (self.log / "writes").read_text().splitlines()
        return max(int(line.split()[1]) for line in lines if line.split()[0] == stage)

    def struck(self) -> bool:
        """Whether the fault came."""
        return (self.log / "came").is_file()


@dataclass
class FaultyCheckout:
    """A checkout at ``root``.

    Attributes:
        root: where it is.
        runs: how many commands were run in it.
    """

    root: Path
    runs: int = field(default=0)

    def start(self, module: str, *arguments: str, **fault: Any) -> tuple["subprocess.Popen[bytes]", Path]:
        """Start a command with a fault and return it and the folder where the hook notes what happens."""
        self.runs += 1
        log = self.root.parent / f"{self.root.name}-log" / str(self.runs)
        log.mkdir(parents=True)
        told = json.dumps(fault | {"log": str(log)})
        with (log / "told").open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=self.root,
                env=clean_environment() | {"UNROLLED_FAULT": told, "PYTHONPATH": "src"},
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        return process, log

    def run(self, module: str, *arguments: str, **fault: Any) -> Ended:
        """Run a command with a fault, and wait until it and all that it started has ended."""
        process, log = self.start(module, *arguments, **fault)
        ended = self.ended(process, log)
        self.wait_for_end()
        self.wait_until(lambda: not in_session(process.pid))
        return ended

    def ended(self, process: "subprocess.Popen[bytes]", log: Path) -> Ended:
        """Wait for what ``start`` started."""
        code = process.wait(timeout=PATIENCE_SECONDS)
        return Ended(code, (log / "told").read_text(errors="replace"), log)

    def wait_until(self, done: Callable[[], bool]) -> None:
        """Wait until something holds."""
        until = time.monotonic() + PATIENCE_SECONDS
        while not done():
            assert time.monotonic() < until
            time.sleep(0.1)

    def wait_for_end(self) -> None:
        """Wait until no process works in the checkout any more: a stage ends with its DVC."""
        until = time.monotonic() + ENDED_SECONDS
        while left := self.processes():
            if time.monotonic() > until:
                told = [process.cmdline() for process in left]
                for process in left:
                    os.kill(process.pid, signal.SIGKILL)
                raise AssertionError(f"still at work: {told}")
            time.sleep(0.1)

    def processes(self) -> list[psutil.Process]:
        """Return the processes whose working directory is the checkout."""
        return [
            process
            for process in psutil.process_iter(["cwd", "status"])
            if process.info["cwd"] == str(self.root) and process.info["status"] != psutil.STATUS_ZOMBIE
        ]

    def forget(self, *stages: str) -> None:
        """Undo stages: their outputs, their lines in dvc.lock, DVC's memory of earlier runs."""
        path = self.root / "dvc.lock"
        lock = yaml.safe_load(path.read_text())
        for stage in stages:
            for out in lock["stages"].pop(stage)["outs"]:
                place = self.root / out["path"]
                shutil.rmtree(place) if place.is_dir() else place.unlink()
        path.write_text(yaml.safe_dump(lock, sort_keys=False))
        shutil.rmtree(self.root / ".dvc/cache/runs", ignore_errors=True)

    def digests(self) -> dict[str, str]:
        """Return the sha256 of every output, leftovers included."""
        files = (path for place in OUTPUTS for path in (self.root / place).rglob("*") if path.is_file())
        return {
            path.relative_to(self.root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in files
            if path.name not in TIMED
        }

    def check_whole(self, reference: "FaultyCheckout") -> None:
        """Compare with the undisturbed checkout; nothing half-done is left, in the files or in MLflow."""
        expected, found = reference.digests(), self.digests()
        assert sorted(found) == sorted(expected), sorted(found.keys() ^ expected.keys())
        assert [name for name in expected if found[name] != expected[name]] == []
        left = [path for name in ("*.partial", "*.earlier") for path in (self.root / "data").rglob(name)]
        assert left == []
        resume = self.root / "data/resume"
        assert not resume.is_dir() or not list(resume.iterdir())
        check_mirror(self.root / "mlflow.db")


def in_session(leader: int) -> list[int]:
    """Return the processes of a session, also those that have ended and whose number is not free yet: init may be slow."""
    found = []
    for process in psutil.pids():
        with suppress(ProcessLookupError):
            if os.getsid(process) == leader:
                found.append(process)
    return found


def copied(reference: FaultyCheckout, root: Path) -> FaultyCheckout:
    """Return a copy, with an MLflow store of its own, of a checkout that was left alone."""
    apart = shutil.ignore_patterns("mlflow.db*", "mlartifacts", "config.local", "site", "tmp", "sidecars")
    shutil.copytree(reference.root, root, ignore=apart, symlinks=True)
    (root / ".dvc/tmp").mkdir(exist_ok=True)
    shutil.copy(reference.root.parent / "store/mlflow.db", root)
    return FaultyCheckout(root)


def check_mirror(database: Path) -> None:
    """No run is left RUNNING, and no metric stands twice for one step."""
    assert "RUNNING" not in statuses(database)
    assert metrics_that_repeat(database) == []


def statuses(database: Path) -> list[str]:
    """Return the status of each run of an MLflow store."""
    return [status for (status,) in ask(database, "SELECT status FROM runs")]


def metrics_that_repeat(database: Path) -> list[tuple[str, str, int]]:
    """Return run, metric and step of what stands more than once; scores, which a new evaluation updates, left out."""
    learned = "WHERE key IN ('train_loss', 'validation_loss', 'learning_rate')"
    return ask(database, f"SELECT run_uuid, key, step FROM metrics {learned} GROUP BY 1, 2, 3 HAVING count(*) > 1")


def ask(database: Path, question: str) -> list[Any]:
    """Return the rows that answer a question in SQL."""
    with closing(sqlite3.connect(database)) as store:
        return store.execute(question).fetchall()
