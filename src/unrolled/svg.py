"""Pieces of SVG drawings: escaped elements, scales and axes. Colours come from the page, so light and dark both read well.

Drawn here rather than by a plotting library because the page must restyle with the reader's colour scheme, keep its
letters legible on a phone (each figure is drawn once wide and once narrow), be read out under the pointer and stay small.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDE, NARROW = 920, 350  # CSS pixels at which letters keep their size


@dataclass(frozen=True)
class Scale:
    """A map from values ``low..high`` to pixels ``start..end``, linear or logarithmic."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """Return the pixel of ``value``."""
        low, high = self.low, self.high
        if self.logarithmic:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return self.start + (value - low) / ((high - low) or 1.0) * (self.end - self.start)


def element(name: str, *content: str, **attributes: str | float | None) -> Markup:
    """Return an element; attribute names take ``_`` for ``-`` and ``class_`` for class; plain strings are escaped."""
    told = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(pixels(value) if isinstance(value, float) else value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name == "img":
        return Markup(f"<img{told}>")
    inside = "".join(escape(part) for part in content)
    return Markup(f"<{name}{told}>{inside}</{name}>")


def pixels(value: float) -> str:
    """Return a coordinate with one decimal at most."""
    text = f"{value:.1f}"
    return text[:-2] if text.endswith(".0") else text


def together(parts: Iterable[str]) -> Markup:
    """Return elements one after the other."""
    return Markup("").join(parts)


def path(points: Sequence[tuple[float, float]], class_: str, colour: str | None = None) -> Markup:
    """Return a line through points in pixels."""
    steps = " ".join(f"{pixels(x)},{pixels(y)}" for x, y in points)
    return element("polyline", points=steps, class_=class_, style=_colour(colour))


def band(xs: Sequence[float], lows: Sequence[float], highs: Sequence[float], class_: str, colour: str) -> Markup:
    """Return the area between two lines, all in pixels."""
    outline = [*zip(xs, highs, strict=True), *reversed(list(zip(xs, lows, strict=True)))]
    steps = " ".join(f"{pixels(x)},{pixels(y)}" for x, y in outline)
    return element("polygon", points=steps, class_=class_, style=_colour(colour))


def dots(points: Iterable[tuple[float, float]], class_: str, colour: str | None = None) -> Markup:
    """Return many equal dots as one path; their size is the class's stroke width."""
    steps = "".join(f"M{pixels(x)} {pixels(y)}h0" for x, y in points)
    return element("path", d=steps, class_=f"dots {class_}", style=_colour(colour))


def text(x: float, y: float, content: str, class_: str = "", anchor: str = "middle") -> Markup:
    """Return letters at a point."""
    return element("text", content, x=float(x), y=float(y), class_=class_ or None, text_anchor=anchor)


def rule(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """Return a straight line."""
    return element("line", x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2), class_=class_)


def _colour(colour: str | None) -> str | None:
    return None if colour is None else f"color:{colour}"


def ticks(low: float, high: float, most: int) -> list[float]:
    """Return at most ``most`` round numbers within ``low..high``, steps of 1, 2 or 5 times a power of ten."""
    if not high > low:
        return [low]
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    for factor in (1, 2, 5, 10, 20, 50):
        step = power * factor
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first + 1 <= most:
            return [round(number * step, 10) for number in range(first, last + 1)]
    raise AssertionError("a step of 50 times the power leaves fewer ticks than asked for")


def log_ticks(low: float, high: float) -> list[float]:
    """Return the numbers 1, 2 and 5 times powers of ten within ``low..high``."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [round(factor * 10.0**power, 12) for power in powers for factor in (1, 2, 5)]
    return [value for value in found if low <= value <= high]


def tick_label(value: float, step: float) -> str:
    """Return a tick's number with as many decimals as steps of ``step`` need."""
    decimals = max(0, -math.floor(math.log10(abs(step)) + 1e-9)) if step else 0
    return f"{value:,.{decimals}f}".replace("-", "\N{MINUS SIGN}")


def numbered(values: Sequence[float]) -> list[tuple[float, str]]:
    """Return ticks with their labels."""
    step = values[1] - values[0] if len(values) > 1 else values[0]
    return [(value, tick_label(value, step)) for value in values]


def frame(
    x: Scale, y: Scale, x_ticks: Sequence[tuple[float, str]], y_ticks: Sequence[tuple[float, str]], y_label: str = ""
) -> Markup:
    """Return grid lines, tick labels and the label of the upright axis, above its end."""
    parts = []
    for value, label in y_ticks:
        parts.append(rule(x.start, y(value), x.end, y(value), "grid"))
        parts.append(text(x.start - 6, y(value) + 4, label, anchor="end"))
    for value, label in x_ticks:
        parts.append(rule(x(value), y.start, x(value), y.start + 4, "tick"))
        parts.append(text(x(value), y.start + 17, label))
    parts.append(rule(x.start, y.start, x.end, y.start, "axis"))
    if y_label:
        parts.append(text(0, y.end - 9, y_label, "label", "start"))
    return together(parts)


def drawing(
    width: float, height: float, content: str, alt: str, stand_in: bool, at: Sequence[float] | None = None
) -> Markup:
    """Return the whole drawing, with a mark across it if it shows stand-in data.

    Args:
        width: in CSS pixels.
        height: likewise.
        content: its elements.
        alt: what a reader who does not see it is told.
        stand_in: mark it.
        at: pixels across of the points that can be read out, in order.
    """
    parts = [content]
    if at is not None:
        parts.append(rule(0, 0, 0, height, "pointer"))
    if stand_in:
        parts.append(text(width / 2, height / 2, "STAND-IN DATA", "standin"))
    where = None if at is None else f"[{','.join(pixels(x) for x in at)}]"
    return element(
        "svg", *parts, viewBox=f"0 0 {pixels(width)} {pixels(height)}", role="img", aria_label=alt, data_x=where,
        style=f"max-width:{pixels(width * 1.25)}px",
    )  # fmt: skip
