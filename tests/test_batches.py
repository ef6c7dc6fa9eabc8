"""Batches are cut where the splits say, and nothing of a later split reaches an earlier one."""

import numpy as np
import pytest
import torch
from windowsets import example_windows, known_windows, series_windows, text_windows

from unrolled import transform
from unrolled.batches import ExampleWindows, SeriesWindows, TextStreams, in_order
from unrolled.windowset import SplitName, WindowSet


def _raw(windows: WindowSet, scaled: torch.Tensor) -> np.ndarray:
    params = windows.meta["transform"]
    return scaled.numpy().astype(np.float64) * params["scale"] + params["mean"]


def test_a_window_sees_the_rows_before_its_target_and_no_other() -> None:
    windows = series_windows(context=5)
    batch = SeriesWindows(windows, "train", every_step=False).__getitems__([0, 3])
    assert batch.inputs.shape == (2, 5, 1)
    np.testing.assert_allclose(_raw(windows, batch.inputs[0, :, 0]), [101, 102, 103, 104, 105], rtol=1e-5)
    np.testing.assert_allclose(_raw(windows, batch.target[:, 0, 0]), [106, 109], rtol=1e-5)
    assert batch.origin.tolist() == [6, 9]
    assert batch.anchor[:, 0].tolist() == [105.0, 108.0]


def test_every_step_has_the_next_row_as_its_target() -> None:
    windows = series_windows(context=5)
    batch = SeriesWindows(windows, "train", every_step=True).__getitems__([2])
    inputs, target = _raw(windows, batch.inputs[0, :, 0]), _raw(windows, batch.target[0, :, 0])
    np.testing.assert_allclose(target, inputs + 1, rtol=1e-5)
    assert batch.target_mask.all()


@pytest.mark.parametrize("split", ["validation", "test"])
def test_outside_training_only_the_last_step_is_scored(split: SplitName) -> None:
    mask = SeriesWindows(series_windows(context=5), split, every_step=True).__getitems__([0, 1]).target_mask
    assert mask.shape == (2, 5, 1)
    assert mask.sum().item() == 2
    assert mask[:, -1].all()


@pytest.mark.parametrize("horizon", [1, 4])
@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_target_never_crosses_its_split(split: SplitName, horizon: int) -> None:
    windows = series_windows(context=5, horizon=horizon)
    low, high = windows.split(split)
    rows = []
    for batch in in_order(SeriesWindows(windows, split, every_step=False), 4):
        rows += (batch.origin[:, None] + torch.arange(horizon)).flatten().tolist()
    assert min(rows) == low
    assert max(rows) == high - 1
    assert len(rows) == (high - low - horizon + 1) * horizon


@pytest.mark.parametrize("name", ["level", "log_return", "min_max"])
def test_rows_after_a_split_change_nothing_before_it(name: str) -> None:
    windows = series_windows(name=name)
    changed = windows.arrays["series"].copy()
    changed[50:] = 1e6
    other = WindowSet(windows.meta, {"series": changed})
    for split in ("train", "validation"):
        for ours, theirs in zip(
            in_order(SeriesWindows(windows, split, True), 7),
            in_order(SeriesWindows(other, split, True), 7),
            strict=True,
        ):
            assert torch.equal(ours.inputs, theirs.inputs)
            assert torch.equal(ours.target, theirs.target)


