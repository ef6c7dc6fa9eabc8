"""The skill of one row as a small drawing in its table cell: a point with its interval beside zero."""

from markupsafe import Markup

from unrolled.leaderboard import Row, Table
from unrolled.svg import Scale, element, rule

WIDTH, HEIGHT = 120.0, 18.0


def skill_plot(table: Table, row: Row) -> Markup:
    """Return a row's skill and its interval on the scale of its task, decoration beside the numbers; empty without skill.

    The scale covers the models; a baseline far behind is drawn as an arrow at the edge.
    """
    if row.skill is None:
        return Markup("")
    low, high = _range(table)
    x, middle = Scale(low, high, 5, WIDTH - 5), HEIGHT / 2
    parts = [rule(x(0), 1, x(0), HEIGHT - 1, "zero")]
    if row.skill < low:
        parts.append(element("path", d=f"M9 {middle - 4}L3 {middle}L9 {middle + 4}", class_="beyond"))
    else:
        if "skill_low" in row.judged:
            ends = (x(max(row.judged["skill_low"], low)), x(min(row.judged["skill_high"], high)))
            parts.append(rule(ends[0], middle, ends[1], middle, "whisker"))
        parts.append(element("circle", cx=x(row.skill), cy=middle, r=4.0, class_="point"))
    tone = str(row.judged.get("verdict", "")) or row.kind
    size = {"width": WIDTH, "height": HEIGHT}
    return element(
        "svg", *parts, viewBox=f"0 0 {WIDTH:.0f} {HEIGHT:.0f}", class_=f"skill {tone}", aria_hidden="true", **size
    )


def _range(table: Table) -> tuple[float, float]:
    rows = [row for row in [*table.rows, *table.all_cells()] if row.kind != "baseline" and row.skill is not None]
    ends = [row.judged.get(key, row.skill) for row in rows for key in ("skill_low", "skill_high")]
    low, high = min([0.0, *ends]), max([0.0, *ends])
    pad = 0.08 * (high - low) or 0.1
    return low - pad, high + pad
