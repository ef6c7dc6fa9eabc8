"""The workshop's tasks on an accelerator: every model of the grid, several seeds each, judged as the grid is; the same bits.

usage: python benchmarks/accelerator.py [tasks=energy,mnist,shakespeare,bitcoin] [seeds=3] [jobs=8] [out=reports] [quick=false]

Trains each model that params.yaml has for the tasks, and TRIALS, on what Lightning finds (CUDA, MPS, TPU), ``jobs`` trainings
at a time, and scores the test as the evaluate stage does: on the CPU, every target once. Baselines and verdicts are those of
the judge stage. The workshop's pair of each task is trained twice, and whether both ended at the same bytes is told. Writes
accelerator.json and accelerator.md to ``out``; tasks that are not named keep what an earlier run recorded. quick=true is a
trial of two steps, marked as such.
"""

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import redirect_stderr
from dataclasses import dataclass
from io import StringIO
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import torch
import yaml
from measuring import machine, progress, versions
from taskdata import ROOT, sources, windows_of_task

from unrolled import training
from unrolled.arguments import parse_arguments, whole_number
from unrolled.baseline import make_baselines
from unrolled.config import Config, compose_config
from unrolled.console import one_line_errors
from unrolled.errors import UserError
from unrolled.jsonfile import read_json
from unrolled.judgement import Judgement
from unrolled.model import build, count_parameters
from unrolled.outputs import write_whole
from unrolled.predicted import Predicted
from unrolled.predictions import predict_split
from unrolled.shown import p_shown, percent, range_shown, shown
from unrolled.workshop import PAIRS

DEFAULTS: dict[str, str | None] = {
    "tasks": ",".join(PAIRS),
    "seeds": "3",
    "jobs": "8",
    "out": "reports",
    "quick": "false",
}
# Recipes that are not the grid's: what more epochs would bring.
TRIALS: tuple[tuple[str, str, tuple[str, ...]], ...] = (("shakespeare", "lstm_640", ("training.epochs=25",)),)
RECORD = "accelerator.json"
QUICK = ("trainer.max_steps=2", "+trainer.limit_val_batches=1")


@dataclass(frozen=True)
class Training:
    """One training: a cell, what of its configuration is another, and which time it is made."""

    task: str
    model: str
    seed: int
    overrides: tuple[str, ...] = ()
    time: int = 1

    @property
    def row(self) -> str:
        """The model's name in the tables."""
        return " ".join((self.model, *self.overrides))


@dataclass(frozen=True)
class Trained:
    """What a training left: the test's predictions, and the digest of its weights and of its learning curve."""

    test: pd.DataFrame | None
    bits: str
    about: dict[str, Any]


def main() -> None:
    """Train, judge, and write both files."""
    with one_line_errors():
        given = parse_arguments(sys.argv[1:], DEFAULTS)
        seeds, jobs = whole_number(given, "seeds", low=1), whole_number(given, "jobs", low=1)
        tasks = (given["tasks"] or "").split(",")
        for task in tasks:
            if task not in PAIRS:
                raise UserError(f"tasks={given['tasks']}: {task!r} is none of {', '.join(PAIRS)}")
        if given["quick"] not in ("true", "false"):
            raise UserError(f"quick={given['quick']}: expected true or false")
        out = Path(given["out"] or "")
        if not out.is_dir():
            raise UserError(f"out={out}: there is no such folder; make it first, or name another")
        earlier = read_json(out / RECORD, dict, "mend or delete it") if (out / RECORD).is_file() else {}
        check_accelerator()
        told = earlier | train_and_judge(tasks, seeds, jobs, given["quick"] == "true")
        write_whole(out / RECORD, json.dumps(told, indent=1) + "\n")
        write_whole(out / "accelerator.md", as_markdown(told))
        print(f"written: {out / 'accelerator.md'}")


def check_accelerator() -> None:
    """Raise UserError where Lightning finds nothing but the CPU."""
    device = training.make_trainer(config_of(Training("mnist", "lstm", 0)), []).strategy.root_device
    if device.type == "cpu":
        raise UserError("there is no accelerator here; on a CPU use: make repro")


