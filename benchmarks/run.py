"""Rerun the benchmarks and write reports/benchmarks.json and reports/benchmarks.md.

usage: python benchmarks/run.py [--quick] [NAME ...]     (with .venv; `make bench` runs them all)

Without names every comparison runs; those that are not named keep what an earlier run recorded. --quick is a trial of a few
minutes whose figures are marked as such. Libraries to compare with are wanted in benchmarks/.venv (`make bench` puts
requirements.lock there); what is not installed is reported as not run. An otherwise idle machine is taken for granted.
"""

import sys
from collections.abc import Sequence
from importlib import import_module

from measuring import Section, progress, record
from taskdata import ROOT

COMPARISONS = (
    "training_throughput",
    "rivals",
    "generation",
    "precision",
    "growth",
    "startup",
    "grid_jobs",
    "tracking_cost",
    "long_memory",
)


def main(arguments: Sequence[str]) -> None:
    """Run the named comparisons, or all, and record each as soon as it is done."""
    flags = [argument for argument in arguments if argument.startswith("-")]
    names = [argument for argument in arguments if not argument.startswith("-")]
    if "-h" in flags or "--help" in flags:
        print(__doc__)
        return
    wrong = [flag for flag in flags if flag != "--quick"] + [name for name in names if name not in COMPARISONS]
    if wrong:
        sys.exit(f"error: cannot read {wrong[0]!r}; valid: --quick, {', '.join(COMPARISONS)}")
    for name in names or COMPARISONS:
        progress(name)
        section: Section = import_module(name).measure("--quick" in flags)
        record({name: section}, "--quick" in flags, ROOT / "reports")
    print(f"written: {ROOT / 'reports' / 'benchmarks.md'}")


if __name__ == "__main__":
    main(sys.argv[1:])
