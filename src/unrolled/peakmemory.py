"""How much memory a process has taken at its height, and where it is noted for a stage."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOTES = Path("data", "sidecars", "stages")


def peak_bytes() -> int | None:
    """Return the most memory that this process has held at a time, in bytes; None where no account is kept."""
    status = Path("/proc/self/status")
    if status.is_file():
        # Not getrusage: on Linux what it says starts with what the process that started this one held.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@contextmanager
def told_peak() -> Iterator[None]:
    """Tell at the end of a stage that DVC runs what it took, and note it in ``data/sidecars/stages``, which is hashed nowhere."""
    yield
    stage, peak = os.environ.get("DVC_STAGE"), peak_bytes()
    if stage and peak:
        from unrolled.outputs import write_whole
        from unrolled.sidecar import main_checkout

        print(f"{stage}: {peak / 1e6:,.0f} MB of memory at its height")
        write_whole(main_checkout(Path.cwd()) / NOTES / f"{stage}.json", json.dumps({"peak_bytes": peak}) + "\n")
