"""A run's identity: the hash of what was asked for, of the data and of the code."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

SECTIONS = ("task", "model", "seed", "window", "encoder", "head", "training", "trainer")
# Trainer arguments that change what is shown and nothing that is learned.
DISPLAY = frozenset({"enable_progress_bar", "enable_model_summary", "log_every_n_steps", "logger", "default_root_dir"})


def asked_of(config: Mapping[str, Any], data_digest: str, code: str) -> dict[str, Any]:
    """Return all that a run's weights follow from on a given machine: the configuration, the data, the code.

    Args:
        config: the configuration as asked, before ``auto`` becomes a device or a precision.
        data_digest: the windows' digest.
        code: what ``code_digest`` returned for the modules that train.
    """
    asked = {section: config[section] for section in SECTIONS}
    asked["trainer"] = {key: value for key, value in asked["trainer"].items() if key not in DISPLAY}
    return {"config": asked, "data": data_digest, "code": code}


def identity_of(asked: Mapping[str, Any]) -> str:
    """Return the sha256 (hex) that names the run that ``asked_of`` describes: same identity, same weights on one machine."""
    canonical = json.dumps(asked, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def code_digest(files: Iterable[Path], src: Path) -> str:
    """Return the sha256 (hex) over names (relative to ``src``) and contents of ``files``, in whatever order they come."""
    content = hashlib.sha256()
    for name, path in sorted((path.relative_to(src).as_posix(), path) for path in files):
        content.update(f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return content.hexdigest()
