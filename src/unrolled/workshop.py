"""`make run`: the workshop's own four pairs, from raw files to the report, in one go."""

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unrolled.addresses import public
from unrolled.check import check_cells, missing_data, read_params
from unrolled.checkout import project_root
from unrolled.console import one_line_errors
from unrolled.dvccommand import dvc_command, dvc_environment
from unrolled.errors import UserError
from unrolled.outputs import write_whole
from unrolled.privatecache import keep_private

PAIRS = {"energy": "rnn", "mnist": "lstm", "shakespeare": "gru", "bitcoin": "cnn_lstm"}
BANNER = """
{line}
  STAND-IN DATA: neither a mirror nor the publishers could be reached.
{reasons}
  Going on with generated data of the same form. No score of this run says anything about the real data,
  and everything that shows one says so. params.yaml now says `data: stand-in`; with a network, or with
  UNROLLED_MIRROR set to a folder or an address that has the files, `make run` sets it back to real.
{line}
"""


def main() -> None:
    """Check everything first, then run the stages with DVC and show the leaderboard."""
    from unrolled.trackingstore import tracking_uri  # the address only: no MLflow yet

    with one_line_errors():
        root = project_root()
        keep_private(root)
        params = read_params(root)
        check_cells(root, {name: params["cells"][name] for name in cells_of(params)}, params["trainer"])
        print("configuration: the four pairs compose and build", flush=True)
        choose_data(root, os.environ.get("UNROLLED_MIRROR"))
        run_dvc(root, *(f"evaluate@{name}" for name in cells_of(params)))
        run_dvc(root, *(f"baseline@{task}" for task in PAIRS))
        # Alone: ensemble, judge and report would pull in the rest of the grid.
        run_dvc(root, "--single-item", *(f"ensemble@{task}" for task in PAIRS))
        run_dvc(root, "--single-item", *(f"judge@{task}" for task in PAIRS))
        run_dvc(root, "--single-item", "report")

        from unrolled.report import leaderboard_text

        print(leaderboard_text(root))
        print(f"report:    {(root / 'reports' / 'index.html').as_uri()}")
        uri = tracking_uri(root)
        print(f"MLflow UI: make ui   (runs are in {public(uri, uri)})")


def cells_of(params: Mapping[str, Any]) -> list[str]:
    """Return the names of the four pairs' cells.

    Raises:
        UserError: params.yaml has not all of them.
    """
    names = [f"{task}-{model}-0" for task, model in PAIRS.items()]
    for name in names:
        if name not in params["cells"]:
            raise UserError(
                f"params.yaml has no cell {name}; `make run` needs it: `git diff params.yaml` shows the change"
            )
    return names


def choose_data(root: Path, mirror: str | None) -> None:
    """Set ``data:`` in params.yaml to real where every task's files can be had, else to stand-in, loudly."""
    missing = dict(missing_data(root, PAIRS, mirror))
    set_data(root / "params.yaml", "stand-in" if missing else "real")
    if missing:
        reasons = "\n".join(f"    {task}: {reason}" for task, reason in missing.items())
        print(BANNER.format(line="!" * 100, reasons=reasons), flush=True)
    else:
        print(f"data: real, from {public(mirror, mirror) if mirror else 'the publishers'}", flush=True)


def set_data(params: Path, value: str) -> None:
    """Set the line ``data:`` of params.yaml and leave all else, comments included, as it is.

    Raises:
        UserError: the file has no such line.
    """
    text = params.read_text(encoding="utf-8")
    changed, count = re.subn(r"(?m)^(data:[ \t]*)[\w-]+", rf"\g<1>{value}", text)
    if count != 1:
        raise UserError(f"{params} has {count} lines `data: real` or `data: stand-in`; expected one")
    if changed != text:
        write_whole(params, changed)


def run_dvc(root: Path, *targets: str) -> None:
    """Run ``dvc repro`` with this Python first on the path.

    Raises:
        UserError: a stage failed; it has said why.
    """
    done = subprocess.run(dvc_command("repro", *targets), cwd=root, env=dvc_environment())
    if done.returncode:
        raise UserError(
            f"`dvc repro {' '.join(targets)}` stopped; its own message is above; run `make run` again after mending"
        )


if __name__ == "__main__":
    main()
