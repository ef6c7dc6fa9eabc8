"""The grid side by side: what is run, in which order, and what becomes of it when a cell fails."""

import importlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from conftest import ROOT, clean_environment

from unrolled import grid
from unrolled.cli import main
from unrolled.errors import UserError
from unrolled.grid import CELL_STAGES, SHARED_STAGES, longest_first, pending_stages, run_grid, side_jobs
from unrolled.sidebyside import Job

CELLS = [f"{stage}@{cell}" for stage in ("train", "evaluate") for cell in ("energy-gru-0", "energy-rnn-0")]
SHARED = "repro --glob code window@*"


def _said(job: Job) -> str:
    """What a job asks of DVC."""
    return " ".join(job.command[3:])


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Run the grid without DVC and return what would have been run; a `/` between jobs that run side by side."""

    def run(root: Path, count: int, *statuses: Sequence[str], failing: str = "nothing") -> list[str]:
        asked: list[str] = []
        told = iter(statuses)
        monkeypatch.setattr(grid, "pending_stages", lambda _: list(next(told)))

        def record(jobs: Sequence[Job], many: int, *_: object) -> list[Job]:
            asked.append(" / ".join(map(_said, jobs)))
            assert many == (count if jobs[0].log else 1)
            return [job for job in jobs if failing in _said(job)]

        monkeypatch.setattr(grid, "run_side_by_side", record)
        try:
            run_grid(root, count)
        except UserError as error:
            asked.append(f"error: {error}")
        return asked

    return run


def _cell(name: str) -> str:
    return f"--wait-for-lock repro --single-item train@{name} evaluate@{name}"


def test_one_job_is_plain_dvc_repro(calls, tmp_path: Path) -> None:
    assert calls(tmp_path, 1) == ["repro"]


def test_nothing_pending_is_plain_dvc_repro(calls, tmp_path: Path) -> None:
    assert calls(tmp_path, 2, ["judge@energy", "report"]) == ["repro"]


def test_what_cells_share_runs_first_and_what_it_leaves_pending_follows(calls, tmp_path: Path) -> None:
    asked = calls(tmp_path, 2, ["window@energy"], CELLS)
    assert asked == [SHARED, f"{_cell('energy-gru-0')} / {_cell('energy-rnn-0')}", "repro"]


@pytest.mark.parametrize("stage", ["code", "fetch@energy", "window@energy"])
def test_every_shared_stage_is_looked_for(stage: str, calls, tmp_path: Path) -> None:
    assert calls(tmp_path, 2, [stage], []) == [SHARED, "repro"]


def test_shared_stages_that_are_up_to_date_are_not_run(calls, tmp_path: Path) -> None:
    assert calls(tmp_path, 3, ["evaluate@energy-gru-0"]) == [_cell("energy-gru-0"), "repro"]


def test_what_runs_side_by_side_depends_on_shared_stages_and_its_own_cell_only() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    outs = {}
    for name, stage in stages.items():
        for out in stage.get("do", stage)["outs"]:
            outs[(out if isinstance(out, str) else next(iter(out))).partition("$")[0]] = name
    for name in (*CELL_STAGES, "baseline"):
        made = {outs[out] for dep in stages[name]["do"]["deps"] for out in outs if dep.startswith(out)}
        assert made <= {*SHARED_STAGES, *(CELL_STAGES if name in CELL_STAGES else ())}, name
        assert "window" in made


def test_a_failed_shared_stage_stops_all(calls, tmp_path: Path) -> None:
    asked = calls(tmp_path, 2, ["fetch@energy"], failing="window@")
    assert asked[0] == SHARED
    assert asked[1].startswith(f"error: `dvc {SHARED}` stopped")
    assert len(asked) == 2


def test_a_failed_cell_is_named_and_nothing_is_judged(calls, tmp_path: Path) -> None:
    *_, last = calls(tmp_path, 2, CELLS, failing="rnn")
    assert last.startswith("error: 1 of 2 failed: energy-rnn-0 (outputs/logs/energy-rnn-0.log); the others are done")


def test_baselines_run_beside_the_cells_and_last(tmp_path: Path) -> None:
    jobs = side_jobs(tmp_path, ["baseline@energy", *CELLS, "judge@energy", "report"])
    assert [job.name for job in jobs] == ["energy-gru-0", "energy-rnn-0", "baseline@energy"]
    assert _said(jobs[-1]).endswith("--single-item baseline@energy")
    assert len({job.log for job in jobs}) == len(jobs)


def test_the_longest_runs_first_after_those_never_run_here(tmp_path: Path) -> None:
    for cell, seconds in {"short": 3, "long": 60, "middle": 20, "untimed": None}.items():
        (tmp_path / "data/models" / cell).mkdir(parents=True)
        (tmp_path / "data/models" / cell / "meta.json").write_text(json.dumps({"identity": cell}))
        if seconds:
            (tmp_path / "data/sidecars").mkdir(exist_ok=True)
            (tmp_path / "data/sidecars" / f"{cell}.json").write_text(json.dumps({"seconds": seconds}))
    cells = ["short", "new", "long", "untimed", "middle"]
    assert longest_first(tmp_path, cells) == ["new", "untimed", "long", "middle", "short"]


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", ""])
def test_a_count_of_jobs_that_is_none_is_one_line(value: str, monkeypatch) -> None:
    monkeypatch.setattr("unrolled.commands.repro.run_grid", lambda *_: pytest.fail("something was run"))
    with pytest.raises(SystemExit, match=rf"^error: jobs={re.escape(value)}: expected a whole number, at least 1"):
        main(["repro", f"jobs={value}"])


# A grid of four cells in a pipeline of the same stages. Each training waits until another has started, so that all end well
# only if they run side by side; `bad` fails.
MEET = (
    "touch started-{0} && n=0 && until [ -e started-{1} ] || [ $n -ge 1200 ]; do sleep 0.1; n=$((n+1)); done"
    " && [ -e started-{1} ]"
)
PAIRS = {"a": "b", "b": "a", "c": "bad", "bad": "c"}


def _make_pipeline(root: Path) -> None:
    def stage(command: str, deps: Sequence[str], out: str) -> dict[str, object]:
        return {"cmd": f"{command} && echo {out} > {out}", "deps": list(deps), "outs": [out]}

    stages = {
        "code": stage("true", [], "code.txt"),
        "fetch": {"foreach": ["t"], "do": stage("true", [], "raw-${item}")},
        "window": {"foreach": ["t"], "do": stage("true", ["raw-${item}"], "windows-${item}")},
        "baseline": {"foreach": ["t"], "do": stage("true", ["windows-${item}"], "baseline-${item}")},
        "train": {
            "foreach": {cell: {"meets": other} for cell, other in PAIRS.items()},
            "do": stage(
                MEET.format("${key}", "${item.meets}") + " && [ ${key} != bad -o -e mended ]",
                ["code.txt", "windows-t"],
                "model-${key}",
            ),
        },
        "evaluate": {"foreach": list(PAIRS), "do": stage("true", ["model-${item}"], "predicted-${item}")},
        "judge": {"foreach": ["t"], "do": stage("true", [f"predicted-{c}" for c in PAIRS] + ["baseline-t"], "judged")},
    }
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))


@pytest.mark.slow
def test_cells_run_side_by_side_through_dvc_and_a_failed_one_can_be_mended(tmp_path: Path, monkeypatch, capfd) -> None:
    for name, value in clean_environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    root = tmp_path / "root"
    root.mkdir()
    subprocess.run(["dvc", "init", "--quiet", "--no-scm"], cwd=root, check=True)
    _make_pipeline(root)
    with pytest.raises(UserError, match=r"^1 of 5 failed: bad \(outputs/logs/bad.log\)"):
        run_grid(root, 2)
    assert {f"predicted-{cell}" for cell in "abc"} <= {path.name for path in root.iterdir()}
    assert (root / "baseline-t").is_file()
    assert not (root / "judged").exists()
    told = capfd.readouterr().out
    assert "bad: FAILED after" in told
    assert "failed to reproduce 'train@bad'" in told
    (root / "mended").touch()
    assert [job.name for job in side_jobs(root, pending_stages(root))] == ["bad"]
    run_grid(root, 2)
    assert (root / "judged").is_file()
    assert pending_stages(root) == []


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    """benchmarks/grid_jobs.py, which is in no package."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    return importlib.import_module("grid_jobs")


