"""What a language model writes, and how much of it is copied."""

import pytest
import torch
from trainedfolders import config_for
from windowsets import text_windows

from unrolled.model import build
from unrolled.samples import LENGTH, copied_share, write_samples


def test_the_copied_share_counts_passages() -> None:
    training = "to be or not to be, that is the question"
    assert copied_share("not to be, that", training, passage=5) == 1.0
    assert copied_share("to be AND to be", training, passage=5) == pytest.approx(4 / 11), "to be; o be_; _to b; to be"
    assert copied_share("or nor to be", training, passage=10) == 0.0


def test_samples_repeat_and_differ_by_temperature() -> None:
    windows = text_windows()
    torch.manual_seed(0)
    model = build(config_for(windows), windows.meta)
    samples = write_samples(model, windows)
    assert [sample["temperature"] for sample in samples] == [0.5, 0.8, 1.0]
    assert all(len(sample["text"]) == LENGTH for sample in samples)
    assert len({sample["text"] for sample in samples}) == 3
    assert write_samples(model, windows) == samples
