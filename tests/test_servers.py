"""The servers are for this machine only: each is started as a user starts it, asked under several names, and ended."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest
import scratchcheckout
from conftest import ROOT, clean_environment
from trainedfolders import write_trained
from windowsets import series_windows

FOREIGN = ("evil.example", "10.evil.example", "192.168.evil.example:80", "localhost.evil.example", "", "127.0.0.1@evil")
EXAMPLE = json.dumps({"inputs": [[[float(row)] for row in range(5)]]})


@contextmanager
def _server(command: list[str], folder: Path, ready: str) -> Iterator[str]:
    """Run ``command`` until it has said ``ready``, a pattern; yield what it said, and end it and what it started."""
    log = folder / "server.log"
    with log.open("w") as file:
        running = subprocess.Popen(
            command,
            cwd=folder,
            env=clean_environment() | {"PYTHONPATH": "src"},
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 120
        while not re.search(ready, log.read_text()):
            assert running.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield log.read_text()
    finally:
        os.killpg(running.pid, signal.SIGTERM)
        running.wait(timeout=30)


def _ask(port: int, host: str, path: str, body: str | None = None) -> tuple[int, str]:
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("POST" if body else "GET", path, body, {"Host": host, "Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def _listens_elsewhere(port: int) -> bool:
    """Tell whether another address of this machine than 127.0.0.1 takes connections; all of 127/8 is this machine's."""
    with socket.socket() as other:
        return other.connect_ex(("127.0.0.2", port)) == 0


@pytest.fixture
def checkout_of_code(tmp_path: Path) -> Path:
    scratchcheckout.copy_parts(tmp_path)
    write_trained(tmp_path, series_windows(), place="outputs/ramp")
    return tmp_path


@pytest.mark.slow
def test_a_served_model_answers_this_machine_only(checkout_of_code: Path) -> None:
    command = [sys.executable, "-m", "unrolled.cli", "serve", "run=outputs/ramp", "port=0"]
    with _server(command, checkout_of_code, r"ramp on http://127\.0\.0\.1:(\d+)/invocations") as said:
        port = int(re.findall(r":(\d+)/invocations", said)[0])
        for host in (f"127.0.0.1:{port}", f"localhost:{port}", "localhost"):
            status, body = _ask(port, host, "/invocations", EXAMPLE)
            assert status == 200, body
            assert len(json.loads(body)["predictions"]) == 1
        for host in FOREIGN:
            assert _ask(port, host, "/invocations", EXAMPLE) == (400, "Invalid host header"), host
        assert not _listens_elsewhere(port)
        again = subprocess.run(
            [*command[:-1], f"port={port}"],
            cwd=checkout_of_code,
            env=clean_environment() | {"PYTHONPATH": "src"},
            capture_output=True,
            text=True,
        )
        assert again.returncode == 1
        assert "Address already in use; name another, or port=0 for a free one\n" in again.stderr


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_the_mlflow_ui_answers_this_machine_only(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = ["make", "--old-file=install", "ui", f"PORT={port}"]
    with _server(command, tmp_path, r"Application startup complete"):
        for host in (f"127.0.0.1:{port}", f"localhost:{port}"):
            assert _ask(port, host, "/api/2.0/mlflow/experiments/search?max_results=1")[0] == 200
        for host in FOREIGN:
            status, body = _ask(port, host, "/api/2.0/mlflow/experiments/search?max_results=1")
            assert (status, body) == (403, "Invalid Host header - possible DNS rebinding attack detected"), host
        assert not _listens_elsewhere(port)
