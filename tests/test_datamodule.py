"""The order of batches is a function of seed and epoch, and each item comes once."""

import pytest
from windowsets import example_windows, series_windows, text_windows

from unrolled.datamodule import EpochSampler, WindowData


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        sampler = EpochSampler(20, seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(0, 1) == order(0, 1)
    assert order(0, 1) != order(0, 2)
    assert order(0, 1) != order(1, 1)
    assert sorted(order(0, 1)) == list(range(20))


def test_processes_get_equal_disjoint_shares() -> None:
    shares = [list(EpochSampler(21, 0, rank, 4)) for rank in range(4)]
    assert {len(share) for share in shares} == {5}
    assert len({item for share in shares for item in share}) == 20


@pytest.mark.parametrize("make", [series_windows, example_windows])
def test_an_epoch_has_each_training_item_once(make) -> None:
    windows = make()
    data = WindowData(windows, batch_size=8, every_step=False, seed=0)
    origins = [origin for batch in data.train_dataloader() for origin in batch.origin.tolist()]
    low, high = windows.split("train")
    assert sorted(origins) == list(range(low, high))
    assert origins != sorted(origins)


def test_text_streams_come_in_order() -> None:
    data = WindowData(text_windows(), batch_size=4, every_step=True, seed=0)
    starts = [batch.origin[0, 0].item() for batch in data.train_dataloader()]
    assert starts == sorted(starts)
    assert data.train_dataloader().dataset[0].inputs.shape == (4, 8)


def test_training_batches_leave_float64_behind() -> None:
    batch = next(iter(WindowData(series_windows(), batch_size=4, every_step=True, seed=0).train_dataloader()))
    assert batch.anchor is None
