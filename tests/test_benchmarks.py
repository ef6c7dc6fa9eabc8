"""The benchmarks' arithmetic and records are right; how fast anything is, is not tested."""

import ast
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ROOT, clean_environment

BENCHMARKS = ROOT / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import accelerator  # noqa: E402
import generation  # noqa: E402
import measuring  # noqa: E402
import precision  # noqa: E402
from accelerator import Training  # noqa: E402
from measuring import Figure, Section, number, ratios, record, slope, take_turns  # noqa: E402
from taskdata import WITHOUT_BF16  # noqa: E402

from unrolled.errors import UserError  # noqa: E402


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


def test_the_accelerators_page_is_refused_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["accelerator.py", *arguments])
        with pytest.raises(SystemExit) as ended:
            accelerator.main()
        return str(ended.value.code)

    monkeypatch.setattr(accelerator, "train_and_judge", lambda *asked: pytest.fail("it trains"))
    assert refused("tasks=energy,speech") == (
        "error: tasks=energy,speech: 'speech' is none of energy, mnist, shakespeare, bitcoin"
    )
    assert refused("quick=yes") == "error: quick=yes: expected true or false"
    assert "there is no such folder" in refused(f"out={tmp_path / 'none'}")
    (tmp_path / "accelerator.json").write_text("{")
    assert "accelerator.json is damaged" in refused(f"out={tmp_path}")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere Lightning may find an accelerator")
def test_without_an_accelerator_nothing_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match="there is no accelerator here; on a CPU use: make repro"):
        accelerator.check_accelerator()


def test_the_longest_trainings_come_first_and_each_pair_comes_twice() -> None:
    cells = accelerator.trainings(["shakespeare", "bitcoin"], 2)
    assert cells[:2] == [Training("shakespeare", "lstm_640", seed, ("training.epochs=25",)) for seed in (0, 1)]
    assert cells[2] == Training("shakespeare", "lstm_640", 0)
    assert cells[-2:] == [Training("shakespeare", "gru", 0, time=2), Training("bitcoin", "cnn_lstm", 0, time=2)]
    assert len(cells) == len(set(cells)) == 2 * (1 + 8 + 6) + 2


@pytest.mark.slow
def test_seeds_are_judged_together_and_the_same_bits_are_told() -> None:
    cells = [
        Training("bitcoin", model, seed, time=time)
        for model, seed, time in (("cnn_lstm", 0, 1), ("cnn_lstm", 1, 1), ("cnn_lstm", 0, 2))
    ]
    learned = {cell: accelerator._trained(cell, quick=True) for cell in cells}
    once, other, twice = (learned[cell] for cell in cells)
    assert once.bits == twice.bits != other.bits
    told = accelerator.judge("bitcoin", learned, accelerator._baselines("bitcoin"))
    model = told["models"]["cnn_lstm"]
    assert model["seeds"] == [0, 1]
    assert model["value"] == pytest.approx(sum(model["value_by_seed"].values()) / 2)
    assert model["verdict"] in ("beats", "ties", "loses")
    on_cpu = accelerator.committed("bitcoin")["cnn_lstm"]
    assert on_cpu["cpu_seeds"] == 3
    assert {key: model[key] for key in on_cpu} == on_cpu
    assert told["same_bits"] == {"bitcoin-cnn_lstm-0": True}
    learned[cells[2]] = replace(twice, bits="other")
    assert accelerator.judge("bitcoin", learned, accelerator._baselines("bitcoin"))["same_bits"] == {
        "bitcoin-cnn_lstm-0": False
    }


def test_the_accelerators_page_shows_what_was_recorded() -> None:
    told = json.loads((ROOT / "reports/accelerator.json").read_text())
    assert accelerator.as_markdown(told) == (ROOT / "reports/accelerator.md").read_text()
    told["mnist"]["quick"] = True
    told["mnist"]["same_bits"] = {"mnist-lstm-0": False}
    page = accelerator.as_markdown(told)
    assert page.count("A quick trial: says nothing of any model.") == 1
    assert "Trained twice, `mnist-lstm-0` **differed**" in page
