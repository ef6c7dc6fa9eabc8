"""The benchmarks' arithmetic and records are right; how fast anything is, is not tested."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, clean_environment

BENCHMARKS = ROOT / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import generation  # noqa: E402
import measuring  # noqa: E402
import precision  # noqa: E402
from measuring import Figure, Section, number, ratios, record, slope, take_turns  # noqa: E402
from taskdata import WITHOUT_BF16  # noqa: E402


def test_cases_take_turns_and_the_order_turns_too() -> None:
    order: list[str] = []

    def case(name: str) -> float:
        order.append(name)
        return float(len(order))

    taken = take_turns({"a": lambda: case("a"), "b": lambda: case("b")}, 3)
    assert order == ["b", "a", "a", "b", "b", "a", "a", "b"]
    assert taken == {"a": (3.0, 6.0, 7.0), "b": (4.0, 5.0, 8.0)}, "the first round warms up and is left out"


def test_a_figure_is_the_median_and_what_it_reaches() -> None:
    figure = Figure("speed", "1/s", (3.0, 1.0, 8.0, 4.0), target=3.5)
    told = figure.as_dict()
    assert (told["median"], told["low"], told["high"], told["repeats"]) == (3.5, 1.0, 8.0, 4)
    assert figure.met is True
    assert Figure("speed", "1/s", (3.4,), target=3.5).met is False
    assert Figure("wait", "s", (3.4,), target=3.5, at_least=False).met is True
    assert Figure("wait", "s", (3.6,), target=3.5, at_least=False).met is False
    assert Figure("speed", "1/s", (1.0,)).met is None


def test_ratios_are_of_the_same_round() -> None:
    assert ratios((2.0, 9.0), (4.0, 3.0)) == (0.5, 3.0)
    with pytest.raises(ValueError, match="shorter"):
        ratios((1.0, 2.0), (1.0,))


def test_the_slope_is_the_exponent() -> None:
    assert slope([1, 10, 100], [3.0, 3.0 * 10**1.5, 3.0 * 10**3]) == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("value", "told"), [(0, "0"), (0.012345, "0.0123"), (0.9512, "0.951"), (12.345, "12.3"), (254321.6, "254,322")]
)
def test_numbers_have_three_digits(value: float, told: str) -> None:
    assert number(value) == told


def test_a_record_has_machine_versions_and_verdicts_and_keeps_the_rest(tmp_path: Path) -> None:
    first = Section(
        "First", "How.", [Figure("fast", "1/s", (2.0,), 1.0), Figure("slow", "s", (2.0,), 1.0, at_least=False)]
    )
    record({"first": first}, False, tmp_path)
    record(
        {"second": Section("Second", "Else.", notes=["keras: not run: not installed"], drawing="<svg/>")},
        True,
        tmp_path,
    )
    kept = json.loads((tmp_path / "benchmarks.json").read_text())
    assert set(kept) == {"first", "second"}
    assert kept["first"]["machine"]["cores"] >= 1
    assert kept["first"]["versions"]["python"].startswith(f"{sys.version_info.major}.")
    assert [figure["met"] for figure in kept["first"]["figures"]] == [True, False]
    assert (tmp_path / "benchmarks-second.svg").read_text() == "<svg/>"
    page = (tmp_path / "benchmarks.md").read_text()
    assert "| fast | 2.00 1/s | 2.00 .. 2.00 | 1 | ≥ 1.00: met |" in page
    assert "| slow | 2.00 s | 2.00 .. 2.00 | 1 | ≤ 1.00: **missed** |" in page
    assert "- keras: not run: not installed" in page
    assert page.count("A quick trial") == 1


@pytest.mark.parametrize(
    ("bfloat16", "told"), [(["amx_bf16", "avx512_bf16"], "bfloat16 by amx_bf16 and avx512_bf16"), ([], "no bfloat16")]
)
def test_the_page_says_whether_the_processor_has_bfloat16(
    bfloat16: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = measuring.machine() | {"processor": "P", "cores": 2, "bfloat16": bfloat16}
    monkeypatch.setattr(measuring, "machine", lambda: found)
    record({"first": Section("First", "How.")}, False, tmp_path)
    assert f"<sub>P, 2 cores, {told}, " in (tmp_path / "benchmarks.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("has", [True, False])
def test_where_bfloat16_would_be_emulated_its_cases_are_left_out_and_that_is_told(
    has: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generation, "cpu_has_bf16", lambda: has)
    monkeypatch.setattr(generation, "take_turns", lambda cases, repeats: dict.fromkeys(cases, (1.0,) * repeats))
    section = generation.measure(quick=True)
    assert any("bf16" in figure.name for figure in section.figures) == has
    assert (WITHOUT_BF16 in section.notes) != has
    assert {figure.target for figure in section.figures} >= {generation.ONE_TARGET}

    compared: list[str] = []
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: has)
    monkeypatch.setattr(precision, "_compare", lambda section, name, *rest: compared.append(name))
    monkeypatch.setattr(precision, "_allocator", lambda *rest: None)
    section = precision.measure(quick=False)
    assert sum("bf16" in name for name in compared) == (4 if has else 0)
    assert "lstm 256: denormals flushed / kept" in compared
    assert (WITHOUT_BF16 in section.notes) != has


def test_every_comparison_can_be_run_by_name() -> None:
    """Each module has ``measure(quick)``, and run.py knows it."""
    (listed,) = [
        ast.literal_eval(node.value)
        for node in ast.parse((BENCHMARKS / "run.py").read_text()).body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id == "COMPARISONS"
    ]
    comparing = {
        path.stem
        for path in BENCHMARKS.glob("*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name == "measure"
    }
    assert set(listed) == comparing
    refused = subprocess.run(
        [sys.executable, str(BENCHMARKS / "run.py"), "speed"],
        cwd=ROOT,
        env=clean_environment() | {"PYTHONPATH": "src"},
        capture_output=True,
        text=True,
    )
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: cannot read 'speed'; valid: --quick, training_throughput")
