"""The cards of the grid's cells and ensembles, as files beside their scores."""

from pathlib import Path

from unrolled.leaderboard import RUN_HERE, Row, read_json, tables
from unrolled.predicted import ENSEMBLE, predictions_of


def cards(root: Path) -> dict[str, str]:
    """Return ``<task>/<model>/<seed>/card.md`` under reports/ for every cell and ensemble that was run here.

    Raises:
        UserError: a model folder is damaged.
    """
    from unrolled.card import card
    from unrolled.runrecord import judged_cell, read_trained

    written = {}
    for table in tables(root):
        for cell in table.all_cells():
            place = f"{cell.task}/{cell.model}/{cell.seeds[0]}/card.md"
            folder = root / "data" / "models" / f"{cell.task}-{cell.name}"
            if cell.state != RUN_HERE:
                continue
            if cell.model == ENSEMBLE:
                written[place] = _ensemble(root, cell)
            elif (folder / "meta.json").is_file():
                record = read_trained(root, folder).record
                written[place] = card(record, judged_cell(root, record))
    return written


def _ensemble(root: Path, cell: Row) -> str:
    from unrolled.card import ensemble_card
    from unrolled.runrecord import RunRecord, judged_cell

    about = read_json(predictions_of(root, cell.task, cell.name) / "meta.json")
    windows = read_json(root / "data" / "windows" / cell.task / "meta.json")
    record = RunRecord(about["identity"], {key: about[key] for key in ("task", "model", "seed")}, windows)
    return ensemble_card(record, about, judged_cell(root, record))
