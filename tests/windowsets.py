"""Tiny window sets for tests: numbers that say where they come from."""

from typing import Any

import numpy as np

from unrolled import transform
from unrolled.windowset import WindowSet, digest_of


def series_windows(rows: int = 60, context: int = 5, horizon: int = 1, name: str = "level") -> WindowSet:
    """Row t has the value 100 + t; train to row 40, validation to 50."""
    values = 100.0 + np.arange(rows, dtype=np.float64)[:, None]
    splits = {"train": [context + 1, 40], "validation": [40, 50], "test": [50, rows]}
    return _window_set(
        {
            "task": "ramp",
            "kind": "series",
            "unit": "GWh",
            "features": ["value"],
            "in_features": 1,
            "start": "2020-01-01",
            "context": context,
            "horizon": horizon,
            "splits": splits,
            "transform": transform.fit(name, values[:40]),
        },
        {"series": values},
    )


def known_windows(rows: int = 60, context: int = 5, horizon: int = 1, ahead: int = 7) -> WindowSet:
    """``series_windows`` with two columns known ahead: row t has 1000 + t (group ``day``) and -t (group ``year``)."""
    windows = series_windows(rows, context, horizon)
    count = np.arange(rows + ahead, dtype=np.float32)
    known = np.stack([1000 + count, -count], axis=1)
    meta = {key: value for key, value in windows.meta.items() if key != "digest"}
    meta |= {"known": ["day:number", "year:number"], "in_features": 1 + 2 * horizon}
    arrays = windows.arrays | {"known": known}
    return WindowSet(meta | {"digest": digest_of(meta, arrays)}, arrays)


def text_windows(length: int = 300, context: int = 8) -> WindowSet:
    """Token i is i mod 7; train to 200, validation to 250."""
    tokens = (np.arange(length) % 7).astype(np.uint8)
    splits = {"train": [0, 200], "validation": [200, 250], "test": [250, length]}
    meta = {"task": "letters", "kind": "text", "unit": None, "vocabulary": "abcdefg", "in_features": 1}
    return _window_set(meta | {"context": context, "horizon": 1, "splits": splits}, {"tokens": tokens})


def example_windows(examples: int = 60) -> WindowSet:
    """Example i has all its 4 x 3 pixels at i and the class i mod 3."""
    inputs = np.repeat(np.arange(examples, dtype=np.uint8), 12).reshape(examples, 4, 3)
    splits = {"train": [0, 40], "validation": [40, 50], "test": [50, examples]}
    meta = {
        "task": "patches",
        "kind": "examples",
        "unit": None,
        "classes": 3,
        "in_features": 3,
        "scaler": {"mean": 20.0, "scale": 10.0},
        "context": 4,
        "horizon": 1,
        "splits": splits,
    }
    return _window_set(meta, {"inputs": inputs, "targets": (np.arange(examples) % 3).astype(np.uint8)})


def image_windows(examples: int = 60) -> WindowSet:
    """``example_windows`` whose pixels differ within an image, so that turning or shifting one changes it."""
    windows = example_windows(examples)
    meta = {key: value for key, value in windows.meta.items() if key != "digest"}
    arrays = windows.arrays | {"inputs": windows.arrays["inputs"] + 15 * np.arange(12, dtype=np.uint8).reshape(4, 3)}
    return WindowSet(meta | {"digest": digest_of(meta, arrays)}, arrays)


def _window_set(meta: dict[str, Any], arrays: dict[str, Any]) -> WindowSet:
    meta |= {"source": "stand-in", "licence": "none", "attribution": "made for a test", "raw_sha256": {}, "asked": {}}
    return WindowSet(meta | {"digest": digest_of(meta, arrays)}, arrays)
