"""Training: what decides its bits, what stops it, and what it refuses before it starts."""

import copy
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from conftest import ROOT, Fault
from torch.profiler import profile
from windowsets import example_windows, image_windows, series_windows, text_windows

from unrolled.batch import Batch
from unrolled.config import compose_config
from unrolled.console import one_line_errors
from unrolled.errors import UserError
from unrolled.learners.supervised import EpochRow, SupervisedLearner, detached, rate_factor
from unrolled.model import SequenceModel, build
from unrolled.receipt import MACHINE, SOFTWARE
from unrolled.resume import WholeCheckpoints, sealed, unsealed
from unrolled.training import OURS, Learned, assemble, fit, machine_facts, make_trainer, prepare_machine
from unrolled.windowset import WindowSet

DIVERGES = "a training that diverges"


def _config(task: str = "energy", **training: Any) -> dict[str, Any]:
    config = compose_config([f"task={task}", "model=gru", "trainer=cpu", "encoder.hidden_size=8"], ROOT)
    config["head"]["skip"] = 0
    config["trainer"]["enable_progress_bar"] = False
    config["training"] |= {"batch_size": 8, "epochs": 4} | training
    return config


def _train(
    config: dict[str, Any], windows: WindowSet, resume: Path, on_epoch: Any = None
) -> tuple[SequenceModel, Learned]:
    prepare_machine(1, config["seed"])
    model = build(config, windows.meta)
    return model, fit(*assemble(config, windows, model, resume, on_epoch), resume)


def _same(one: SequenceModel, other: SequenceModel) -> bool:
    weights = other.state_dict()
    return all(torch.equal(tensor, weights[name]) for name, tensor in one.state_dict().items())


class _Killed(Exception):
    pass


# Of each kind of data one; augmentation draws random numbers in every step.
TURNED = {"rotate": 20.0, "scale": 0.1, "shear": 10.0, "shift": 1.0}
RESUMED: dict[str, tuple[Callable[[], WindowSet], dict[str, Any]]] = {
    "energy": (series_windows, {}),
    "shakespeare": (text_windows, {}),
    "mnist": (image_windows, {"augmentation": TURNED, "warmup_steps": 0}),
}


def test_augmentation_changes_what_is_learned(tmp_path: Path) -> None:
    make_windows, training = RESUMED["mnist"]
    turned, _ = _train(_config("mnist", **training), make_windows(), tmp_path / "turned")
    plain, _ = _train(_config("mnist", **training | {"augmentation": None}), make_windows(), tmp_path / "plain")
    assert not _same(turned, plain)


@pytest.mark.parametrize("task", list(RESUMED))
@pytest.mark.parametrize("averaging", [None, 0.9])
@pytest.mark.parametrize("saved", ["EPOCHS_SECONDS", "WITHIN_EPOCH_SECONDS"])
def test_a_killed_training_goes_on_to_the_same_bits(
    task: str, averaging: float | None, saved: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"unrolled.resume.{saved}", 0.0)
    make_windows, training = RESUMED[task]
    windows, config = make_windows(), _config(task, averaging=averaging, **training)
    config["encoder"] |= {"output_dropout": 0.3}
    whole, learned = _train(config, windows, tmp_path / "whole")

    def kill(row: EpochRow) -> None:
        if row["epoch"] == 2:
            raise _Killed

    with pytest.raises(_Killed):
        _train(config, windows, tmp_path / "killed", kill)
    resumed, again = _train(config, windows, tmp_path / "killed")
    assert _same(whole, resumed)
    assert again.history == learned.history
    assert [row["epoch"] for row in again.history] == [0, 1, 2, 3]
    steps = learned.steps // 4
    assert again.resumed_at == (2 * steps if saved == "EPOCHS_SECONDS" else 3 * steps - 1), "the last that was saved"


