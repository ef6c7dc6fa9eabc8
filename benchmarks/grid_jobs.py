"""What cells side by side bring: the same part of the grid, one after the other and side by side, timed and compared.

usage: python benchmarks/grid_jobs.py [cells='energy-*[!kp]-0'] [jobs=2] [repeats=1] [out=FILE.json]

Each run is made in a scratch clone of the last commit, whose params.yaml keeps the cells that match, by `unrolled repro`, as
`make repro` does; the ways take turns. It ends with exit code 1 if a byte differs in what they leave (models, predictions,
baselines, ensembles, judgements and reports; but not in the pages that show how long a training took). What the cells share
(code, fetch, window) is run first and timed by itself: it is the same both ways. The data is fetched anew: UNROLLED_MIRROR
helps. `make bench` makes the same comparison, several rounds of it, and times `make run` as well.
"""

import fnmatch
import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
import yaml
from growth import training_step
from measuring import Figure, Section, progress, take_turns

from unrolled.arguments import parse_arguments, whole_number
from unrolled.check import missing_data
from unrolled.checkout import project_root
from unrolled.console import one_line_errors
from unrolled.errors import UserError
from unrolled.workshop import PAIRS

COMPARED = ("data/models", "data/predictions", "data/baselines", "data/ensembles", "data/judgements", "reports")
TIMED = ("index.html", "card.md")  # show the seconds of a training, which no two runs share
# The six architectures of energy, without its recipes gru_deep and *_13k. Most of the grid's cells take as long; bitcoin's, of
# seconds each, would measure what comes after the cells instead.
CELLS, JOBS, REPEATS = "energy-*[!kp]-0", 2, 3
DEFAULTS: dict[str, str | None] = {"cells": CELLS, "jobs": str(JOBS), "repeats": "1", "out": None}
RATIO_TARGET, RUN_TARGET = 1.6, 15.0  # times, minutes


def main() -> None:
    """Run both ways, compare, print and write the figures."""
    with one_line_errors():
        given = parse_arguments(sys.argv[1:], DEFAULTS)
        jobs, repeats = whole_number(given, "jobs", low=2), whole_number(given, "repeats", low=1)
        pattern = given["cells"] or "*"
        root = project_root()
        with tempfile.TemporaryDirectory(prefix="grid_jobs-") as scratch:
            runs = _take_turns(root, Path(scratch), pattern, jobs, repeats)
        told = summary(runs, jobs) | {"cells": runs[0]["cells"], "cores": os.cpu_count(), "load": os.getloadavg()}
        print(as_text(told))
        if given["out"]:
            Path(given["out"]).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        _check_same(told)


def measure(quick: bool) -> Section:
    """Measure what two jobs bring, and how long `make run` takes in a new clone."""
    pattern, repeats = ("bitcoin-rnn-0", 1) if quick else (CELLS, REPEATS)
    section = Section(
        "Whole pipelines",
        f"In new clones: the cells {pattern} by `make repro`, one after the other and {JOBS} side by side, with ensemble, judge "
        "and report at the end, every byte compared; and `make run`, from the raw files to the report, after the install. "
        f"What the machine itself gives: training steps of a GRU, nothing else, in one process and in {JOBS} at once.",
    )
    root = project_root()
    missing = dict(missing_data(root, PAIRS, os.environ.get("UNROLLED_MIRROR")))
    if missing:
        section.notes.append(f"not run: no data can be had for {', '.join(missing)}; set UNROLLED_MIRROR")
        return section
    with tempfile.TemporaryDirectory(prefix="grid_jobs-") as scratch:
        runs = _take_turns(root, Path(scratch), pattern, JOBS, repeats)
        told = summary(runs, JOBS)
        _check_same(told)
        one, many = (tuple(told["seconds"][f"jobs={count}"]) for count in (1, JOBS))
        times = tuple(a / b for a, b in zip(one, many, strict=True))
        name = f"{len(runs[0]['cells'])} cells: {JOBS} side by side, times as fast"
        section.figures.append(Figure(name, "", times, RATIO_TARGET))
        section.figures.append(Figure("one after the other", "s", one))
        section.figures.append(Figure(f"training steps alone: {JOBS} side by side, times as fast", "", _limit(repeats)))
        section.notes.append(f"{told['compared']} files compared, {len(told['differ'])} differ")
        if not quick:
            progress("make run")
            clone, environment = _clone(root, Path(scratch, "workshop"))
            minutes = _timed(clone, environment, "-m", "unrolled.workshop")[0] / 60
            section.figures.append(Figure("make run", "min", (minutes,), RUN_TARGET, at_least=False))
    return section


def _limit(repeats: int) -> tuple[float, ...]:
    """Return how many times as fast ``JOBS`` processes at once train as one alone: cores share caches, memory and heat."""
    with ProcessPoolExecutor(JOBS, mp_context=get_context("spawn")) as pool:
        cases = {
            "one": lambda: pool.submit(_training_seconds, 200).result(),
            "all": lambda: max(pool.map(_training_seconds, [200] * JOBS)),
        }
        taken = take_turns(cases, repeats)
    return tuple(JOBS * one / several for one, several in zip(taken["one"], taken["all"], strict=True))


