"""What live tracking costs: its share of a training of about a minute, imports aside.

Trains energy-rnn on stand-in data with a local store and times every call into tracking in the same run.
"""

import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from measuring import Figure, Section

from unrolled import training
from unrolled.checkout import project_root
from unrolled.config import compose_config
from unrolled.model import build
from unrolled.runrecord import RunRecord
from unrolled.sidecar import collect_facts
from unrolled.taskmodule import task_module
from unrolled.tracking import open_run
from unrolled.trackingstore import connect
from unrolled.window import window_raw

EPOCHS = 160


def measure(quick: bool) -> Section:
    """Train once and return the share."""
    epochs = 3 if quick else EPOCHS
    root = project_root()
    config = compose_config(["task=energy", "model=rnn", "trainer=cpu", f"training.epochs={epochs}"], root)
    with tempfile.TemporaryDirectory() as scratch:
        raw = Path(scratch) / "raw"
        raw.mkdir()
        module = task_module("energy")
        module.stand_in(raw)
        windows = window_raw(module, raw, config, {"source": "stand-in", "sha256": {}})
        connect(Path(scratch))  # imports MLflow and creates the database, once per checkout
        training.prepare_machine(1, 0)
        facts = collect_facts(root, datetime.now(UTC), 0.0, device="cpu", precision="32-true", threads=1)
        record = RunRecord("0" * 64, config, windows.meta, facts)
        resume = Path(scratch) / "resume"
        trainer, learner, data = training.assemble(config, windows, build(config, windows.meta), resume)
        spent: list[float] = []

        def timed(call: Callable[..., Any], *arguments: Any) -> Any:
            began = time.perf_counter()
            result = call(*arguments)
            spent.append(time.perf_counter() - began)
            return result

        began = time.perf_counter()
        live = timed(open_run, Path(scratch), record)

        def log(row: Any) -> None:
            timed(live.log_epoch, row["epoch"], {k: v for k, v in row.items() if k not in ("epoch", "step")})

        learner.on_epoch = log
        training.fit(trainer, learner, data, resume)
        timed(live.close)
        total = time.perf_counter() - began
    return Section(
        "Live tracking",
        f"Share of a training of {total:.0f} s, {epochs} epochs, that {len(spent)} calls into tracking took: {sum(spent):.2f} s.",
        [Figure("tracking / training", "", (sum(spent) / total,), 0.02, at_least=False)],
    )
