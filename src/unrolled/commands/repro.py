"""Bring the whole grid up to date with DVC, several cells side by side if asked.

usage: unrolled repro [jobs=1]

One job is plain `dvc repro`. With more, what cells share is run first, then as many cells at a time as there are jobs,
then the rest. A cell takes one core (`trainer.threads`), so that the results are the same to the bit, whatever jobs is:
give as many as the machine has cores. What a cell says goes to outputs/logs/CELL.log. If one fails, the others run all the
same, and the command ends with exit code 1 and the names of those that failed.
"""

from collections.abc import Sequence

from unrolled.arguments import parse_arguments, whole_number
from unrolled.checkout import project_root
from unrolled.console import one_line_errors
from unrolled.grid import run_grid


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    with one_line_errors():
        count = whole_number(parse_arguments(arguments, {"jobs": "1"}), "jobs", low=1)
        run_grid(project_root(), count)
