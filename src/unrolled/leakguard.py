"""Does anything that is to be foretold reach what foretells it? Asked of the code that cuts, scales and learns, by experiment.

The raw data are changed where nothing may look, or their targets shuffled, and all that follows is made again. A guard sees
what happens after the task's ``read``: a column that a file itself took from the future it must take for known.
"""

from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unrolled.batch import Batch
from unrolled.dataset import RawData, Text
from unrolled.errors import UserError
from unrolled.lagone import check_lag_one
from unrolled.leakpipeline import Finding, Pipeline, finding_of, looked_at
from unrolled.perturbation import add_unknown_character, change_rows_after, rows_in
from unrolled.shuffledtargets import check_shuffled_targets, learn
from unrolled.windowset import SplitName, WindowSet

SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")


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
    return finding_of(
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
    yield finding_of("windows", problems, f"earlier rows, splits and what was fitted on training {when}")
    problems = [found for twin in twins for found in moved_batches(twin, pipeline)]
    yield finding_of("batches", problems, f"inputs and targets {when}; no target is in its own context")
    problems = [found for twin in twins for found in moved_outputs(twin, pipeline)]
    yield finding_of("predictions", problems, f"a model's outputs for earlier targets {when}")
    problems = [found for twin in twins if twin.name == "train" for found in moved_weights(twin, pipeline)]
    yield finding_of("weights", problems, f"weights after a few training steps {when}")


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
