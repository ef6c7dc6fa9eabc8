"""Figures of a classifier: what it mistakes for what, and the examples that it read most confidently wrong."""

import base64
import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from unrolled.figures import Cell, Figure, Grid
from unrolled.svg import element


def confusion(actual: NDArray[Any], predicted: NDArray[Any], classes: int, cell: str, stand_in: bool) -> Figure:
    """Return the confusion matrix of a classifier, its errors shaded, its right answers only numbered.

    Args:
        actual: (examples,) class numbers.
        predicted: likewise.
        classes: how many there are.
        cell: whose predictions they are.
        stand_in: mark the figure.
    """
    counts = np.zeros((classes, classes), dtype=int)
    np.add.at(counts, (actual, predicted), 1)
    errors = np.where(np.eye(classes, dtype=bool), 0, counts)
    most = max(int(errors.max()), 1)
    rows: list[list[Cell | str]] = []
    for true in range(classes):
        row: list[Cell | str] = [str(true)]
        for read in range(classes):
            count = int(counts[true, read])
            right = true == read
            row.append(
                Cell(str(count) if count else "·", class_="right" if right else "", shade=errors[true, read] / most)
            )
        rows.append(row)
    wrong = int(errors.sum())
    worst = np.unravel_index(int(errors.argmax()), errors.shape)
    common = f" The commonest mistake: {worst[0]} read as {worst[1]}, {most} times." if wrong else ""
    return Figure(
        "What is mistaken for what",
        f"Rows are the true class, columns what {cell} (best on validation) read: {wrong:,} of {len(actual):,} test images "
        f"misread, darker where more.{common}",
        grids=[
            Grid(
                f"Confusion matrix of {cell}: true class by row, as read by column",
                ["true", *map(str, range(classes))],
                rows,
                "matrix",
            )
        ],
        stand_in=stand_in,
    )


def misread(images: Sequence[Mapping[str, Any]], cell: str, stand_in: bool) -> Figure:
    """Return the examples that a classifier was most sure of and wrong about, drawn.

    Args:
        images: with ``actual``, ``predicted``, ``confidence`` and ``pixels`` (rows, columns) 0 to 255.
        cell: whose predictions they are.
        stand_in: mark the figure.
    """
    drawn = []
    for image in images:
        pixels = np.array(image["pixels"], dtype=np.uint8)
        told = f"A {image['actual']} read as {image['predicted']}, {sure_shown(image['confidence'])}"
        picture = element(
            "img",
            src=picture_address(pixels),
            alt=told,
            width=str(2 * pixels.shape[1]),
            height=str(2 * pixels.shape[0]),
        )
        words = element(
            "span", element("b", str(image["actual"])), f" read as {image['predicted']}", aria_hidden="true"
        )
        sure = element("span", sure_shown(image["confidence"]), class_="soft", aria_hidden="true")
        drawn.append(element("li", picture, words, sure))
    return Figure(
        "Most confidently misread",
        f"The {len(images)} test images that {cell} was surest of and wrong about. Some of them people misread too.",
        element("ul", *drawn, class_="digits"),
        stand_in=stand_in,
    )


def sure_shown(confidence: float) -> str:
    """Return a confidence in percent, rounded down: nobody is 100 % sure and wrong."""
    return f"{math.floor(1000 * confidence) / 10:.1f} % sure"


def picture_address(pixels: NDArray[np.uint8]) -> Markup:
    """Return grey pixels (rows, columns) as the data address of a PNG, dark on white; stored, so that bytes repeat."""
    height, width = pixels.shape
    lines = b"".join(b"\0" + bytes(255 - row) for row in pixels)
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(lines, 0)),
        (b"IEND", b""),
    ]
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in parts
    )
    return Markup("data:image/png;base64,") + base64.b64encode(png).decode()
