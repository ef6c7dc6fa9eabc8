"""Train a cell again and compare its bits with its receipt's, or hash all data anew.

usage: unrolled verify energy-gru-0 [steps=64] [trainer.threads=2 ...]
       unrolled verify data

A cell is trained in a temporary folder; data/, reports/ and MLflow stay as they are. The last line is the verdict: bit-equal,
equal within tolerance (another machine, thread count or precision) or differs, with exit code 1. steps=N only trains and
compares the first N steps.

`data` hashes everything that dvc.lock names, in the checkout and in DVC's cache. `dvc status` goes by times and sizes, which
a bit that flips on a disk leaves as they are. Each file that is missing or damaged is named with the command that brings it
back; nothing is changed here. Ends with exit code 1 if there is one.
"""

import sys
import time
from collections.abc import Sequence

from unrolled.arguments import parse_arguments, whole_number
from unrolled.checkout import project_root
from unrolled.console import one_line_errors
from unrolled.errors import UserError


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    with one_line_errors():
        what, *more = arguments or ("",)
        if what == "data":
            parse_arguments(more, {})
            verify_all_data()
        elif not what or "=" in what:
            raise UserError(
                "nothing to verify was named; expected: unrolled verify energy-gru-0, or: unrolled verify data"
            )
        else:
            verify_cell(what, more)


def verify_cell(cell: str, arguments: Sequence[str]) -> None:
    """Verify a cell; ends with exit code 1 if it differs."""
    root = project_root()
    own = parse_arguments([text for text in arguments if text.startswith("steps=")], {"steps": None})
    steps = None if own["steps"] is None else whole_number(own, "steps", low=1)

    from unrolled.verify import verify

    found = verify(root, cell, [text for text in arguments if not text.startswith("steps=")], steps)
    print("\n".join([*found.details, found.line]))
    if found.kind == "differs":
        sys.exit(1)


def verify_all_data() -> None:
    """Verify the data.

    Raises:
        UserError: something is not what dvc.lock says.
    """
    from unrolled.verifydata import Hasher, verify_data

    hasher, began = Hasher(), time.perf_counter()
    findings = verify_data(project_root(), hasher)
    for finding in findings:
        print(f"{finding.path}: {finding.problem}; mend it with: {finding.mend}")
    seconds = time.perf_counter() - began
    print(f"{hasher.files:,} files, {hasher.size / 1e6:,.0f} MB hashed in {seconds:.1f} s")
    if findings:
        raise UserError(
            f"{len(findings)} not as dvc.lock says (above); run the commands in that order, then `unrolled verify data` again"
        )
    print("all as dvc.lock says, here and in DVC's cache")
