"""MNIST read pixel by pixel, 784 steps of one: a test of memory (Le, Jaitly and Hinton 2015)."""

from dataclasses import replace
from pathlib import Path

from unrolled.dataset import Examples
from unrolled.tasks import mnist
from unrolled.tasks.mnist import ATTRIBUTION, FILES, LICENCE, split, stand_in

__all__ = ["ATTRIBUTION", "FILES", "LICENCE", "read", "split", "stand_in"]


def read(folder: Path) -> Examples:
    """Return all images, the training file's first, as sequences of 784 pixels, row after row.

    Raises:
        UserError: see ``mnist.read``.
    """
    images = mnist.read(folder)
    return replace(images, inputs=images.inputs.reshape(len(images.inputs), -1, 1))
