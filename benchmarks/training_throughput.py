"""Our training, as a user runs it, against a bare PyTorch loop over batches that lie ready in memory.

Both train the same network on the same batches with the same optimizer, schedule, clipping, precision and one thread, and
compute the validation loss after every epoch. Ours also does all else that `unrolled train` does: batches cut out of the
stored series, Lightning, a progress bar, the learning curve, checkpoints, live tracking in a local MLflow store. What both
compute is the same, which is checked: their validation losses agree.
"""

import contextlib
import io
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytorch_lightning as pl
import torch
from measuring import Figure, Section, progress, ratios, take_turns
from taskdata import config_of, sources, windows_of_task

from unrolled import training
from unrolled.batch import Batch
from unrolled.config import Config
from unrolled.datamodule import WindowData
from unrolled.learners.supervised import detached, rate_factor
from unrolled.model import SequenceModel, build
from unrolled.runrecord import RunRecord
from unrolled.sidecar import collect_facts
from unrolled.tracking import open_run
from unrolled.training import make_trainer
from unrolled.windowset import WindowSet

SLOW_STEP = 0.020  # seconds: from there on the Python around a step may cost 5 %, below it 10 %


@dataclass(frozen=True)
class Case:
    """A cell and how long one measurement of it trains."""

    task: str
    model: str
    batch: int
    epochs: int
    steps: int | None = None  # of an epoch, in a quick trial; None: whole epochs, as users train

    @property
    def name(self) -> str:
        """As the tables show it."""
        return f"{self.task} {self.model}, batch {self.batch}"


CASES = (
    Case("energy", "rnn", 32, 6),
    Case("energy", "rnn", 64, 8),
    Case("energy", "gru", 32, 4),
    Case("energy", "gru", 64, 6),
    Case("bitcoin", "cnn_lstm", 128, 10),
    Case("mnist", "lstm", 128, 1),
    Case("shakespeare", "gru", 32, 1),
)


def measure(quick: bool) -> Section:
    """Measure every case."""
    about = (
        "Examples per second of whole epochs, ours over bare: on both sides the steps and the validation loss, on ours also all "
        "that `unrolled train` adds, tracking included. Targets: 0.95 at steps of 20 ms and more, else 0.90."
    )
    section = Section("Training against a bare loop", about, notes=sources(*sorted({case.task for case in CASES})))
    training.prepare_machine(1, 0)
    with TemporaryDirectory() as scratch:
        for case in CASES:
            if quick:
                case = replace(case, epochs=min(case.epochs, 3), steps=40 if case.epochs == 1 else None)
            progress(f"training {case.name}")
            section.figures += _figures(case, 2 if quick else 5, Path(scratch))
    return section