def config_of(cell: Training) -> Config:
    """Return the configuration of a training, on the accelerator that is there."""
    asked = (f"task={cell.task}", f"model={cell.model}", f"seed={cell.seed}", "trainer=default", *cell.overrides)
    return compose_config(list(asked), ROOT)


def trainings(tasks: Sequence[str], seeds: int) -> list[Training]:
    """Return every training; the longest, which are the trials' and the recipes' at the end of params.yaml, come first."""
    cells = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["cells"].values()
    pairs = [(task, PAIRS[task], ()) for task in tasks]
    models = dict.fromkeys([*pairs, *((cell["task"], cell["model"], ()) for cell in cells)])
    wanted = [asked for asked in (*TRIALS, *reversed(models)) if asked[0] in tasks]
    once = [Training(task, model, seed, overrides) for task, model, overrides in wanted for seed in range(seeds)]
    return once + [Training(task, PAIRS[task], 0, time=2) for task in tasks]


def train_and_judge(tasks: Sequence[str], seeds: int, jobs: int, quick: bool) -> dict[str, Any]:
    """Train and judge; return for each task what accelerator.json keeps."""
    cells = trainings(tasks, seeds)
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        running: dict[Future[Trained], Training] = {pool.submit(_trained, cell, quick): cell for cell in cells}
        baselines = {task: pool.submit(_baselines, task) for task in tasks}
        for count, done in enumerate(as_completed(running), start=1):
            cell, about = running[done], done.result().about
            name = f"{cell.task} {cell.row}, seed {cell.seed}"
            progress(f"{count} of {len(cells)}: {name}, {about['seconds']:.0f} s, {about['loss']:.4f}")
        learned = {cell: done.result() for done, cell in running.items()}
        found = {task: judge(task, learned, baselines[task].result()) for task in tasks}
    about = {"machine": machine() | learned[cells[0]].about["facts"], "versions": versions(), "quick": quick}
    return {task: about | {"notes": sources(task)} | found[task] for task in tasks}


def _trained(cell: Training, quick: bool) -> Trained:
    config = config_of(Training(cell.task, cell.model, cell.seed, cell.overrides + (QUICK if quick else ())))
    training.prepare_machine(config["trainer"]["threads"], cell.seed)
    windows = windows_of_task(cell.task)
    model = build(config, windows.meta)
    with TemporaryDirectory() as resume, redirect_stderr(StringIO()):
        trainer, learner, data = training.assemble(config, windows, model, Path(resume))
        learned = training.fit(trainer, learner, data, Path(resume))
        facts = training.machine_facts(trainer)
        test = predict_split(model.cpu(), windows, "test") if cell.time == 1 else None
    bits = hashlib.sha256(repr(learned.curve).encode())
    for name, tensor in sorted(model.state_dict().items()):
        bits.update(name.encode() + tensor.contiguous().numpy().tobytes())
    about = {
        "loss": learned.best["validation_loss"],
        "seconds": learned.seconds,
        "parameters": count_parameters(model),
        "precision": learned.precision,
        "facts": {key: facts[key] for key in ("device", "libraries")},
    }
    return Trained(test, bits.hexdigest(), about)


def _baselines(task: str) -> list[Predicted]:
    torch.set_num_threads(1)
    made = make_baselines(windows_of_task(task), _judge_section(task))
    return [
        Predicted(
            name,
            {"about": found.about, "simple": found.simple, "scores": found.scores},
            found.tables.get("validation"),
            found.tables.get("test"),
        )
        for name, found in made.items()
    ]


def _judge_section(task: str) -> dict[str, Any]:
    section: dict[str, Any] = compose_config([f"task={task}"], ROOT, needs=("task",))["judge"]
    return section


