"""Where the project is: found from the working directory, never from the installed file."""

from pathlib import Path

import unrolled
from unrolled.errors import UserError


def project_root(start: Path | None = None) -> Path:
    """Return the nearest folder at or above ``start`` (default: the working directory) that has a dvc.yaml.

    Raises:
        UserError: no such folder, or the imported ``unrolled`` is not this folder's own. DVC runs queued experiments in
            copies of the checkout; code from elsewhere would train something else than what is then recorded.
    """
    here = (start or Path.cwd()).resolve()
    root = next((folder for folder in (here, *here.parents) if (folder / "dvc.yaml").is_file()), None)
    if root is None:
        raise UserError(f"no dvc.yaml in {here} or above it; go into a checkout of unrolled and try again")
    code = Path(unrolled.__file__).resolve()
    if not code.is_relative_to(root):
        raise UserError(
            f"the code would come from {code.parent}, but this checkout is {root}; "
            f"put its own code first with PYTHONPATH={root / 'src'}"
        )
    return root