def _stop_at(step: int, with_signal: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the process get a signal in the middle of a step."""
    training_step = SupervisedLearner.training_step

    def signalled(learner: SupervisedLearner, batch: Batch, batch_idx: int) -> torch.Tensor:
        if learner.global_step == step:
            os.kill(os.getpid(), with_signal)
        return training_step(learner, batch, batch_idx)

    monkeypatch.setattr(SupervisedLearner, "training_step", signalled)


@pytest.mark.parametrize("task", list(RESUMED))
@pytest.mark.parametrize("averaging", [None, 0.9])
@pytest.mark.parametrize(
    ("step", "by"), [(0, signal.SIGTERM), (1, signal.SIGINT), (4, signal.SIGTERM), (7, signal.SIGINT)]
)
def test_ctrl_c_and_sigterm_stop_after_the_step_and_the_next_run_goes_on_from_it(
    task: str,
    averaging: float | None,
    step: int,
    by: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_windows, training = RESUMED[task]
    windows, config = make_windows(), _config(task, averaging=averaging, **training)
    config["encoder"] |= {"output_dropout": 0.3}
    whole, learned = _train(config, windows, tmp_path / "whole")
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with monkeypatch.context() as patch:
        _stop_at(step, by, patch)
        with pytest.raises(SystemExit) as stopped:
            _train(config, windows, tmp_path / "stopped")
    assert stopped.value.code == 143
    assert handlers == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert f"stopped after step {step + 1}; the same command goes on from there" in capsys.readouterr().out
    resumed, again = _train(config, windows, tmp_path / "stopped")
    assert again.resumed_at == step + 1, "no step was taken twice"
    assert _same(whole, resumed)
    assert again.history == learned.history
    assert again.curve == learned.curve
    assert len(learned.curve) == learned.steps


def _flipped(place: Callable[[int], int]) -> Callable[[bytes], bytes]:
    def flip(whole: bytes) -> bytes:
        at = place(len(whole))
        return whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]

    return flip


def _sealed_without(part: str) -> Callable[[bytes], bytes]:
    return lambda whole: b"".join(sealed({key: value for key, value in unsealed(whole).items() if key != part}))


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda whole: b"",
    "torn early": lambda whole: whole[:500],
    "torn late": lambda whole: whole[:-1],
    "a bit flipped at its start": _flipped(lambda size: 0),
    "a bit flipped in its middle": _flipped(lambda size: size // 2),
    "a bit flipped at its end": _flipped(lambda size: size - 1),
    "zeros": lambda whole: bytes(len(whole)),
    "no sha256": lambda whole: whole[:-32],
    "nothing, sealed": lambda whole: sha256(b"").digest(),
    "a list, sealed": lambda whole: b"".join(sealed([1])),  # type: ignore[arg-type]
    "nothing known, sealed": lambda whole: b"".join(sealed({"a": 1})),
    "no identity, sealed": _sealed_without("identity"),
    "no step, sealed": _sealed_without("global_step"),
    "no curve, sealed": _sealed_without("steps"),
    "no release of Lightning, sealed": _sealed_without("pytorch-lightning_version"),
    "no loop, sealed": lambda whole: b"".join(sealed(unsealed(whole) | {"loops": {}})),
    "a step in words, sealed": lambda whole: b"".join(sealed(unsealed(whole) | {"global_step": "two"})),
    "a middle without sums, sealed": lambda whole: b"".join(sealed(unsealed(whole) | {"batches_done": 1})),
}


@pytest.fixture(scope="module")
def whole_and_killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[SequenceModel, bytes]:
    """An undisturbed training's model, and the checkpoint of one that was killed."""
    folder = tmp_path_factory.mktemp("damaged")
    whole, _ = _train(_config(), series_windows(), folder / "whole")

    def kill(row: EpochRow) -> None:
        if row["epoch"] == 2:
            raise _Killed

    with pytest.raises(_Killed):
        _train(_config(), series_windows(), folder / "killed", kill)
    return whole, (folder / "killed" / "last.ckpt").read_bytes()


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_not_gone_on_with(
    damage: str,
    whole_and_killed: tuple[SequenceModel, bytes],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole, checkpoint = whole_and_killed
    folder = tmp_path / "killed"
    folder.mkdir()
    (folder / "last.ckpt").write_bytes(DAMAGES[damage](checkpoint))
    again, learned = _train(_config(), series_windows(), folder)
    assert "is damaged; training starts afresh" in capsys.readouterr().out
    assert learned.resumed_at == 0
    assert _same(whole, again)


def test_a_checkpoint_damaged_while_it_is_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"a": 1}, path)
    assert WholeCheckpoints().load_checkpoint(path) == {"a": 1}
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"last.ckpt is damaged: .*; remove it and run again"):
        WholeCheckpoints().load_checkpoint(path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk without room")
def test_a_checkpoint_without_room_on_the_disk_says_so_and_leaves_the_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, partial = tmp_path / "last.ckpt", tmp_path / "full"
    WholeCheckpoints().save_checkpoint({"a": 1}, path)
    partial.symlink_to("/dev/full")
    monkeypatch.setattr("unrolled.resume.partial_of", lambda place: partial)
    with (
        pytest.raises(SystemExit, match="error: No space left on device; make room, then run again"),
        one_line_errors(),
    ):
        WholeCheckpoints().save_checkpoint({"a": torch.zeros(100_000)}, path)
    assert [left.name for left in tmp_path.iterdir()] == ["last.ckpt"]
    assert WholeCheckpoints().load_checkpoint(path) == {"a": 1}


def test_the_next_save_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    living = tmp_path / f".last.ckpt.{os.getppid()}.partial"
    for left in (tmp_path / f".last.ckpt.{killed.pid}.partial", living):
        left.touch()
    WholeCheckpoints().save_checkpoint({}, tmp_path / "last.ckpt")
    assert {path.name for path in tmp_path.iterdir()} == {"last.ckpt", living.name}


def test_another_runs_checkpoint_is_not_gone_on_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def kill(row: EpochRow) -> None:
        if row["epoch"] == 2:
            raise _Killed

    with pytest.raises(_Killed):
        _train(_config(learning_rate=1e-4), series_windows(), tmp_path / "another", kill)
    (tmp_path / "another").rename(tmp_path / "this")
    _, learned = _train(_config(), series_windows(), tmp_path / "this")
    assert learned.resumed_at == 0
    assert "is another run's; training starts afresh" in capsys.readouterr().out


def test_two_trainings_give_the_same_bits_and_another_seed_others(tmp_path: Path) -> None:
    config, windows = _config(), series_windows()
    one, _ = _train(config, windows, tmp_path / "one")
    two, _ = _train(config, windows, tmp_path / "two")
    other, _ = _train(config | {"seed": 1}, windows, tmp_path / "other")
    assert _same(one, two)
    assert not _same(one, other)


def test_the_weights_kept_are_the_best_epochs(tmp_path: Path) -> None:
    windows = series_windows()
    config = _config(epochs=50, learning_rate=0.3, schedule="constant", early_stopping=2)
    model, learned = _train(config, windows, tmp_path)
    best = min(learned.history, key=lambda row: row["validation_loss"])
    assert best["epoch"] == learned.history[-1]["epoch"] - 2
    assert learned.best == best
    assert _validated(config, windows, model, tmp_path) == pytest.approx(best["validation_loss"], rel=1e-5)


def _validated(config: dict[str, Any], windows: WindowSet, model: SequenceModel, resume: Path) -> float:
    _, _, data = assemble(config, windows, model, resume)
    batches = list(data.val_dataloader())
    losses = [model.eval().loss(batch)[0].item() * len(batch.target) for batch in batches]
    return sum(losses) / sum(len(batch.target) for batch in batches)


def test_the_last_epochs_weights_are_kept_where_asked_for_though_others_were_better(tmp_path: Path) -> None:
    windows = series_windows()
    config = _config(epochs=50, learning_rate=0.3, schedule="constant", early_stopping=2, keep="last")
    model, learned = _train(config, windows, tmp_path / "whole")
    last = learned.history[-1]
    assert last["validation_loss"] > min(row["validation_loss"] for row in learned.history)
    assert learned.best == last
    assert _validated(config, windows, model, tmp_path) == pytest.approx(last["validation_loss"], rel=1e-5)

    def kill(row: EpochRow) -> None:
        if row["epoch"] == 1:
            raise _Killed

    with pytest.raises(_Killed):
        _train(config, windows, tmp_path / "killed", kill)
    again, resumed = _train(config, windows, tmp_path / "killed")
    assert resumed.best == last
    assert _same(model, again)


@pytest.mark.parametrize("task", list(RESUMED))
@pytest.mark.parametrize("averaging", [None, 0.9])
@pytest.mark.parametrize("together", [1, 2])
@pytest.mark.parametrize("steps", [2, 5, 7])
def test_an_epoch_that_max_steps_cuts_short_is_validated_like_any_other(
    task: str, averaging: float | None, together: int, steps: int, tmp_path: Path
) -> None:
    make_windows, training = RESUMED[task]
    windows, config = make_windows(), _config(task, keep="last", averaging=averaging, **training)
    config["trainer"] |= {"max_steps": steps, "max_epochs": 9, "accumulate_grad_batches": together}
    model, learned = _train(config, windows, tmp_path)
    assert learned.steps == learned.history[-1]["step"] == steps
    assert [row["epoch"] for row in learned.history] == list(range(len(learned.history)))
    losses = [row["validation_loss"] for row in learned.history]
    assert len(set(losses)) == len(losses), "each epoch has its own"
    if task == "energy":
        assert _validated(config, windows, model, tmp_path) == pytest.approx(losses[-1], rel=1e-5)


@pytest.mark.parametrize("step", [0, 1, 2, 4, 5, 6])
def test_a_training_that_max_steps_cuts_short_goes_on_to_the_same_bits(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows, config = series_windows(), _config()
    config["trainer"] |= {"max_steps": 7 if step > 2 else 3}
    whole, learned = _train(config, windows, tmp_path / "whole")
    with monkeypatch.context() as patch:
        _stop_at(step, signal.SIGTERM, patch)
        if step + 1 < learned.steps:
            with pytest.raises(SystemExit):
                _train(config, windows, tmp_path / "stopped")
        else:
            _train(config, windows, tmp_path / "stopped")  # its last step: what was left is done
    resumed, again = _train(config, windows, tmp_path / "stopped")
    assert _same(whole, resumed)
    assert again.history == learned.history


def test_averaged_weights_are_what_is_validated_and_kept(tmp_path: Path) -> None:
    plain, _ = _train(_config(), series_windows(), tmp_path / "plain")
    averaged, learned = _train(_config(averaging=0.99), series_windows(), tmp_path / "averaged")
    prepare_machine(1, 0)
    start = build(_config(), series_windows().meta)

    def moved(model: SequenceModel) -> float:
        ends = zip(model.parameters(), start.parameters(), strict=True)
        return sum((a - b).abs().sum().item() for a, b in ends)

    assert 0 < moved(averaged) < 0.9 * moved(plain), "an average lags behind"
    assert learned.best["validation_loss"] == min(row["validation_loss"] for row in learned.history)


def test_early_stopping_stops_where_validation_no_longer_improves(tmp_path: Path) -> None:
    config = _config(epochs=50, learning_rate=0.3, schedule="constant", early_stopping=2)
    _, learned = _train(config, series_windows(), tmp_path)
    losses = [row["validation_loss"] for row in learned.history]
    assert len(losses) < 50
    assert losses.index(min(losses)) == len(losses) - 3, "two epochs of patience after the best"


@pytest.mark.chaos(make_test=True)
def test_a_training_that_turns_nan_says_what_to_lower(tmp_path: Path, fault: Fault) -> None:
    told = (
        r"(training loss|gradient's norm) became .* at step \d \(epoch 1\), after gradients with norms \d.*; "
        r"no checkpoint had been saved; lower training.learning_rate \(1e\+30\) or "
    )
    for clip, help_ in ((1.0, r"training.gradient_clip \(1.0\)"), (None, "set training.gradient_clip=1.0")):
        clipped = "gradients clipped" if clip else "gradients not clipped"
        with (
            fault(DIVERGES, f"a learning rate of 1e30, {clipped}: the message says what to lower or set"),
            pytest.raises(UserError, match=told + help_),
        ):
            _train(_config(learning_rate=1e30, gradient_clip=clip), series_windows(), tmp_path)


@pytest.mark.chaos(make_test=True)
@pytest.mark.parametrize(("seconds", "epoch"), [(0.0, 2), (1e9, 1)], ids=["every epoch saved", "the first one saved"])
def test_a_divergence_keeps_the_last_good_checkpoint(
    seconds: float, epoch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    monkeypatch.setattr("unrolled.resume.EPOCHS_SECONDS", seconds)
    training_step = SupervisedLearner.training_step

    def spoiled(learner: SupervisedLearner, batch: Batch, batch_idx: int) -> torch.Tensor:
        bad = float("inf") if learner.current_epoch == 2 else 1.0
        return training_step(learner, batch._replace(inputs=batch.inputs * bad), batch_idx)

    monkeypatch.setattr(SupervisedLearner, "training_step", spoiled)
    with fault(DIVERGES, "infinite inputs in the third epoch: the last checkpoint before is kept"):
        with pytest.raises(UserError) as diverged:
            _train(_config(), series_windows(), tmp_path)
        kept = unsealed((tmp_path / "last.ckpt").read_bytes())
        assert f"; the checkpoint of step {kept['global_step']} (epoch {epoch}) is kept; " in str(diverged.value)
        assert len(kept["history"]) == epoch
        assert all(tensor.isfinite().all() for tensor in kept["state_dict"].values())
    monkeypatch.setattr("unrolled.resume.EPOCHS_SECONDS", 1e9)
    monkeypatch.setattr("unrolled.resume.SaveAndStop._save", lambda *_: None)
    with pytest.raises(UserError) as again:
        _train(_config(), series_windows(), tmp_path)
    assert str(again.value) == str(diverged.value), "also by who went on from it and saved nothing"


def test_it_trains_on_whatever_this_machine_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = _config(epochs=15, learning_rate=0.01)
    config["trainer"] |= {"accelerator": "auto", "deterministic": "warn"}
    _, learned = _train(config, series_windows(), tmp_path)
    with capsys.disabled():
        print(f" [trained on {learned.device}, {learned.precision}] ", end="")
    assert learned.history[-1]["validation_loss"] < 0.7 * learned.history[0]["validation_loss"]


def test_bfloat16_trains_and_keeps_float32_weights(tmp_path: Path) -> None:
    config = _config()
    config["trainer"]["precision"] = "bf16-mixed"
    model, learned = _train(config, series_windows(), tmp_path)
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.float32}
    assert learned.history[-1]["train_loss"] < learned.history[0]["train_loss"]
    assert learned.precision == "bf16-mixed"


@pytest.mark.parametrize("name", ["rnn", "gru"])
def test_in_bfloat16_a_training_step_converts_each_weight_once_and_not_at_every_time_step(name: str) -> None:
    config = compose_config(
        ["task=energy", f"model={name}", "trainer=cpu", "trainer.precision=bf16-mixed", "head.skip=0"], ROOT
    )
    precision = make_trainer(config, []).precision_plugin
    encoder = build(config, series_windows().meta).encoder
    with precision.train_step_context(), profile(record_shapes=True) as seen:
        encoder(torch.randn(3, 12, encoder.layer.input_size))
    shape = encoder.layer.weight_hh_l0.shape
    converted = [e for e in seen.events() if e.name == "aten::_to_copy" and e.input_shapes[:1] == [list(shape)]]
    assert len(converted) == sum(p.shape == shape for p in encoder.parameters()) > 0


def test_in_bfloat16_no_weight_that_was_converted_outlives_its_step() -> None:
    config = _config()
    config["trainer"]["precision"] = "bf16-mixed"
    precision = make_trainer(config, []).precision_plugin
    encoder = build(config, series_windows().meta).encoder
    x = torch.randn(3, 12, encoder.layer.input_size)
    with torch.no_grad(), precision.val_step_context():
        before, _ = encoder(x)
    with precision.train_step_context():
        encoder(x)[0].sum().backward()
    assert all(p.grad is not None for p in encoder.parameters()), "validation's have no graph"
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.zero_()
    with precision.train_step_context():
        after, _ = encoder(x)
    assert before.abs().sum() > 0
    assert not after.any(), "the optimizer has changed them"


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("max_epochs", -5, "expected a whole number, at least 1"),
        ("max_epochs", "many", "expected a whole number, at least 1"),
        ("devices", 0, "expected auto or a whole number"),
        ("devices", 100_000, "expected auto or a whole number"),
        ("accumulate_grad_batches", 0, "expected a whole number, at least 1"),
        ("limit_val_batches", 0, "expected a whole number of batches"),
        ("deterministic", "maybe", "expected true, false or warn"),
        ("accelerator", "abacus", "this machine has"),
        ("precision", 17, "Precision 17 is invalid"),
        ("precision", "transformer-engine", "transformer_engine"),
        ("strategy", "nonsense", "nonsense"),
        ("max_time", "soon", "DD:HH:MM:SS"),
        ("max_epoch", 3, "unknown key in trainer: 'max_epoch'; valid: accelerator"),
        *((key, 1, why) for key, why in OURS.items()),
    ],
)
def test_the_trainer_is_refused_what_it_cannot_do(key: str, value: Any, told: str) -> None:
    config = _config()
    config["trainer"][key] = value
    with pytest.raises(UserError) as refused:
        make_trainer(config, [])
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.skipif(torch.cuda.is_available() or torch.backends.mps.is_available(), reason="this machine has a GPU")
def test_what_needs_a_gpu_is_refused_without_one() -> None:
    for name in ("gpu", "mps"):
        with pytest.raises(UserError, match="this machine has cpu; or use auto"):
            make_trainer(compose_config(["task=energy", "model=gru", f"trainer={name}"], ROOT), [])
    config = _config()
    config["trainer"]["precision"] = "16-mixed"
    with pytest.raises(UserError, match="needs a GPU; on this CPU use 32-true"):
        make_trainer(config, [])


