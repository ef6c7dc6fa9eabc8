"""Every model against every other on the same test rows, as a matrix that also reads without its colours."""

from collections.abc import Mapping
from typing import Any

from unrolled.figures import Cell, Figure, Grid
from unrolled.leaderboard import Table
from unrolled.shown import difference_shown, p_shown, percent, range_shown

LEVEL = 0.05
WORDS = {"beats": "ahead", "loses": "behind", "ties": "even"}
OPPOSITE = {"beats": "loses", "loses": "beats", "ties": "ties"}


def comparison(told: Mapping[str, Any], unit: str | None, metric: str, stand_in: bool) -> Figure:
    """Return the matrix of one group of models.

    Args:
        told: an entry of ``comparisons`` in details.json.
        unit: of the losses, or None.
        metric: that orders the task's rows.
        stand_in: mark the figure.
    """
    models = sorted(told["models"], key=lambda name: (told["models"][name]["loss"], name))
    pairs: dict[tuple[str, str], tuple[str, float, float]] = {}
    for pair in told["pairs"]:
        a, b, verdict = pair["a"], pair["b"], pair["verdict"]
        pairs[a, b] = (verdict, pair["difference"], pair["p_holm"])
        pairs[b, a] = (OPPOSITE[verdict], -pair["difference"], pair["p_holm"])
    rows: list[list[Cell | str]] = []
    for model in models:
        size = told["models"][model]["parameters"]
        row: list[Cell | str] = [Cell(model, f"{size:,} parameters" if size else "")]
        row += [_cell(pairs.get((model, other)), metric) for other in models]
        rows.append(row)
    decided = sum(pair["verdict"] != "ties" for pair in told["pairs"])
    what = {"accuracy": "share misread", "loss_nats": "nats per character"}.get(metric, f"mean absolute error, {unit}")
    return Figure(
        f"Models compared: {told['title'][0].lower()}{told['title'][1:]}",
        f"Is the row's model ahead of the column's? Differences ({what}; below 0 the row is better) on the same test rows, "
        f"losses averaged over seeds, p-values corrected after Holm for all {len(told['pairs'])} pairs. At 5 %, "
        f"{decided} of them {'is' if decided == 1 else 'are'} told apart.",
        grids=[Grid(told["title"], ["", *models], rows, "comparison")],
        stand_in=stand_in,
    )


def _cell(pair: tuple[str, float, float] | None, metric: str) -> Cell:
    if pair is None:
        return Cell("", class_="self")
    verdict, difference, p = pair
    # Losses are errors: for a classifier the share misread, so that below 0 is better there too.
    size = difference_shown(metric, difference).replace("-", "\N{MINUS SIGN}")
    return Cell(WORDS[verdict], f"{size}, p {p_shown(p)}", verdict)


def against_baselines(table: Table, stand_in: bool) -> Figure | None:
    """Return every judged model against every baseline, or None if that would only repeat the leaderboard."""
    models = [row for row in table.rows if row.kind == "model" and row.judged]
    baselines = [row.name for row in table.rows if row.kind == "baseline"]
    if not models or len(baselines) < 2:
        return None
    rows: list[list[Cell | str]] = [
        [row.name, *(_against(row.judged["against"].get(name)) for name in baselines)] for row in models
    ]
    return Figure(
        "Against every baseline",
        "The verdict is against the strongest simple baseline; here are the others too, classical models among them. Share "
        "of the column's error that the row saves, its 95 % interval and the test's p-value, uncorrected. "
        "A baseline that only has a total (a compressor) allows no test.",
        grids=[
            Grid(
                "Models against every baseline",
                ["", *(name.replace("_", " ") for name in baselines)],
                rows,
                "comparison",
            )
        ],
        stand_in=stand_in,
    )


def _against(told: Mapping[str, Any] | None) -> Cell:
    if told is None:
        return Cell("")
    p, skill = told["p_value"], told["skill"]
    if p is None:
        return Cell(percent(skill), "no test")
    verdict = "ties" if not p < LEVEL or skill == 0 else "beats" if skill > 0 else "loses"
    between = range_shown(told["skill_low"], told["skill_high"])
    return Cell(f"{percent(skill)}, {WORDS[verdict]}", f"{between}, p {p_shown(p)}", verdict)
