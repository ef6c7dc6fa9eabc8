"""Figures of language models: what they write, and where in the text they lose."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from unrolled.figures import Figure, Grid, Key, both_widths, colour_of, is_recipe, most_ticks
from unrolled.svg import NARROW, Scale, drawing, element, frame, numbered, path, text, ticks, together

PARTS = 40


def loss_along_text(losses: Mapping[str, NDArray[Any]], stand_in: bool) -> Figure:
    """Return each model's mean loss over consecutive parts of the test text.

    Args:
        losses: (characters,) nats by model, averaged over seeds.
        stand_in: mark the figure.
    """
    means = {
        model: [float(part.mean()) for part in np.array_split(values, PARTS) if len(part)]
        for model, values in losses.items()
    }
    every = [value for values in means.values() for value in values]
    low, high = min(every), max(every)
    pad = 0.05 * (high - low) or 0.1
    count = max(len(values) for values in means.values())

    def draw(width: float) -> Markup:
        height = 300.0 if width > NARROW else 260.0
        x, y = Scale(0, 100, 52, width - 14), Scale(low - pad, high + pad, height - 34, 28)
        at = [x((place + 0.5) * 100 / count) for place in range(count)]
        parts = [
            frame(
                x,
                y,
                [(t, f"{t:.0f} %") for t in ticks(0, 100, most_ticks(width))],
                numbered(ticks(y.low, y.high, 6)),
                "nats per character",
            )
        ]
        parts.append(text(width - 14, height - 2, "position in the test text", "label", "end"))
        for model, values in means.items():
            dashed = " dashed" if is_recipe(model) else ""
            parts.append(path([*zip(at, map(y, values), strict=False)], f"line{dashed}", colour_of(model)))
        return drawing(width, height, together(parts), f"Loss along the test text of {', '.join(means)}", stand_in, at)

    lines = [
        f"{100 * place / count:.0f} to {100 * (place + 1) / count:.0f} % of the text: "
        + ", ".join(f"{model} {values[place]:.3f}" for model, values in means.items())
        for place in range(count)
    ]
    return Figure(
        "Loss along the text",
        f"Mean loss over {count} equal parts of the test text. Where all lines rise together, the passage is hard.",
        both_widths(draw),
        [Key(model, colour_of(model), "dashed" if is_recipe(model) else "line") for model in means],
        lines,
        stand_in=stand_in,
    )


def written(samples: Mapping[str, Sequence[Mapping[str, Any]]], first: str, stand_in: bool) -> Figure:
    """Return what each model writes at each temperature, beside how much of it is copied.

    Args:
        samples: by cell, with ``temperature``, ``text`` and ``copied`` (share of 20-character passages).
        first: the cell whose text is unfolded.
        stand_in: mark the figure.
    """
    temperatures = sorted({sample["temperature"] for told in samples.values() for sample in told})
    rows = []
    for cell, told in samples.items():
        shares = {sample["temperature"]: f"{100 * sample['copied']:.1f} %" for sample in told}
        rows.append([cell, *(shares.get(temperature, "") for temperature in temperatures)])
    texts = []
    for cell in sorted(samples, key=lambda name: name != first):
        columns = [
            element(
                "div",
                element("h4", f"Temperature {sample['temperature']:g}"),
                element("p", f"{100 * sample['copied']:.1f} % copied", class_="soft"),
                element(
                    "pre",
                    sample["text"],
                    tabindex="0",
                    role="group",
                    aria_label=f"Text of {cell} at {sample['temperature']:g}",
                ),
            )
            for sample in samples[cell]
        ]
        opened = {"open": "open"} if cell == first else {}
        texts.append(element("details", element("summary", cell), element("div", *columns, class_="texts"), **opened))
    return Figure(
        "What the models write",
        "Each text starts from a line break. A low temperature keeps to what is likely, at 1 the model's own probabilities are "
        "drawn from. Copied: the share of all passages of 20 characters that stand in the training text word for word; a model "
        "that only recites would have 100 %.",
        element("div", *texts),
        grids=[Grid("Copied from the training text", ["cell", *(f"temperature {t:g}" for t in temperatures)], rows)],
        stand_in=stand_in,
    )
