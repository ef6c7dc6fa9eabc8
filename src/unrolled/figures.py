"""What a figure of the report is, and the figures that every kind of task has."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd
from markupsafe import Markup

from unrolled.svg import (
    NARROW,
    WIDE,
    Scale,
    dots,
    drawing,
    element,
    frame,
    log_ticks,
    numbered,
    path,
    rule,
    text,
    ticks,
    together,
)

KNOWN = ("dense", "cnn", "rnn", "lstm", "gru", "cnn_lstm")
OTHERS = 2  # colours for models of other names
BASELINE, ACTUAL = "var(--baseline)", "var(--ink)"
SQUEEZE = 8  # a baseline this many times beyond the models is marked at the axis' end


@dataclass(frozen=True)
class Cell:
    """A table's cell: its text, a second line, a class and how strongly it is shaded (0 to 1)."""

    text: str
    below: str = ""
    class_: str = ""
    shade: float = 0.0


@dataclass(frozen=True)
class Grid:
    """A table: each row starts with its header."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell | str]]
    class_: str = ""


@dataclass(frozen=True)
class Key:
    """An entry of a legend: ``mark`` is line, dashed, dotted, dot, cross or area."""

    label: str
    colour: str
    mark: str = "line"


@dataclass(frozen=True)
class Figure:
    """One figure of the page.

    Attributes:
        title: its heading.
        read: how to read it and what it shows, in sentences.
        drawing: trusted markup, made by ``svg``.
        legend: what its colours mean.
        lines: what is read out at each point along it, in order; empty if it is not read out.
        grids: tables that are part of it.
        numbers: a table of its numbers, folded away.
        stand_in: whether it shows stand-in data.
    """

    title: str
    read: str
    drawing: Markup = field(default_factory=Markup)
    legend: Sequence[Key] = ()
    lines: Sequence[str] = ()
    grids: Sequence[Grid] = ()
    numbers: Grid | None = None
    stand_in: bool = False


def colour_of(model: str) -> str:
    """Return a model's colour, the same in every figure; a recipe such as ``gru_13k`` has its architecture's."""
    base = base_of(model)
    if base in KNOWN:
        return f"var(--model-{KNOWN.index(base)})"
    return f"var(--model-{len(KNOWN) + sum(map(ord, model)) % OTHERS})"


def base_of(model: str) -> str:
    """Return the architecture that a recipe's name begins with, or the name itself."""
    fits = [name for name in KNOWN if model == name or model.startswith(f"{name}_")]
    return max(fits, key=len, default=model)


def is_recipe(model: str) -> bool:
    """Return whether a model is a variant of an architecture rather than the architecture at its own size."""
    return base_of(model) != model


def both_widths(draw: Callable[[float], Markup]) -> Markup:
    """Return a drawing for wide pages and one for phones; the page shows one of them."""
    return together(
        element("div", draw(width), class_=f"drawing {name}") for name, width in (("wide", WIDE), ("narrow", NARROW))
    )


