"""Does anything that is to be foretold reach what foretells it? Asked of the code that cuts, scales and learns, by experiment.

The raw data are changed where nothing may look, or their targets shuffled, and all that follows is made again. A guard sees
what happens after the task's ``read``: a column that a file itself took from the future it must take for known.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from unrolled.batch import Batch
from unrolled.batches import ExampleWindows, SeriesWindows, TextStreams, windows_of
from unrolled.dataset import RawData, Text
from unrolled.errors import UserError
from unrolled.model import SequenceModel, build
from unrolled.perturbation import add_unknown_character, change_rows_after, rows_in, shuffle_targets
from unrolled.windowset import SplitName, WindowSet

SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")
LARGEST = {"hidden_size": 32, "filters": 32, "embedding_size": 16, "num_layers": 1}  # a leak does not need more
BATCH = 64
LOOKED_AT = {"windows": 256, "chunks": 2}  # so many from the beginning, the end and in between of each part
STEPS, LEARNING_RATE = 200, 0.01
SHUFFLES = 3
NAMED = 4  # problems in a line
BLOCKS = 20
# In 72 shuffles of 13 clean pairs of task and model two gained 7 % by luck, none other 4 %; planted leaks gain 64 to 99 %.
TOLERANCE = 0.05  # share of the constant's loss
ERRORS = 3.0  # standard errors

Cut = SeriesWindows | ExampleWindows | TextStreams
Verdict = Literal["ok", "LEAK", "look at this", "skipped"]


class Finding(NamedTuple):
    """What one check says."""

    check: str
    verdict: Verdict
    told: str


@dataclass(frozen=True)
class Pipeline:
    """The code under suspicion, from raw data to a model.

    Attributes:
        windows: split and cut raw data, as the window stage does.
        cut: give one part's batches.
        model: give an untrained model for windows of this meta data; equal seeds give equal weights.
    """

    windows: Callable[[RawData], WindowSet]
    cut: Callable[[WindowSet, SplitName], Cut]
    model: Callable[[Mapping[str, Any], int], SequenceModel]


def pipeline_of(module: Any, config: Mapping[str, Any]) -> Pipeline:
    """Return the project's own pipeline for the task ``module`` under ``config``, its model made small.

    A forecaster learns by squared error here, under which the best constant is the mean.
    """
    encoder = config["encoder"]
    small = encoder | {key: min(encoder[key], LARGEST[key]) for key in LARGEST if type(encoder.get(key)) is int}
    head = config["head"] | ({"loss": "mse"} if config["head"]["name"] == "forecast" else {})

    def windows(data: RawData) -> WindowSet:
        from unrolled.window import window_raw

        given = SimpleNamespace(
            read=lambda _: data, split=module.split, LICENCE=module.LICENCE, ATTRIBUTION=module.ATTRIBUTION
        )
        return window_raw(given, Path(), dict(config), {"source": "as read", "sha256": {}})

    def cut(windows: WindowSet, split: SplitName) -> Cut:
        if windows.meta["kind"] == "text":
            return TextStreams(windows, split, streams=32, warm_up=0)
        return windows_of(windows, split, config["head"]["pool"] == "every")

    def model(meta: Mapping[str, Any], seed: int) -> SequenceModel:
        torch.manual_seed(config["seed"] + seed)
        return build({**config, "encoder": small, "head": head}, meta)

    return Pipeline(windows, cut, model)


def check_all(data: RawData, pipeline: Pipeline, predictions: Path) -> Iterator[Finding]:
    """Yield what each check finds, the quick ones first.

    Args:
        data: what the task's reader returned.
        pipeline: the code to check.
        predictions: folder with one folder per trained cell, or none.
    """
    windows = pipeline.windows(data)
    yield check_split(windows, pipeline)
    yield from check_future(data, windows, pipeline)
    yield check_shuffled_targets(data, windows, pipeline)
    yield check_lag_one(windows.meta["kind"], predictions)


# What raw row stands behind what of a batch.


class Rows(NamedTuple):
    """Raw rows behind a batch: (batch, time) and (batch, steps), or (batch,) for examples."""

    inputs: Tensor
    first_targets: Tensor
    last_targets: Tensor


def rows_behind(batch: Batch, meta: Mapping[str, Any]) -> Rows:
    """Return which raw rows ``batch`` says it is made of."""
    assert batch.origin is not None
    if meta["kind"] == "examples":
        return Rows(batch.origin, batch.origin, batch.origin)
    if meta["kind"] == "text":
        return Rows(batch.origin - 1, batch.origin, batch.origin)
    origin, steps, context = batch.origin[:, None], batch.target.shape[1], batch.inputs.shape[1]
    first = origin + torch.arange(1 - steps, 1)
    return Rows(origin + torch.arange(-context, 0), first, first + meta["horizon"] - 1)


def looked_at(cut: Cut) -> Iterator[Batch]:
    """Yield batches from the beginning, the end, where borders are, and the middle of a part."""
    if isinstance(cut, TextStreams):
        yield from (cut[item] for item in _spread(len(cut), LOOKED_AT["chunks"]))
        return
    items = _spread(len(cut), LOOKED_AT["windows"])
    for begin in range(0, len(items), BATCH):
        yield cut.__getitems__(items[begin : begin + BATCH])


def _spread(length: int, size: int) -> list[int]:
    size = min(size, length)
    between = np.linspace(0, length - 1, size).astype(int).tolist()
    return sorted({*range(size), *between, *range(length - size, length)})


def _finding(check: str, problems: Sequence[str], fine: str) -> Finding:
    if not problems:
        return Finding(check, "ok", fine)
    told = list(dict.fromkeys(problems))
    return Finding(check, "LEAK", "; ".join(told[:NAMED]) + (f"; and {len(told) - NAMED} more" if told[NAMED:] else ""))


# The split.


def check_split(windows: WindowSet, pipeline: Pipeline) -> Finding:
    """Check that parts are apart, a series' in order, and that no scored target or training context leaves its part.

    Raises:
        UserError: a part is missing or empty.
    """
    made = windows.meta["splits"]
    lacking = [split for split in SPLITS if split not in made or made[split][0] >= made[split][1]]
    if lacking:
        raise UserError(
            f"the task's split gives {made}, but {', '.join(lacking)} must be there and not empty; return a half-open range "
            "of rows for each of train, validation and test"
        )
    parts = {split: windows.split(split) for split in SPLITS}
    problems = [
        f"{one} (rows {parts[one][0]} to {parts[one][1]}) and {other} ({parts[other][0]} to {parts[other][1]}) overlap"
        for one, other in combinations(SPLITS, 2)
        if max(parts[one][0], parts[other][0]) < min(parts[one][1], parts[other][1])
    ]
    if windows.meta["kind"] == "series" and [*SPLITS] != sorted(SPLITS, key=lambda split: parts[split][0]):
        problems.append("a later part of the series lies before an earlier one")
    for split in SPLITS:
        for batch in looked_at(pipeline.cut(windows, split)):
            problems += _strays(split, batch, windows.meta, parts)
    return _finding(
        "split", problems, "the parts lie apart, no target leaves its part, training contexts end within training"
    )


def _strays(
    split: SplitName, batch: Batch, meta: Mapping[str, Any], parts: Mapping[SplitName, tuple[int, int]]
) -> Iterator[str]:
    rows, (_, high) = rows_behind(batch, meta), parts[split]
    scored = torch.ones_like(rows.first_targets, dtype=torch.bool)
    if batch.target_mask is not None:
        scored = batch.target_mask.reshape(*scored.shape, -1).any(dim=-1)
    for row in (rows.first_targets[scored], rows.last_targets[scored]):
        if len(row) and row.max() >= high:
            yield f"a target of {split} is row {int(row.max())}, after its end {high}"
        for other, (begin, end) in parts.items():
            if other != split and ((row >= begin) & (row < end)).any():
                yield f"a target of {split} lies in {other}"
    if split == "train" and rows.inputs.max() >= high:
        yield f"a training context reaches row {int(rows.inputs.max())}, after the end {high} of training"


# The future.


class Twin(NamedTuple):
    """The windows of the data as they are and with the raw rows from ``end`` on changed; ``name`` is the part that ends."""

    before: WindowSet
    after: WindowSet
    end: int
    name: str


def check_future(data: RawData, windows: WindowSet, pipeline: Pipeline) -> Iterator[Finding]:
    """Change all rows after the end of training, then of validation, and yield whether anything before has moved.

    Looked at, byte by byte: the windows (arrays, fitted state), the batches (inputs, targets, anchors), an untrained
    model's outputs, and what a few steps on the training part, without any validation, make of its weights.
    """
    twins, train = [], windows.split("train")
    ends: tuple[SplitName, ...] = ("train", "validation")
    for name in ends:
        end = windows.split(name)[1]
        if end < rows_in(data):
            twins.append(Twin(windows, pipeline.windows(change_rows_after(data, end, train)), end, name))
    when = "stay byte for byte when every later row is changed"
    problems = [found for twin in twins for found in moved_windows(twin)]
    if isinstance(data, Text):
        problems += foreign_characters(data, windows, pipeline)
    yield _finding("windows", problems, f"earlier rows, splits and what was fitted on training {when}")
    problems = [found for twin in twins for found in moved_batches(twin, pipeline)]
    yield _finding("batches", problems, f"inputs and targets {when}; no target is in its own context")
    problems = [found for twin in twins for found in moved_outputs(twin, pipeline)]
    yield _finding("predictions", problems, f"a model's outputs for earlier targets {when}")
    problems = [found for twin in twins if twin.name == "train" for found in moved_weights(twin, pipeline)]
    yield _finding("weights", problems, f"weights after a few training steps {when}")


def moved_windows(twin: Twin) -> Iterator[str]:
    """Yield what of the meta data and of the earlier rows is not the same."""
    before, after = twin.before, twin.after
    for key in before.meta:
        if key != "digest" and before.meta[key] != after.meta[key]:
            yield f"{key} depends on rows after {twin.name}"
    for name, array in before.arrays.items():
        if array[: twin.end].tobytes() != after.arrays[name][: twin.end].tobytes():
            yield f"earlier {name} depend on rows after {twin.name}"


def foreign_characters(data: Text, windows: WindowSet, pipeline: Pipeline) -> Iterator[str]:
    """Yield the vocabulary if it takes in a character that only the end of the text has; refusing the text is right."""
    if windows.split("train")[1] == rows_in(data):
        return
    try:
        after = pipeline.windows(add_unknown_character(data))
    except UserError:
        return
    if after.meta["vocabulary"] != windows.meta["vocabulary"]:
        yield "vocabulary has characters that training lacks"


def moved_batches(twin: Twin, pipeline: Pipeline) -> Iterator[str]:
    """Yield which inputs, anchors and targets made of earlier rows are not the same, and which target should not be."""
    for split, ours, theirs in _pairs(twin, pipeline):
        rows = rows_behind(ours, twin.before.meta)
        known, settled = rows.inputs < twin.end, rows.last_targets < twin.end
        if not _same(ours.inputs, theirs.inputs, known):
            yield f"inputs of {split} depend on rows after {twin.name}"
        if not _same(ours.target, theirs.target, settled):
            yield f"targets of {split} depend on rows after {twin.name}"
        if not _same(ours.anchor, theirs.anchor, rows.first_targets[..., -1:] <= twin.end):
            yield f"anchors of {split} depend on rows after {twin.name}"
        # The first changed row: all that its inputs know is as it was, so a target that stays is made of its inputs.
        if twin.before.meta["kind"] == "examples" or ours.target.shape != theirs.target.shape:
            continue
        first = rows.first_targets == twin.end
        if (ours.target[first] == theirs.target[first]).any():
            yield f"a target of {split} is inside its own context"


def moved_outputs(twin: Twin, pipeline: Pipeline) -> Iterator[str]:
    """Yield where a model that has read no changed row yet says something else."""
    model, other = (pipeline.model(windows.meta, 0).eval() for windows in (twin.before, twin.after))
    for split, ours, theirs in _pairs(twin, pipeline):
        with torch.inference_mode():
            said, says = model(ours.inputs)[0], other(theirs.inputs)[0]
        read = rows_behind(ours, twin.before.meta).inputs
        read = read[:, -said.shape[1] :] if read.ndim == 2 else read  # the last row that each output has read
        if not _same(said, says, read < twin.end):
            yield f"outputs in {split} depend on rows after {twin.name}"


def moved_weights(twin: Twin, pipeline: Pipeline) -> Iterator[str]:
    """Yield which weights a few training steps leave different."""
    model, other = (pipeline.model(windows.meta, 0) for windows in (twin.before, twin.after))
    for learner, windows in ((model, twin.before), (other, twin.after)):
        learn(learner, list(looked_at(pipeline.cut(windows, "train"))))
    theirs = other.state_dict()
    for name, tensor in model.state_dict().items():
        if not _same(tensor, theirs[name]):
            yield f"{name} depends on rows after {twin.name}"


def _pairs(twin: Twin, pipeline: Pipeline) -> Iterator[tuple[SplitName, Batch, Batch]]:
    for split in SPLITS:
        cuts = (pipeline.cut(windows, split) for windows in (twin.before, twin.after))
        # A split that has moved has other batches, not as many; that it moved is told elsewhere.
        for ours, theirs in zip(*map(looked_at, cuts), strict=False):
            yield split, ours, theirs


def _same(ours: Tensor | None, theirs: Tensor | None, where: Tensor | None = None) -> bool:
    """Compare bytes, not numbers: zeros differ by sign, and two that are no numbers are the same."""
    if ours is None or theirs is None or ours.shape != theirs.shape:
        return ours is theirs
    ours, theirs = (ours, theirs) if where is None else (ours[where], theirs[where])
    return ours.numpy().tobytes() == theirs.numpy().tobytes()


# Shuffled targets.


def check_shuffled_targets(data: RawData, windows: WindowSet, pipeline: Pipeline) -> Finding:
    """Train on shuffled targets and compare with always saying the training mean, on the validation part as it is.

    Nothing can be learned then, unless the inputs hold the target. The loss is squared error in the transformed
    target's space, or nats against the training frequencies. By luck a model can be better than the mean where
    validation has moved away from training, as a price does; so it has to be better by more than ``TOLERANCE`` and
    ``ERRORS`` standard errors with each of ``SHUFFLES`` shuffles and first weights before it is called a
    leak.
    """
    returns = windows.meta.get("transform", {}).get("name") == "log_return"
    low, high = windows.split("train")
    if windows.meta["kind"] == "series":
        low = max(low - windows.meta["context"], 0)
    told = ""
    for seed in range(SHUFFLES):
        shuffled = pipeline.windows(shuffle_targets(data, (low, high), seed, returns))
        model = pipeline.model(shuffled.meta, seed)
        batches = _drawn(pipeline.cut(shuffled, "train"), seed)
        learn(model, batches)
        loss, constant, name = score(model, batches, list(looked_at(pipeline.cut(shuffled, "validation"))))
        told = (
            f"trained on them, validation loss {loss.mean():.4f}; {name}: {constant.mean():.4f} "
            f"(a gain of {gain(loss, constant):+.1%}; over {TOLERANCE:.0%} is suspect)"
        )
        if not beats(loss, constant):
            return Finding("shuffled targets", "ok", told)
    return Finding("shuffled targets", "LEAK", f"in each of {SHUFFLES} shuffles, the last one here: {told}")


def learn(model: SequenceModel, batches: Sequence[Batch]) -> None:
    """Train on ``batches``, once each: a bare loop, in which it is plain that nothing else is looked at.

    The Trainer of the stage would choose an epoch on validation, write checkpoints, and take longer to start than
    this takes to end.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / len(batches))
    model.train()
    for step, batch in enumerate(batches):
        torch.manual_seed(step)  # dropout
        loss, _ = model.loss(batch)  # streams start anew with every chunk
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()


