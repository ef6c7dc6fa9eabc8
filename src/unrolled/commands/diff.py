"""Explain two runs: what differed in their inputs, and the first step where their results part.

usage: unrolled diff A B

A and B are cells (energy-gru-0), cells of another commit (HEAD~1:energy-gru-0), paths of receipts or model folders. With both
model folders at hand the step is exact and settings have names; receipts alone give the step between two powers of two.
Ends with exit code 1 if the results are not the same.
"""

import sys
from collections.abc import Sequence

from unrolled.checkout import project_root
from unrolled.console import one_line_errors
from unrolled.errors import UserError


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    from unrolled.receiptdiff import explain, find_side, same_results

    with one_line_errors():
        root = project_root()
        if len(arguments) != 2:
            raise UserError(f"{len(arguments)} names were given, expected two: unrolled diff A B")
        a, b = (find_side(root, name) for name in arguments)
        print("\n".join(explain(a, b)))
        same = same_results(a, b)
    if not same:
        sys.exit(1)
