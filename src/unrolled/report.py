"""Stage report: every score beside what it must beat, as a page, tables and a card per cell.

usage: unrolled report
"""

import base64
import hashlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from unrolled.comparison import WORDS
from unrolled.leaderboard import ENOUGH_SEEDS, Row, Table, tables
from unrolled.leaderboardfiles import as_csv, as_markdown, as_text
from unrolled.plotfiles import plot_files
from unrolled.predicted import ENSEMBLE
from unrolled.shown import (
    difference_shown,
    p_shown,
    percent,
    range_shown,
    seconds_shown,
    seeds_shown,
    shown,
    spread_shown,
)
from unrolled.skillplot import skill_plot
from unrolled.tasksection import Section, as_json, is_whole, section
from unrolled.templates import rendered

HERE = Path(__file__).parent
ABOUT = {
    "mae": "One step ahead, the true past known; a lower error is better.",
    "accuracy": "A higher accuracy is better; skill is on the share of errors.",
    "loss_nats": "Nats per character, each character scored once, the state carried through; lower is better.",
}
NAMES = {
    "mae": "MAE",
    "rmse": "RMSE",
    "mape": "MAPE, %",
    "mase": "MASE",
    "nll": "NLL, nats",
    "loss_nats": "nats per character",
    "bits_per_char": "bits per character",
}
VERDICTS = {"beats": "beats", "ties": "ties with", "loses": "loses to"}


def leaderboard_text(root: Path) -> str:
    """Return the leaderboard for a terminal."""
    return as_text(tables(root))


def report_files(root: Path) -> dict[str, str]:
    """Return the content of index.html, leaderboard.csv and leaderboard.md, and of each task's section and plots.

    Equal inputs give equal bytes; the page's training times come from the sidecars, which are not hashed.
    """
    found = tables(root)
    sections = {table.task: section(root, table) for table in found}
    files = {
        "index.html": page(found, sections),
        "leaderboard.csv": as_csv(found),
        "leaderboard.md": as_markdown(found),
    }
    for table in found:
        files |= plot_files(root, table)
        if is_whole(root, table):
            files[f"{table.task}/section.json"] = as_json(table, sections[table.task])
    return files


def page(found: Sequence[Table], sections: Mapping[str, Section]) -> str:
    """Return the whole page; its script runs because the page's policy names its checksum, and no other does."""
    script = (HERE / "page.js").read_text(encoding="utf-8")
    checksum = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    stand_ins = [table.task for table in found if any(row.data_source not in ("real", "") for row in table.rows)]
    return rendered(
        "page.html",
        tasks=[_task(table, sections[table.task]) for table in found],
        words=WORDS,
        enough=ENOUGH_SEEDS,
        stand_in=stand_ins,
        style=(HERE / "page.css").read_text(encoding="utf-8"),
        script=script,
        checksum=checksum,
    )


def _task(table: Table, made: Section) -> dict[str, Any]:
    metrics, judged = table.metrics(), _judged(table)
    intervals = any("coverage_90" in row.interval for row in table.rows)
    metrics.sort(key=lambda metric: metric != table.metric)  # what orders the rows comes first
    return {
        "name": table.task,
        "metric": table.metric,
        "unit": table.unit,
        "strongest": _words(table.strongest or ""),
        "headers": [_header(metric, table.unit) for metric in metrics],
        "about": ABOUT.get(table.metric, ""),
        "summary": summary(table),
        "verdicts": _counts(row for row in judged if not row.few_seeds),
        "few": sum(row.few_seeds for row in judged),
        "rows": [_row(table, row, metrics, _seconds(table, row, made)) for row in table.rows],
        "cells": [_row(table, cell, metrics, made.seconds.get(cell.name)) for cell in table.all_cells()],
        "with_intervals": intervals,
        "section": made.html,
        "kept": made.kept,
    }


def summary(table: Table) -> str:
    """Return a task's result in a few sentences, by verdicts; the best row names its seeds and is never the best of them.

    Models of too few seeds are counted apart. The ensemble is no model more to count, but it can be the best row.
    """
    ranked = [row for row in table.rows if row.kind == "model" and row.scores]
    if table.strongest is None or all(row.model == ENSEMBLE for row in ranked):
        return "Nothing has been judged yet."
    metric, unit = table.metric, f" {table.unit}" if table.unit else ""
    to_beat = (
        f"{_words(table.strongest)} ({shown(metric, table.judgement['baselines'][table.strongest][metric])}{unit})"
    )
    judged = _judged(table)
    few = [row for row in judged if row.few_seeds]
    enough = [row for row in judged if not row.few_seeds]
    told = f"No model here was judged on the same data as {to_beat}."
    if enough and few:
        counts = ", ".join(f"{count} {WORDS[word]}" for word, count in _counts(few).items() if count)
        told = _told(enough, to_beat, f" judged on {ENOUGH_SEEDS} seeds or more")
        told += f" On fewer seeds, and so of those runs only: {counts}."
    elif judged:
        told = _told(judged, to_beat)
        if few:
            told += f" On fewer than {ENOUGH_SEEDS} seeds, this is said of those runs only."
    best = next((row for row in ranked if row.skill is not None), None)
    if best is None:
        return told
    seeds = f", {'mean of' if best.seed_count > 1 else 'of'} {seeds_shown(best.seed_count)}" if best.seed_count else ""
    first = "Highest accuracy" if metric == "accuracy" else "Lowest mean error" if unit else "Lowest loss"
    return f"{told} {first}: {best.name}, {shown(metric, best.scores[metric])}{unit}{seeds}."


