"""The report's figures: small SVGs that repeat to the byte and read well on light and dark pages."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

# Okabe and Ito's palette, told apart by colour-blind readers too; a model keeps its colour in every figure.
COLOURS = {
    "dense": "#8a8a8a",
    "cnn": "#e69f00",
    "rnn": "#56b4e9",
    "lstm": "#0072b2",
    "gru": "#009e73",
    "cnn_lstm": "#cc79a7",
}
OTHERS = ("#d55e00", "#f0e442", "#a6761d", "#7570b3")
INK = "#808080"  # readable on white and on black
STYLE = {
    "svg.hashsalt": "unrolled",
    "svg.fonttype": "none",
    "font.family": ["system-ui", "sans-serif"],
    "font.size": 10,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": INK,
    "grid.alpha": 0.18,
    "legend.frameon": False,
}


def colour_of(model: str) -> str:
    """Return a model's colour."""
    return COLOURS.get(model) or OTHERS[sum(map(ord, model)) % len(OTHERS)]


@contextmanager
def _canvas(width: float = 7.2, height: float = 3.0) -> Iterator[tuple[Figure, Any]]:
    with mpl.rc_context({**STYLE, "font.sans-serif": ["DejaVu Sans"], "font.family": "sans-serif"}):
        figure = Figure(figsize=(width, height), layout="constrained")
        figure.patch.set_alpha(0)
        axes = figure.subplots()
        axes.patch.set_alpha(0)
        yield figure, axes


def _svg(figure: Figure, stand_in: bool) -> str:
    """Return the figure as an SVG element, with a mark across it if it shows stand-in data."""
    if stand_in:
        figure.text(
            0.5, 0.5, "STAND-IN DATA", size=30, alpha=0.3, ha="center", va="center", rotation=12, color="#d55e00"
        )
    text = io.StringIO()
    with mpl.rc_context(STYLE):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    content = text.getvalue()
    return content[content.index("<svg") :]


def learning_curves(curves: dict[str, pd.DataFrame], stand_in: bool) -> str:
    """Return the validation loss of all cells by epoch, on one axis.

    Args:
        curves: a history per cell name, ``<model>-<seed>``, with ``epoch`` and ``validation_loss``.
        stand_in: mark the figure.
    """
    with _canvas() as (figure, axes):
        for name, curve in curves.items():
            model = name.rpartition("-")[0]
            axes.plot(curve["epoch"] + 1, curve["validation_loss"], color=colour_of(model), label=name, linewidth=1.8)
        axes.set_xlabel("epoch")
        axes.set_ylabel("validation loss")
        low = min(curve["validation_loss"].min() for curve in curves.values())
        high = max(curve["validation_loss"].iloc[min(1, len(curve) - 1) :].max() for curve in curves.values())
        axes.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low) if high > low else None)
        axes.legend(ncols=3, fontsize=9)
        return _svg(figure, stand_in)


def forecast(
    dates: "pd.Series[Any]", actual: NDArray[Any], lines: dict[str, NDArray[Any]], unit: str, stand_in: bool
) -> str:
    """Return the truth and one line per forecast over ``dates``.

    Args:
        dates: of the targets.
        actual: the truth, physical units.
        lines: forecasts by cell name, physical units.
        unit: of all values.
        stand_in: mark the figure.
    """
    with _canvas(7.2, 3.2) as (figure, axes):
        axes.plot(dates, actual, color=INK, linewidth=2.6, alpha=0.6, label="actual")
        for name, values in lines.items():
            baseline = "-" not in name
            style = (
                {"color": "#d55e00", "linestyle": ":"} if baseline else {"color": colour_of(name.rpartition("-")[0])}
            )
            axes.plot(dates, values, linewidth=1.4, label=name.replace("_", " ") if baseline else name, **style)
        axes.set_ylabel(unit)
        axes.legend(ncols=4, fontsize=9, loc="upper left", bbox_to_anchor=(0, 1.16))
        figure.autofmt_xdate(rotation=0, ha="center")
        return _svg(figure, stand_in)


def confusion(actual: NDArray[Any], predicted: NDArray[Any], classes: int, stand_in: bool) -> str:
    """Return the confusion matrix of a classifier, its errors shaded, its right answers only numbered."""
    counts = np.zeros((classes, classes), dtype=int)
    np.add.at(counts, (actual, predicted), 1)
    errors = np.where(np.eye(classes, dtype=bool), 0, counts)
    with _canvas(5.2, 4.6) as (figure, axes):
        axes.grid(visible=False)
        axes.imshow(errors, cmap="Oranges", alpha=0.85, vmin=0, vmax=max(errors.max() * 1.6, 1))
        for row in range(classes):
            for column in range(classes):
                if counts[row, column]:
                    weight = "bold" if row == column else "normal"
                    axes.text(column, row, counts[row, column], ha="center", va="center", size=8, weight=weight)
        axes.set_xticks(range(classes))
        axes.set_yticks(range(classes))
        axes.set_xlabel("predicted")
        axes.set_ylabel("actual")
        return _svg(figure, stand_in)


def loss_along_text(losses: dict[str, NDArray[Any]], parts: int, stand_in: bool) -> str:
    """Return each cell's mean loss in nats over consecutive parts of the test text.

    Args:
        losses: (characters,) nats per cell name.
        parts: into how many parts the text is cut.
        stand_in: mark the figure.
    """
    with _canvas() as (figure, axes):
        for name, values in losses.items():
            means = [float(part.mean()) for part in np.array_split(values, parts)]
            middle = (np.arange(parts) + 0.5) * 100 / parts
            axes.plot(middle, means, color=colour_of(name.rpartition("-")[0]), label=name, linewidth=1.6)
        axes.set_xlabel("position in the test text (%)")
        axes.set_ylabel("nats per character")
        axes.legend(ncols=3, fontsize=9)
        return _svg(figure, stand_in)