@pytest.mark.parametrize("name", transform.NAMES)
@pytest.mark.parametrize("every_step", [False, True])
def test_a_target_is_so_many_rows_ahead_of_its_own_step(name: str, every_step: bool) -> None:
    windows = series_windows(context=5, horizon=3, name=name)
    windows.arrays["series"][:, 0] += np.random.default_rng(0).normal(size=60)
    values, params = windows.arrays["series"][:, 0], windows.meta["transform"]
    batch = SeriesWindows(windows, "train", every_step).__getitems__([4, 0, 9])
    steps = 5 if every_step else 1
    assert batch.target.shape == (3, steps, 3)
    assert batch.target.dtype == torch.float32
    for number, origin in enumerate(batch.origin.tolist()):
        assert batch.anchor[number].tolist() == [values[origin - 1]]
        for step in range(steps):
            row = origin - steps + 1 + step  # of the step's first target
            expected = transform.target(params, values[row : row + 3], values[row - 1]).astype(np.float32)
            if name == "log_return":
                np.testing.assert_allclose(batch.target[number, step].numpy(), expected, rtol=1e-6)
            else:
                assert batch.target[number, step].tolist() == expected.tolist(), "to the bit"


def test_a_return_is_on_top_of_the_anchor() -> None:
    windows = series_windows(name="log_return")
    batch = SeriesWindows(windows, "test", every_step=False).__getitems__([0])
    back = transform.inverse(windows.meta["transform"], batch.target[:, -1].double(), batch.anchor)
    np.testing.assert_allclose(back.numpy(), [[150.0]], rtol=1e-6)


def test_examples_are_scaled_and_keep_their_class() -> None:
    batch = ExampleWindows(example_windows(), "validation").__getitems__([0, 5])
    assert batch.inputs[:, 0, 0].tolist() == [2.0, 2.5]
    assert batch.target.tolist() == [40 % 3, 45 % 3]


@pytest.mark.parametrize("split", ["train", "validation", "test"])
@pytest.mark.parametrize(("streams", "warm_up", "chunk"), [(1, 1024, 16), (4, 10, None), (7, 0, 3), (500, 3, 5)])
def test_text_is_scored_once_each_character(split: SplitName, streams: int, warm_up: int, chunk: int | None) -> None:
    windows = text_windows()
    low, high = windows.split(split)
    data = TextStreams(windows, split, streams=streams, warm_up=warm_up, chunk=chunk)
    scored = []
    for item in range(len(data)):
        batch = data[item]
        scored += batch.origin[batch.target_mask].tolist()
        assert torch.equal(batch.target[batch.target_mask], batch.origin[batch.target_mask] % 7)
        assert torch.equal(batch.inputs[batch.target_mask], (batch.origin[batch.target_mask] - 1) % 7)
    assert sorted(scored) == list(range(max(low, 1), high))


def test_a_stream_goes_on_where_its_last_chunk_ended() -> None:
    data = TextStreams(text_windows(), "train", streams=4, warm_up=0)
    first, second = data[0].origin, data[1].origin
    assert torch.equal(second[:, 0], first[:, -1] + 1)


def test_processes_share_the_streams() -> None:
    whole = TextStreams(text_windows(), "train", streams=4, warm_up=0)
    parts = [TextStreams(text_windows(), "train", streams=4, warm_up=0).share(rank, 2) for rank in (0, 1)]
    together = torch.cat([part[0].origin for part in parts])
    assert sorted(together[:, 0].tolist()) == sorted(whole[0].origin[:, 0].tolist())


@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize("every_step", [True, False])
def test_what_is_known_ahead_is_of_the_steps_own_targets(horizon: int, every_step: bool) -> None:
    windows = known_windows(horizon=horizon)
    dataset = SeriesWindows(windows, "test", every_step)
    for item in range(len(dataset)):
        batch = dataset.__getitems__([item])
        first = 50 + item  # row of the window's first target
        for step in range(5):
            last = first - 5 + step  # the row that the step has seen last
            own, *ahead = batch.inputs[0, step].tolist()
            assert own == pytest.approx((100 + last - 119.5) / 11.543396, abs=1e-4)
            targets = range(last + 1, last + 1 + horizon)
            assert ahead == [*(1000.0 + row for row in targets), *(-float(row) for row in targets)]


def test_a_series_with_nothing_known_ahead_has_its_own_columns_only() -> None:
    assert SeriesWindows(series_windows(), "test", False).__getitems__([0]).inputs.shape == (1, 5, 1)