def test_the_benchmark_tells_the_ratio_of_medians_and_what_differs(benchmark: ModuleType) -> None:
    times = [(1, 20.0), (2, 10.0), (1, 30.0), (2, 14.0), (1, 100.0), (2, 12.0)]
    runs = [{"jobs": n, "seconds": s, "shared": 6.0, "cpu": 1.0, "files": {"a": "x", "b": "y"}} for n, s in times]
    runs[3]["files"] = {"a": "z", "b": "y", "c": "only here"}
    told = benchmark.summary(runs, 2)
    assert told["ratio"] == 30 / 12
    assert told["ratio_with_shared"] == 36 / 18
    assert told["differ"] == ["a", "c"]
    assert told["compared"] == 3


def test_the_benchmark_keeps_the_cells_that_match_and_their_tasks(benchmark: ModuleType, tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    cells = {name: {"task": name.partition("-")[0]} for name in ("energy-gru-0", "energy-gru-1", "mnist-gru-0")}
    params.write_text(yaml.safe_dump({"data": "real", "tasks": ["energy", "mnist"], "cells": cells}))
    assert benchmark.keep_cells(params, "energy-*-0") == ["energy-gru-0"]
    told = yaml.safe_load(params.read_text())
    assert told == {"data": "real", "tasks": ["energy"], "cells": {"energy-gru-0": {"task": "energy"}}}
    with pytest.raises(UserError, match=r"cells=bitcoin-\*: matches none of energy-gru-0"):
        benchmark.keep_cells(params, "bitcoin-*")


def test_the_benchmark_compares_bytes_but_no_page_that_shows_times(benchmark: ModuleType, tmp_path: Path) -> None:
    for name in ("data/models/x/weights", "data/sidecars/x", "reports/index.html", "reports/t/judgement.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    assert set(benchmark.digests(tmp_path)) == {"data/models/x/weights", "reports/t/judgement.json"}
