"""The cards of the grid's cells, as files beside their scores."""

from pathlib import Path

from unrolled.leaderboard import RUN_HERE, tables


def cards(root: Path) -> dict[str, str]:
    """Return ``<task>/<model>/<seed>/card.md`` under reports/ for every cell that was run here.

    Raises:
        UserError: a model folder is damaged.
    """
    from unrolled.card import card
    from unrolled.runrecord import judged_cell, read_trained

    written = {}
    for table in tables(root):
        for cell in table.all_cells():
            folder = root / "data" / "models" / f"{cell.task}-{cell.name}"
            if cell.state == RUN_HERE and (folder / "meta.json").is_file():
                record = read_trained(root, folder).record
                written[f"{cell.task}/{cell.model}/{cell.seeds[0]}/card.md"] = card(record, judged_cell(root, record))
    return written
