"""Augmented images: moved as asked, the same for the same seed, and never more than asked."""

import pytest
import torch

from unrolled.augmentation import augment

NOTHING = {"rotate": 0.0, "scale": 0.0, "shear": 0.0, "shift": 0.0}


def _images(count: int = 64) -> torch.Tensor:
    """A bright spot of 3 x 3 pixels around row 9, column 14 of each image of 28 x 28; the rest is -1."""
    images = torch.full((count, 28, 28), -1.0)
    images[:, 8:11, 13:16] = 1.0
    return images


def _centres(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    mass = images + 1
    steps = torch.arange(28.0)
    return (mass.sum(2) @ steps) / mass.sum((1, 2)), (mass.sum(1) @ steps) / mass.sum((1, 2))


def test_no_size_moves_nothing() -> None:
    assert torch.allclose(augment(_images(), NOTHING), _images(), atol=1e-4)


def test_a_seed_repeats_its_images_and_another_does_not() -> None:
    sizes = {"rotate": 12.0, "scale": 0.1, "shear": 6.0, "shift": 2.0}
    made = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        made.append(augment(_images(), sizes))
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


def test_a_shift_is_in_pixels_and_up_to_its_size_either_way() -> None:
    torch.manual_seed(0)
    rows, columns = _centres(augment(_images(400), NOTHING | {"shift": 3.0}))
    for moved in (rows - 9, columns - 14):
        assert moved.abs().max() <= 3.01
        assert moved.min() < -2
        assert moved.max() > 2


def test_a_turn_is_in_degrees_around_the_middle() -> None:
    torch.manual_seed(0)
    rows, columns = _centres(augment(_images(400), NOTHING | {"rotate": 30.0}))
    angles = torch.rad2deg(torch.atan2(columns - 13.5, 13.5 - rows)) - torch.rad2deg(
        torch.atan2(torch.tensor(0.5), torch.tensor(4.5))
    )
    assert angles.abs().max() <= 31
    assert angles.max() > 25
    assert torch.allclose((rows - 13.5) ** 2 + (columns - 13.5) ** 2, torch.tensor(4.5**2 + 0.5**2), atol=0.8)


def test_scaling_moves_along_the_line_from_the_middle() -> None:
    torch.manual_seed(0)
    rows, _ = _centres(augment(_images(400), NOTHING | {"scale": 0.2}))
    ratio = (13.5 - rows) / 4.5
    assert ratio.min() == pytest.approx(0.8, abs=0.05)
    assert ratio.max() == pytest.approx(1.2, abs=0.05)


def test_what_comes_in_from_outside_is_background() -> None:
    torch.manual_seed(0)
    moved = augment(_images(100), {"rotate": 45.0, "scale": 0.3, "shear": 10.0, "shift": 3.0})
    assert moved.min() >= -1.0001
    assert torch.allclose(moved[:, 0], torch.full((100, 28), -1.0), atol=1e-4), "the spot never gets so far"