def score(
    model: SequenceModel, train: Sequence[Batch], validation: Sequence[Batch]
) -> tuple[NDArray[np.float64], NDArray[np.float64], str]:
    """Return the loss of each scored validation target, the model's and a constant's, and what the constant is.

    The constant is the mean (the frequencies) of the training targets or, if that is better, the model's own mean
    answer: a constant has seen no target, however well it happens to fit.
    """
    model.eval()
    with torch.inference_mode():
        outputs = [model(batch.inputs)[0] for batch in validation]
    answers = torch.cat([_answers(said, batch) for said, batch in zip(outputs, validation, strict=True)])
    seen, asked = (torch.cat([_targets(batch) for batch in part]) for part in (train, validation))
    if seen.is_floating_point():
        constants = {"the training mean": seen.mean(dim=0), "its own mean": answers.mean(dim=0)}
    else:
        counts = torch.bincount(seen, minlength=answers.shape[1]) + 1.0
        own = answers.softmax(dim=1).mean(dim=0)
        constants = {"the training frequencies": (counts / counts.sum()).log(), "its own mean": own.log()}
    losses = {name: _losses(constant.expand_as(answers), asked) for name, constant in constants.items()}
    best = min(losses, key=lambda name: float(losses[name].mean()))
    return _losses(answers, asked), losses[best], best


