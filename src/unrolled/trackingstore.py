"""The MLflow store: where it is, how it is created once, and what happens when it does not answer."""

import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from unrolled.addresses import public
from unrolled.sidecar import main_checkout

Result = TypeVar("Result")
# A warning for every retry; a traceback for a database that is full.
QUIET = {"urllib3.connectionpool": logging.ERROR, "mlflow.store.db.utils": logging.CRITICAL}

# Set only where the user chose nothing. Telemetry off; a server that does not answer costs seconds, not minutes (MLflow
# itself tries 7 times, 120 s each); no bars and messages of MLflow's between those of training.
DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "4",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
LOCK_SECONDS = 60.0

# Stores that failed in this process: one notice each, then silence. Only `unrolled track` asks them again.
_given_up: set[str] = set()


@dataclass(frozen=True)
class Store:
    """An open store.

    Attributes:
        client: mlflow.tracking.MlflowClient.
        uri: its address.
        checkout: the main checkout, where the local database, artifacts and the lock are.
    """

    client: Any
    uri: str
    checkout: Path

    def experiment(self, task: str) -> str:
        """Return the id of the task's experiment, which is created if there is none."""
        found = self.client.get_experiment_by_name(task)
        if found is not None:
            return str(found.experiment_id)
        # Without a server it is this process that writes the artifacts, and MLflow's default is the working directory:
        # inside a copy that DVC removes.
        local = urlsplit(self.uri).scheme.partition("+")[0] in DATABASES
        location = (self.checkout / "mlartifacts" / task).as_uri() if local else None
        return str(self.client.create_experiment(task, artifact_location=location))

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes of this checkout from creating the database, an experiment or a run meanwhile."""
        with _lock(self.checkout / "mlflow.db.lock"):
            yield

    @contextmanager
    def run_lock(self, identity: str) -> Iterator[None]:
        """Keep other processes of this checkout from completing the run with this identity meanwhile."""
        folder = self.checkout / "data" / "sidecars"
        folder.mkdir(parents=True, exist_ok=True)
        with _lock(folder / f"{identity}.lock"):
            yield


def tracking_uri(root: Path) -> str:
    """Return MLFLOW_TRACKING_URI as given, or else the address of mlflow.db in the main checkout."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{main_checkout(root) / 'mlflow.db'}"


def choose_defaults() -> None:
    """Set ``DEFAULTS``; MLflow reads some of them when it is imported."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)


def connect(root: Path) -> Store:
    """Open the store; the first process to come creates the database, the others wait for it."""
    choose_defaults()
    uri, checkout = tracking_uri(root), main_checkout(root)
    with _lock(checkout / "mlflow.db.lock"), warnings.catch_warnings():
        # MLflow 3.17 on SQLAlchemy 2.1; nothing that a user could do about it.
        warnings.filterwarnings("ignore", "The ``noload`` loader strategy", DeprecationWarning)
        from mlflow.tracking import MlflowClient

        return Store(MlflowClient(uri), uri, checkout)


def attempt(root: Path, action: Callable[[], Result]) -> Result | None:
    """Return ``action()``; or None, after one notice, if the store does not work, and from then on without trying."""
    uri = tracking_uri(root)
    if uri in _given_up:
        return None
    try:
        return _with_quiet_logs(action)
    except failures() as error:
        _given_up.add(uri)
        print(
            f"notice: not tracked in MLflow from here on: {describe(error, uri)}. Nothing is lost: "
            f"`unrolled track` completes {public(uri, uri)} from the files.",
            flush=True,
        )
        return None


def _with_quiet_logs(action: Callable[[], Result]) -> Result:
    """Return ``action()`` without what libraries log of a failure that the notice tells in a line."""
    levels = {logging.getLogger(name): level for name, level in QUIET.items()}
    before = {logger: logger.level for logger in levels}
    for logger, level in levels.items():
        logger.setLevel(level)
    try:
        return action()
    finally:
        for logger, level in before.items():
            logger.setLevel(level)


def failures() -> tuple[type[Exception], ...]:
    """Return what a store that is down, slow, broken, full or misconfigured raises. Slow to import: call it late."""
    from google.protobuf.json_format import ParseError  # type: ignore[import-untyped]
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    # OSError has requests' exceptions and the lock's timeout in it; ImportError is a database without its driver;
    # the JSON errors are a server that is not MLflow's.
    return MlflowException, SQLAlchemyError, OSError, ImportError, ParseError, ValueError


def describe(error: Exception, uri: str) -> str:
    """Return the first line of what the store at ``uri`` raised; the addresses in it as ``public`` shows them."""
    lines = public(str(error).strip(), uri).splitlines()
    text = lines[0] if lines else ""
    asked, failed, why = text.partition(" failed with exception ")
    if failed:  # urllib3's own words for a server that is not there fill half a screen
        return f"{asked} got no answer ({'it took too long' if 'timed out' in why else 'no connection'})"
    return f"{type(error).__name__}: {text[:200]}"


@contextmanager
def _lock(file: Path) -> Iterator[None]:
    from filelock import FileLock

    with FileLock(file, timeout=LOCK_SECONDS):
        yield