def judge(task: str, learned: Mapping[Training, Trained], baselines: Sequence[Predicted]) -> dict[str, Any]:
    """Return a task's baselines and models as the judge stage has them, with the committed CPU's scores, and its same bits."""
    here = {cell: found for cell, found in learned.items() if cell.task == task}
    once = {cell: found for cell, found in here.items() if cell.time == 1}
    predicted = [
        Predicted(
            f"{cell.row}-{cell.seed}", {"identity": None, "parameters": found.about["parameters"]}, None, found.test
        )
        for cell, found in once.items()
    ]
    told = Judgement(windows_of_task(task), predicted, baselines, _judge_section(task)).summary()
    of_row = {cell.row: found.about for cell, found in once.items()}
    on_cpu = committed(task)
    left = ("against", "p_value_by_seed", "ahead_in_every_part")
    models = {
        name: {key: value for key, value in model.items() if key not in left}
        | {"parameters": of_row[name]["parameters"], "precision": of_row[name]["precision"]}
        | on_cpu.get(name, {})
        for name, model in told["models"].items()
    }
    first, second = (here[Training(task, PAIRS[task], 0, time=time)].bits for time in (1, 2))
    return {
        **{key: told[key] for key in ("metric", "unit", "data_source", "strongest")},
        "baselines": {name: baseline[told["metric"]] for name, baseline in told["baselines"].items()},
        "models": models,
        "same_bits": {f"{task}-{PAIRS[task]}-0": first == second},
    }


def committed(task: str) -> dict[str, dict[str, Any]]:
    """Return by model the score that the committed leaderboard, of a CPU, has for it, and over how many seeds."""
    board = pd.read_csv(ROOT / "reports" / "leaderboard.csv")
    rows = board[(board["task"] == task) & (board["kind"] == "model") & board["seeds"].notna()]
    return {
        row["row"]: {"cpu_value": float(row["value"]), "cpu_seeds": int(row["seeds"])} for _, row in rows.iterrows()
    }


def as_markdown(told: Mapping[str, Any]) -> str:
    """Return the page of all recorded tasks."""
    lines = [
        "# On an accelerator",
        "",
        "Written by `python benchmarks/accelerator.py`: the grid's models trained on an accelerator, each with several seeds,",
        "and scored on every target of the test once. Beats, ties or loses is said of all seeds together",
        "([how](../docs/judging.md)); a row with `training.` is a trial of another recipe. Beside them the committed grid, which",
        "a CPU trained, as it was on that day.",
        "",
    ]
    for task in (task for task in PAIRS if task in told):
        lines += _section(task, told[task])
    return "\n".join(lines)


def _section(task: str, told: Mapping[str, Any]) -> list[str]:
    metric, strongest = told["metric"], told["strongest"]
    unit = f", {told['unit']}" if told["unit"] else ""
    to_beat = f"{strongest.replace('_', ' ')}, {shown(metric, told['baselines'][strongest])}"
    device, libraries = told["machine"]["device"], {"python": told["versions"]["python"]} | told["machine"]["libraries"]
    precisions = " and ".join(sorted({model["precision"] for model in told["models"].values()}))
    releases = ", ".join(f"{name} {release}" for name, release in libraries.items())
    quick = " A quick trial: says nothing of any model." if told["quick"] else ""
    same = [
        f"`{name}` {'ended at the same bytes' if bits else '**differed**'}" for name, bits in told["same_bits"].items()
    ]
    return [
        f"## {task}: {metric.replace('_', ' ')}{unit}",
        "",
        f"| | seeds | mean | each seed | beside {to_beat} | skill, 95 % interval | p | on a CPU |",
        "|---|---|---|---|---|---|---|---|",
        *(_row(metric, name, model) for name, model in _best_first(told)),
        "",
        f"Trained twice, {', '.join(same)} (weights, and the learning curve step by step).",
        "",
        *(f"{note}\n" for note in told["notes"]),
        f"<sub>{device}, {precisions}; {releases}.{quick}</sub>",
        "",
    ]


def _best_first(judged: Mapping[str, Any]) -> list[tuple[str, Any]]:
    sign = -1 if judged["metric"] == "accuracy" else 1
    return sorted(judged["models"].items(), key=lambda item: sign * item[1]["value"])


def _row(metric: str, name: str, model: Mapping[str, Any]) -> str:
    seeds = model.get("cpu_seeds")
    on_cpu = f"{shown(metric, model['cpu_value'])}, {seeds} seed{'s' * (seeds > 1)}" if seeds else ""
    cells = (
        name,
        len(model["seeds"]),
        shown(metric, model["value"]),
        ", ".join(shown(metric, value) for value in model["value_by_seed"].values()),
        model["verdict"],
        f"{percent(model['skill'])} ({range_shown(model['skill_low'], model['skill_high'])})",
        p_shown(model["p_value"]),
        on_cpu,
    )
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    main()
