"""Stage report: every score beside what it must beat, as a page, tables and a card per cell.

usage: unrolled report
"""

import base64
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unrolled.leaderboard import RUN_HERE, Row, Table, read_json, tables
from unrolled.leaderboardfiles import as_csv, as_markdown, as_text
from unrolled.plotfiles import plot_files
from unrolled.predicted import ENSEMBLE
from unrolled.sections import task_figures
from unrolled.shown import difference_shown, p_shown, percent, range_shown, seconds_shown, shown, spread_shown
from unrolled.skillplot import skill_plot

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
    """Return the content of index.html, leaderboard.csv and leaderboard.md, and the tables that `dvc plots` draws.

    Equal inputs give equal bytes; the page's training times come from the sidecars, which are not hashed.
    """
    found = tables(root)
    files = {"index.html": page(root, found), "leaderboard.csv": as_csv(found), "leaderboard.md": as_markdown(found)}
    for table in found:
        files |= plot_files(root, table)
    return files


def page(root: Path, found: Sequence[Table]) -> str:
    """Return the whole page; its script runs because the page's policy names its checksum, and no other does."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    script = (HERE / "page.js").read_text(encoding="utf-8")
    checksum = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    stand_ins = [table.task for table in found if any(row.data_source not in ("real", "") for row in table.rows)]
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html").render(
        tasks=[_task(root, table) for table in found],
        stand_in=stand_ins,
        style=(HERE / "page.css").read_text(encoding="utf-8"),
        script=script,
        checksum=checksum,
    )


def _task(root: Path, table: Table) -> dict[str, Any]:
    metrics = table.metrics()
    facts = {cell.name: _facts(root, cell) for cell in table.all_cells()}
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
        "verdicts": {word: _count(table, word) for word in VERDICTS},
        "rows": [_row(table, row, metrics, _seconds(table, row, facts)) for row in table.rows],
        "cells": [_row(table, cell, metrics, facts[cell.name].get("seconds")) for cell in table.all_cells()],
        "with_intervals": intervals,
        "figures": task_figures(root, table),
        "sources": _sources(root, table, facts),
    }


def summary(table: Table) -> str:
    """Return a task's result in a sentence or two, by verdicts; "best" is a mean over seeds, never a seed.

    The ensemble is no model more to count, but it can be the best row.
    """
    ranked = [row for row in table.rows if row.kind == "model" and row.scores]
    models = [row for row in ranked if row.model != ENSEMBLE]
    if not models or table.strongest is None:
        return "Nothing has been judged yet."
    metric, unit = table.metric, f" {table.unit}" if table.unit else ""
    to_beat = (
        f"{_words(table.strongest)} ({shown(metric, table.judgement['baselines'][table.strongest][metric])}{unit})"
    )
    judged = [row for row in models if row.judged]
    counts = {word: _count(table, word) for word in VERDICTS}
    if not judged:
        told = f"No model here was judged on the same data as {to_beat}."
    elif counts["beats"] == len(judged):
        told = (
            f"All {len(judged)} models beat {to_beat}." if len(judged) > 1 else f"The one model judged beats {to_beat}."
        )
    elif not counts["beats"]:
        told = (
            f"None of {len(judged)} models beats {to_beat}: {_counted(counts)}."
            if len(judged) > 1
            else f"The one model judged {'ties with' if counts['ties'] else 'loses to'} {to_beat}."
        )
    else:
        told = f"{counts['beats']} of {len(judged)} models beat {to_beat}; {_counted(counts)}."
    best = ranked[0]
    seeds = f", mean of {len(best.seeds)} seeds" if len(best.seeds) > 1 else ""
    first = "Highest accuracy" if metric == "accuracy" else "Lowest mean error" if unit else "Lowest loss"
    return f"{told} {first}: {best.name}, {shown(metric, best.scores[metric])}{unit}{seeds}."


def _counted(counts: dict[str, int]) -> str:
    said = {"ties": ("ties", "tie"), "loses": ("loses", "lose")}
    return ", ".join(f"{counts[word]} {said[word][counts[word] != 1]}" for word in said if counts[word])


def _count(table: Table, word: str) -> int:
    return sum(row.judged.get("verdict") == word for row in table.rows if row.kind == "model" and row.model != ENSEMBLE)


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


def _seconds(table: Table, row: Row, facts: dict[str, dict[str, Any]]) -> float | None:
    cells = [cell for cell in table.cells.get(row.name, []) if row.kind == "model" and cell.seeds[0] in row.seeds]
    told = [facts[cell.name]["seconds"] for cell in cells if "seconds" in facts[cell.name]]
    return sum(told) / len(told) if told else None


def _facts(root: Path, row: Row) -> dict[str, Any]:
    """Return the sidecar of a cell that was run here."""
    if row.state != RUN_HERE:
        return {}
    model = read_json(root / "data" / "models" / f"{row.task}-{row.name}" / "meta.json")
    return read_json(root / "data" / "sidecars" / f"{model.get('identity')}.json")


def _sources(root: Path, table: Table, facts: dict[str, dict[str, Any]]) -> list[tuple[str, str]]:
    judgement = table.judgement
    sources = [
        ("data", str(judgement.get("data_source", "none yet"))),
        ("data digest", str(judgement.get("data_digest", ""))),
    ]
    meta = read_json(root / "data" / "windows" / table.task / "meta.json")
    if meta:
        sources += [(f"sha256 of {name}", value) for name, value in sorted(meta["raw_sha256"].items())]
        sources += [("attribution", meta["attribution"]), ("licence", meta["licence"])]
        parts = ", ".join(f"{name} {high - low:,}" for name, (low, high) in meta["splits"].items())
        sources.append(("targets", parts))
    sources.append(("scores and verdicts", f"reports/{table.task}/judgement.json"))
    commits = sorted({told["commit"] for told in facts.values() if told.get("commit")})
    if commits:
        sources.append(("trained at commit", ", ".join(commit[:12] for commit in commits)))
    return sources


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
