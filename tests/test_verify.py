"""A cell trained again beside its receipt: the same bits, and each injected fault found where it is."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import scratchcheckout
from conftest import ROOT
from safetensors.torch import load_file, save_file

from unrolled import train
from unrolled.commands import verify as command
from unrolled.config import compose_config
from unrolled.errors import UserError
from unrolled.receipt import curve_digests, read_receipt, receipt_of, write_receipt
from unrolled.receiptdiff import Side
from unrolled.taskmodule import task_module
from unrolled.verify import Gap, beginning_verdict, retrain, verdict, verify
from unrolled.window import window_raw
from unrolled.windowset import save_windows

CELL = "energy-gru-0"
RECEIPT = Path("reports/energy/gru/0/receipt.json")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with one cell of three steps on stand-in data, trained and evaluated."""
    root = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "conf", root / "conf")
    cells = f"{{{CELL}: {{task: energy, model: gru, seed: 0}}}}"
    (root / "params.yaml").write_text(f"data: stand-in\ntrainer: smoke\ntasks: [energy]\ncells: {cells}\n")
    (root / "raw").mkdir()
    module = task_module("energy")
    module.stand_in(root / "raw")
    config = compose_config(["task=energy", "model=gru", "trainer=smoke"], root)
    windows = window_raw(module, root / "raw", config, {"source": "stand-in", "sha256": {"a.csv": "ab" * 32}})
    folder = root / "data/windows/energy"
    folder.mkdir(parents=True)
    save_windows(windows, folder)
    (root / "data/models").mkdir()
    made, metrics = retrain(config, windows, root / "data/models", root)
    (root / "data/models/model").rename(root / "data/models" / CELL)
    write_receipt(root / RECEIPT, dict(made.receipt))
    (root / RECEIPT).with_name("metrics.json").write_text(json.dumps(metrics))
    return root


@pytest.fixture
def root(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained, tmp_path / "checkout")


