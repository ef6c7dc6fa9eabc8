"""A run's metrics in MLflow while it trains: each (name, step) once, in few calls."""

import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from unrolled.addresses import public
from unrolled.lifesign import LifeSign
from unrolled.stageguard import undisturbed
from unrolled.trackingstore import Store, attempt

METRICS_PER_CALL = 1000  # MLflow's limit
SEND_SECONDS = 2.0  # short epochs share a call: one call takes 10 to 20 ms on the local store
SLOW_SECONDS = 6.0  # a server that has taken this much, and over 3 % of the training's time, gets no more calls


class OpenedRun(NamedTuple):
    """A run in a store that answered: its id, the steps at which it has each metric, and the sign that it is alive."""

    store: Store
    run_id: str
    known: dict[str, set[int]]
    sign: LifeSign


class LiveRun:
    """A run that is training now. Leaving its ``with`` block closes it as FINISHED, FAILED or KILLED."""

    def __init__(self, root: Path, opened: OpenedRun | None) -> None:
        """Args: ``opened``: None if the store did not answer; then nothing here does anything."""
        self._root, self._opened = root, opened
        self._waiting: list[Any] = []
        self._began = time.monotonic()
        self._sent: float | None = None
        self._spent = 0.0
        self._slow = False

    def log_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Log one epoch's metrics at step ``epoch``, except what the run has for that step already."""
        if self._opened is None:
            return
        from mlflow.entities import Metric

        known, now = self._opened.known, round(time.time() * 1000)
        for key, value in metrics.items():
            if epoch not in known.setdefault(key, set()):
                known[key].add(epoch)
                self._waiting.append(Metric(key, float(value), now, epoch))
        if self._sent is None or time.monotonic() - self._sent >= SEND_SECONDS:
            self._send(self._opened)

    def close(self, status: str = "FINISHED") -> None:
        """Log what waits and end the run with MLflow's ``status``: FINISHED, FAILED or KILLED."""
        if self._opened is None:
            return
        store, run_id, _, sign = self._opened
        self._send(self._opened)

        def end() -> bool:
            store.client.set_terminated(run_id, status)
            return True

        sign.end(told=bool(attempt(self._root, end)))  # silent if sending has just failed
        self._opened = None

    def _send(self, opened: OpenedRun) -> None:
        began, waiting, self._waiting = time.monotonic(), self._waiting, []
        if self._slow or not waiting:
            return
        if attempt(self._root, lambda: log_metrics(opened.store.client, opened.run_id, waiting)) is None:
            opened.sign.end(told=False)
            self._opened = None
            return
        opened.sign.renew()
        self._sent = time.monotonic()
        self._spent += self._sent - began
        if self._spent > max(SLOW_SECONDS, 0.03 * (self._sent - self._began)):
            self._slow = True
            where = public(opened.store.uri, opened.store.uri)
            print(f"notice: {where} is slow; the rest of the learning curve follows when training ends", flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        stopped = kind is not None and issubclass(kind, KeyboardInterrupt | SystemExit)
        with undisturbed():
            self.close("FINISHED" if kind is None else "KILLED" if stopped else "FAILED")


def known_steps(client: Any, run_id: str, keys: Iterable[str]) -> dict[str, set[int]]:
    """Return the steps at which a run has each of these metrics."""
    return {key: {metric.step for metric in client.get_metric_history(run_id, key)} for key in keys}


def log_metrics(client: Any, run_id: str, metrics: list[Any]) -> int:
    """Log metrics in as few calls as MLflow allows; return how many metrics there were."""
    for batch in batches(metrics, METRICS_PER_CALL):
        client.log_batch(run_id, metrics=batch)
    return len(metrics)


def batches(items: list[Any], size: int) -> Iterator[list[Any]]:
    """Yield ``items`` in lists of at most ``size``."""
    for first in range(0, len(items), size):
        yield items[first : first + size]
