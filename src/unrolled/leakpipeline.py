"""What a leak guard works on: the code under suspicion, which of its batches are looked at, and what a check says."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from unrolled.batch import Batch
from unrolled.batches import ExampleWindows, SeriesWindows, TextStreams, windows_of
from unrolled.dataset import RawData
from unrolled.model import SequenceModel, build
from unrolled.windowset import SplitName, WindowSet

LARGEST = {"hidden_size": 32, "filters": 32, "embedding_size": 16, "num_layers": 1}  # a leak does not need more
BATCH = 64
LOOKED_AT = {"windows": 256, "chunks": 2}  # so many from the beginning, the end and in between of each part
NAMED = 4  # problems in a line

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


def finding_of(check: str, problems: Sequence[str], fine: str) -> Finding:
    """Return what a check says that found ``problems``, or that all is ``fine``."""
    if not problems:
        return Finding(check, "ok", fine)
    told = list(dict.fromkeys(problems))
    return Finding(check, "LEAK", "; ".join(told[:NAMED]) + (f"; and {len(told) - NAMED} more" if told[NAMED:] else ""))
