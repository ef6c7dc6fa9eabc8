"""Small raw data of the three kinds, their pipelines, and pipelines into which a leak was put on purpose."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from unrolled import transform
from unrolled.batch import Batch
from unrolled.batches import SeriesWindows, TextStreams
from unrolled.dataset import Examples, RawData, Series, Text
from unrolled.heads import ForecastHead, LanguageHead, Pool
from unrolled.leakpipeline import Pipeline, pipeline_of
from unrolled.windowset import WindowSet

ROWS, CONTEXT = 700, 6
HEADS = {
    "series": {"name": "forecast", "pool": "last", "loss": "l1", "skip": 0},
    "examples": {"name": "classify", "pool": "last", "loss": "cross_entropy", "skip": 0},
    "text": {"name": "language", "pool": "every", "loss": "cross_entropy", "skip": 0},
}


def raw(kind: str) -> RawData:
    """Data with something to learn: a week with noise, two classes of brightness, words."""
    rng = np.random.default_rng(5)
    if kind == "series":
        days = 50 + 10 * np.sin(2 * np.pi * np.arange(ROWS) / 7) + rng.normal(0, 2, ROWS)
        return Series(days[:, None], ("load",), date(2020, 1, 1), "GWh")
    if kind == "examples":
        targets = rng.integers(0, 3, ROWS).astype(np.uint8)
        inputs = rng.integers(0, 60, (ROWS, CONTEXT, 4)) + 60 * targets[:, None, None]
        return Examples(inputs.astype(np.uint8), targets, 3, official_train=600)
    return Text("".join(rng.choice(["the sea ", "a ship ", "her song "], 800)))


def pipeline(kind: str, name: str = "level", pool: str | None = None, horizon: int = 1) -> Pipeline:
    """The project's own pipeline over such data: train to 4/7, validation to 5.5/7, then test."""

    def split(data: RawData) -> dict[str, tuple[int, int]]:
        rows = len(data.text) if isinstance(data, Text) else ROWS
        first, second = rows * 4 // 7, rows * 11 // 14
        return {"train": (0, first), "validation": (first, second), "test": (second, rows)}

    task = SimpleNamespace(split=split, LICENCE="none", ATTRIBUTION="made for a test")
    dropout = {"input_dropout": 0.0, "dropout": 0.0, "output_dropout": 0.1}
    return pipeline_of(
        task,
        {
            "task": "planted",
            "seed": 0,
            "split": {},
            "window": {"context": CONTEXT, "horizon": horizon, "transform": name if kind == "series" else None},
            "encoder": {
                "name": "gru",
                "hidden_size": 8,
                "num_layers": 1,
                **dropout,
                "embedding_size": 4 if kind == "text" else None,
            },
            "head": HEADS[kind] | ({"pool": pool} if pool else {}),
        },
    )


def scaler_of_all_rows() -> Pipeline:
    """The transform is fitted on all rows."""

    def spoil(data: RawData, windows: WindowSet) -> WindowSet:
        assert isinstance(data, Series)
        return replace(windows, meta=windows.meta | {"transform": transform.fit("level", data.values)})

    return _windows_then(pipeline("series"), spoil)


def scaler_of_all_examples() -> Pipeline:
    """The pixels' mean is that of all examples."""

    def spoil(data: RawData, windows: WindowSet) -> WindowSet:
        assert isinstance(data, Examples)
        return replace(windows, meta=windows.meta | {"scaler": {"mean": float(data.inputs.mean()), "scale": 70.0}})

    return _windows_then(pipeline("examples"), spoil)


def vocabulary_of_the_whole_text() -> Pipeline:
    """The vocabulary takes in what only later parts have."""
    clean = pipeline("text")

    def windows(data: RawData) -> WindowSet:
        assert isinstance(data, Text)
        vocabulary = "".join(sorted(set(data.text)))
        made = clean.windows(raw("text"))
        tokens = np.array([vocabulary.index(character) for character in data.text], dtype=np.uint8)
        return WindowSet(made.meta | {"vocabulary": vocabulary}, {"tokens": tokens})

    return replace(clean, windows=windows)


def class_among_the_pixels() -> Pipeline:
    """Preparing the inputs writes each example's class into them."""

    def spoil(data: RawData, windows: WindowSet) -> WindowSet:
        assert isinstance(data, Examples)
        inputs = data.inputs.copy()
        inputs[:, -1, 0] = 100 * data.targets
        return replace(windows, arrays=windows.arrays | {"inputs": inputs})

    return _windows_then(pipeline("examples"), spoil)


