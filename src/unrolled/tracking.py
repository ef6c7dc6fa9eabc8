"""MLflow's mirror of the runs: live while one trains, completed from its files afterwards.

The files are the record. A store that is down costs a notice and nothing else; every function here can be called again
for the same run and updates it, by its identity, without doubling anything.
"""

import json
import math
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from unrolled.addresses import public
from unrolled.card import card
from unrolled.errors import UserError
from unrolled.learningcurve import draw_learning_curve
from unrolled.lifesign import IDENTITY, LifeSign, close_abandoned
from unrolled.liverun import LiveRun, OpenedRun, batches, known_steps, log_metrics
from unrolled.loggedmodel import describe_model, log_model
from unrolled.runrecord import RunRecord, TrainedRun, read_trained, trained_folders
from unrolled.trackingstore import Store, attempt, connect, describe, failures, tracking_uri

MIRRORED = "unrolled.mirrored"  # JSON: a digest of each part that the run has in full
JUDGED = (
    "skill",
    "skill_low",
    "skill_high",
    "p_value",
    "coverage_90",
    "width_90",
    "winkler_90",
    "crps",
    "calibration_error",
)
PARAMS_PER_CALL = 100  # MLflow's limit


def open_run(root: Path, record: RunRecord) -> LiveRun:
    """Open the run with this identity, or create it, as RUNNING, with its parameters and tags.

    Never fails because of the store: without one, what it returns does nothing.
    """

    def open_it() -> OpenedRun:
        store = connect(root)
        close_abandoned(store)
        with ExitStack() as unless_opened:
            sign = unless_opened.enter_context(LifeSign(store, record.task, record.identity))
            run = _find_or_create(store, record)
            run_id = str(run.info.run_id)
            store.client.update_run(run_id, status="RUNNING")
            _log_description(store.client, run, record)
            known = known_steps(store.client, run_id, run.data.metrics)
            unless_opened.pop_all()  # it is alive until it is closed
            return OpenedRun(store, run_id, known, sign)

    return LiveRun(root, attempt(root, open_it))


def mirror(root: Path, folder: Path) -> None:
    """Complete the run of one model folder from the files: parameters, curves, scores, data set, figures, model.

    Never fails because of the store.

    Raises:
        UserError: ``folder`` is not a complete model folder.
    """
    run = read_trained(root, folder)
    attempt(root, lambda: _complete(connect(root), run))


def track(root: Path) -> None:
    """Complete the runs of all model folders of the checkout and print one line for each; close those that were cut off.

    Raises:
        UserError: the store does not work, or a model folder is damaged (the others are completed first).
    """
    folders, damaged = list(trained_folders(root)), 0
    if not folders:
        print("nothing to mirror: no trained model under data/models or outputs")
    try:
        store = connect(root)
        for folder in folders:
            try:
                run = read_trained(root, folder)
            except UserError as error:
                damaged += 1
                print(f"not mirrored: {error}", flush=True)
                continue
            print(f"{run.place}: {'mirrored' if _complete(store, run) else 'already complete'}", flush=True)
        close_abandoned(store)
    except failures() as error:
        uri = tracking_uri(root)
        raise UserError(
            f"the store {public(uri, uri)} failed: {describe(error, uri)}; mend or start it and run `unrolled track` again"
        ) from error
    if damaged:
        raise UserError(f"{damaged} of {len(folders)} model folders could not be read; the lines above name them")


def _complete(store: Store, run: TrainedRun) -> bool:
    """Log what the run lacks; return whether there was anything."""
    # Two processes at it would remove each other's half-written model.
    with store.run_lock(run.record.identity), LifeSign(store, run.record.task, run.record.identity):
        return _complete_alone(store, run)


def _complete_alone(store: Store, run: TrainedRun) -> bool:
    from mlflow.entities import RunTag

    client, found = store.client, _find_or_create(store, run.record)
    run_id, parts = str(found.info.run_id), run.parts()
    done = json.loads(found.data.tags.get(MIRRORED, "{}"))
    lacking = {part for part, digest in parts.items() if done.get(part) != digest}
    if not lacking and found.info.status == "FINISHED":
        return False
    _log_description(client, found, run.record, run.judged)
    _log_data(client, run_id, run.record)
    if "curves" in lacking:
        _log_curves(client, run_id, run)
    _log_scores(client, found, run)
    if "predictions" in lacking and run.predictions:
        client.log_artifacts(run_id, str(run.predictions), "predictions")
    if "receipt" in lacking and run.receipt:
        client.log_artifact(run_id, str(run.receipt))
    if "model" in lacking:
        client.log_artifact(run_id, str(run.folder / "config.yaml"))
        log_model(client, run_id, found.info.experiment_id, run)
    if lacking & {"model", "judged"}:
        describe_model(client, run_id, found.info.experiment_id, card(run.record, run.judged))
    client.log_batch(run_id, tags=[RunTag(MIRRORED, json.dumps(done | parts, sort_keys=True))])
    client.set_terminated(run_id, "FINISHED", end_time=run.record.ended())
    return True


