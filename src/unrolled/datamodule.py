"""A LightningDataModule over a window set: a batch is an index into tensors, never a collation of samples."""

from collections.abc import Iterator
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import BatchSampler, DataLoader, Sampler

from unrolled.batch import Batch
from unrolled.batches import ExampleWindows, SeriesWindows, TextStreams, windows_of
from unrolled.windowset import WindowSet

VALIDATION_STREAMS = 32
PIECE = 8192


class EpochSampler(Sampler[int]):
    """The items of one epoch: an order that is a function of (seed, epoch), this process's share of it."""

    def __init__(self, items: int, seed: int | None, rank: int = 0, world: int = 1) -> None:
        """Args: ``seed`` None keeps the stored order; every process gets equally many items.

        Attributes:
            skip: items that the next epoch leaves out at its start, which a resumed run has had already.
        """
        self.items, self.seed, self.rank, self.world = items, seed, rank, world
        self.epoch = self.skip = 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this at the start of each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.items // self.world

    def __iter__(self) -> Iterator[int]:
        share = slice(self.rank + self.skip * self.world, len(self) * self.world, self.world)
        self.skip = 0
        if self.seed is None:
            yield from range(self.items)[share]
            return
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        # Four bytes an item and a piece at a time: for a long series, a list of Python's numbers would be many times it.
        order = torch.randperm(self.items, generator=generator, dtype=torch.int32)[share]
        for piece in torch.split(order, PIECE):
            yield from piece.tolist()


class WindowData(pl.LightningDataModule):
    """Training and validation batches of one window set."""

    def __init__(self, windows: WindowSet, *, batch_size: int, every_step: bool, seed: int) -> None:
        """Args: ``every_step``: the head is trained on every step of a window, not only on the last.

        Attributes:
            skip: batches that the first epoch leaves out at its start, which a resumed run has had already.
        """
        super().__init__()
        self.skip = 0
        self.windows, self.batch_size, self.every_step, self.seed = windows, batch_size, every_step, seed

    def train_dataloader(self) -> DataLoader[Any]:
        """Return one epoch of shuffled windows or, for text, of contiguous chunks of all streams in order."""
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        if self.windows.meta["kind"] == "text":
            train = TextStreams(self.windows, "train", streams=self.batch_size * world, warm_up=0)
            return _in_order(train.share(rank, world), self.skip)
        dataset = windows_of(self.windows, "train", self.every_step)
        sampler = EpochSampler(len(dataset), self.seed, rank, world)
        sampler.skip = self.skip * self.batch_size
        return _batches(dataset, sampler, self.batch_size)

    def val_dataloader(self) -> DataLoader[Any]:
        """Return the validation part, in order."""
        if self.windows.meta["kind"] == "text":
            return _in_order(TextStreams(self.windows, "validation", streams=VALIDATION_STREAMS))
        dataset = windows_of(self.windows, "validation", self.every_step)
        return _batches(dataset, EpochSampler(len(dataset), None), max(self.batch_size, 256))


def _batches(dataset: SeriesWindows | ExampleWindows, sampler: EpochSampler, batch_size: int) -> DataLoader[Any]:
    return DataLoader(
        dataset,
        batch_sampler=BatchSampler(sampler, batch_size, drop_last=False),
        collate_fn=_for_training,  # type: ignore[arg-type]
    )


def _in_order(streams: TextStreams, skip: int = 0) -> DataLoader[Any]:
    chunks = EpochSampler(len(streams), None)
    chunks.skip = skip
    return DataLoader(streams, batch_size=None, sampler=chunks, collate_fn=_for_training)  # type: ignore[arg-type]


def _for_training(batch: Batch) -> Batch:
    """Leave the float64 anchors behind: the loss needs none, and MPS has no float64."""
    return batch._replace(anchor=None)
