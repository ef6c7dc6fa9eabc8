"""MLflow mirrors the files: each run once, each metric once, and never at the cost of a stage."""

import json
import logging
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, clean_environment, skip_if_ignored
from trainedfolders import HISTORY, IDENTITY, config_for, write_evaluation, write_trained
from windowsets import series_windows

from unrolled import trackingstore
from unrolled.errors import UserError
from unrolled.runrecord import RunRecord, read_trained
from unrolled.sidecar import write_sidecar
from unrolled.stageguard import stopped_cleanly
from unrolled.tracking import mirror, open_run, track

FACTS = {
    "started": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).isoformat(),
    "seconds": 90.0,
    "host": "machine",
    "commit": "c" * 40,
    "dirty": False,
    "dvc_experiment": "wide-net",
    "versions": {"torch": "2.13.0"},
    "device": "cpu",
    "precision": "32-true",
    "threads": 1,
}
STARTED = round(datetime.fromisoformat(FACTS["started"]).timestamp() * 1000)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "DVC_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(trackingstore, "_given_up", set())


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database without runs: creating one takes seconds, copying it none."""
    root = tmp_path_factory.mktemp("store")
    trackingstore.connect(root)
    return root / "mlflow.db"


@pytest.fixture
def root(tmp_path: Path, empty_store: Path) -> Path:
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    return tmp_path


@pytest.fixture
def folder(root: Path) -> Path:
    return write_trained(root, series_windows())


def _runs(root: Path, task: str = "ramp") -> list[Any]:
    store = trackingstore.connect(root)
    return list(store.client.search_runs([store.experiment(task)]))


def _run(root: Path) -> Any:
    (run,) = _runs(root)
    return run


def _points(root: Path, key: str) -> list[tuple[int, float]]:
    client = trackingstore.connect(root).client
    return [(point.step, point.value) for point in client.get_metric_history(_run(root).info.run_id, key)]


def _artifacts(root: Path, path: str | None = None) -> set[str]:
    client = trackingstore.connect(root).client
    return {item.path for item in client.list_artifacts(_run(root).info.run_id, path)}


def _record(**facts: Any) -> RunRecord:
    windows = series_windows()
    return RunRecord(IDENTITY, config_for(windows), windows.meta, FACTS | facts)


def _judge(root: Path, identity: str = IDENTITY) -> dict[str, Any]:
    """Write a judgement as the judge stage would and return what it says of the cell."""
    told = {"skill": 0.25, "skill_low": 0.1, "skill_high": 0.4, "p_value": 0.012, "verdict": "beats"}
    told |= {"baseline": "persistence", "baseline_value": 3.5}
    interval = {
        "method": "conformal, static, signed",
        "coverage_90": 0.91,
        "width_90": 9.5,
        "winkler_90": 12.0,
        "crps": 1.8,
    }
    cell = told | {"identity": identity, "mae": 2.5, "interval": interval}
    model = told | {"seeds": [0], "value": 2.5, "value_spread": None}
    judgement = {"metric": "mae", "unit": "GWh", "n_test": 10, "strongest": "persistence"}
    judgement |= {"baselines": {"persistence": {"mae": 3.5}}, "cells": {"gru-0": cell}, "models": {"gru": model}}
    (root / "reports/ramp/judgement.json").write_text(json.dumps(judgement))
    return cell


def test_a_judged_run_has_its_verdict_skill_and_card(root: Path, folder: Path) -> None:
    write_evaluation(root, folder, mae=2.5)
    mirror(root, folder)
    assert "Judged: not yet" in _run(root).data.tags["mlflow.note.content"]
    cell = _judge(root)
    mirror(root, folder)
    run = _run(root)
    tags = {key: run.data.tags[f"unrolled.{key}"] for key in ("verdict", "must_beat", "model_verdict")}
    assert tags == {"verdict": "beats", "must_beat": "persistence", "model_verdict": "beats"}
    for key in ("skill", "skill_low", "skill_high", "p_value"):
        assert run.data.metrics[f"test/{key}"] == cell[key]
    assert (run.data.metrics["test/coverage_90"], run.data.metrics["test/crps"]) == (0.91, 1.8)
    written = run.data.tags["mlflow.note.content"]
    assert "it beats persistence: skill +25.0 % (95 % interval +10.0 % to +40.0 %), p = 0.012" in written
    assert "91.0 % of the test inside" in written
    client = trackingstore.connect(root).client
    (logged,) = client.search_logged_models([run.info.experiment_id])
    assert logged.tags["mlflow.note.content"] == written, "the model's description is its card"


def test_a_verdict_on_another_training_is_not_this_ones(root: Path, folder: Path) -> None:
    write_evaluation(root, folder, mae=2.5)
    _judge(root, identity="f" * 64)
    mirror(root, folder)
    assert "unrolled.verdict" not in _run(root).data.tags


def test_mirror_logs_everything_that_the_files_say(root: Path, folder: Path) -> None:
    write_sidecar(root, IDENTITY, FACTS)
    write_evaluation(root, folder, mae=2.5)
    mirror(root, folder)
    run, digest = _run(root), series_windows().meta["digest"]
    assert (run.info.run_name, run.info.status) == ("ramp-gru-0", "FINISHED")
    assert (run.info.start_time, run.info.end_time) == (STARTED, STARTED + 90_000)
    assert run.data.params["encoder.hidden_size"] == "4"
    card = run.data.tags["mlflow.note.content"]
    assert "Encoder gru with 4 units: forecasts the next 1 value(s) (GWh) from the last 5 days." in card
    assert "Licence of the data: none" in card
    assert run.data.params["training.averaging"] == "null"
    assert run.data.params["trainer.enable_progress_bar"] == "true"
    assert {key: value for key, value in run.data.metrics.items() if "/" in key} == {
        "test/mae": 2.5,
        "validation/mae": 5.0,
        "test/n": 10.0,
    }
    assert run.data.metrics["best_validation_loss"] == 0.6
    assert run.data.tags.items() >= {
        ("unrolled.identity", IDENTITY),
        ("unrolled.data_digest", digest),
        ("unrolled.data_source", "stand-in"),
        ("unrolled.dvc_experiment", "wide-net"),
        ("unrolled.host", "machine"),
        ("unrolled.dirty", "false"),
        ("unrolled.version.torch", "2.13.0"),
        ("mlflow.source.git.commit", "c" * 40),
    }
    (data,) = run.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("ramp (stand-in)", digest[:36])
    assert json.loads(data.dataset.profile)["digest"] == digest
    assert _artifacts(root) >= {"config.yaml", "figures", "predictions", "receipt.json"}
    assert _artifacts(root, "figures") == {"figures/learning_curve.svg"}
    assert "predictions/test.parquet" in _artifacts(root, "predictions")
    assert len(run.outputs.model_outputs) == 1


def test_curves_hold_every_epoch_and_spread_over_the_training_time(root: Path, folder: Path) -> None:
    write_sidecar(root, IDENTITY, FACTS)
    mirror(root, folder)
    for key in ("train_loss", "validation_loss", "learning_rate"):
        assert _points(root, key) == [(row["epoch"], row[key]) for row in HISTORY]
    client = trackingstore.connect(root).client
    times = [point.timestamp for point in client.get_metric_history(_run(root).info.run_id, "train_loss")]
    assert times == [STARTED + 30_000, STARTED + 60_000, STARTED + 90_000]


def test_mirroring_twice_doubles_nothing(root: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_evaluation(root, folder, mae=2.5)
    for _ in range(2):
        mirror(root, folder)
    trackingstore.connect(root).client.set_terminated(_run(root).info.run_id, "FAILED")  # forces a second full pass
    mirror(root, folder)
    run = _run(root)
    assert run.info.status == "FINISHED"
    for key in run.data.metrics:
        assert len(_points(root, key)) == (len(HISTORY) if key in HISTORY[0] else 1), key
    assert len(run.inputs.dataset_inputs) == len(run.outputs.model_outputs) == 1
    store = trackingstore.connect(root)
    assert len(store.client.search_logged_models([store.experiment("ramp")])) == 1
    assert capsys.readouterr().out == ""


def test_live_then_mirrored_is_one_run_with_each_metric_once(root: Path) -> None:
    with open_run(root, _record()) as live:
        assert _run(root).info.status == "RUNNING"
        for row in HISTORY[:2]:
            live.log_epoch(row["epoch"], {key: row[key] for key in ("train_loss", "validation_loss", "learning_rate")})
    assert _run(root).info.status == "FINISHED"
    assert len(_points(root, "train_loss")) == 2
    mirror(root, write_trained(root, series_windows()))
    assert _points(root, "train_loss") == [(row["epoch"], row["train_loss"]) for row in HISTORY]


def test_a_run_that_starts_again_repeats_no_step(root: Path) -> None:
    for epochs in (2, 3):
        with open_run(root, _record()) as live:
            for epoch in range(epochs):
                live.log_epoch(epoch, {"train_loss": 1.0})
                live.log_epoch(epoch, {"train_loss": 1.0})
    assert [step for step, _ in _points(root, "train_loss")] == [0, 1, 2]


@pytest.mark.parametrize(("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_a_training_that_stops_does_not_stay_running(root: Path, error: type[BaseException], status: str) -> None:
    with pytest.raises(error), open_run(root, _record()):
        raise error
    assert _run(root).info.status == status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_second_signal_to_stop_waits_until_the_run_is_closed(
    root: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    skip_if_ignored(number)
    with pytest.raises(SystemExit) as stopped, stopped_cleanly(), open_run(root, _record()) as live:
        opened = live._opened
        assert opened is not None
        end = opened.store.client.set_terminated

        def hurried(*arguments: Any) -> None:
            signal.raise_signal(number)
            end(*arguments)

        monkeypatch.setattr(opened.store.client, "set_terminated", hurried)
        sys.exit(1)
    assert stopped.value.code == 128 + number, "it was not lost, only late"
    assert _run(root).info.status == "KILLED"


KILLED_WHILE_RUNNING = """
import json, os, sys
from pathlib import Path
from unrolled.runrecord import RunRecord
from unrolled.tracking import open_run
with open_run(Path(sys.argv[1]), RunRecord(**json.load(sys.stdin))) as live:
    live.log_epoch(0, {"train_loss": 1.0})
    os.kill(os.getpid(), 9)