def _figures(case: Case, repeats: int, scratch: Path) -> list[Figure]:
    limits = (
        [] if case.steps is None else [f"trainer.limit_train_batches={case.steps}", f"trainer.limit_val_batches={2}"]
    )
    config = config_of(
        case.task, case.model, f"training.batch_size={case.batch}", f"training.epochs={case.epochs}", *limits
    )
    windows = windows_of_task(case.task)
    lie_ready = _batches(config, windows, case)
    steps = case.epochs * len(lie_ready[0][0])
    losses: dict[str, float] = {}

    def ours() -> float:
        taken, losses["ours"] = _ours(config, windows, scratch)
        return taken

    def bare() -> float:
        taken, losses["bare"] = _bare(config, windows, *lie_ready)
        return taken

    taken = take_turns({"ours": ours, "bare": bare}, repeats)
    # Dropout draws other numbers on each side; without it the two trainings are the same computation.
    if config["encoder"]["output_dropout"] == 0 and not math.isclose(losses["ours"], losses["bare"], rel_tol=1e-5):
        raise RuntimeError(f"{case.name}: the two trainings differ, their validation losses are {losses}")
    step = sorted(taken["bare"])[repeats // 2] / steps
    target = 0.95 if step >= SLOW_STEP else 0.90
    return [
        Figure(f"{case.name}: ours / bare", "", ratios(taken["bare"], taken["ours"]), target),
        Figure(f"{case.name}: a step of the bare loop", "ms", tuple(1000 * value / steps for value in taken["bare"])),
    ]


class _Clock(pl.Callback):
    """Notes when training begins and when it has ended, tracking of the last epoch included."""

    began = ended = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.began = time.perf_counter()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.ended = time.perf_counter()


def _ours(config: Config, windows: WindowSet, scratch: Path) -> tuple[float, float]:
    """Train as `unrolled train` does; return seconds from the first step's start to the last epoch's end, and the loss."""
    torch.manual_seed(0)
    facts = collect_facts(scratch, datetime.now(UTC), 0.0, device="cpu", precision="32-true", threads=1)
    record = RunRecord(f"{time.time_ns():064x}", config, windows.meta, facts)
    clock = _Clock()
    with TemporaryDirectory() as resume, contextlib.redirect_stderr(io.StringIO()):
        trainer, learner, data = training.assemble(config, windows, build(config, windows.meta), Path(resume))
        trainer.callbacks.append(clock)  # type: ignore[attr-defined]
        with open_run(scratch, record) as live:
            learner.on_epoch = lambda row: live.log_epoch(
                row["epoch"], {k: v for k, v in row.items() if k not in ("epoch", "step")}
            )
            trainer.fit(learner, data)
    return clock.ended - clock.began, learner.history[-1]["validation_loss"]


Batches = tuple[list[list[Batch]], list[Batch]]


def _batches(config: Config, windows: WindowSet, case: Case) -> Batches:
    """Return every epoch's training batches and those of validation, ready to be used."""
    data = WindowData(windows, batch_size=case.batch, every_step=config["head"]["pool"] == "every", seed=config["seed"])
    loader, train = data.train_dataloader(), []
    for epoch in range(case.epochs):
        if windows.meta["kind"] != "text":
            loader.batch_sampler.sampler.set_epoch(epoch)  # type: ignore[union-attr]
        train.append(list(islice(loader, case.steps)))
    return train, list(islice(data.val_dataloader(), 2 if case.steps else None))


def _bare(
    config: Config, windows: WindowSet, epochs: list[list[Batch]], validation: list[Batch]
) -> tuple[float, float]:
    """Train with a loop of a dozen lines; return seconds and the last validation loss."""
    torch.manual_seed(0)
    model, section = build(config, windows.meta), config["training"]
    optimizer, schedule = _optimizer(model, section, len(epochs) * len(epochs[0]))
    learned = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    streams, mean = windows.meta["kind"] == "text", math.nan
    reduced = make_trainer(config, []).precision == "bf16-mixed"
    began = time.perf_counter()
    for batches in epochs:
        model.train()
        state: Any = None
        for batch in batches:
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=reduced):
                loss, state = model.loss(batch, state if streams else None)
            state = detached(state)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(learned, section["gradient_clip"])
            optimizer.step()
            schedule.step()
        with torch.autocast("cpu", torch.bfloat16, enabled=reduced):
            mean = _validation_loss(model, validation, streams)
    return time.perf_counter() - began, mean


@torch.no_grad()
def _validation_loss(model: SequenceModel, batches: list[Batch], streams: bool) -> float:
    model.eval()
    state: Any = None
    total, count = torch.tensor(0.0), torch.tensor(0)
    for batch in batches:
        loss, state = model.loss(batch, state if streams else None)
        scored = torch.tensor(len(batch.target)) if batch.target_mask is None else batch.target_mask.sum()
        total, count = total + loss * scored, count + scored
    return float(total / count)


def _optimizer(model: SequenceModel, section: dict[str, Any], steps: int) -> tuple[Any, Any]:
    groups = [
        {"params": [p for p in model.parameters() if p.ndim >= 2], "weight_decay": section["weight_decay"]},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=section["learning_rate"], betas=(0.9, section["beta2"]))
    factor: Callable[[int], float] = lambda step: rate_factor(step, steps, section["schedule"], section["warmup_steps"])  # noqa: E731
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
