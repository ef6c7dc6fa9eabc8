"""Pools choose the steps, heads score them."""

import math

import pytest
import torch

from unrolled.heads import ClassifyHead, ForecastHead, LanguageHead, Pool

HIDDEN = torch.tensor([[[1.0, -1.0], [3.0, 5.0], [2.0, 0.0]], [[4.0, 4.0], [6.0, 0.0], [9.0, 9.0]]])  # (2, 3, 2)
LENGTHS = torch.tensor([3, 2])


def test_last_is_the_last_step_that_counts() -> None:
    pool = Pool("last", 2)
    assert torch.equal(pool(HIDDEN), HIDDEN[:, 2:])
    assert torch.equal(pool(HIDDEN, LENGTHS)[:, 0], torch.tensor([[2.0, 0.0], [6.0, 0.0]]))


def test_mean_and_maximum_leave_padding_out() -> None:
    pool = Pool("mean_max", 2)
    assert pool.out_features == 4
    assert torch.allclose(pool(HIDDEN, LENGTHS)[1, 0], torch.tensor([5.0, 2.0, 6.0, 4.0]))
    assert torch.allclose(pool(HIDDEN)[0, 0], torch.tensor([2.0, 4 / 3, 3.0, 5.0]))


def test_every_is_every_step() -> None:
    assert Pool("every", 2)(HIDDEN) is HIDDEN


@pytest.mark.parametrize(("name", "expected"), [("l1", 2.0), ("mse", 5.0), ("huber", 1.5)])
def test_a_forecasts_loss(name: str, expected: float) -> None:
    head = ForecastHead(2, 1, name, skip=0)
    outputs, target = torch.tensor([[[0.0]], [[4.0]]]), torch.tensor([[[1.0]], [[1.0]]])
    assert head.loss(outputs, target, None).item() == pytest.approx(expected)


def test_skipped_and_masked_steps_do_not_count() -> None:
    head = ForecastHead(2, 1, "l1", skip=1)
    outputs, target = torch.zeros(1, 3, 1), torch.tensor([[[100.0], [2.0], [4.0]]])
    mask = torch.tensor([[[True], [True], [True]]])
    assert head.loss(outputs, target, mask).item() == pytest.approx(3.0)
    mask[0, 2] = False
    assert head.loss(outputs, target, mask).item() == pytest.approx(2.0)


def test_a_target_for_the_last_step_alone_is_compared_with_the_last_output() -> None:
    head = ForecastHead(2, 1, "l1", skip=7)
    assert head.loss(torch.tensor([[[9.0], [1.0]]]), torch.tensor([[[4.0]]]), None).item() == pytest.approx(3.0)


def test_a_classifiers_loss_is_in_nats() -> None:
    logits = torch.log(torch.tensor([[0.25, 0.75], [0.5, 0.5]]))
    expected = -(math.log(0.75) + math.log(0.5)) / 2
    assert ClassifyHead(2, 2).loss(logits, torch.tensor([1, 0]), None).item() == pytest.approx(expected)


def test_a_language_models_loss_is_a_mean_over_scored_symbols() -> None:
    logits = torch.log(torch.tensor([[[0.25, 0.75], [0.5, 0.5]]]))
    target, mask = torch.tensor([[1, 0]]), torch.tensor([[True, False]])
    head = LanguageHead(2, 2)
    assert head.loss(logits, target, mask).item() == pytest.approx(-math.log(0.75))
    assert head.loss(logits, target, None).item() == pytest.approx(-(math.log(0.75) + math.log(0.5)) / 2)


def test_labels_are_smoothed_in_training_and_in_the_loss_that_chooses_the_epoch() -> None:
    head = ClassifyHead(2, 4, smoothing=0.2)
    outputs, target = torch.tensor([[2.0, 0.0, 0.0, 0.0]]), torch.tensor([0])
    plain = math.log(math.exp(2) + 3) - 2
    even = math.log(math.exp(2) + 3) - 0.5  # the cross-entropy against all classes alike
    assert head.loss(outputs, target, None).item() == pytest.approx(0.8 * plain + 0.2 * even)
    assert head.eval().loss(outputs, target, None).item() == pytest.approx(0.8 * plain + 0.2 * even)
