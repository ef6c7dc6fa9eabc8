"""Check, before anything runs, that every cell of params.yaml composes and builds and that its data can be had.

usage: unrolled check

Nothing is trained or written. UNROLLED_MIRROR, if set, is looked at first, as `unrolled fetch` would.
"""

import os
from collections.abc import Sequence

from unrolled.arguments import parse_arguments
from unrolled.checkout import project_root
from unrolled.console import one_line_errors
from unrolled.errors import UserError


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    from unrolled.check import check_cells, missing_data, read_params

    with one_line_errors():
        parse_arguments(arguments, {})
        root = project_root()
        params = read_params(root)
        check_cells(root, params["cells"], params["trainer"])
        print(f"configuration: {len(params['cells'])} cells compose and build, trainer={params['trainer']}", flush=True)
        if params["data"] != "real":
            print("data: stand-ins, as params.yaml says; nothing to fetch")
            return
        missing = dict(missing_data(root, params["tasks"], os.environ.get("UNROLLED_MIRROR")))
        if missing:
            reasons = "; ".join(f"{task}: {why}" for task, why in missing.items())
            raise UserError(
                f"real data cannot be had ({reasons}); set UNROLLED_MIRROR to a folder or an address that has the files, "
                "or say `data: stand-in` in params.yaml"
            )
        print(f"data: real files of {', '.join(params['tasks'])} are there or can be fetched")