def _find_or_create(store: Store, record: RunRecord) -> Any:
    # Under the lock, so that two processes with the same identity end up in one run.
    with store.lock():
        experiment = store.experiment(record.task)
        same = f"tags.`{IDENTITY}` = '{record.identity}'"
        found = store.client.search_runs([experiment], same, max_results=1, order_by=["attributes.start_time ASC"])
        if found:
            return found[0]
        tags = {IDENTITY: record.identity}
        return store.client.create_run(experiment, start_time=record.started(), run_name=record.name, tags=tags)


def _log_description(client: Any, run: Any, record: RunRecord, judged: Mapping[str, Any] | None = None) -> None:
    """Log parameters (MLflow lets nobody change one) and tags."""
    from mlflow.entities import Param, RunTag

    known = run.data.params
    params = [Param(key, value) for key, value in _flat(record.config) if key not in known]
    tags = [RunTag(key, value) for key, value in _tags(record, judged).items() if run.data.tags.get(key) != value]
    for batch in batches(params, PARAMS_PER_CALL):
        client.log_batch(run.info.run_id, params=batch)
    client.log_batch(run.info.run_id, tags=tags)


def _flat(section: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in section.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value)


def _tags(record: RunRecord, judged: Mapping[str, Any] | None) -> dict[str, str]:
    facts = dict(record.facts or {})
    versions = facts.get("versions") or {}
    tags = {
        "mlflow.note.content": card(record, judged),
        "mlflow.source.name": "unrolled train",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": facts.get("commit"),
        "unrolled.data_digest": record.windows["digest"],
        "unrolled.data_source": record.windows["source"],
        **{
            f"unrolled.{name}": facts.get(name) for name in ("host", "device", "precision", "threads", "dvc_experiment")
        },
        "unrolled.dirty": json.dumps(facts["dirty"]) if facts.get("dirty") is not None else None,
        **{f"unrolled.version.{name}": version for name, version in versions.items()},
    }
    if judged:
        tags |= {"unrolled.verdict": judged["cell"]["verdict"], "unrolled.must_beat": judged["cell"]["baseline"]}
        tags["unrolled.model_verdict"] = judged["model"]["verdict"]
    return {key: str(value) for key, value in tags.items() if value is not None}


def _log_data(client: Any, run_id: str, record: RunRecord) -> None:
    """Log the windows as the run's data set; the store keeps one of each (name, digest)."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    windows = record.windows
    profile = {key: windows[key] for key in ("source", "digest", "splits", "raw_sha256", "licence") if key in windows}
    dataset = Dataset(
        name=f"{record.task} (stand-in)" if windows["source"] != "real" else record.task,
        digest=windows["digest"][:36],  # as long as MLflow's column is; the whole is in the profile
        source_type="local",
        source=json.dumps({"uri": f"data/windows/{record.task}"}),
        profile=json.dumps(profile),
    )
    client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])


def _log_curves(client: Any, run_id: str, run: TrainedRun) -> None:
    """Log the epochs that the run lacks, spread over the time that training took, and their picture."""
    from mlflow.entities import Metric

    known = known_steps(client, run_id, {key for _, metrics in run.history for key in metrics})
    ended = run.record.ended() or round(time.time() * 1000)
    started = run.record.started() or ended
    lacking = []
    for number, (epoch, metrics) in enumerate(run.history, start=1):
        at = started + (ended - started) * number // len(run.history)
        lacking += [Metric(key, value, at, epoch) for key, value in metrics.items() if epoch not in known[key]]
    log_metrics(client, run_id, lacking)
    with tempfile.TemporaryDirectory() as scratch:
        picture = Path(scratch) / "learning_curve.svg"
        source = "" if run.record.windows["source"] == "real" else f" ({run.record.windows['source']} data)"
        draw_learning_curve(run.history, f"{run.record.name}{source}", picture)
        client.log_artifact(run_id, str(picture), "figures")


def _log_scores(client: Any, found: Any, run: TrainedRun) -> None:
    """Log the best validation loss, the size, the cost, the test scores and skill, unless the run has that value."""
    from mlflow.entities import Metric

    values = {key: run.meta[key] for key in ("best_validation_loss", "best_epoch", "parameters", "steps")}
    for key, value in run.scores.items():
        values[key if key in values else _score_name(key)] = value
    if run.judged:
        cell = run.judged["cell"] | run.judged["cell"].get("interval", {})
        values |= {f"test/{key}": cell[key] for key in JUDGED if key in cell}
    if run.record.facts:
        values["train_seconds"] = run.record.facts["seconds"]
        values["peak_memory_mb"] = (run.record.facts.get("peak_bytes") or 0) / 1e6 or None
    # Now, not then: of two values at one step MLflow shows the later one.
    now, known = round(time.time() * 1000), found.data.metrics
    numbers = {key: float(value) for key, value in values.items() if isinstance(value, int | float)}
    log_metrics(
        client,
        str(found.info.run_id),
        [Metric(key, value, now, 0) for key, value in numbers.items() if not _same(known.get(key), value)],
    )


def _score_name(key: str) -> str:
    """Return the metric's name with its split in front, by which the UI groups: ``test/mae``, ``validation/mae``."""
    for split in ("validation", "test"):
        if key.startswith(f"{split}_") or key == f"n_{split}":
            return f"{split}/{key.removeprefix(f'{split}_').removesuffix(f'_{split}')}"
    return f"test/{key}"


def _same(known: float | None, value: float) -> bool:
    return known is not None and (known == value or (math.isnan(known) and math.isnan(value)))