def test_any_scalar_argument_of_the_trainer_can_be_given() -> None:
    asked = ["task=energy", "model=gru", "trainer=cpu", "trainer.max_steps=7", "trainer.limit_train_batches=0.5"]
    trainer: pl.Trainer = make_trainer(compose_config(asked, ROOT), [])
    assert (trainer.max_steps, trainer.limit_train_batches) == (7, 0.5)


@pytest.mark.parametrize("threads", [0, 1.5, "two"])
def test_threads_are_a_count(threads: Any) -> None:
    with pytest.raises(UserError, match=r"trainer.threads=.*: expected a whole number, at least 1"):
        prepare_machine(threads, 0)


def test_schedules() -> None:
    assert rate_factor(50, 100, "constant", 0) == 1
    assert rate_factor(0, 100, "constant", 9) == pytest.approx(0.1)
    assert rate_factor(100, 100, "cosine", 0) == pytest.approx(0.02)
    assert rate_factor(50, 100, "cosine", 0) == pytest.approx(0.51)
    assert rate_factor(0, 100, "one_cycle", 0) == pytest.approx(0.04)
    assert rate_factor(30, 100, "one_cycle", 0) == pytest.approx(1)
    assert rate_factor(100, 100, "one_cycle", 0) == pytest.approx(0.0004)


