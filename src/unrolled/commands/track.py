"""Complete MLflow's mirror from the files: every trained run once.

usage: unrolled track

For runs that were restored from DVC's cache, or trained while the tracking server was away. A run whose process was killed before
it could say so is marked KILLED. The server is MLFLOW_TRACKING_URI, or mlflow.db in the checkout.
"""

from collections.abc import Sequence

from unrolled.arguments import parse_arguments
from unrolled.checkout import project_root
from unrolled.console import one_line_errors


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    from unrolled.tracking import track

    with one_line_errors():
        parse_arguments(arguments, {})
        track(project_root())
