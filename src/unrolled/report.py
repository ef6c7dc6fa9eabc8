"""Stage report: every score beside what it must beat, as a page, a table and a csv.

usage: unrolled report
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from unrolled import figures
from unrolled.leaderboard import (
    METRICS,
    RUN_HERE,
    Row,
    Table,
    as_csv,
    as_markdown,
    as_text,
    percent,
    read_json,
    shown,
    tables,
)

DAYS = 90  # of forecast against truth
ABOUT = {
    "mae": "One step ahead, true past known; lower is better.",
    "accuracy": "Higher is better; skill is on the share of errors.",
    "loss_nats": "Nats per character, each character scored once, the state carried through; lower is better.",
}


def leaderboard_text(root: Path) -> str:
    """Return the leaderboard for a terminal."""
    return as_text(tables(root))


def report_files(root: Path) -> dict[str, str]:
    """Return the content of index.html, leaderboard.csv and leaderboard.md.

    Equal inputs give equal bytes; the page's training times come from the sidecars, which are not hashed.
    """
    from jinja2 import Environment

    found = tables(root)
    template = (Path(__file__).parent / "page.html").read_text(encoding="utf-8")
    stand_ins = [table.task for table in found if any(row.data_source not in ("real", "") for row in table.rows)]
    page = Environment(autoescape=True).from_string(template)
    html = page.render(tasks=[_task(root, table) for table in found], stand_in=stand_ins)
    return {"index.html": html, "leaderboard.csv": as_csv(found), "leaderboard.md": as_markdown(found)}


def _task(root: Path, table: Table) -> dict[str, Any]:
    metrics = [metric for metric in METRICS if any(metric in row.scores for row in table.rows)]
    meta = read_json(root / "data" / "windows" / table.task / "meta.json")
    return {
        "name": table.task,
        "metric": table.metric,
        "unit": table.unit,
        "strongest": table.strongest,
        "metrics": metrics,
        "about": ABOUT.get(table.metric, ""),
        "rows": [_row(root, row, metrics) for row in table.rows],
        "figures": _figures(root, table, meta),
        "sources": _sources(root, table, meta),
    }


def _row(root: Path, row: Row, metrics: list[str]) -> dict[str, Any]:
    facts = _facts(root, row)
    return {
        "name": row.name,
        "label": row.name.replace("_", " ") if row.kind == "baseline" else row.name,
        "kind": row.kind,
        "scores": [shown(metric, row.scores.get(metric)) for metric in metrics],
        "skill": percent(row.skill),
        "tone": "" if row.skill is None or row.skill == 0 else "good" if row.skill > 0 else "bad",
        "parameters": f"{row.about['parameters']:,}" if "parameters" in row.about else "",
        "seconds": f"{facts['seconds']:.0f} s" if "seconds" in facts else "-" if row.kind == "model" else "",
        "data_source": row.data_source,
        "state": row.state,
    }


def _facts(root: Path, row: Row) -> dict[str, Any]:
    """Return the sidecar of a cell that was run here."""
    if row.kind != "model" or row.state != RUN_HERE:
        return {}
    model = read_json(root / "data" / "models" / f"{row.task}-{row.name}" / "meta.json")
    return read_json(root / "data" / "sidecars" / f"{model.get('identity')}.json")


def _figures(root: Path, table: Table, meta: dict[str, Any]) -> list[dict[str, str]]:
    models = [row for row in table.rows if row.kind == "model" and row.scores]
    drawn = []
    curves = {row.name: _history(root, row) for row in sorted(models, key=lambda row: row.name)}
    curves = {name: curve for name, curve in curves.items() if curve is not None}
    if curves:
        stand_in = any(row.data_source != "real" for row in models)
        caption = "Mean loss on validation after each epoch, in the space of the transformed target."
        svg = figures.learning_curves(curves, stand_in)
        drawn.append(_figure("Learning curves", f"Validation loss by epoch of {', '.join(curves)}", caption, svg))
    here = [row for row in models if row.state == RUN_HERE]
    if here and meta:
        drawn.append(_test_figure(root, table, here, meta))
    return drawn


def _test_figure(root: Path, table: Table, here: list[Row], meta: dict[str, Any]) -> dict[str, str]:
    stand_in = meta["source"] != "real"
    # Which row to draw is a choice, so it is made on validation.
    better = max if table.metric == "accuracy" else min
    best = better(here, key=lambda row: row.about[f"validation_{table.metric}"])
    folder = root / "data" / "predictions" / table.task
    told = pd.read_parquet(folder / best.name / "test.parquet")
    if meta["kind"] == "examples":
        svg = figures.confusion(told["actual"].to_numpy(), told["predicted"].to_numpy(), meta["classes"], stand_in)
        wrong = int((told["actual"] != told["predicted"]).sum())
        text = f"{best.name}, best on validation: {wrong:,} of {len(told):,} test images misread."
        return _figure("What is mistaken for what", f"Confusion matrix of {best.name}", text, svg)
    if meta["kind"] == "text":
        rows = sorted(here, key=lambda row: row.name)
        losses = {row.name: pd.read_parquet(folder / row.name / "test.parquet")["loss_nats"].to_numpy() for row in rows}
        text = "Mean loss over fortieths of the test text: the same passages are hard for all models."
        svg = figures.loss_along_text(losses, 40, stand_in)
        return _figure("Loss along the text", f"Loss by position of {', '.join(losses)}", text, svg)
    told = told[told["step"] == 1].tail(DAYS)
    lines = {best.name: told["predicted"].to_numpy()}
    baseline = root / "data" / "judgements" / table.task / "baselines.parquet"
    if table.strongest and baseline.is_file():
        lines[table.strongest] = pd.read_parquet(baseline)[table.strongest].to_numpy()[-len(told) :]
    svg = figures.forecast(told["date"], told["actual"].to_numpy(), lines, str(table.unit), stand_in)
    text = f"The last {len(told)} test days: {best.name}, best on validation, and the strongest baseline."
    return _figure("Forecast against truth", f"Actual values and forecasts of {', '.join(lines)}", text, svg)


def _figure(title: str, alt: str, caption: str, svg: str) -> dict[str, str]:
    return {"title": title, "alt": alt, "caption": caption, "svg": svg}


def _history(root: Path, row: Row) -> pd.DataFrame | None:
    path = root / "reports" / row.task / row.model / str(row.seed) / "history.csv"
    return pd.read_csv(path) if path.is_file() else None


def _sources(root: Path, table: Table, meta: dict[str, Any]) -> list[tuple[str, str]]:
    judgement = table.judgement
    sources = [
        ("data", str(judgement.get("data_source", "none yet"))),
        ("data digest", str(judgement.get("data_digest", ""))),
    ]
    if meta:
        sources += [(f"sha256 of {name}", value) for name, value in sorted(meta["raw_sha256"].items())]
        sources += [("attribution", meta["attribution"]), ("licence", meta["licence"])]
        parts = ", ".join(f"{name} {high - low:,}" for name, (low, high) in meta["splits"].items())
        sources.append(("targets", parts))
    commits = sorted({facts["commit"] for row in table.rows if (facts := _facts(root, row)).get("commit")})
    if commits:
        sources.append(("trained at commit", ", ".join(commit[:12] for commit in commits)))
    return sources


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the stage: ``python -m unrolled.report``."""
    from unrolled.arguments import parse_arguments
    from unrolled.checkout import project_root
    from unrolled.console import one_line_errors
    from unrolled.outputs import write_whole

    with one_line_errors():
        parse_arguments(sys.argv[1:] if arguments is None else arguments, {})
        root = project_root()
        for name, content in report_files(root).items():
            write_whole(root / "reports" / name, content)
        print(f"report: {root / 'reports' / 'index.html'}")


if __name__ == "__main__":
    main()
