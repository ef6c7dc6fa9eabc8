"""Counts faults tried, survived and left out while ``make chaos`` runs; writes reports/reliability.md from what was counted.

python tests/reliability.py RECORD reports/reliability.md
"""

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

RECORD = "UNROLLED_RELIABILITY"  # the environment's name for the file with a line per fault
BUDGET_MINUTES = 25  # of `make chaos`, on two cores
INTRODUCTION = """\
# Faults tried, faults survived

Written by `make chaos`, which injects each of these into real processes, real files and real servers on 127.0.0.1. Survived
means: what went wrong was named, the same command again (or the one that the message gives) finished, and every output had
the bytes of an undisturbed run. Of an input that no command can mend (damaged, hostile, too large, or a training that diverges
on it) it means what its heading or row says, and that the message told what to do.

"""


@contextmanager
def counted(kind: str, promise: str, test: str) -> Iterator[None]:
    """Count one fault as tried, and as survived if the block ends without an error.

    Args:
        kind: a heading of the report.
        promise: what was tried, a row of the report.
        test: how pytest names what tries it.
    """
    survived = False
    try:
        yield
        survived = True
    finally:
        _note(kind=kind, promise=promise, test=test, survived=survived)


def not_tried(test: str, reason: str) -> None:
    """Note that a test, or one of its parameters, came to no fault, and why."""
    _note(test=test, not_tried=" ".join(reason.split()))


def began() -> None:
    """Note the time."""
    _note(began=time.time())


def ended() -> None:
    """Note the time."""
    _note(ended=time.time())


def _note(**line: Any) -> None:
    if RECORD in os.environ:
        with Path(os.environ[RECORD]).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def summary(lines: list[dict[str, Any]]) -> str:
    """Return how many faults were tried, survived and left out, and how long that took."""
    survived = [line["survived"] for line in lines if "survived" in line]
    left_out = sum("not_tried" in line for line in lines)
    told = f"{len(survived)} faults tried, {sum(survived)} survived, {left_out or 'no'} tests not tried"
    times = {key: line[key] for line in lines for key in ("began", "ended") if key in line}
    if len(times) < 2:
        return f"{told}; stopped before the end"
    minutes = (times["ended"] - times["began"]) / 60
    kept = "of the" if minutes <= BUDGET_MINUTES else "instead of the"
    return f"{told}; {minutes:.1f} minutes {kept} {BUDGET_MINUTES} that it may take"


def report(lines: list[dict[str, Any]]) -> str:
    """Return the report: what was not tried, then a table for each kind with a row for each promise."""
    rows: dict[tuple[str, str, str], list[bool]] = {}
    counted = [line for line in lines if "survived" in line]
    for line in sorted(counted, key=lambda line: (line["kind"], line["test"], line["promise"])):
        rows.setdefault((line["kind"], line["promise"], line["test"]), []).append(line["survived"])
    told = INTRODUCTION + f"**{summary(lines)}.**\n"
    left_out = Counter((line["test"], line["not_tried"]) for line in lines if "not_tried" in line)
    if left_out:
        told += "\n## Not tried\n\n| tests | not tried | because |\n|---|---|---|\n"
    for (test, reason), count in sorted(left_out.items()):
        told += f"| `{test}` | {count} | {reason.replace('|', '&#124;')} |\n"
    for kind in dict.fromkeys(row[0] for row in rows):
        told += f"\n## {kind}\n\n| fault | tried | survived | again with `pytest -m chaos ...` |\n|---|---|---|---|\n"
        for (of, promise, test), found in rows.items():
            if of == kind:
                told += f"| {promise} | {len(found)} | {sum(found)} | `{test}` |\n"
    return told


def main() -> None:
    """Write the report."""
    record, place = map(Path, sys.argv[1:])
    lines = [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()]
    place.write_text(report(lines), encoding="utf-8")
    print(f"{place}: {summary(lines)}")


if __name__ == "__main__":
    main()
