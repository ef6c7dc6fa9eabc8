"""Shapes in words."""

from typing import Any

import pytest
import torch
from conftest import ROOT
from windowsets import series_windows

from unrolled.batch import Batch
from unrolled.batches import SeriesWindows
from unrolled.config import compose_config
from unrolled.describe import describe, in_words
from unrolled.model import build, count_parameters


def _told(model: str, context: int, **encoder: Any) -> str:
    windows = series_windows(context=context)
    config = compose_config(["task=bitcoin", f"model={model}"], ROOT)
    config["encoder"] |= encoder
    net = build(config, windows.meta)
    batch = SeriesWindows(windows, "train", every_step=False).__getitems__(range(4))
    told = describe(net, batch, config, windows.meta)
    assert f"{count_parameters(net):,} in all" in told
    return told


def test_every_layer_is_named_with_its_shape_and_size() -> None:
    told = _told("cnn_lstm", 29)
    assert "(4 examples, 29 time steps, 1 feature)" in told
    assert "(4 examples, 29 time steps, 32 features)  128" in told, "32 filters of 3 inputs and a bias"
    assert "(LSTM)" in told


def test_it_says_why_as_many_steps_come_out_as_went_in() -> None:
    told = _told("cnn_lstm", 29)
    assert "fits into 29 steps only 27 times, so 2 zeros are put before the first step" in told
    assert "29 + 2 - 3 + 1 = 29" in told


@pytest.mark.parametrize(("kernel", "words"), [(5, "steps only 1 time,"), (8, "steps not even once,")])
def test_a_wide_filter_reads_well(kernel: int, words: str) -> None:
    assert words in _told("cnn_lstm", 5, kernel_size=kernel)


def test_it_says_what_an_output_sees() -> None:
    assert "An output sees all steps before it." in _told("gru", 5)
    assert "all steps after it: it is not causal" in _told("gru", 5, bidirectional=True)
    assert "itself and the 32 steps before it" in _told("dense", 5)


def test_shapes_in_words() -> None:
    assert in_words(torch.zeros(1, 2, 3)) == "(1 example, 2 time steps, 3 features)"
    assert in_words(torch.zeros(5, 7, dtype=torch.int64)) == "(5 examples, 7 time steps)"
    assert in_words(torch.zeros(2, 1, 7, 3)) == "(2 examples, 1 time step, 7 horizon steps, 3 quantiles)"


def test_filters_over_an_image_give_rows_and_columns() -> None:
    config = compose_config(["task=mnist", "model=cnn_bilstm"], ROOT)
    meta = {"kind": "examples", "task": "mnist", "context": 5, "horizon": 1, "in_features": 6, "classes": 3}
    batch = Batch(torch.rand(4, 5, 6), torch.zeros(4, dtype=torch.int64))
    told = describe(build(config, meta), batch, config, meta)
    assert "encoder.second (Conv2d)    (4 examples, 32 filters, 5 rows, 3 columns)" in told
    assert "(4 examples, 32 filters, 5 rows, 2 columns)" in told
