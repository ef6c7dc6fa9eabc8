"""Print the composed configuration and where each value comes from.

usage: unrolled config task=energy model=gru [key=value ...]

The same overrides as `unrolled train` takes. Order of precedence, lowest first: conf/task/<task>.yaml,
conf/model/<model>.yaml, the command line. Nothing is run.
"""

from collections.abc import Sequence

from unrolled.checkout import project_root
from unrolled.config import compose_config, origins
from unrolled.console import one_line_errors


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    with one_line_errors():
        root = project_root()
        rows = list(origins(compose_config(arguments, root), arguments, root))
    width = max(len(f"{key}: {_shown(value)}") for key, value, _ in rows)
    for key, value, home in rows:
        print(f"{f'{key}: {_shown(value)}':<{width}}  # {home}")


def _shown(value: object) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