def gain(loss: NDArray[np.float64], constant: NDArray[np.float64]) -> float:
    """Return the share of the constant's loss that the model saves."""
    return float(1 - loss.mean() / constant.mean())


def beats(loss: NDArray[np.float64], constant: NDArray[np.float64]) -> bool:
    """Tell whether the model is better by more than the tolerance and than standard errors of blocks of neighbours."""
    blocks = [block.mean() for block in np.array_split(constant - loss, min(BLOCKS, len(loss)))]
    error = np.std(blocks, ddof=1) / np.sqrt(len(blocks)) if len(blocks) > 1 else 0.0
    return bool(gain(loss, constant) > TOLERANCE and np.mean(blocks) > ERRORS * error)


def _drawn(cut: Cut, seed: int) -> list[Batch]:
    if isinstance(cut, TextStreams):
        return [cut[step % len(cut)] for step in range(STEPS)]
    draw = np.random.default_rng(seed)
    return [cut.__getitems__(draw.integers(len(cut), size=BATCH).tolist()) for _ in range(STEPS)]


def _targets(batch: Batch) -> Tensor:
    """Return the scored targets: (targets, horizon), or (targets,) of classes."""
    if batch.target_mask is None:
        return batch.target
    if batch.target.is_floating_point():
        return batch.target[batch.target_mask[:, :, 0]]
    return batch.target[batch.target_mask]


