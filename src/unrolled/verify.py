"""Train a cell again, in scratch, and say whether the bits are those of its receipt."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from unrolled import model as models
from unrolled import train, training
from unrolled.config import Config, compose_config
from unrolled.errors import UserError
from unrolled.evaluate import predict_run
from unrolled.identity import asked_of, identity_of
from unrolled.jsonfile import read_json
from unrolled.receipt import MACHINE, config_digests, curve_digests, receipt_of
from unrolled.receiptdiff import (
    Side,
    common_mark,
    curve_line,
    differing_inputs,
    differing_predictions,
    differing_tensors,
    kept_side,
    parting,
)
from unrolled.resume import SaveAndStop
from unrolled.scores import PRIMARY, flat_metrics
from unrolled.windowset import WindowSet, check_digest, open_windows

# How far apart two trainings of one cell may be that did their sums in another order, on another machine, with more threads
# or in another precision; docs/same-bits.md has what was measured. At first they are next to each other, which another seed,
# other data or other code are not; then training makes of the last bits what another seed makes of everything.
EARLY_STEPS, EARLY_TOLERANCE = 64, 0.005
TOLERANCE = 0.1  # of the validation loss and errors, in shares of them
ACCURACY_TOLERANCE = 0.005  # of an accuracy, in shares of all examples
# What the command line may change: the machine. Everything else must be as the receipt has it.
FREE = ("accelerator", "devices", "precision", "threads", "enable_progress_bar")


@dataclass(frozen=True)
class Verdict:
    """What came out.

    Attributes:
        kind: ``bit-equal``, ``equal within tolerance`` or ``differs``.
        line: the verdict in one line.
        details: lines that say what differs, and by how much.
    """

    kind: str
    line: str
    details: Sequence[str] = ()


@dataclass(frozen=True)
class Gap:
    """How far one number of two trainings is apart, and how far it may be."""

    name: str
    kept: float
    again: float
    apart: float
    limit: float


def verify(root: Path, cell: str, overrides: Sequence[str] = (), steps: int | None = None) -> Verdict:
    """Train ``cell`` again in a temporary folder and compare with its receipt under reports/.

    Neither data/, reports/ nor MLflow is touched.

    Args:
        root: the checkout.
        cell: ``<task>-<model>-<seed>``.
        overrides: of the trainer's keys in ``FREE``.
        steps: only train and compare that many steps, on the whole training's schedule.

    Raises:
        UserError: the cell has no receipt, or data, code or configuration are not those of the receipt.
    """
    kept = kept_side(root, cell)
    asked, config = _config(root, cell), _config(root, cell, overrides)
    folder = root / "data" / "windows" / config["task"]
    windows = open_windows(folder)
    check_digest(windows, folder)
    check_same_inputs(kept.receipt, asked, windows.meta, train.code_of(asked))
    with tempfile.TemporaryDirectory(prefix="unrolled-verify-") as scratch:
        again, scores = retrain(config, windows, Path(scratch), root, steps)
        if not scores:
            return beginning_verdict(kept, again, again.receipt["curve"]["steps"])
        kept_scores = read_json(root / "reports" / Path(*cell.split("-")) / "metrics.json", dict)
        return verdict(kept, again, _gaps(PRIMARY[windows.meta["kind"]], kept_scores, scores))


def _config(root: Path, cell: str, overrides: Sequence[str] = ()) -> Config:
    """Compose the configuration of a cell as dvc.yaml does, with ``overrides`` of the machine."""
    from unrolled.check import read_params

    task, model, seed = cell.split("-")
    for override in overrides:
        if override.partition("=")[0] not in (f"trainer.{name}" for name in FREE):
            raise UserError(
                f"{override} would train another cell than the receipt's; "
                f"valid: steps=N, {', '.join(f'trainer.{name}=...' for name in FREE)}"
            )
    trainer = read_params(root)["trainer"]
    return compose_config([f"task={task}", f"model={model}", f"seed={seed}", f"trainer={trainer}", *overrides], root)


def check_same_inputs(receipt: Mapping[str, Any], config: Config, meta: Mapping[str, Any], code: str) -> None:
    """Refuse to compare what cannot be the same.

    Args:
        receipt: the cell's.
        config: what would be trained now.
        meta: the windows', whose content was checked.
        code: the digest of the code that would train.

    Raises:
        UserError: names each input that is not the receipt's, and says what to do.
    """
    found = {f"data of {name}": sha256 for name, sha256 in meta["raw_sha256"].items()}
    found |= {"windows": meta["digest"], "code": code, "seed": config["seed"]}
    expected = {f"data of {name}": sha256 for name, sha256 in receipt["data"].items()}
    expected |= {key: receipt[key] for key in ("windows", "code", "seed")}
    for section, digest in config_digests(config).items():
        if section != "sha256":
            found[f"{section} in conf"], expected[f"{section} in conf"] = digest, receipt["config"].get(section)
    others = [
        f"{name} ({str(found.get(name))[:12]}, not {str(expected.get(name))[:12]})"
        for name in dict.fromkeys([*expected, *found])
        if found.get(name) != expected.get(name)
    ]
    if others:
        cell = receipt["cell"]
        raise UserError(
            f"{cell} cannot be verified, because what goes in is not what its receipt tells of: {', '.join(others)}; check "
            f"out the commit of the receipt, or make a receipt of what is here: dvc repro evaluate@{cell}"
        )


class _EnoughError(Exception):
    """As many steps as were asked for are done."""


class _StopAfter(Callback):
    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step >= self.steps:
            raise _EnoughError


def retrain(
    config: Config, windows: WindowSet, scratch: Path, root: Path, steps: int | None = None
) -> tuple[Side, dict[str, Any]]:
    """Train into ``scratch`` with the stage's own functions; return the run and its scores.

    With ``steps``, training ends after so many: the run then only has a curve and the machine, and there are no scores.
    """
    training.prepare_machine(config["trainer"]["threads"], config["seed"])
    model = models.build(config, windows.meta)
    asked = asked_of(config, windows.meta["digest"], train.code_of(config))
    identity, folder = identity_of(asked), scratch / "model"
    trainer, learner, data = training.assemble(config, windows, model, scratch / identity)
    # Nothing to go on from: what is stopped here is gone.
    callbacks = [part for part in trainer.callbacks if not isinstance(part, SaveAndStop)]  # type: ignore[attr-defined]
    trainer.callbacks = callbacks if steps is None else [*callbacks, _StopAfter(steps)]  # type: ignore[attr-defined]
    facts = training.machine_facts(trainer) | {"code": asked["code"], "lock": train.lock_digest(root)}
    folder.mkdir()
    try:
        learned = training.fit(trainer, learner, data, scratch / identity)
    except _EnoughError:
        train.write_steps(folder / "steps.csv", learner.curve())
        curve = curve_digests((folder / "steps.csv").read_bytes())
        return Side("again", {"machine": {key: facts[key] for key in MACHINE}, "curve": curve}, folder), {}
    train.write_model_folder(folder, config, windows.meta, identity, model, learned, facts)
    meta, tables = predict_run(folder, windows, ("validation", "test"))
    season = config["judge"]["season"]
    return Side("again", receipt_of(folder, tables), folder), flat_metrics(meta, tables, windows, season)


def verdict(kept: Side, again: Side, scores: Sequence[Gap]) -> Verdict:
    """Return what a whole training gives beside its receipt.

    Args:
        kept: the receipt.
        again: the training.
        scores: how far the scores are apart.
    """
    cell, excuses = kept.receipt["cell"], _other_machine(kept, again)
    weights, predictions = differing_tensors(kept, again), differing_predictions(kept, again)
    if parting(kept, again) is None and not weights and not predictions:
        steps, tensors = again.receipt["curve"]["steps"], len(again.receipt["weights"]["tensors"])
        line = f"{cell}: bit-equal: {steps:,} steps, {tensors} tensors, all predictions"
        return Verdict("bit-equal", line, excuses)
    losses = (kept.receipt["best_validation_loss"], again.receipt["best_validation_loss"])
    gaps = [*_early_gaps(kept, again, EARLY_STEPS), _relative("best validation loss", *losses), *scores]
    details = [
        curve_line(kept, again),
        f"weights: {', '.join(weights) + ' differ' if weights else 'the same'}",
        f"predictions: {', '.join(predictions) + ' differ' if predictions else 'the same'}",
    ]
    software = [
        f"{key.removeprefix('software.')} {other}, not {one}"
        for key, (one, other) in differing_inputs(kept.receipt, again.receipt).items()
        if key.startswith("software.")
    ]
    return _of_other_bits(cell, details, gaps, excuses, software)


def beginning_verdict(kept: Side, again: Side, steps: int) -> Verdict:
    """Return what the first ``steps`` steps give beside the receipt; weights and predictions are not known then."""
    cell, excuses, last = kept.receipt["cell"], _other_machine(kept, again), common_mark(kept, again, steps)
    if parting(kept, again, steps) is None:
        return Verdict("bit-equal", f"{cell}: bit-equal over the first {last:,} steps", excuses)
    gaps = list(_early_gaps(kept, again, min(steps, EARLY_STEPS)))
    return _of_other_bits(cell, [curve_line(kept, again, steps)], gaps, excuses, [])


def _of_other_bits(
    cell: str, details: list[str], gaps: Sequence[Gap], excuses: list[str], software: list[str]
) -> Verdict:
    told = [f"{g.name}: {g.kept:.6g} -> {g.again:.6g}, {g.apart:.2%} apart, tolerance {g.limit:.1%}" for g in gaps]
    if excuses and all(gap.apart <= gap.limit for gap in gaps):
        line = f"{cell}: equal within tolerance: {', '.join(excuses)}"
        return Verdict("equal within tolerance", line, [*details, *told, *software])
    why = [f"{gap.name} is out of tolerance" for gap in gaps if gap.apart > gap.limit] if excuses else []
    line = f"{cell}: differs: {'; '.join([details[0], *why])}"
    return Verdict("differs", line, [*details[1:], *told, *excuses, *software])


def _other_machine(kept: Side, again: Side) -> list[str]:
    """Return in words what of the machine is not as it was, which excuses other bits."""
    one, other = kept.receipt["machine"], again.receipt["machine"]
    return [f"{key} {other[key]}, not {one[key]}" for key in MACHINE if one[key] != other[key]]


def _early_gaps(kept: Side, again: Side, until: int) -> Iterator[Gap]:
    """Yield the gap of the step, up to ``until``, at which the losses of two curves are farthest apart."""
    one, other = (side.receipt["curve"]["losses"] for side in (kept, again))
    gaps = [
        _relative(f"loss at step {step}", one[step], other[step], EARLY_TOLERANCE)
        for step in one
        if step in other and int(step) <= until
    ]
    if gaps:
        yield max(gaps, key=lambda gap: gap.apart)


def _gaps(primary: str, kept: Mapping[str, Any], again: Mapping[str, Any]) -> list[Gap]:
    names = [name for name in (primary, f"validation_{primary}") if name in kept]
    if primary == "accuracy":
        return [Gap(name, kept[name], again[name], abs(again[name] - kept[name]), ACCURACY_TOLERANCE) for name in names]
    return [_relative(name, kept[name], again[name]) for name in names]


def _relative(name: str, kept: float, again: float, limit: float = TOLERANCE) -> Gap:
    return Gap(name, kept, again, abs(again - kept) / abs(kept) if kept else float(again != kept), limit)