def most_ticks(width: float, wide: int = 8) -> int:
    """Return how many ticks fit across."""
    return wide if width > NARROW else max(3, wide // 2)


def learning_curves(curves: Mapping[str, Mapping[int, pd.DataFrame]], stand_in: bool) -> Figure:
    """Return the validation loss of all models by epoch, on one axis.

    Args:
        curves: by model and seed, with ``epoch`` and ``validation_loss``.
        stand_in: mark the figure.
    """
    means = {model: _mean_curve(seeds) for model, seeds in curves.items()}
    every = [curve["validation_loss"] for seeds in curves.values() for curve in seeds.values()]
    low, high = min(curve.min() for curve in every), max(curve.max() for curve in every)
    # On a logarithmic axis the first epochs do not flatten the rest.
    logarithmic = low > 0 and high > 3 * low
    pad = 0.04 * (high - low) or 0.1
    levels = log_ticks(low, high) if logarithmic else ticks(low, high, 6)

    epochs = max(len(mean) for mean in means.values())

    def draw(width: float) -> Markup:
        height = 330.0 if width > NARROW else 270.0
        x, y = Scale(1, max(epochs, 2), 52, width - 14), Scale(low - pad, high + pad, height - 34, 28)
        if logarithmic:
            y = Scale(low / 1.05, high * 1.05, height - 34, 28, logarithmic=True)
        lines = []
        for model, seeds in curves.items():
            for curve in seeds.values():
                if len(seeds) > 1:
                    lines.append(_curve(curve["validation_loss"], x, y, "thin", model))
        lines += [_curve(mean, x, y, "thick", model) for model, mean in means.items()]
        axes = frame(
            x,
            y,
            [(e, f"{e:.0f}") for e in ticks(1, max(epochs, 2), most_ticks(width, 12)) if e == int(e)],
            [(level, f"{level:g}") for level in levels],
            "validation loss" + (" (logarithmic)" if logarithmic else ""),
        )
        label = text(width - 14, height - 2, "epoch", "label", "end")
        at = [x(epoch) for epoch in range(1, epochs + 1)]
        alt = f"Validation loss by epoch of {', '.join(curves)}"
        return drawing(width, height, together([axes, label, *lines]), alt, stand_in, at)

    lines = [
        f"epoch {epoch + 1}: "
        + ", ".join(f"{model} {mean.iloc[epoch]:.4f}" for model, mean in means.items() if epoch < len(mean))
        for epoch in range(epochs)
    ]
    best = [
        [model, str(len(curves[model])), str(int(mean.idxmin()) + 1), f"{mean.min():.4f}", f"{mean.iloc[-1]:.4f}"]
        for model, mean in means.items()
    ]
    return Figure(
        "Learning curves",
        "Mean loss on validation after each epoch, in the space that the model learns in. Strong lines are means over "
        "seeds, faint ones the seeds. The weights with the lowest validation loss are kept, or the last where training.keep "
        "says so; the test was not looked at.",
        both_widths(draw),
        [Key(model, colour_of(model), "dashed" if is_recipe(model) else "line") for model in curves],
        lines,
        numbers=Grid("Best and last epoch", ["model", "seeds", "best epoch", "best loss", "last loss"], best),
        stand_in=stand_in,
    )


def _mean_curve(seeds: Mapping[int, pd.DataFrame]) -> "pd.Series[float]":
    return pd.concat([curve["validation_loss"].reset_index(drop=True) for curve in seeds.values()], axis=1).mean(axis=1)


def _curve(values: "pd.Series[float]", x: Scale, y: Scale, class_: str, model: str) -> Markup:
    points = [(x(epoch), y(value)) for epoch, value in enumerate(values, start=1)]
    dashed = " dashed" if is_recipe(model) else ""
    return path(points, f"line {class_}{dashed}", colour_of(model))


def breakdown(
    title: str,
    read: str,
    groups: Sequence[str],
    counts: Sequence[int],
    losses: Mapping[str, Sequence[float | None]],
    baseline: str | None,
    label: str,
    stand_in: bool,
) -> Figure:
    """Return each group's mean loss, a dot per model and a cross for the baseline.

    Args:
        title: heading.
        read: how to read it.
        groups: names of the groups, top to bottom.
        counts: test rows in each.
        losses: mean loss by model or baseline; None where a group is empty.
        baseline: which of them is the baseline.
        label: of the axis, with its unit.
        stand_in: mark the figure.
    """
    most = _reach(losses, baseline)

    def draw(width: float) -> Markup:
        wide = width > NARROW
        step = 26.0 if wide else 38.0
        height = 44 + step * len(groups)
        x = Scale(0, most * 1.03, 190 if wide else 12, width - 14)
        y = Scale(0, 1, height - 26, 22)
        parts = [frame(x, y, numbered(ticks(0, x.high, most_ticks(width))), [], label)]
        for place, (group, count) in enumerate(zip(groups, counts, strict=True)):
            middle = 22 + step * (place + (0.5 if wide else 0.72))
            parts.append(rule(x.start, middle, x.end, middle, "grid"))
            where = (x.start - 10, middle + 4, "end") if wide else (x.start, middle - 12, "start")
            parts.append(
                element(
                    "text", group, element("tspan", f"  {count:,}", class_="label"), x=where[0], y=where[1], text_anchor=where[2]
                )
            )  # fmt: skip
            for name, values in losses.items():
                value = values[place]
                if value is not None and value > x.high:
                    parts.append(text(x.end, middle + 5, "✕ ▸", "cross", "end"))
                elif value is not None and name == baseline:
                    parts.append(text(x(value), middle + 5, "✕", "cross"))
                elif value is not None:
                    hollow = "hollow" if is_recipe(name) else "mark"
                    parts.append(
                        element(
                            "circle", cx=x(value), cy=middle, r=4.5, class_=hollow, style=f"color:{colour_of(name)}"
                        )
                    )
        alt = f"{title}: {label} of {', '.join(losses)} in {', '.join(groups)}"
        return drawing(width, height, together(parts), alt, stand_in)

    rows = [
        [group, f"{count:,}", *("" if values[place] is None else _short(values[place]) for values in losses.values())]
        for place, (group, count) in enumerate(zip(groups, counts, strict=True))
    ]
    legend = [
        Key(name.replace("_", " "), BASELINE, "cross")
        if name == baseline
        else Key(name, colour_of(name), "ring" if is_recipe(name) else "dot")
        for name in losses
    ]
    numbers = Grid(f"{title}: {label}", ["", "test rows", *(name.replace("_", " ") for name in losses)], rows)
    return Figure(title, read, both_widths(draw), legend, numbers=numbers, stand_in=stand_in)


def _reach(losses: Mapping[str, Sequence[float | None]], baseline: str | None) -> float:
    """Return how far the axis reaches: to the farthest value, unless the baseline would squeeze the models together."""
    most = {name: max((v for v in values if v is not None), default=0.0) for name, values in losses.items()}
    models = max((value for name, value in most.items() if name != baseline), default=0.0)
    return min(max(most.values(), default=1.0), SQUEEZE * models or math.inf) or 1.0


def _short(value: float | None) -> str:
    assert value is not None
    return f"{value:,.1f}" if abs(value) >= 10 else f"{value:.4f}"


def reliability(bins: Mapping[str, Sequence[Mapping[str, float]]], stand_in: bool) -> Figure:
    """Return how often each cell was right where it was so sure, against how sure it was.

    Args:
        bins: by cell, with ``count``, mean ``confidence`` and ``accuracy``, both 0 to 1.
        stand_in: mark the figure.
    """
    kept = {name: [entry for entry in found if entry["count"]] for name, found in bins.items()}

    def draw(width: float) -> Markup:
        side = 420.0 if width > NARROW else width
        x, y = Scale(0, 1, 52, side - 14), Scale(0, 1, side - 40, 26)
        share = [(tick, f"{100 * tick:.0f} %") for tick in ticks(0, 1, 6)]
        parts = [frame(x, y, share, share, "right"), rule(x(0), y(0), x(1), y(1), "reference")]
        parts.append(text(side - 14, side - 3, "how sure", "label", "end"))
        for name, found in kept.items():
            model = name.rpartition("-")[0]
            points = [(x(entry["confidence"]), y(entry["accuracy"])) for entry in found]
            parts += [path(points, "line", colour_of(model)), dots(points, "middling", colour_of(model))]
        return drawing(side, side, together(parts), f"Reliability of {', '.join(kept)}", stand_in)

    rows = [
        [f"{name}, {100 * entry['confidence']:.1f} %", f"{entry['count']:,.0f}", f"{100 * entry['accuracy']:.1f} %"]
        for name, found in kept.items()
        for entry in found
    ]
    return Figure(
        "Reliability",
        "Predictions grouped by how sure the model was. On the diagonal, 80 % sure means right in 80 % of the cases; below "
        "it the model is too sure of itself, above it too modest. Few predictions stand behind the points of low confidence.",
        both_widths(draw),
        [Key(name, colour_of(name.rpartition("-")[0])) for name in kept],
        numbers=Grid("Reliability", ["cell, how sure", "predictions", "right"], rows),
        stand_in=stand_in,
    )
