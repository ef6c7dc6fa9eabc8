"""A task's figures, sources and training times as the page shows them, kept in git beside its scores.

They are drawn from the task's predictions. Where those are not, in a clone that ran another task alone, the page shows what was
committed.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from unrolled.leaderboard import RUN_HERE, Table, read_json
from unrolled.sections import task_figures
from unrolled.templates import rendered


@dataclass(frozen=True)
class Section:
    """What the page shows below a task's leaderboard.

    Attributes:
        html: figures and sources; trusted markup.
        seconds: how long each cell trained, by name (``gru-0``), as far as that is known.
    """

    html: Markup
    seconds: Mapping[str, float]


def section(root: Path, table: Table) -> Section:
    """Return a task's section, made from its predictions or, if none of it was run here, as it was committed.

    A committed one counts only with the judgement that it was made with; without it, the section has the figures that the other
    committed files allow.

    Raises:
        UserError: a file is damaged.
    """
    kept = {} if run_here(table) else read_json(_place(root, table.task))
    if kept.get("judgement") == _checksum(table) and {"html", "seconds"} <= kept.keys():
        return Section(Markup(kept["html"]), kept["seconds"])
    facts = _facts(root, table)
    seconds = {name: float(told["seconds"]) for name, told in facts.items() if "seconds" in told}
    commits = sorted({str(told["commit"]) for told in facts.values() if told.get("commit")})
    html = rendered(
        "section.html", name=table.task, figures=task_figures(root, table), sources=_sources(root, table, commits)
    )
    return Section(html, seconds)


def run_here(table: Table) -> bool:
    """Return whether any cell of the task has its predictions here."""
    return any(cell.state == RUN_HERE for cell in table.all_cells())


def as_json(table: Table, made: Section) -> str:
    """Return the content of ``reports/<task>/section.json``."""
    told = {"judgement": _checksum(table), "seconds": dict(made.seconds), "html": str(made.html)}
    return json.dumps(told, indent=1, ensure_ascii=False) + "\n"


def _place(root: Path, task: str) -> Path:
    return root / "reports" / task / "section.json"


def _checksum(table: Table) -> str:
    canonical = json.dumps(table.judgement, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _facts(root: Path, table: Table) -> dict[str, dict[str, Any]]:
    """Return by cell the sidecars of those that were run here."""
    found = {}
    for cell in table.all_cells():
        if cell.state == RUN_HERE:
            model = read_json(root / "data" / "models" / f"{cell.task}-{cell.name}" / "meta.json")
            found[cell.name] = read_json(root / "data" / "sidecars" / f"{model.get('identity')}.json")
    return found


def _sources(root: Path, table: Table, commits: list[str]) -> list[tuple[str, str]]:
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
    if commits:
        sources.append(("trained at commit", ", ".join(commit[:12] for commit in commits)))
    return sources
