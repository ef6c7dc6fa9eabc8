"""Hash anew everything that dvc.lock names, in the checkout and in DVC's cache, and say what is not as it was.

usage: unrolled verify data

`dvc status` goes by times and sizes, which a bit that flips on a disk leaves as they are. Each file that is missing or
damaged is named with the command that brings it back; nothing is changed here. Ends with exit code 1 if there is one.
"""

import time
from collections.abc import Sequence

from unrolled.checkout import project_root
from unrolled.console import one_line_errors
from unrolled.errors import UserError


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    with one_line_errors():
        if list(arguments) != ["data"]:
            raise UserError(f"cannot verify {' '.join(arguments) or 'nothing'}; expected: unrolled verify data")
        verify()


def verify() -> None:
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
