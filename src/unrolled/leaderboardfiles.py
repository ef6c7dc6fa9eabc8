"""The leaderboard as a csv, as Markdown and for a terminal: the same rows, the same numbers."""

import csv
import io
from typing import Any

from unrolled.leaderboard import ENOUGH_SEEDS, METRICS, RUN_HERE, Row, Table
from unrolled.shown import p_shown, percent, range_shown, seeds_shown, shown

COLUMNS = (
    "task",
    "row",
    "kind",
    "model",
    "seed",
    "seeds",
    "metric",
    "value",
    "value_spread",
    "to_beat",
    "skill",
    "skill_low",
    "skill_high",
    "p_value",
    "verdict",
    "coverage_90",
    "width_90",
    "parameters",
    "data_source",
    "state",
    *METRICS,
)


def as_csv(all_tables: list[Table]) -> str:
    """Return all rows as one csv; no times, so that equal results are equal bytes.

    ``kind`` is model (over ``seeds`` many seeds), cell (one ``seed``) or baseline; ``to_beat`` names the baseline that
    skill and verdict are against.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=COLUMNS, lineterminator="\n")
    writer.writeheader()
    for table in all_tables:
        for row in [*table.rows, *table.all_cells()]:
            writer.writerow(_columns(table, row))
    return text.getvalue()


def _columns(table: Table, row: Row) -> dict[str, Any]:
    judged = {key: row.judged.get(key) for key in ("skill_low", "skill_high", "p_value", "verdict")}
    return {
        "task": row.task,
        "row": row.name,
        "kind": row.kind,
        "model": row.model,
        "seed": row.seeds[0] if row.kind == "cell" else None,
        "seeds": row.seed_count or None if row.kind == "model" else None,
        "metric": table.metric,
        "value": row.scores.get(table.metric),
        "value_spread": row.spread,
        "to_beat": table.strongest,
        "skill": row.skill,
        **judged,
        "coverage_90": row.interval.get("coverage_90"),
        "width_90": row.interval.get("width_90"),
        "parameters": row.about.get("parameters"),
        "data_source": row.data_source,
        "state": row.state,
        **row.scores,
    }


def as_markdown(all_tables: list[Table]) -> str:
    """Return one table per task: models over their seeds, baselines among them."""
    parts = ["# Leaderboard", ""]
    for table in all_tables:
        names = table.metrics()
        parts += [f"## {table.task}{f' ({table.unit})' if table.unit else ''}", ""]
        if table.strongest:
            parts += [f"To beat: {table.strongest}. Skill is the share of its error that a row saves.", ""]
        header = ["", *names, "seeds", "skill", "95 % interval", "p", "verdict", "parameters", "data", "state"]
        parts += [_line(header), "|---" * len(header) + "|"]
        parts += [_line(_cells(row, names)) for row in table.rows]
        made = [row for row in table.rows if row.kind == "model" and "about" in row.judged]
        parts += ["", *(f"{row.name}: {row.judged['about']}." for row in made), ""] if made else [""]
        if any(row.few_seeds and row.judged for row in table.rows):
            parts += [
                f"A verdict on fewer than {ENOUGH_SEEDS} seeds holds for the networks that were trained, not for the model.",
                "",
            ]
    return "\n".join(parts)


def _cells(row: Row, metrics: list[str]) -> list[str]:
    name = f"*{row.name}* (baseline)" if row.kind == "baseline" else row.name
    return [
        name,
        *(shown(metric, row.scores.get(metric)) for metric in metrics),
        str(row.seed_count or ""),
        percent(row.skill),
        range_shown(row.judged.get("skill_low"), row.judged.get("skill_high")),
        p_shown(row.judged.get("p_value")),
        f"{row.judged['verdict']}{f' ({seeds_shown(row.seed_count)})' if row.few_seeds else ''}"
        if "verdict" in row.judged
        else "",
        f"{row.about['parameters']:,}" if "parameters" in row.about else "",
        row.data_source,
        row.state,
    ]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


def as_text(all_tables: list[Table]) -> str:
    """Return the tables for a terminal: the rows that were run here, and the baselines that they must beat."""
    lines = []
    for table in all_tables:
        if not any(row.state == RUN_HERE for row in table.rows):
            continue
        lines.append(f"\n{table.task}: {table.metric}{f' in {table.unit}' if table.unit else ''} on the test")
        lines += [_text_line(table, row) for row in table.rows if row.state == RUN_HERE]
    return "\n".join(lines) + "\n"


def _text_line(table: Table, row: Row) -> str:
    line = f"  {row.name:<16} {shown(table.metric, row.scores.get(table.metric)):>10}   skill {percent(row.skill):>7}"
    if row.kind == "baseline":
        line += "  (the baseline to beat)" if row.name == table.strongest else "  (baseline)"
    elif "verdict" in row.judged:
        seeds = seeds_shown(row.seed_count) if row.seed_count else "a mixture"
        between = range_shown(row.judged["skill_low"], row.judged["skill_high"])
        line += f" ({between}), p {p_shown(row.judged['p_value'])}, {seeds}: {row.judged['verdict']} {table.strongest}"
    return line + ("  STAND-IN DATA" if row.data_source != "real" else "")