def _training_seconds(steps: int) -> float:
    torch.set_num_threads(1)
    step = training_step("batch", 64)
    return sum(step() for _ in range(steps))


def _take_turns(root: Path, scratch: Path, pattern: str, jobs: int, repeats: int) -> list[dict[str, Any]]:
    """Run both ways in every round, the order turning round from round to round."""
    runs: list[dict[str, Any]] = []
    for turn in range(repeats):
        for count in (1, jobs) if turn % 2 == 0 else (jobs, 1):
            runs.append(_run(root, scratch / f"{turn}-{count}", pattern, count))
            progress(f"jobs={count}: {runs[-1]['seconds']:.1f} s, {runs[-1]['cpu']:.1f} s of CPU")
    return runs


def _check_same(told: Mapping[str, Any]) -> None:
    """Raises UserError if a byte differs between the runs."""
    if told["differ"]:
        raise UserError(f"{len(told['differ'])} files differ between the runs, such as {told['differ'][0]}")


def _clone(root: Path, clone: Path) -> tuple[Path, dict[str, str]]:
    """Return a new clone of the last commit and the environment in which its pipeline runs by itself."""
    subprocess.run(["git", "clone", "--quiet", str(root), str(clone)], check=True)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("DVC_", "MLFLOW_TRACKING"))}
    return clone, kept | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": "src",
        "DVC_SITE_CACHE_DIR": str(clone / ".dvc" / "site"),
    }


def _run(root: Path, clone: Path, pattern: str, count: int) -> dict[str, Any]:
    """Run the matching cells in a new clone and return seconds, cells and the digest of every file that was left."""
    clone, environment = _clone(root, clone)
    cells = keep_cells(clone / "params.yaml", pattern)
    shared, _ = _timed(clone, environment, "-m", "dvc", "repro", "--quiet", "--glob", "code", "window@*")
    seconds, cpu = _timed(clone, environment, "-m", "unrolled.cli", "repro", f"jobs={count}")
    return {"jobs": count, "shared": shared, "seconds": seconds, "cpu": cpu, "cells": cells, "files": digests(clone)}


def keep_cells(params: Path, pattern: str) -> list[str]:
    """Leave only the matching cells and their tasks in params.yaml and return the cells' names.

    Raises:
        UserError: none matches.
    """
    told = yaml.safe_load(params.read_text(encoding="utf-8"))
    cells = {name: cell for name, cell in told["cells"].items() if fnmatch.fnmatch(name, pattern)}
    if not cells:
        raise UserError(f"cells={pattern}: matches none of {', '.join(told['cells'])}")
    told |= {"cells": cells, "tasks": [task for task in told["tasks"] if task in {c["task"] for c in cells.values()}]}
    params.write_text(yaml.safe_dump(told, sort_keys=False), encoding="utf-8")
    return list(cells)


def _timed(clone: Path, environment: Mapping[str, str], *command: str) -> tuple[float, float]:
    """Run Python with ``command``, which may speak on stderr, and return seconds by the clock and of CPU."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, *command], cwd=clone, env=environment, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise UserError(f"`{' '.join(command)}` failed; its last words: {done.stdout.strip()[-2000:]}")
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def digests(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file to compare, by its path in ``folder``."""
    files = [path for part in COMPARED for path in sorted((folder / part).rglob("*")) if path.is_file()]
    kept = [path for path in files if path.name not in TIMED]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in kept}


def summary(runs: list[dict[str, Any]], jobs: int) -> dict[str, Any]:
    """Return the medians, their ratios (how many times faster) and the files that are not the same in all runs."""
    seconds = {count: [run["seconds"] for run in runs if run["jobs"] == count] for count in (1, jobs)}
    one, many = statistics.median(seconds[1]), statistics.median(seconds[jobs])
    shared = statistics.median(run["shared"] for run in runs)
    cpu = {f"jobs={count}": [run["cpu"] for run in runs if run["jobs"] == count] for count in (1, jobs)}
    names = sorted(set().union(*(run["files"] for run in runs)))
    return {
        "jobs": jobs,
        "seconds": {f"jobs={count}": values for count, values in seconds.items()},
        "cpu_seconds": cpu,
        "shared_seconds": shared,
        "ratio": one / many,
        "ratio_with_shared": (shared + one) / (shared + many),
        "compared": len(names),
        "differ": [name for name in names if len({run["files"].get(name) for run in runs}) > 1],
    }


def as_text(told: Mapping[str, Any]) -> str:
    """Return the figures in a few lines."""
    return (
        f"{len(told['cells'])} cells, jobs={told['jobs']} on {told['cores']} cores: {told['ratio']:.2f} x faster than one after "
        f"the other; {told['ratio_with_shared']:.2f} x with the {told['shared_seconds']:.0f} s of code, fetch and window\n"
        f"CPU seconds, which a busy machine changes less: {told['cpu_seconds']}\n"
        f"{told['compared']} files compared, {len(told['differ'])} differ"
    )


if __name__ == "__main__":
    main()
