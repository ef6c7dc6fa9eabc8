"""A task's figures, sources and training times as the page shows them, kept in git beside its scores.

They are drawn from the task's predictions. Where those are not, in a clone that ran another task alone, the page shows what was
committed, and trusts it as it trusts the rest of the checkout: it goes into the page as it is.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from unrolled import jsonfile
from unrolled.errors import UserError
from unrolled.leaderboard import RUN_HERE, Table, read_json
from unrolled.sections import task_figures
from unrolled.sidecar import read_sidecar
from unrolled.templates import rendered


@dataclass(frozen=True)
class Section:
    """What the page shows below a task's leaderboard.

    Attributes:
        html: figures and sources; trusted markup.
        seconds: how long each cell trained, by name (``gru-0``), as far as that is known.
        kept: whether it is the committed one.
    """

    html: Markup
    seconds: Mapping[str, float]
    kept: bool = False


def section(root: Path, table: Table) -> Section:
    """Return a task's section: made from its predictions if all that was judged is here, else as it was committed.

    A committed one counts only with the judgement and the cells that it was made with; without it, the section has the figures
    that the files allow.

    Raises:
        UserError: a file is damaged.
    """
    kept = _kept(root, table)
    if kept and not is_whole(root, table):
        return kept
    facts = _facts(root, table)
    # A model that came out of DVC's cache has no sidecar here.
    seconds = dict(kept.seconds if kept else {})
    seconds |= {name: float(told["seconds"]) for name, told in facts.items() if "seconds" in told}
    commits = sorted({str(told["commit"]) for told in facts.values() if told.get("commit")})
    html = rendered(
        "section.html", name=table.task, figures=task_figures(root, table), sources=_sources(root, table, commits)
    )
    return Section(html, seconds)


def is_whole(root: Path, table: Table) -> bool:
    """Return whether all that the task's judgement is about was run here, so that nothing is missing from its figures."""
    judged = [cell for cell in table.all_cells() if cell.judged]
    details = root / "data" / "judgements" / table.task / "details.json"
    return bool(judged) and all(cell.state == RUN_HERE for cell in judged) and details.is_file()


def as_json(table: Table, made: Section) -> str:
    """Return the content of ``reports/<task>/section.json``."""
    told = {"made_with": _made_with(table), "seconds": dict(made.seconds), "html": str(made.html)}
    return json.dumps(told, indent=1, ensure_ascii=False) + "\n"


def _kept(root: Path, table: Table) -> Section | None:
    place = root / "reports" / table.task / "section.json"
    if not place.is_file():
        return None
    again = f"`git restore {place.relative_to(root)}` brings the committed one back"
    told = jsonfile.read_json(place, dict, again)
    html, seconds = told.get("html"), told.get("seconds")
    if not isinstance(html, str) or not isinstance(seconds, dict) or not all(map(_is_duration, seconds.values())):
        raise UserError(f"{place} is damaged (it needs html, a text, and seconds, a number for each cell); {again}")
    if not table.judgement or told.get("made_with") != _made_with(table):
        return None
    return Section(Markup(html), seconds, kept=True)


def _is_duration(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


def _made_with(table: Table) -> str:
    """Return a sha256 (hex) over the judgement and the names of the cells that it holds for."""
    told = {"judgement": table.judgement, "cells": sorted(cell.name for cell in table.all_cells() if cell.judged)}
    return hashlib.sha256(json.dumps(told, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _facts(root: Path, table: Table) -> dict[str, dict[str, Any]]:
    """Return by cell the sidecars of those that were run here."""
    found = {}
    for cell in table.all_cells():
        if cell.state == RUN_HERE:
            model = read_json(root / "data" / "models" / f"{cell.task}-{cell.name}" / "meta.json")
            found[cell.name] = read_sidecar(root, str(model.get("identity"))) or {}
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
