"""Training speed beside what a user would pick instead: neuralforecast, darts, Keras on torch and on JAX.

The same cell (a GRU of 64 units), context, batch, epochs and series everywhere; AdamW or Adam at a constant rate, one thread,
each case a process of its own, the processes taking turns. What counts are the epochs after the first: what a library compiles or
builds once is in the first. Rivals run in benchmarks/.venv, see requirements.lock; ours in the project's environment.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from measuring import Figure, Section, progress, ratios, take_turns
from taskdata import ROOT, sources, windows_of_task

HERE = Path(__file__).parent
WORKER = HERE / "rival_worker.py"
RIVALS = {
    "neuralforecast": ("neuralforecast",),
    "darts": ("darts",),
    "keras on torch": ("keras",),
    "keras on jax": ("keras", "jax"),
}
BATCHES = (32, 256)
EPOCHS = 4


def measure(quick: bool) -> Section:
    """Measure every rival that is installed, beside ours, at a small and a large batch."""
    section = Section(
        "Beside other libraries",
        "Seconds an epoch of a GRU-64 on the energy series, 33 days of context, one step ahead, one thread; the ratio is theirs "
        "over ours: above 1 ours is faster.",
        notes=sources("energy"),
    )
    python = HERE / ".venv" / "bin" / "python"
    there = _versions(python) if python.is_file() else {}
    present = [rival for rival, packages in RIVALS.items() if set(packages) <= set(there)]
    for rival in sorted(set(RIVALS) - set(present)):
        section.notes.append(f"{rival}: not run: not installed; `make bench` installs benchmarks/requirements.lock")
    if there:
        section.notes.append(
            "the others' releases: " + ", ".join(f"{name} {release}" for name, release in there.items())
        )
    values = windows_of_task("energy").arrays["series"][:, 0].tolist()
    for batch in BATCHES[: 1 if quick else None]:
        progress(f"rivals, batch {batch}")
        epochs = 2 if quick else EPOCHS
        asked = {"batch": batch, "epochs": epochs, "values": values[: 600 if quick else None]}
        cases = {"ours": _case(Path(sys.executable), "ours", asked)}
        working = []
        for rival in present:
            try:
                _case(python, rival, asked | {"epochs": 2, "values": values[:300]})()
            except subprocess.CalledProcessError as error:
                last = error.stderr.strip().splitlines()[-1:] or ["no message"]
                section.notes.append(f"{rival}, batch {batch}: not run: it failed: {last[0][:200]}")
            else:
                working.append(rival)
                cases[rival] = _case(python, rival, asked)
        taken = take_turns(cases, 1 if quick else 5)
        section.figures.append(Figure(f"ours, batch {batch}", "s", taken["ours"]))
        # Ahead of the first three everywhere is the aim; where JAX is ahead, the figure says so.
        section.figures += [
            Figure(
                f"{rival} / ours, batch {batch}",
                "",
                ratios(taken[rival], taken["ours"]),
                None if "jax" in rival else 1.0,
            )
            for rival in working
        ]
    return section


def _environment() -> dict[str, str]:
    one = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}
    return {**os.environ, "PYTHONPATH": str(ROOT / "src"), **one}


def _versions(python: Path) -> dict[str, str]:
    """Return the releases that the other environment has."""
    code = f"import json, sys; sys.path.insert(0, {str(HERE)!r}); from measuring import versions; print(json.dumps(versions()))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True, env=_environment())
    told: dict[str, str] = json.loads(done.stdout)
    return told


def _case(python: Path, name: str, asked: dict[str, object]) -> Callable[[], float]:
    def run() -> float:
        done = subprocess.run(
            [python, WORKER, name],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            check=True,
            env=_environment(),
            cwd=ROOT,
        )
        seconds: list[float] = json.loads(done.stdout.splitlines()[-1])
        return sum(seconds[1:]) / (len(seconds) - 1)

    return run