"""


def _killed_run(root: Path, record: RunRecord) -> None:
    environment = clean_environment() | {"PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-c", KILLED_WHILE_RUNNING, str(root)]
    died = subprocess.run(command, input=json.dumps(asdict(record)), text=True, env=environment)
    assert died.returncode == -signal.SIGKILL
    assert _run(root).info.status == "RUNNING"


@pytest.mark.slow
@pytest.mark.parametrize("closes", ["the next run", "unrolled track"])
def test_a_run_that_was_killed_does_not_stay_running(root: Path, closes: str) -> None:
    _killed_run(root, _record())
    (sign,) = (root / "data/sidecars").glob("*.running")
    os.utime(sign, (STARTED / 1000 + 60,) * 2)
    if closes == "unrolled track":
        track(root)
    else:
        other = replace(_record(), identity="f" * 64)
        with open_run(root, other) as live:
            live.log_epoch(0, {"train_loss": 1.0})
    runs = {run.data.tags["unrolled.identity"]: run.info for run in _runs(root)}
    assert (runs[IDENTITY].status, runs[IDENTITY].end_time) == ("KILLED", STARTED + 60_000), "when it was last seen"
    assert not list((root / "data/sidecars").glob("*.running"))


@pytest.mark.slow
def test_a_run_that_goes_on_after_a_kill_ends_like_any_other(root: Path) -> None:
    _killed_run(root, _record())
    with open_run(root, _record()) as live:
        assert _run(root).info.status == "RUNNING"
        live.log_epoch(0, {"train_loss": 1.0})
    assert _run(root).info.status == "FINISHED"
    assert len(_points(root, "train_loss")) == 1


def test_a_run_that_is_alive_stays_running_whoever_else_tracks(root: Path, folder: Path) -> None:
    with open_run(root, _record()) as live:
        live.log_epoch(0, {"train_loss": 1.0})
        with open_run(root, replace(_record(), identity="f" * 64)):
            pass
        assert {run.info.status for run in _runs(root)} == {"RUNNING", "FINISHED"}
        mirror(root, folder)  # an earlier training with the same identity
        trackingstore.connect(root).client.update_run(live._opened.run_id, status="RUNNING")
        track(root)
        assert [path.name.split(".")[0] for path in (root / "data/sidecars").glob("*.running")] == [IDENTITY]


def test_an_evaluation_that_comes_later_or_changes_updates_its_run(root: Path, folder: Path) -> None:
    mirror(root, folder)
    assert "test/mae" not in _run(root).data.metrics
    for mae in (2.0, 1.0):
        write_evaluation(root, folder, mae=mae)
        mirror(root, folder)
        assert _run(root).data.metrics["test/mae"] == mae


def test_predictions_of_another_training_are_not_this_runs(root: Path, folder: Path) -> None:
    write_evaluation(root, folder, mae=2.0, identity="f" * 64)
    mirror(root, folder)
    assert "test/mae" not in _run(root).data.metrics
    assert not {"predictions", "receipt.json"} & _artifacts(root)
    write_evaluation(root, folder, mae=2.0)
    receipt = root / "reports/ramp/gru/0/receipt.json"
    receipt.write_text(receipt.read_text().replace(IDENTITY, "f" * 64))
    mirror(root, folder)
    assert "predictions" in _artifacts(root)
    assert "receipt.json" not in _artifacts(root)


def test_another_identity_is_another_run(root: Path, folder: Path) -> None:
    mirror(root, folder)
    mirror(root, write_trained(root, series_windows(), "outputs/one-off", identity="f" * 64))
    assert {run.data.tags["unrolled.identity"] for run in _runs(root)} == {IDENTITY, "f" * 64}


def test_not_a_number_is_logged_once(root: Path, folder: Path) -> None:
    write_evaluation(root, folder, mae=math.nan)
    mirror(root, folder)
    trackingstore.connect(root).client.set_terminated(_run(root).info.run_id, "FAILED")
    mirror(root, folder)
    assert len(_points(root, "test/mae")) == 1


def test_track_completes_every_run_and_says_so(root: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_trained(root, series_windows(), "outputs/sweep/1", identity="e" * 64)
    write_trained(root, series_windows(), "outputs/.half.123.partial", identity="d" * 64)
    mirror(root, folder)
    track(root)
    assert capsys.readouterr().out.splitlines() == [
        "data/models/ramp-gru-0: already complete",
        "outputs/sweep/1: mirrored",
    ]
    assert len(_runs(root)) == 2


def test_track_without_models_says_so(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    track(root)
    assert "nothing to mirror" in capsys.readouterr().out


def test_track_names_a_damaged_folder_and_completes_the_others(
    root: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (write_trained(root, series_windows(), "data/models/broken", identity="e" * 64) / "meta.json").write_text("{")
    with pytest.raises(UserError, match="1 of 2"):
        track(root)
    assert "data/models/broken/meta.json is damaged" in capsys.readouterr().out
    assert len(_runs(root)) == 1


def test_an_incomplete_folder_is_refused(root: Path, folder: Path) -> None:
    (folder / "history.csv").unlink()
    with pytest.raises(UserError, match=r"data/models/ramp-gru-0 is not a trained model: it has no history\.csv"):
        read_trained(root, folder)


def test_nothing_secret_reaches_the_store(root: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "canary-in-a-coal-mine")
    mirror(root, folder)
    for path in (root / "mlflow.db", *(path for path in (root / "mlartifacts").rglob("*") if path.is_file())):
        assert b"canary-in-a-coal-mine" not in path.read_bytes(), path


class _Broken(BaseHTTPRequestHandler):
    status, body, wait = 500, b"{}", 0.0

    def _answer(self) -> None:
        time.sleep(self.wait)
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    do_GET = do_POST = _answer

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


class _WebPage(_Broken):
    status, body = 200, b"<html>not MLflow</html>"


class _Slow(_Broken):
    status, wait = 200, 3.0


@pytest.fixture(params=["closed port", _Broken, _WebPage, _Slow], ids=["down", "500", "a web page", "slow"])
def bad_server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server, with a password in it, that is none of ours."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    if request.param == "closed port":
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            yield f"http://ada:hush@127.0.0.1:{taken.getsockname()[1]}"
        return
    with ThreadingHTTPServer(("127.0.0.1", 0), request.param) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://ada:hush@127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_store_that_fails_costs_one_notice_and_seconds(
    root: Path, folder: Path, bad_server: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", bad_server)
    began = time.monotonic()
    with open_run(root, _record()) as live:
        live.log_epoch(0, {"train_loss": 1.0})
    mirror(root, folder)
    assert time.monotonic() - began < 10
    told = capfd.readouterr()
    assert told.out.count("\n") == told.out.count("notice:") == told.out.count("`unrolled track`") == 1
    assert told.err == ""
    assert "127.0.0.1" in told.out
    assert "HTTPConnectionPool" not in told.out
    assert "hush" not in told.out
    with pytest.raises(UserError, match="run `unrolled track` again") as error:
        track(root)
    assert "hush" not in str(error.value)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    track(root)
    assert _run(root).info.status == "FINISHED"


def test_a_server_that_dies_while_training_costs_one_notice(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_run(root, _record()) as live:
        assert live._opened is not None
        monkeypatch.setattr(live._opened.store.client, "log_batch", _raise_timeout)
        for epoch in range(3):
            live.log_epoch(epoch, {"train_loss": 1.0})
    assert capsys.readouterr().out.count("notice:") == 1
    monkeypatch.setattr(trackingstore, "_given_up", set())  # the next process
    mirror(root, write_trained(root, series_windows()))
    assert len(_points(root, "train_loss")) == 3


def _raise_timeout(*_: Any, **__: Any) -> None:
    raise TimeoutError("the server went away")


def test_a_slow_server_gets_no_more_calls(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from unrolled import liverun

    monkeypatch.setattr(liverun, "SLOW_SECONDS", -1.0)
    monkeypatch.setattr(liverun, "SEND_SECONDS", 0.0)
    with open_run(root, _record()) as live:
        live._began += 1000.0  # no training time to hide behind
        for epoch in range(3):
            live.log_epoch(epoch, {"train_loss": 1.0})
    assert capsys.readouterr().out.count("is slow") == 1
    assert len(_points(root, "train_loss")) == 1
    mirror(root, write_trained(root, series_windows()))
    assert len(_points(root, "train_loss")) == 3


@pytest.mark.slow
def test_two_processes_at_once_on_a_fresh_store_lose_nothing(tmp_path: Path) -> None:
    folders = [
        write_trained(tmp_path, series_windows(), f"outputs/{name}", identity=name * 64) for name in ("a", "b", "c")
    ]
    code = "import sys; from pathlib import Path; from unrolled.tracking import mirror\n"
    code += "for folder in sys.argv[2:]: mirror(Path(sys.argv[1]), Path(folder))"
    environment = clean_environment() | {"PYTHONPATH": str(ROOT / "src")}
    shares = [folders[:2], folders[1:]]  # both have the second one
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path), *map(str, share)],
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for share in shares
    ]
    told = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], told
    assert told == ["", ""]
    runs = _runs(tmp_path)
    assert {run.data.tags["unrolled.identity"][0] for run in runs} == {"a", "b", "c"}
    assert len(runs) == 3
    assert all(run.info.status == "FINISHED" and "train_loss" in run.data.metrics for run in runs)


def test_a_full_database_is_one_notice_and_not_what_mlflow_logs_of_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        logging.getLogger("mlflow.store.db.utils").error("SQLAlchemy database error, with a traceback")
        raise OSError("database or disk is full")

    assert trackingstore.attempt(tmp_path, fail) is None
    assert capsys.readouterr().out.startswith("notice: not tracked in MLflow from here on: OSError: database")
    assert caplog.messages == []
