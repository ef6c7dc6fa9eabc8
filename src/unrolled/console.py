"""What every command shares at its edge: errors in one line, an exit code, and quiet tools."""

import errno
import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unrolled.errors import UserError
from unrolled.peakmemory import told_peak
from unrolled.stageguard import guarded_stage, stopped_cleanly


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn a mistake that the user can mend, or a machine without room, into one line and exit code 1.

    Asked to stop, a command puts in order what it holds and ends without a traceback; see ``stageguard`` for DVC's stages.
    """
    try:
        with stopped_cleanly(), guarded_stage(), told_peak():
            yield
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except UserError as error:
        sys.exit(f"error: {' '.join(str(error).splitlines())}{_restore_hint()}")
    except OSError as error:
        sys.exit(f"error: {_refusal(error)}, then run again{_restore_hint()}")
    except (MemoryError, RuntimeError) as error:
        if not _memory_is_short(error):
            raise
        lower = "lower encoder.hidden_size, training.batch_size or window.context"
        sys.exit(f"error: there is not enough memory; {lower}, then run again{_restore_hint()}")


def _refusal(error: OSError) -> str:
    """Return what the file system refused, where, and what to do about it."""
    said = error.strerror or " ".join(str(error).split())
    # numpy and pyarrow tell a full disk in words of their own.
    full = error.errno in (errno.ENOSPC, errno.EDQUOT) or re.search(
        r"\d+ requested and \d+ written|No space left", said
    )
    # Of a copy's two files the second is the one that could not be written.
    place = error.filename2 or error.filename
    if isinstance(place, str) and Path(place).name.startswith((".", "tmp")):
        place = str(Path(place).parent)  # a temporary file of ours: the folder is what the user knows
    where = f": {place}" if place else ""
    if full:
        return f"No space left on device{where}; make room"
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return f"{said}{where}; make it writable"
    return f"{said}{where}; put it right"


def _memory_is_short(error: Exception) -> bool:
    """Tell whether Python, or torch in words of its own, found no room for an array."""
    return isinstance(error, MemoryError) or re.search(r"out of memory|can't allocate memory", str(error)) is not None


def _restore_hint() -> str:
    """DVC deletes a stage's outputs before it runs; say how the earlier ones come back."""
    stage = os.environ.get("DVC_STAGE")
    if not stage:
        return ""
    if stage.startswith("fetch@"):
        return " (the files that this stage fetched earlier stay as they were)"
    return (
        f" (DVC removed this stage's earlier outputs: `dvc checkout {stage}` brings them back; files under reports/ come "
        "back with `git restore reports`)"
    )
