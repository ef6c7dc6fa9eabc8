"""Counts faults tried and survived while ``make chaos`` runs, and writes reports/reliability.md from what was counted.

python tests/reliability.py RECORD reports/reliability.md
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

RECORD = "UNROLLED_RELIABILITY"  # the environment's name for the file with a line per fault
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
        if RECORD in os.environ:
            line = json.dumps({"kind": kind, "promise": promise, "test": test, "survived": survived})
            with Path(os.environ[RECORD]).open("a", encoding="utf-8") as file:
                file.write(line + "\n")


def report(lines: list[dict[str, Any]]) -> str:
    """Return the report: a table for each kind, a row for each promise."""
    rows: dict[tuple[str, str, str], list[bool]] = {}
    for line in sorted(lines, key=lambda line: (line["kind"], line["test"], line["promise"])):
        rows.setdefault((line["kind"], line["promise"], line["test"]), []).append(line["survived"])
    survived = sum(sum(found) for found in rows.values())
    told = INTRODUCTION + f"**{len(lines)} faults tried, {survived} survived.**\n"
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
    print(f"{place}: {len(lines)} faults tried, {sum(line['survived'] for line in lines)} survived")


if __name__ == "__main__":
    main()
