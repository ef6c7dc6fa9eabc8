"""What the documents say is what is there."""

import csv
import json
import re
import sys

import pytest
import yaml
from conftest import ROOT

from unrolled.shown import percent, shown
from unrolled.taskmodule import task_module, task_names

sys.path.insert(0, str(ROOT / "benchmarks"))

from measuring import number

README = (ROOT / "README.md").read_text()
NAMES = (
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "data/README.md",
    "docs/bad-inputs.md",
    "docs/benchmarks.md",
    "docs/from-series-to-forecast.md",
    "docs/judging.md",
    "docs/reliability.md",
    "docs/same-bits.md",
)
PAGES = [ROOT / name for name in NAMES]


def _results() -> list[str]:
    text = re.search(r"<!-- results.*?-->\n(.*)<!-- end of results -->", README, re.DOTALL)
    assert text
    return [line for line in text[1].splitlines() if line.startswith("| ") and not line.startswith("| |")]


def test_the_results_are_the_leaderboards() -> None:
    with (ROOT / "reports/leaderboard.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] != "cell"]
    said = {}
    for line in _results():
        name, *values = [cell.strip(" *") for cell in line.strip("|").split("|")]
        said[name] = values
    tasks = ["energy", "energy_calendar", "mnist", "shakespeare", "bitcoin"]  # bitcoin_prices shows a mistake
    rows = [row for row in rows if row["task"] in tasks]
    apart = set()  # compared among themselves, in the report
    for task in tasks:
        judge = yaml.safe_load((ROOT / f"conf/task/{task}.yaml").read_text())["judge"]
        apart |= {*(judge["equal_parameters"] or []), *(judge["ablation"] or [])[1:]}
    assert set(said) == {row["row"] for row in rows} - apart
    header = re.search(r"^\| \| (.*) \|$", README, re.MULTILINE)
    assert header
    columns = [re.match(r"\w+", cell.strip())[0] for cell in header[1].split("|")]  # type: ignore[index]
    assert columns == tasks
    for name, values in said.items():
        for task, value in zip(columns, values, strict=True):
            found = [row for row in rows if row["task"] == task and row["row"] == name]
            assert value.replace("*", "") == "".join(map(_told, found)), f"{name} on {task}"


def _told(row: dict[str, str]) -> str:
    said = f"{shown(row['metric'], float(row['value']))} ({percent(float(row['skill']))})"
    if row["seeds"] == "1":
        return f"{said}, one seed"
    return f"{said} {row['verdict']}".rstrip()


def test_the_figures_of_a_gpu_are_those_recorded_and_of_several_seeds() -> None:
    told = json.loads((ROOT / "reports/accelerator.json").read_text())
    assert not any(task["quick"] for task in told.values())
    assert {task["data_source"] for task in told.values()} == {"real"}
    text = re.search(r"<!-- accelerator.*?-->\n(.*)<!-- end of accelerator -->", README, re.DOTALL)
    assert text
    header, _, *lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text[1].splitlines()]
    assert header[0] == "three seeds, on a GPU"
    tasks = [column.partition(":")[0] for column in header[1:]]
    assert {name for name, *_ in lines} == {
        name for task in tasks for name in told[task]["models"] if "training." not in name
    }
    for name, *values in lines:
        for task, value in zip(tasks, values, strict=True):
            model = told[task]["models"].get(name)
            if model is None:
                assert value == ""
                continue
            assert model["seeds"] == [0, 1, 2]
            said = f"{shown(told[task]['metric'], model['value'])} ({percent(model['skill'])}) {model['verdict']}"
            assert value == said, f"{name} on {task}"


def test_the_figures_of_speed_are_the_benchmarks_and_no_miss_is_left_out() -> None:
    sections = json.loads((ROOT / "reports/benchmarks.json").read_text()).values()
    assert not any(section["quick"] for section in sections)
    measured = {figure["name"]: figure for section in sections for figure in section["figures"]}
    text = re.search(r"<!-- benchmarks.*?-->\n(.*)<!-- end of benchmarks -->", README, re.DOTALL)
    assert text
    said = [[cell.strip() for cell in line.strip("|").split("|")] for line in text[1].splitlines()[2:]]
    for name, median, target in said:
        figure = measured[name]
        assert median == f"{number(figure['median'])} {figure['unit']}".strip(), name
        assert ("missed" in target, "met" in target) == (figure["met"] is False, figure["met"] is True), name
    assert {name for name, figure in measured.items() if figure["met"] is False} <= {name for name, *_ in said}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("name", task_names())
def test_the_readme_credits_every_data_set(name: str) -> None:
    module = task_module(name)
    assert module.ATTRIBUTION in README
    assert module.LICENCE in README


def test_every_command_and_target_of_the_readme_exists() -> None:
    commands = {path.stem for path in (ROOT / "src/unrolled/commands").glob("[!_]*.py")} | {"fetch"}
    assert set(re.findall(r"unrolled ([a-z]+) ", README)) <= commands
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z]+)", README, re.MULTILINE)) <= targets


def test_every_experiment_in_the_readme_names_its_target() -> None:
    for line in README.splitlines():
        if line.startswith("$ dvc exp run"):
            assert re.search(r" (evaluate|judge)@[\w-]+$", line), line
