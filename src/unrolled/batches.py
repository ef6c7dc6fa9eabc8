"""Cut batches out of a window set: the place where a leak would happen, so it is small and torch is all it needs."""

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Dataset

from unrolled import transform
from unrolled.batch import Batch
from unrolled.windowset import SplitName, WindowSet

WARM_UP = 1024  # characters before a stream that set the state and are not scored


class SeriesWindows(Dataset[Batch]):
    """The windows of one split of a series.

    A window whose first target is row t sees rows t - context .. t - 1. All rows of its horizon lie in the split; its
    context may look back over the border. What is known ahead (a calendar) is an offset: the step whose last value is that
    of row r sees the known columns of its own targets, rows r + 1 .. r + horizon.
    """

    def __init__(self, windows: WindowSet, split: SplitName, every_step: bool) -> None:
        """Args: ``every_step``: give a target for every step; only training scores the earlier ones."""
        meta, series = windows.meta, windows.arrays["series"]
        low, high = windows.split(split)
        context, horizon = meta["context"], meta["horizon"]
        self.origins = range(low, high - horizon + 1)
        features = torch.from_numpy(transform.features(meta["transform"], series))
        # (rows - context + 1, features, context), a view: item i holds rows i .. i + context - 1.
        self.inputs = features.unfold(0, context, 1)
        self.params, self.context, self.horizon = meta["transform"], context, horizon
        # (rows, columns, horizon, context), a view: item i holds what is known of the targets of the steps whose own row
        # comes one earlier.
        known = windows.arrays.get("known")
        self.known = None if known is None else torch.from_numpy(known).unfold(0, horizon, 1).unfold(0, context, 1)
        self.first_step = 0 if every_step else context - 1
        scored = self.first_step if split == "train" else context - 1
        self.scored = (torch.arange(self.first_step, context) >= scored)[None, :, None]
        # (rows, steps + horizon), views too: from what the first step knows last to the last step's last target. Without an
        # anchor a target is its own row's feature: half of the bytes, and nothing to compute for a long context.
        reach = context - self.first_step + horizon
        self.raw = torch.from_numpy(series[:, 0]).unfold(0, reach, 1)
        self.ready = None if transform.is_anchored(self.params) else features[:, 0].unfold(0, reach, 1)

    def __len__(self) -> int:
        return len(self.origins)

    def __getitems__(self, items: Sequence[int]) -> Batch:
        """Return the windows ``items`` as one batch."""
        origin = torch.tensor(items, dtype=torch.int64) + self.origins.start
        start = origin - self.context
        inputs = self.inputs[start].transpose(1, 2)  # (batch, context, features)
        if self.known is not None:
            ahead = self.known[start + 1].permute(0, 3, 1, 2).flatten(2)  # (batch, context, columns x horizon)
            inputs = torch.cat([inputs, ahead], dim=2)
        first = start + self.first_step
        anchor = self.raw[first, -self.horizon - 1][:, None]  # (batch, 1)
        if self.ready is not None:
            target = self.ready[first][:, 1:].unfold(1, self.horizon, 1)  # (batch, steps, horizon)
        else:
            known = self.raw[first]
            values = known[:, 1:].unfold(1, self.horizon, 1)
            target = transform.target(self.params, values, known[:, : -self.horizon, None]).to(torch.float32)
        return Batch(inputs, target, self.scored.expand(target.shape), anchor=anchor, origin=origin)


class ExampleWindows(Dataset[Batch]):
    """The examples of one split."""

    def __init__(self, windows: WindowSet, split: SplitName) -> None:
        self.low, self.high = windows.split(split)
        self.inputs = torch.from_numpy(windows.arrays["inputs"])
        self.targets = torch.from_numpy(windows.arrays["targets"])
        self.mean, self.scale = windows.meta["scaler"]["mean"], windows.meta["scaler"]["scale"]

    def __len__(self) -> int:
        return self.high - self.low

    def __getitems__(self, items: Sequence[int]) -> Batch:
        """Return the examples ``items`` as one batch."""
        rows = torch.tensor(items, dtype=torch.int64) + self.low
        inputs = (self.inputs[rows].to(torch.float32) - self.mean) / self.scale
        return Batch(inputs, self.targets[rows].to(torch.int64), origin=rows)


class TextStreams(Dataset[Batch]):
    """One split of a text as contiguous streams side by side; item k is chunk k of every stream.

    The state is carried from chunk to chunk and starts afresh at chunk 0. Every character of the split is scored
    exactly once, the very first of a text excepted, which has nothing before it: each stream is preceded by
    ``warm_up`` characters that only set its state.
    """

    def __init__(
        self, windows: WindowSet, split: SplitName, streams: int, warm_up: int = WARM_UP, chunk: int | None = None
    ) -> None:
        low, high = windows.split(split)
        low = max(low, 1)
        self.tokens = torch.from_numpy(windows.arrays["tokens"])
        self.chunk = chunk or windows.meta["context"]
        self.low, self.high = low, high
        streams = min(streams, high - low)
        self.length = -(-(high - low) // streams)
        self.warm_up = min(warm_up, low - 1)
        self.first = low + self.length * torch.arange(streams)[:, None]  # (streams, 1) first scored character

    def share(self, rank: int, world: int) -> "TextStreams":
        """Keep every ``world``-th stream, from ``rank`` on: one process's part."""
        self.first = self.first[rank::world]
        return self

    def __len__(self) -> int:
        return -(-(self.warm_up + self.length) // self.chunk)

    def __getitem__(self, item: int) -> Batch:
        """Return chunk ``item`` of every stream; what lies beyond a stream's end or before its start is masked."""
        begin = item * self.chunk
        end = min(begin + self.chunk, self.warm_up + self.length)
        step = torch.arange(begin, end) - self.warm_up
        position = self.first + step  # (streams, chunk) of the character to foretell
        scored = (step >= 0) & (position < self.high)
        position = position.clamp(max=self.high - 1)
        target = self.tokens[position].to(torch.int64)
        return Batch(self.tokens[position - 1].to(torch.int64), target, scored, origin=position)


def windows_of(windows: WindowSet, split: SplitName, every_step: bool) -> SeriesWindows | ExampleWindows:
    """Return the split of a series or of examples."""
    if windows.meta["kind"] == "series":
        return SeriesWindows(windows, split, every_step)
    return ExampleWindows(windows, split)


def in_order(dataset: SeriesWindows | ExampleWindows, batch_size: int) -> Iterator[Batch]:
    """Yield all of ``dataset`` once, in order."""
    for begin in range(0, len(dataset), batch_size):
        yield dataset.__getitems__(range(begin, min(begin + batch_size, len(dataset))))