def _answers(outputs: Tensor, batch: Batch) -> Tensor:
    """Return what the model says of the scored targets: (targets, horizon or classes)."""
    if batch.target_mask is None:
        return outputs
    mask = batch.target_mask if batch.target_mask.ndim == 2 else batch.target_mask[:, :, 0]
    return outputs[:, -mask.shape[1] :][mask]


def _losses(answers: Tensor, targets: Tensor) -> NDArray[np.float64]:
    if targets.is_floating_point():
        return (answers - targets).square().mean(dim=1).numpy().astype(np.float64)
    return F.cross_entropy(answers, targets, reduction="none").numpy().astype(np.float64)


# Lag one.


def check_lag_one(kind: str, predictions: Path) -> Finding:
    """Tell a person which trained cells' predicted changes resemble the change before more than the one foretold.

    Such a forecaster copies yesterday's change. That can be right where changes go on; it is no leak. Looked at are
    the one-step forecasts of the test part.
    """
    from unrolled.predictiontable import read_table

    if kind != "series":
        return Finding("lag one", "skipped", "only a forecast has a change before it")
    files = sorted(predictions.glob("*/test.parquet"))
    if not files:
        return Finding("lag one", "skipped", f"there are no predictions in {predictions}; make them with: dvc repro")
    echoes = []
    for path in files:
        table = read_table(path)
        table = table[table["step"] == 1]
        anchor = table["anchor"].to_numpy()
        lags = lagged(table["predicted"].to_numpy() - anchor, table["actual"].to_numpy() - anchor)
        if is_echo(lags, len(table)):
            told = ", ".join(f"{value:.2f} at lag {lag}" for lag, value in enumerate(lags))
            echoes.append(f"{path.parent.name} correlates {told}")
    if echoes:
        return Finding("lag one", "look at this", f"predicted changes resemble yesterday's: {'; '.join(echoes)}")
    return Finding("lag one", "ok", f"no predicted changes of {len(files)} cells resemble yesterday's most")


def lagged(predicted: NDArray[np.float64], actual: NDArray[np.float64], lags: int = 3) -> list[float]:
    """Return the correlation of predicted changes with the true ones 0, 1, ... rows before; 0 where nothing changes."""
    found = []
    for lag in range(lags):
        ours, theirs = predicted[lags - 1 :], actual[lags - 1 - lag : len(actual) - lag]
        constant = min(np.ptp(ours), np.ptp(theirs)) <= 1e-9 * np.ptp(actual)  # persistence, but for rounding
        found.append(0.0 if constant else float(np.corrcoef(ours, theirs)[0, 1]))
    return found


def is_echo(lags: Sequence[float], rows: int) -> bool:
    """Tell whether lag one is the best and more than chance gives white noise: two standard errors."""
    return bool(max(lags) == lags[1] > 2 / np.sqrt(rows))
