"""Faults of the tracking server: training finishes all the same, and `unrolled track` completes the mirror, each metric once."""

import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import scratchcheckout
from conftest import Fault, clean_environment
from faultycheckout import PATIENCE_SECONDS, TRAINER, ask, metrics_that_repeat, statuses
from faultyserver import MlflowServer, Proxy, free_port, proxied

pytestmark = [pytest.mark.slow, pytest.mark.chaos]

Fate = Callable[[int], str | float]

EPOCHS = 4
LEARNED = ("train_loss", "validation_loss", "learning_rate")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with the windows of one task."""
    root = tmp_path_factory.mktemp("tracking") / "unrolled"
    scratchcheckout.copy_parts(root)
    (root / "params.yaml").write_text("data: stand-in\ntrainer: seconds\ntasks: [energy]\ncells: {}\n")
    (root / "conf/trainer/seconds.yaml").write_text(TRAINER)
    for stage in (["unrolled.fetch", "task=energy", "data=stand-in"], ["unrolled.window", "task=energy"]):
        environment = clean_environment() | {"PYTHONPATH": "src"}
        subprocess.run([sys.executable, "-m", *stage], cwd=root, env=environment, check=True, capture_output=True)
    return root


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    server = MlflowServer(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def proxy(server: MlflowServer) -> Iterator[Proxy]:
    with proxied(server) as proxy:
        yield proxy


def _train(root: Path, seed: int, uri: str | None) -> "subprocess.Popen[str]":
    arguments = ["train", "task=energy", "model=gru", f"seed={seed}", "trainer=seconds", f"out=outputs/{seed}"]
    return _start(root, uri, *arguments)


def _start(root: Path, uri: str | None, *arguments: str, **more: str) -> "subprocess.Popen[str]":
    environment = clean_environment() | {"PYTHONPATH": "src"} | ({"MLFLOW_TRACKING_URI": uri} if uri else {}) | more
    command = [sys.executable, "-m", "unrolled.cli", *arguments]
    return subprocess.Popen(
        command, cwd=root, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def _ended(process: "subprocess.Popen[str]") -> str:
    told, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, told
    return told


def _check_complete(database: Path, runs: int) -> None:
    """Every run is there, finished, with each epoch of each curve once."""
    assert statuses(database) == ["FINISHED"] * runs
    assert metrics_that_repeat(database) == []
    counts = ask(database, f"SELECT count(*) FROM metrics WHERE key IN {LEARNED} GROUP BY run_uuid, key")
    assert [count for (count,) in counts] == [EPOCHS] * len(LEARNED) * runs


def fates() -> Iterator[Any]:
    """What becomes of each request, by its number; some thirty are made. The moments are the same in every run."""
    choose = random.Random(7)
    first = [choose.randrange(3, 25) for _ in range(6)]
    lost = {choose.randrange(3, 30) for _ in range(8)}

    def after(number: int, fate: str | float) -> Fate:
        return lambda request: fate if request >= number else "pass"

    yield pytest.param(lambda _: 1.0, id="slow, each answer a second late")
    yield pytest.param(lambda _: 6.0, id="slower than a client waits")
    yield pytest.param(after(first[0], "error"), id="answers 500 from a moment on")
    yield pytest.param(
        lambda request: "error" if request % 3 == 0 else "pass", id="answers every third request with 500"
    )
    yield pytest.param(after(first[1], "page"), id="another web server's pages from a moment on")
    yield pytest.param(after(first[2], "drop"), id="hangs up from a moment on")
    yield pytest.param(
        lambda request: "lose" if request in lost else "pass", id="does what is asked, but some answers are lost"
    )
    yield pytest.param(
        lambda request: "drop" if first[3] <= request < first[3] + 4 else "pass", id="away for four requests, then back"
    )


@pytest.mark.parametrize("fate", list(fates()))
def test_a_training_finishes_whatever_the_server_does_and_track_completes_its_run(
    fate: Fate, request: pytest.FixtureRequest, checkout: Path, server: MlflowServer, proxy: Proxy, fault: Fault
) -> None:
    what = request.node.callspec.id
    uri, runs = f"http://127.0.0.1:{proxy.server_port}", len(_folders(checkout))
    with fault("tracking server", what):
        proxy.struck_by(fate)
        told = _ended(_train(checkout, runs, uri))
        assert told.count("notice: ") <= 1, told
        proxy.struck_by(lambda _: "pass")
        _ended(_start(checkout, uri, "track", MLFLOW_HTTP_REQUEST_TIMEOUT="120"))
        _check_complete(server.database, runs + 1)


@pytest.mark.parametrize("back", ["after the training", "while it trains"])
def test_a_server_that_dies_costs_no_training(
    back: str, checkout: Path, server: MlflowServer, proxy: Proxy, fault: Fault
) -> None:
    with fault("tracking server", f"killed -9 in the middle of a run, back {back}"):
        uri, runs, died = f"http://127.0.0.1:{proxy.server_port}", len(_folders(checkout)), threading.Event()

        def fate(number: int) -> str:
            if number == 12:
                server.kill()
                died.set()
            return "pass"

        proxy.struck_by(fate)
        training = _train(checkout, runs, uri)
        if back == "while it trains":
            assert died.wait(PATIENCE_SECONDS)
            server.start()
        _ended(training)
        assert died.is_set()
        if back == "after the training":
            server.start()
        proxy.struck_by(lambda _: "pass")
        _ended(_start(checkout, uri, "track", MLFLOW_HTTP_REQUEST_TIMEOUT="120"))
        _check_complete(server.database, runs + 1)


def test_an_address_where_nobody_listens_costs_one_notice(
    checkout: Path, server: MlflowServer, proxy: Proxy, fault: Fault
) -> None:
    with fault("tracking server", "nobody listens at its address"):
        runs = len(_folders(checkout))
        told = _ended(_train(checkout, runs, f"http://127.0.0.1:{free_port()}"))
        assert told.count("notice: ") == told.count("`unrolled track`") == 1
        proxy.struck_by(lambda _: "pass")
        _ended(_start(checkout, f"http://127.0.0.1:{proxy.server_port}", "track", MLFLOW_HTTP_REQUEST_TIMEOUT="120"))
        _check_complete(server.database, runs + 1)


@pytest.mark.parametrize("count", [2, 4])
def test_runs_at_once_on_a_fresh_store_are_all_there(count: int, checkout: Path, tmp_path: Path, fault: Fault) -> None:
    with fault("fresh sqlite store", f"{count} runs at once"):
        fresh = tmp_path / "unrolled"
        shutil.copytree(checkout, fresh, ignore=shutil.ignore_patterns("outputs", "sidecars", "__pycache__"))
        told = [_ended(process) for process in [_train(fresh, seed, None) for seed in range(count)]]
        assert not any("notice: " in text or "error" in text for text in told), told
        _check_complete(fresh / "mlflow.db", count)


def _folders(root: Path) -> list[Path]:
    return list((root / "outputs").glob("*/meta.json"))
