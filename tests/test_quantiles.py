"""Quantiles: a pinball loss by hand, levels that never cross, and the way to a table in physical units."""

from typing import Any

import numpy as np
import pytest
import torch
from trainedfolders import config_for
from windowsets import example_windows, series_windows, text_windows

from unrolled import transform
from unrolled.batches import SeriesWindows, in_order
from unrolled.errors import UserError
from unrolled.heads import ForecastHead, QuantileHead
from unrolled.model import SequenceModel, build
from unrolled.predictions import forecast_next, predict_split
from unrolled.scores import score
from unrolled.windowset import WindowSet

LEVELS = [0.05, 0.25, 0.5, 0.9]


def _model(windows: WindowSet, seed: int = 0, **head: Any) -> SequenceModel:
    config = config_for(windows)
    config["head"] = config["head"] | {"quantiles": LEVELS} | head
    torch.manual_seed(seed)
    return build(config, windows.meta).eval()


def test_the_pinball_loss_by_hand() -> None:
    head = QuantileHead(2, 1, [0.1, 0.5, 0.9], skip=0)
    outputs, target = torch.tensor([[[[1.0, 4.0, 6.0]]]]), torch.tensor([[[5.0]]])
    # 4 above the first, 1 above the median, 1 below the last.
    expected = (0.1 * 4 + 0.5 * 1 + 0.1 * 1) / 3
    assert head.loss(outputs, target, None).item() == pytest.approx(expected)


def test_at_the_median_it_is_half_the_absolute_error() -> None:
    torch.manual_seed(0)
    outputs, target = torch.randn(3, 4, 2), torch.randn(3, 4, 2)
    pinball = QuantileHead(2, 2, [0.5], skip=1).loss(outputs[..., None], target, None)
    assert pinball.item() == pytest.approx(ForecastHead(2, 2, "l1", skip=1).loss(outputs, target, None).item() / 2)


def test_skipped_and_masked_targets_do_not_count() -> None:
    head = QuantileHead(2, 1, [0.5], skip=1)
    outputs, target = torch.zeros(1, 3, 1, 1), torch.tensor([[[100.0], [2.0], [4.0]]])
    mask = torch.tensor([[[True], [True], [True]]])
    assert head.loss(outputs, target, mask).item() == pytest.approx(1.5)
    mask[0, 2] = False
    assert head.loss(outputs, target, mask).item() == pytest.approx(1.0)
    assert head.loss(outputs, torch.tensor([[[8.0]]]), None).item() == pytest.approx(4.0), "a target for the last alone"


@pytest.mark.parametrize("seed", range(20))
def test_quantiles_never_cross_whatever_the_weights(seed: int) -> None:
    torch.manual_seed(seed)
    head, seen = QuantileHead(3, 2, LEVELS, skip=0), torch.randn(5, 6, 3)
    said = head(seen)
    assert said.shape == (5, 6, 2, 4)
    assert (said.diff(dim=-1) > 0).all()
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=10.0 ** (seed % 4))
    assert (head(seen).diff(dim=-1) >= 0).all(), "a distance too small for a float is 0, and never below"


def test_every_level_learns_from_every_target() -> None:
    torch.manual_seed(0)
    head = QuantileHead(3, 2, LEVELS, skip=0)
    head.loss(head(torch.randn(8, 1, 3)), torch.randn(8, 1, 2) / 3, None).backward()
    assert head.readout.bias.grad is not None
    assert (head.readout.bias.grad != 0).all()
    assert (head.readout.weight.grad.abs().sum(dim=1) > 0).all()


def test_learning_brings_coverage_to_the_level_and_width_to_the_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    level = torch.rand(2000, 1, 1, generator=generator)
    target = (0.05 + 0.25 * level) * torch.randn(2000, 1, 1, generator=generator)  # noise that grows with what is seen
    torch.manual_seed(0)
    head = QuantileHead(1, 1, [0.05, 0.25, 0.5, 0.75, 0.95], skip=0)

    def coverage(low: int, high: int) -> float:
        said = head(level)
        return ((target >= said[..., low]) & (target <= said[..., high])).float().mean().item()

    before = abs(coverage(0, 4) - 0.9)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.1)
    for _ in range(150):
        optimizer.zero_grad()
        head.loss(head(level), target, None).backward()
        optimizer.step()
    assert before > 0.05
    assert coverage(0, 4) == pytest.approx(0.9, abs=0.02)
    assert coverage(1, 3) == pytest.approx(0.5, abs=0.03)
    width = head(torch.tensor([[[0.0]], [[1.0]]]))[:, 0, 0]
    assert (width[1, 4] - width[1, 0]) > 3 * (width[0, 4] - width[0, 0])


@pytest.mark.parametrize("name", transform.NAMES)
@pytest.mark.parametrize("pool", ["last", "every"])
def test_predictions_are_in_physical_units_and_in_order(name: str, pool: str) -> None:
    windows = series_windows(horizon=2, name=name)
    model = _model(windows, pool=pool)
    batch = next(in_order(SeriesWindows(windows, "test", every_step=False), 4))
    with torch.inference_mode():
        said = model.predict(batch)
        outputs = model(batch.inputs)[0][:, -1].double()  # (batch, horizon, levels)
    assert (said.kind, said.levels, said.values.shape) == ("quantiles", tuple(LEVELS), (4, 2, 4))
    assert (said.values.diff(dim=-1) > 0).all()
    assert torch.equal(said.points(), said.values[..., 2])
    for step in range(2):
        for level in range(4):
            expected = transform.inverse(windows.meta["transform"], outputs[:, step, level], batch.anchor[:, 0])
            assert said.values[:, step, level].tolist() == pytest.approx(expected.tolist())


def test_a_table_has_a_column_for_each_level_and_scores_the_median() -> None:
    windows = series_windows(horizon=2)
    table = predict_split(_model(windows), windows, "test")
    assert list(table.columns) == ["date", "step", "actual", "predicted", "anchor", "q0.05", "q0.25", "q0.5", "q0.9"]
    assert (table["predicted"] == table["q0.5"]).all()
    assert (np.diff(table[["q0.05", "q0.25", "q0.5", "q0.9"]].to_numpy(), axis=1) > 0).all()
    assert score(table, windows, season=1)["mae"] == pytest.approx((table["actual"] - table["q0.5"]).abs().mean())
    following = forecast_next(_model(windows), windows.arrays["series"][:55], windows.meta)
    row = table[(table["anchor"] == windows.arrays["series"][54, 0]) & (table["step"] == 2)]
    assert following.values[0, 1].tolist() == pytest.approx(row[["q0.05", "q0.25", "q0.5", "q0.9"]].iloc[0].tolist())


@pytest.mark.parametrize(
    ("windows", "head", "told"),
    [
        (
            series_windows,
            {"loss": "mse"},
            "head.loss='mse' does not fit head.quantiles=[0.05, 0.25, 0.5, 0.9]: quantiles",
        ),
        (series_windows, {"loss": "huber"}, "half the absolute error; set head.loss=l1, or head.quantiles=null"),
        (example_windows, {}, "does not fit head.name='classify': only a forecast has quantiles; set it to null"),
        (text_windows, {}, "does not fit head.name='language': only a forecast has quantiles; set it to null"),
    ],
)
def test_what_has_no_quantiles_is_refused(windows: Any, head: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError) as refused:
        _model(windows(), **head)
    assert told in str(refused.value)