def smoothed_to_both_sides() -> Pipeline:
    """Each row is the mean of itself and its neighbours."""

    def spoil(data: RawData, windows: WindowSet) -> WindowSet:
        assert isinstance(data, Series)
        wide = np.pad(data.values, ((1, 1), (0, 0)), mode="edge")
        return replace(windows, arrays={"series": (wide[:-2] + wide[1:-1] + wide[2:]) / 3})

    return _windows_then(pipeline("series"), spoil)


def split_at_the_largest_value() -> Pipeline:
    """Where training ends is decided by looking at all rows."""

    def spoil(data: RawData, windows: WindowSet) -> WindowSet:
        assert isinstance(data, Series)
        first = 300 + int(data.values[:, 0].argmax()) % 100
        return replace(windows, meta=windows.meta | {"splits": windows.meta["splits"] | {"train": [CONTEXT, first]}})

    return _windows_then(pipeline("series"), spoil)


def parts(**splits: list[int]) -> Pipeline:
    """Splits as given."""
    return _windows_then(
        pipeline("series"), lambda _, w: replace(w, meta=w.meta | {"splits": w.meta["splits"] | splits})
    )


class _Changed(SeriesWindows):
    """Windows of a series whose batches are spoilt."""

    spoil: Callable[["_Changed", Batch, torch.Tensor], Batch]

    def __getitems__(self, items: Sequence[int]) -> Batch:
        batch = super().__getitems__(items)
        return type(self).spoil(self, batch, batch.origin - self.context)


class InputsOneRowLate(_Changed):
    """The target's own row is the last input."""

    def spoil(self, batch: Batch, start: torch.Tensor) -> Batch:
        return batch._replace(inputs=self.inputs[(start + 1).clamp(max=len(self.inputs) - 1)].transpose(1, 2))


class TargetOneRowEarly(_Changed):
    """The last input's row is said to be the target."""

    def spoil(self, batch: Batch, start: torch.Tensor) -> Batch:
        return batch._replace(target=batch.inputs[:, -1:, :1])


class TargetSmoothed(_Changed):
    """The target is the mean of its own row and the next."""

    def spoil(self, batch: Batch, start: torch.Tensor) -> Batch:
        following = self.inputs[(start + 2).clamp(max=len(self.inputs) - 1)].transpose(1, 2)[:, -1:, :1]
        return batch._replace(target=(batch.target + following) / 2)


class AnchorOneRowLate(_Changed):
    """The value to be foretold is said to be the last known."""

    def spoil(self, batch: Batch, start: torch.Tensor) -> Batch:
        assert batch.anchor is not None
        return batch._replace(anchor=self.raw[start + self.first_step][:, -1:])


class TrainingGoesOn(SeriesWindows):
    """Training takes windows beyond its end."""

    def __init__(self, windows: WindowSet, split: Any, every_step: bool) -> None:
        super().__init__(windows, split, every_step)
        if split == "train":
            self.origins = range(self.origins.start, self.origins.stop + 20)


class InputsOneCharacterLate(TextStreams):
    """The character to be foretold is the input."""

    def __getitem__(self, item: int) -> Batch:
        batch = super().__getitem__(item)
        return batch._replace(inputs=batch.target)


def cut_by(dataset: Any, name: str = "level", pool: str = "last") -> Pipeline:
    """A pipeline of a series, or of a text, that is cut by ``dataset``."""
    if issubclass(dataset, TextStreams):
        return replace(pipeline("text"), cut=lambda windows, split: dataset(windows, split, streams=8, warm_up=3))
    return replace(
        pipeline("series", name, pool), cut=lambda windows, split: dataset(windows, split, every_step=pool == "every")
    )


def bidirectional(kind: str) -> Pipeline:
    """An encoder that reads from both ends under a loss at every step, which ``build`` would refuse."""
    from unrolled.encoders.gru import Encoder
    from unrolled.model import SequenceModel

    clean = pipeline(kind, pool="every")

    def model(meta: Any, seed: int) -> SequenceModel:
        made = clean.model(meta, seed)
        torch.manual_seed(seed)
        in_features = 4 if kind == "text" else 1
        head = LanguageHead(32, len(meta["vocabulary"])) if kind == "text" else ForecastHead(32, 1, "mse", 0)
        none = {"input_dropout": 0.0, "dropout": 0.0, "output_dropout": 0.0}
        encoder = Encoder(in_features, CONTEXT, hidden_size=16, num_layers=1, **none, bidirectional=True)
        return SequenceModel(made.embed, encoder, Pool("every", 32), head, made.params)

    return replace(clean, model=model)


def _windows_then(clean: Pipeline, spoil: Callable[[RawData, WindowSet], WindowSet]) -> Pipeline:
    return replace(clean, windows=lambda data: spoil(data, clean.windows(data)))
