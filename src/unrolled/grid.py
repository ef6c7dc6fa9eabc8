"""The grid with cells side by side: what they share first, then cell by cell, each in a DVC of its own, then the rest."""

import json
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from unrolled.dvccommand import dvc_command, dvc_environment
from unrolled.errors import UserError
from unrolled.privatecache import keep_private
from unrolled.sidebyside import Job, run_side_by_side
from unrolled.sidecar import read_sidecar

CELL_STAGES = ("train", "evaluate")
SHARED_STAGES = ("code", "fetch", "window")  # upstream of several cells; a test compares with dvc.yaml
LOGS = Path("outputs", "logs")


def run_grid(root: Path, count: int) -> None:
    """Bring the grid up to date, ``count`` cells at a time; one at a time is plain ``dvc repro``.

    DVC locks what a stage reads and writes: beside each other, two cells run if what they share is up to date.

    Raises:
        UserError: a stage failed. Of the cells, the others have run by then.
    """
    keep_private(root)
    if count > 1:
        pending = pending_stages(root)
        if any(_kind(stage) in SHARED_STAGES for stage in pending):
            _repro(root, "--glob", "code", "window@*")  # few targets: DVC reads dvc.lock once for each
            pending = pending_stages(root)
        _run_jobs(root, side_jobs(root, pending), count)
    _repro(root)


def pending_stages(root: Path) -> list[str]:
    """Return the stages that DVC sees a change for, in dvc.yaml's order; not those that a change will only reach later.

    Raises:
        UserError: DVC cannot read the pipeline; it has said why.
    """
    done = subprocess.run(
        dvc_command("status", "--json"), cwd=root, env=dvc_environment(), stdout=subprocess.PIPE, text=True
    )
    if done.returncode:
        raise UserError("`dvc status` stopped; its own message is above; run again after mending")
    return list(json.loads(done.stdout))


def side_jobs(root: Path, pending: Sequence[str]) -> list[Job]:
    """Return what can run side by side: the longest training first, the baselines, of seconds each, last."""
    cells = dict.fromkeys(_key(stage) for stage in pending if _kind(stage) in CELL_STAGES)
    baselines = [stage for stage in pending if _kind(stage) == "baseline"]
    jobs = [_job(cell, *(f"{stage}@{cell}" for stage in CELL_STAGES)) for cell in longest_first(root, cells)]
    return jobs + [_job(stage, stage) for stage in baselines]


def longest_first(root: Path, cells: Iterable[str]) -> list[str]:
    """Return ``cells`` by the time that their last training here took; those never trained here first, as they are listed.

    A long cell started last would run alone at the end.
    """
    return sorted(cells, key=lambda cell: -_seconds(root, cell))


def _seconds(root: Path, cell: str) -> float:
    meta = root / "data" / "models" / cell / "meta.json"
    if not meta.is_file():
        return float("inf")
    facts: dict[str, Any] = read_sidecar(root, json.loads(meta.read_text(encoding="utf-8"))["identity"]) or {}
    return float(facts.get("seconds", "inf"))


def _job(name: str, *stages: str) -> Job:
    # Single items: what is upstream is up to date, and DVC would lock all of it.
    return Job(name, dvc_command("--wait-for-lock", "repro", "--single-item", *stages), LOGS / f"{name}.log")


def _run_jobs(root: Path, jobs: Sequence[Job], count: int) -> None:
    if not jobs:
        return
    print(f"{len(jobs)} to run, {min(count, len(jobs))} side by side; what each says goes to {LOGS}/", flush=True)
    failed = run_side_by_side(jobs, count, root, dvc_environment())
    if failed:
        told = ", ".join(f"{job.name} ({job.log})" for job in failed)
        raise UserError(
            f"{len(failed)} of {len(jobs)} failed: {told}; the others are done and stay so; run again after mending"
        )


def _repro(root: Path, *targets: str) -> None:
    command = dvc_command("repro", *targets)
    if run_side_by_side([Job("dvc repro", command)], 1, root, dvc_environment()):
        raise UserError(
            f"`{' '.join(('dvc repro', *targets))}` stopped; its own message is above; run again after mending"
        )


def _kind(stage: str) -> str:
    return stage.partition("@")[0]


def _key(stage: str) -> str:
    return stage.partition("@")[2]
