"""What every command shares at its edge: errors in one line, an exit code, and quiet tools."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from unrolled.errors import UserError


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn a mistake that the user can mend, or a file system that refuses, into one line and exit code 1."""
    try:
        yield
    except UserError as error:
        sys.exit(f"error: {error}{_restore_hint()}")
    except OSError as error:
        place = f": {error.filename}" if error.filename else ""
        sys.exit(
            f"error: {error.strerror or error}{place}; make room or make it writable, then run again{_restore_hint()}"
        )


def _restore_hint() -> str:
    """DVC deletes a stage's outputs before it runs; say how the earlier ones come back."""
    stage = os.environ.get("DVC_STAGE")
    if not stage:
        return ""
    return (
        f" (DVC removed this stage's earlier outputs: `dvc checkout {stage}` brings them back; files under reports/ come "
        "back with `git restore reports`)"
    )
