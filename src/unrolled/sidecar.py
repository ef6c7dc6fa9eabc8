"""What cannot repeat bit for bit about a run, kept beside the hashed outputs: times, host, commit, versions."""

import json
import os
import platform
import socket
import subprocess
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import unrolled
from unrolled.jsonfile import read_json
from unrolled.outputs import write_whole
from unrolled.peakmemory import peak_bytes

PACKAGES = ("torch", "pytorch-lightning", "mlflow", "numpy")
# What decides a run. Not dvc.lock and reports/, which the pipeline itself rewrites while it runs.
SOURCES = ("src", "conf", "params.yaml", "dvc.yaml")


def main_checkout(root: Path) -> Path:
    """Return the checkout that outlives the run: ``root``, or the one that DVC copied it from.

    DVC runs queued and ``--temp`` experiments in ``.dvc/tmp/exps`` and removes the copy afterwards; for those it sets
    DVC_ROOT to the original. A DVC_ROOT that ``root`` does not lie in belongs to somebody else's pipeline.
    """
    outer = os.environ.get("DVC_ROOT")
    if outer and root.resolve().is_relative_to(Path(outer).resolve()):
        return Path(outer).resolve()
    return root.resolve()


def collect_facts(
    root: Path, started: datetime, seconds: float, *, device: str, precision: str, threads: int
) -> dict[str, Any]:
    """Return this run's facts as they go into its sidecar.

    Args:
        root: the checkout whose code runs.
        started: when training began, with its time zone.
        seconds: how long it took; so far, if it still runs.
        device: what ``auto`` became, such as ``cpu`` or ``cuda: NVIDIA H100``.
        precision: what was used, such as ``32-true``.
        threads: torch's thread count.
    """
    commit = _git(root, "rev-parse", "HEAD")
    changes = _git(root, "status", "--porcelain", "--", *SOURCES)
    return {
        "started": started.isoformat(),
        "seconds": seconds,
        "host": socket.gethostname(),
        "commit": commit,
        "dirty": None if changes is None else bool(changes),
        "dvc_experiment": os.environ.get("DVC_EXP_NAME"),
        "versions": {"python": platform.python_version(), "unrolled": unrolled.__version__}
        | {package: _version(package) for package in PACKAGES},
        "device": device,
        "precision": precision,
        "threads": threads,
        "peak_bytes": peak_bytes(),
    }


def sidecar_path(root: Path, identity: str) -> Path:
    """Return where the facts of a run are kept; always in the main checkout, so that they outlive DVC's copies."""
    return main_checkout(root) / "data" / "sidecars" / f"{identity}.json"


def write_sidecar(root: Path, identity: str, facts: dict[str, Any]) -> Path:
    """Write ``facts`` whole or not at all and return the file."""
    path = sidecar_path(root, identity)
    write_whole(path, json.dumps(facts, indent=1, sort_keys=True) + "\n")
    return path


def read_sidecar(root: Path, identity: str) -> dict[str, Any] | None:
    """Return the facts of a run, or None if it has none here (trained elsewhere, restored from DVC's cache).

    Raises:
        UserError: the file is damaged.
    """
    path = sidecar_path(root, identity)
    if not path.is_file():
        return None
    facts: dict[str, Any] = read_json(path, dict, "delete it: only times and versions of that run are lost")
    return facts


def _git(root: Path, *arguments: str) -> str | None:
    """Return what git prints, or None without git or outside a repository."""
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
