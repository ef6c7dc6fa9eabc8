"""Two runs side by side: what differs in what went in, and the step and the tensor where the results part."""

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import clean_environment
from safetensors.torch import load_file, save_file
from trainedfolders import FACTS, STEPS, write_evaluation, write_trained
from windowsets import series_windows

from unrolled.commands import diff
from unrolled.errors import UserError
from unrolled.receiptdiff import Side, curve_line, explain, find_side, kept_side, same_results
from unrolled.train import write_steps


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    one = write_trained(tmp_path, series_windows())
    return one, shutil.copytree(one, tmp_path / "again")


def _sides(folders: tuple[Path, Path]) -> tuple[Side, Side]:
    one, other = (find_side(Path("nowhere"), str(folder)) for folder in folders)
    return one, other


def _flip_one_weight(folder: Path) -> str:
    weights = load_file(folder / "weights.safetensors")
    name = sorted(weights)[1]
    weights[name].view(-1)[0] += 0.25
    save_file(weights, folder / "weights.safetensors")
    return name


def _other_loss(folder: Path, step: int) -> None:
    curve = list(STEPS)
    curve[step - 1] = (curve[step - 1][0] + 1e-9, curve[step - 1][1])
    write_steps(folder / "steps.csv", curve)


def test_two_runs_that_are_the_same(folders: tuple[Path, Path]) -> None:
    a, b = _sides(folders)
    assert same_results(a, b)
    assert explain(a, b)[0] == "inputs: the same"
    assert "results: the same" in explain(a, b)
    assert "  loss curve: the same 15 steps" in explain(a, b)


def test_one_flipped_weight_is_named(folders: tuple[Path, Path]) -> None:
    name = _flip_one_weight(folders[1])
    a, b = _sides(folders)
    assert not same_results(a, b)
    assert f"  weights: {name} (by up to 0.25) differ" in explain(a, b)
    assert f"  weights: {name} differ" in explain(replace(a, folder=None), b), "without the numbers"


@pytest.mark.parametrize(("step", "between"), [(1, None), (2, None), (3, "3 and 4"), (7, "5 and 8"), (15, "9 and 15")])
def test_one_changed_loss_is_found_at_its_step(step: int, between: str | None, folders: tuple[Path, Path]) -> None:
    _other_loss(folders[1], step)
    a, b = _sides(folders)
    loss = STEPS[step - 1][0]
    norm = f"gradient norm {STEPS[step - 1][1]}"
    exact = f"loss curve: parts at step {step}: loss {loss}, {norm} -> loss {loss + 1e-9}, {norm}"
    assert curve_line(a, b) == exact
    told = f"parts between steps {between};" if between else f"parts at step {step}:"
    assert told in curve_line(replace(a, folder=None), b), "receipts alone know the steps 1, 2, 4, 8 and the last"


def test_a_curve_that_ends_earlier(folders: tuple[Path, Path]) -> None:
    write_steps(folders[1] / "steps.csv", STEPS[:12])
    a, b = _sides(folders)
    assert curve_line(a, b) == "loss curve: the same up to step 12, then 15 steps -> 12 steps"
    assert curve_line(replace(a, folder=None), b) == "loss curve: the same up to step 8, then 15 steps -> 12 steps"
    assert curve_line(a, b, until=12) == "loss curve: the same 12 steps"
    assert curve_line(replace(a, folder=None), b, until=12) == "loss curve: the same 8 steps"


def test_what_differs_in_the_inputs_is_named(folders: tuple[Path, Path]) -> None:
    facts = FACTS | {"threads": 2, "code": "beef" * 16, "libraries": {"torch": "2.14.0"}}
    (folders[1] / "facts.json").write_text(json.dumps(facts))
    config = yaml.safe_load((folders[1] / "config.yaml").read_text())
    config["training"]["learning_rate"] = 0.01
    (folders[1] / "config.yaml").write_text(yaml.safe_dump(config))
    lines = explain(*_sides(folders))
    assert lines[0] == "inputs:"
    assert "  machine.threads: 1 -> 2" in lines
    assert "  code: c0dec0dec0de -> beefbeefbeef" in lines
    assert '  software.libraries.torch: "2.13.0" -> "2.14.0"' in lines
    assert "  config.training.learning_rate: 0.003 -> 0.01" in lines
    assert not any(line.startswith("  config.sha256") for line in lines), "the key says more"
    assert "results: the same" in lines


def test_a_cell_has_its_model_folder_only_while_that_is_the_receipts(tmp_path: Path) -> None:
    folder = write_trained(tmp_path, series_windows())
    write_evaluation(tmp_path, folder, mae=1.0)
    assert kept_side(tmp_path, "ramp-gru-0").folder == folder
    _other_loss(folder, 3)
    assert kept_side(tmp_path, "ramp-gru-0").folder is None
    with pytest.raises(UserError, match=r"no receipt in .*ramp/gru/1/receipt.json; make it with: dvc repro evaluate@"):
        kept_side(tmp_path, "ramp-gru-1")
    for wrong in ("ramp", "../x-gru-0", "a-b-c-d", "ramp-gru-.."):
        with pytest.raises(UserError, match="is neither a cell, such as energy-gru-0"):
            kept_side(tmp_path, wrong)


def test_a_cell_of_a_commit_beside_the_one_here(tmp_path: Path) -> None:
    folder = write_trained(tmp_path, series_windows())
    write_evaluation(tmp_path, folder, mae=1.0)
    who = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    for command in (("init", "-q"), ("add", "reports"), (*who, "commit", "-qm", "results")):
        subprocess.run(["git", *command], cwd=tmp_path, check=True, env=clean_environment())
    name = _flip_one_weight(folder)
    write_evaluation(tmp_path, folder, mae=1.0)
    a, b = find_side(tmp_path, "HEAD:ramp-gru-0"), find_side(tmp_path, "ramp-gru-0")
    assert f"  weights: {name} differ" in explain(a, b)
    for wrong in ("v9:ramp-gru-0", "HEAD:ramp-gru-1", "--help:ramp-gru-0"):
        with pytest.raises(UserError, match="git has no"):
            find_side(tmp_path, wrong)


def test_the_command_ends_with_1_where_results_part(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [str(folder) for folder in folders]
    monkeypatch.setattr(diff, "project_root", lambda: folders[0])
    diff.main(names)
    assert "results: the same" in capsys.readouterr().out
    _other_loss(folders[1], 5)
    with pytest.raises(SystemExit) as ended:
        diff.main(names)
    assert ended.value.code == 1
    assert "parts at step 5" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="expected two: unrolled diff A B"):
        diff.main(names[:1])


def test_predictions_are_compared_where_both_sides_have_them(folders: tuple[Path, Path]) -> None:
    def having(side: Side, **predictions: Any) -> Side:
        return replace(side, receipt={**side.receipt, "predictions": predictions})

    a, b = _sides(folders)
    assert "  predictions: not compared, one side has none" in explain(a, having(b, test="1"))
    assert "  predictions: the same" in explain(having(a, test="1", validation="3"), having(b, test="1"))
    a, b = having(a, test="1", validation="3"), having(b, test="2", validation="3")
    assert "  predictions: test differ" in explain(a, b)
    assert not same_results(a, b)