def _told(judged: Sequence[Row], to_beat: str, which: str = "") -> str:
    counts = _counts(judged)
    if len(judged) == 1:
        verdict = VERDICTS[str(judged[0].judged["verdict"])]
        return f"The one model{which or ' judged'} {verdict} {to_beat}."
    if counts["beats"] == len(judged):
        return f"{'Both' if len(judged) == 2 else f'All {len(judged)}'} models{which} beat {to_beat}."
    said = {"ties": ("ties", "tie"), "loses": ("loses", "lose")}
    others = ", ".join(f"{counts[word]} {said[word][counts[word] != 1]}" for word in said if counts[word])
    if not counts["beats"]:
        return f"None of {len(judged)} models{which} beats {to_beat}: {others}."
    return f"{counts['beats']} of {len(judged)} models{which} beat {to_beat}; {others}."


def _judged(table: Table) -> list[Row]:
    return [row for row in table.rows if row.kind == "model" and row.judged and row.model != ENSEMBLE]


def _counts(rows: Iterable[Row]) -> dict[str, int]:
    verdicts = [row.judged["verdict"] for row in rows]
    return {word: verdicts.count(word) for word in VERDICTS}


def _row(table: Table, row: Row, metrics: list[str], seconds: float | None) -> dict[str, Any]:
    judged, interval = row.judged, row.interval
    baseline = row.kind == "baseline"
    return {
        "name": _words(row.name) if baseline else row.name,
        "kind": row.kind,
        "to_beat": baseline and row.name == table.strongest,
        "about": str(judged.get("about", "")),
        "scores": [shown(metric, row.scores.get(metric)) for metric in metrics],
        "spread": spread_shown(table.metric, row.spread),
        "difference": difference_shown(table.metric, _difference(table, row)),
        "seeds": row.seed_count,
        "skill": percent(row.skill),
        "range": range_shown(judged.get("skill_low"), judged.get("skill_high")),
        "plot": skill_plot(table, row),
        "p": p_shown(judged.get("p_value")),
        "verdict": judged.get("verdict", ""),
        "few": seeds_shown(row.seed_count) if row.few_seeds else "",
        "versus": f"{VERDICTS[judged['verdict']]} {_words(judged['baseline'])}" if "verdict" in judged else "",
        "parameters": f"{row.about['parameters']:,}" if "parameters" in row.about else "",
        "seconds": seconds_shown(seconds),
        "coverage": f"{100 * interval['coverage_90']:.1f} %" if "coverage_90" in interval else "",
        "width": shown("mae", interval.get("width_90")),
        "data_source": row.data_source,
        "state": row.state,
    }


def _header(metric: str, unit: str | None) -> str:
    name = NAMES.get(metric, metric.replace("_", " "))
    return f"{name}, {unit}" if metric in ("mae", "rmse") and unit else name


def _difference(table: Table, row: Row) -> float | None:
    """Return a score minus that of the baseline to beat; None if they are not of the same data."""
    if row.skill is None or row.name == table.strongest:
        return None
    reference: float = table.judgement["baselines"][table.strongest][table.metric]
    return row.scores[table.metric] - reference


def _words(name: str) -> str:
    return name.replace("_", " ")


def _seconds(table: Table, row: Row, made: Section) -> float | None:
    cells = [cell for cell in table.cells.get(row.name, []) if row.kind == "model" and cell.seeds[0] in row.seeds]
    told = [made.seconds[cell.name] for cell in cells if cell.name in made.seconds]
    return sum(told) / len(told) if told else None


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the stage: ``python -m unrolled.report``."""
    from unrolled.arguments import parse_arguments
    from unrolled.checkout import project_root
    from unrolled.console import one_line_errors
    from unrolled.outputs import write_whole
    from unrolled.reportcards import cards

    with one_line_errors():
        parse_arguments(sys.argv[1:] if arguments is None else arguments, {})
        root = project_root()
        for name, content in (report_files(root) | cards(root)).items():
            write_whole(root / "reports" / name, content)
        print(f"report: {root / 'reports' / 'index.html'}")


if __name__ == "__main__":
    main()