def test_a_carried_state_carries_no_graph() -> None:
    state = (torch.ones(2, requires_grad=True) * 2, (torch.ones(1, requires_grad=True) * 3,))
    cut = detached(copy.copy(state))
    assert not cut[0].requires_grad
    assert not cut[1][0].requires_grad
    assert detached(None) is None


@pytest.mark.parametrize(
    ("wanted", "trainer", "has", "resolved"),
    [
        ("bf16", "32-true", True, "bf16-mixed"),
        ("bf16", "32-true", False, "32-true"),
        ("bf16", "64-true", True, "64-true"),
        (None, "32-true", True, "32-true"),
    ],
)
def test_a_recipe_gets_bfloat16_where_the_machine_has_it_and_nobody_asked_for_more(
    wanted: str | None, trainer: str, has: bool, resolved: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unrolled.training.cpu_has_bf16", lambda: has)
    config = _config(precision=wanted)
    config["trainer"]["precision"] = trainer
    assert make_trainer(config, []).precision == resolved


def test_images_are_augmented_in_training_and_never_in_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []

    def spy(images: torch.Tensor, sizes: dict[str, float]) -> torch.Tensor:
        seen.append(torch.is_grad_enabled())
        return images

    monkeypatch.setattr("unrolled.learners.supervised.augment", spy)
    windows = example_windows()
    config = _config("mnist", epochs=2, warmup_steps=0)
    config["training"]["augmentation"] = {"rotate": 5, "scale": 0, "shear": 0, "shift": 0}
    _train(config, windows, tmp_path / "resume")
    assert seen == [True] * 10, "two epochs of 40 examples in batches of 8"
    with pytest.raises(UserError, match="training.augmentation turns images, but energy has none"):
        _train(_config(augmentation=config["training"]["augmentation"]), series_windows(), tmp_path / "series")


@pytest.fixture
def machine_as_it_was() -> Iterator[None]:
    threads, matmul = torch.get_num_threads(), torch.get_float32_matmul_precision()
    yield
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision(matmul)
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("machine_as_it_was")
@pytest.mark.parametrize(("deterministic", "threads", "matmul"), [(True, 1, "highest"), (False, 2, "high")])
def test_the_facts_of_a_machine_are_what_trains(
    deterministic: bool, threads: int, matmul: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = _config()
    config["trainer"] |= {"deterministic": deterministic, "threads": threads}
    prepare_machine(threads, 0)
    torch.set_float32_matmul_precision(matmul)
    trainer = make_trainer(config, [])
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")  # neither Lightning's choice nor ours
    facts = machine_facts(trainer)
    assert facts.keys() | {"lock"} == {*MACHINE, *SOFTWARE}, "what a receipt takes of them"
    assert {key: facts[key] for key in ("device", "precision", "threads")} == {
        "device": "cpu",
        "precision": "32-true",
        "threads": threads,
    }
    assert facts["deterministic"] == {
        "algorithms": deterministic,
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "matmul_precision": matmul,
        "cublas_workspace": ":16:8",
    }
    assert facts["libraries"] == {
        name: version(name)
        for name in ("torch", "pytorch-lightning", "numpy", "safetensors", "hydra-core", "omegaconf")
    }
    assert torch.__version__ == facts["libraries"]["torch"]
    assert facts["python"] == ".".join(map(str, sys.version_info[:3]))
    assert facts["platform"] == f"{os.uname().sysname} {os.uname().machine}"
    assert facts["instructions"] == torch.backends.cpu.get_cpu_capability()
    assert isinstance(facts["processor"], str)
