"""How DVC is started from here: with this Python, which is also the one that the stages find."""

import os
import sys
from pathlib import Path


def dvc_command(*arguments: str) -> tuple[str, ...]:
    """Return the command line of DVC with ``arguments``."""
    return sys.executable, "-m", "dvc", *arguments


def dvc_environment() -> dict[str, str]:
    """Return the environment with this Python first on the path."""
    return os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