def _files(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def _change(root: Path, **parts: Any) -> None:
    """Change a receipt, as if another training had made it."""
    write_receipt(root / RECEIPT, read_receipt(root / RECEIPT) | parts)


def _keep_predictions(root: Path) -> None:
    """Make the receipt of the model folder anew, with the predictions that it had."""
    made = receipt_of(root / "data/models" / CELL)
    write_receipt(root / RECEIPT, made | {"predictions": read_receipt(root / RECEIPT)["predictions"]})


def test_the_same_bits_and_nothing_is_touched(root: Path) -> None:
    before = _files(root)
    found = verify(root, CELL)
    assert (found.kind, found.line) == ("bit-equal", f"{CELL}: bit-equal: 3 steps, 6 tensors, all predictions")
    assert _files(root) == before
    shutil.rmtree(root / "data/models")
    assert verify(root, CELL) == found, "a fresh clone has the receipt and no model"


def test_the_beginning_is_that_of_the_whole_training(root: Path) -> None:
    assert verify(root, CELL, steps=2).line == f"{CELL}: bit-equal over the first 2 steps"
    steps = root / "data/models" / CELL / "steps.csv"
    lines = steps.read_text().splitlines()
    lines[2] = lines[2].replace(",0.", ",1.", 1)
    steps.write_text("\n".join(lines) + "\n")
    _keep_predictions(root)
    assert verify(root, CELL, steps=1).kind == "bit-equal"
    assert verify(root, CELL, steps=2).line.startswith(f"{CELL}: differs: loss curve: parts at step 2: loss 1.")
    assert verify(root, CELL).line.startswith(f"{CELL}: differs: loss curve: parts at step 2: loss 1.")


def test_one_flipped_weight_is_found(root: Path) -> None:
    path = root / "data/models" / CELL / "weights.safetensors"
    weights = load_file(path)
    weights["head.readout.weight"].view(-1)[0] += 0.5
    save_file(weights, path)
    assert verify(root, CELL).kind == "bit-equal", "of the receipt; `unrolled verify data` tells of the file"
    _keep_predictions(root)
    found = verify(root, CELL)
    assert found.kind == "differs"
    assert "weights: head.readout.weight (by up to 0.5) differ" in found.details
    shutil.rmtree(root / "data/models")
    assert "weights: head.readout.weight differ" in verify(root, CELL).details


def test_other_predictions_are_found(root: Path) -> None:
    _change(root, predictions=read_receipt(root / RECEIPT)["predictions"] | {"test": "0" * 64})
    found = verify(root, CELL)
    assert found.kind == "differs"
    assert "predictions: test differ" in found.details


def test_another_thread_count_is_no_difference(root: Path) -> None:
    found = verify(root, CELL, ["trainer.threads=2"])
    assert found.kind in ("bit-equal", "equal within tolerance")
    assert "threads 2, not 1" in " ".join([*found.details, found.line])


def test_another_precision_is_within_tolerance(root: Path) -> None:
    found = verify(root, CELL, ["trainer.precision=bf16-mixed"])
    assert found.line == f"{CELL}: equal within tolerance: precision bf16-mixed, not 32-true"
    assert any("best validation loss: " in line and "tolerance 10.0%" in line for line in found.details)


def _setting(root: Path, name: str, old: str, new: str) -> None:
    path = root / "conf" / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_other_inputs_are_refused_by_name(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    receipt = read_receipt(root / RECEIPT)
    for change, told in (
        ({"seed": 1}, r"seed \(0, not 1\)"),
        ({"windows": "0" * 64}, r"windows \(\w{12}, not 000000000000\)"),
        ({"data": {"a.csv": "cd" * 32}}, r"data of a.csv \(abababababab, not cdcdcdcdcdcd\)"),
        ({"data": {}}, r"data of a.csv \(abababababab, not None\)"),
    ):
        write_receipt(root / RECEIPT, receipt | change)
        with pytest.raises(UserError, match=rf"cannot be verified, .*: {told}; check out the commit of the receipt"):
            verify(root, CELL)
    write_receipt(root / RECEIPT, receipt)
    with monkeypatch.context() as patch:
        patch.setattr(train, "code_of", lambda config: "0" * 64)
        with pytest.raises(UserError, match=r": code \(000000000000, not \w{12}\); "):
            verify(root, CELL)
    _setting(root, "task/energy.yaml", "  batch_size: ", "  batch_size: 1")
    with pytest.raises(UserError, match=r": training in conf \(\w{12}, not \w{12}\); "):
        verify(root, CELL)


def test_damaged_windows_are_refused(root: Path) -> None:
    path = root / "data/windows/energy/series.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="have changed since they were made"):
        verify(root, CELL)


def test_only_the_machine_may_be_another(root: Path) -> None:
    for override in ("seed=1", "encoder.hidden_size=8", "trainer.max_epochs=2", "trainer=cpu"):
        with pytest.raises(UserError, match=f"{override} would train another cell than the receipt's; valid: steps=N"):
            verify(root, CELL, [override])


def test_the_command_ends_with_1_if_it_differs(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "project_root", lambda: root)
    command.main([CELL, "steps=2", "trainer.enable_progress_bar=false"])
    assert capsys.readouterr().out == f"{CELL}: bit-equal over the first 2 steps\n"
    _change(root, predictions={"test": "0" * 64})
    with pytest.raises(SystemExit) as ended:
        command.main([CELL])
    assert ended.value.code == 1
    *_, last = capsys.readouterr().out.splitlines()
    assert last.startswith(f"{CELL}: differs: ")


def _side(losses: Mapping[int, float], validation: float = 0.5, **parts: Any) -> Side:
    """A made-up run; its machine and software as ``parts`` has them, its losses at a few steps."""
    steps = "step,loss,gradient_norm\n" + "".join(f"{n},{losses.get(n, 0.5)},1.0\n" for n in range(1, 129))
    machine = dict.fromkeys(("device", "precision", "threads", "platform", "processor", "instructions"), "one")
    receipt = {
        "cell": CELL,
        "machine": machine | parts.get("machine", {}),
        "software": {"lock": "a", "libraries": {"torch": "2"}} | parts.get("software", {}),
        "curve": curve_digests(steps.encode()),
        "weights": {"tensors": {"head": str(losses)}},
        "predictions": {"test": str(losses)},
        "best_validation_loss": validation,
    }
    return Side("made-up", receipt)


ELSEWHERE = {"machine": {"processor": "another"}}


@pytest.mark.parametrize(
    ("again", "score", "kind", "told"),
    [
        (_side({}), 100.0, "bit-equal", "bit-equal: 128 steps, 1 tensors, all predictions"),
        (_side({}, **ELSEWHERE), 100.0, "bit-equal", "bit-equal: 128 steps"),
        (_side({8: 0.5001}), 100.0, "differs", "parts between steps 5 and 8"),
        (_side({8: 0.5001}, software={"lock": "b"}), 100.0, "differs", "parts between steps 5 and 8"),
        (_side({8: 0.5001}, **ELSEWHERE), 100.0, "equal within tolerance", "processor another, not one"),
        (_side({128: 0.9}, **ELSEWHERE), 100.0, "equal within tolerance", "processor another, not one"),
        (_side({64: 0.51}, **ELSEWHERE), 100.0, "differs", "loss at step 64 is out of tolerance"),
        (_side({8: 0.5001}, 0.549, **ELSEWHERE), 109.9, "equal within tolerance", "processor another"),
        (_side({8: 0.5001}, 0.551, **ELSEWHERE), 100.0, "differs", "best validation loss is out of tolerance"),
        (_side({8: 0.5001}, **ELSEWHERE), 110.1, "differs", "mae is out of tolerance"),
    ],
)
def test_only_another_machine_excuses_other_bits_and_only_so_far(
    again: Side, score: float, kind: str, told: str
) -> None:
    found = verdict(_side({}), again, [Gap("mae", 100.0, score, abs(score - 100) / 100, 0.1)])
    assert found.kind == kind
    assert told in found.line


def test_an_upgrade_that_changed_bits_is_named() -> None:
    found = verdict(_side({}), _side({8: 0.5001}, software={"libraries": {"torch": "3"}}), [])
    assert found.kind == "differs"
    assert "libraries.torch 3, not 2" in found.details


@pytest.mark.parametrize(
    ("again", "steps", "kind"),
    [
        (_side({100: 0.9}), 64, "bit-equal"),
        (_side({100: 0.9}), 128, "differs"),
        (_side({16: 0.501}, **ELSEWHERE), 64, "equal within tolerance"),
        (_side({16: 0.51}, **ELSEWHERE), 64, "differs"),
    ],
)
def test_a_beginning_is_judged_alike(again: Side, steps: int, kind: str) -> None:
    assert beginning_verdict(_side({}), again, steps).kind == kind


@pytest.mark.slow
def test_cells_of_the_pipeline_have_the_bits_of_their_receipts(checkout: Path) -> None:
    """Trained by DVC in one process, again by the command in another."""
    for cell, told in ((CELL, "3 steps"), ("shakespeare-gru-0", "3 steps")):
        assert f"{cell}: bit-equal: {told}" in scratchcheckout.unrolled(checkout, "verify", cell)
    told = scratchcheckout.unrolled(checkout, "diff", CELL, "energy-rnn-0", fails=True)
    assert '  config.encoder.name: "gru" -> "rnn"' in told
    assert "loss curve: parts at step 1" in told
