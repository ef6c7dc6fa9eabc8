"""How long a user waits before anything happens: help, an up-to-date pipeline, a training's first batch."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from measuring import Figure, Section, progress, seconds, take_turns
from taskdata import ROOT

from unrolled.cli import HERE, STAGES

HELP_TARGET, BATCH_TARGET, REPRO_TARGET = 0.5, 6.0, 5.0  # seconds
# The stage as it is, but for a line printed when the first batch reaches the network.
FIRST_BATCH = """
import sys
from unrolled.learners.supervised import SupervisedLearner
begin = SupervisedLearner.on_train_batch_start
def told(self, batch, number):
    if number == 0:
        print("first batch", flush=True)
    begin(self, batch, number)
SupervisedLearner.on_train_batch_start = told
from unrolled.train import main
main(sys.argv[1:])
"""


def measure(quick: bool) -> Section:
    """Measure everything that starts; the slowest command's help stands for all."""
    section = Section("Start", "Seconds of wall clock, each in a process of its own.")
    repeats = 1 if quick else 5
    commands = sorted(path.stem for path in (HERE / "commands").glob("[!_]*.py"))
    asked = [[], *([command] for command in ((*commands, *STAGES) if not quick else commands[:2]))]
    progress("help")
    taken = take_turns({" ".join(["unrolled", *words, "--help"]): _help(words) for words in asked}, repeats)
    section.figures.append(Figure("unrolled --help", "s", taken["unrolled --help"], HELP_TARGET, at_least=False))
    slowest = max(
        (case for case in taken if case != "unrolled --help"), key=lambda case: sorted(taken[case])[repeats // 2]
    )
    section.figures.append(
        Figure(f"{slowest}, the slowest of {len(taken) - 1}", "s", taken[slowest], HELP_TARGET, at_least=False)
    )
    section.tables["help"] = taken
    _first_batch(section, repeats)
    _no_op(section, repeats)
    return section


def _environment(**more: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("DVC_", "MLFLOW_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**kept, "PATH": path, "PYTHONPATH": str(ROOT / "src"), "DVC_NO_ANALYTICS": "true", **more}


def _help(words: list[str]) -> Callable[[], float]:
    command = [sys.executable, "-m", "unrolled.cli", *words, "--help"]
    return lambda: seconds(
        lambda: subprocess.run(command, cwd=ROOT, env=_environment(), check=True, capture_output=True)
    )


def _first_batch(section: Section, repeats: int) -> None:
    if not (ROOT / "data" / "windows" / "energy").is_dir():
        section.notes.append(
            "train's start to its first batch: not run: there are no windows; make them with: dvc repro window@energy"
        )
        return
    progress("first batch")
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)

        def run() -> float:
            arguments = [
                "task=energy",
                "model=rnn",
                "trainer=smoke",
                f"seed={time.time_ns() % 10**9}",
                f"out={place / 'run'}",
            ]
            environment = _environment(MLFLOW_TRACKING_URI=f"sqlite:///{place / 'mlflow.db'}")
            began = time.perf_counter()
            process = subprocess.Popen(
                [sys.executable, "-c", FIRST_BATCH, *arguments],
                cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            )  # fmt: skip
            assert process.stdout is not None
            waited = next(time.perf_counter() - began for line in process.stdout if line == "first batch\n")
            process.communicate()
            return waited

        taken = take_turns({"first batch": run}, repeats)
    name = "train's start to its first batch (energy rnn; the database is there)"
    section.figures.append(Figure(name, "s", taken["first batch"], BATCH_TARGET, at_least=False))


def _no_op(section: Section, repeats: int) -> None:
    progress("dvc repro")
    dvc = [sys.executable, "-m", "dvc"]
    status = subprocess.run([*dvc, "status"], cwd=ROOT, env=_environment(), capture_output=True, text=True)
    if status.returncode != 0 or "up to date" not in status.stdout:
        section.notes.append("dvc repro with nothing to do: not run: the grid is not up to date; run `dvc repro` first")
        return
    repro = partial(subprocess.run, [*dvc, "repro"], cwd=ROOT, env=_environment(), check=True, capture_output=True)
    taken = take_turns({"repro": lambda: seconds(repro)}, repeats)["repro"]
    section.figures.append(Figure("dvc repro with nothing to do", "s", taken, REPRO_TARGET, at_least=False))
