"""Random affine maps of a batch of images: what a digit may do and still be the same digit."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F


def augment(images: Tensor, sizes: Mapping[str, float]) -> Tensor:
    """Return ``images``, each turned, scaled, sheared and shifted by amounts drawn evenly from ranges around nothing.

    Pixels are interpolated linearly, what comes in from outside is as the nearest edge. The amounts are drawn from torch's
    global generator, which the learner seeds by (seed, step).

    Args:
        images: (batch, rows, columns).
        sizes: ``rotate`` and ``shear`` in degrees, ``scale`` as a share, ``shift`` in pixels along either axis; 0 for none.
    """
    draws = torch.rand(5, len(images)) * 2 - 1
    turn, shear = (math.radians(sizes[name]) * draw for name, draw in zip(("rotate", "shear"), draws[:2], strict=True))
    scale = 1 + sizes["scale"] * draws[2]
    rows, columns = images.shape[1:]
    # Rotation times shear times scale, as a map from a place in the result to the place in the source.
    cos, sin, slope = turn.cos() / scale, turn.sin() / scale, shear.tan()
    maps = torch.stack(
        [
            torch.stack([cos, cos * slope - sin, 2 * sizes["shift"] / columns * draws[3]], dim=1),
            torch.stack([sin, sin * slope + cos, 2 * sizes["shift"] / rows * draws[4]], dim=1),
        ],
        dim=1,
    ).to(images.device)
    places = F.affine_grid(maps, [len(images), 1, rows, columns], align_corners=False)
    moved = F.grid_sample(images[:, None].float(), places, padding_mode="border", align_corners=False)
    return moved[:, 0].to(images.dtype)
