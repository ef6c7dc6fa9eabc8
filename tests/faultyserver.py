"""A real MLflow server on 127.0.0.1, and a proxy before it that lets some of its answers go wrong."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from conftest import clean_environment

START_SECONDS = 300.0  # on a busy machine


class MlflowServer:
    """A server with a database and artifacts of its own in ``folder``, which outlive it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port, self.process = folder, free_port(), None
        self.database = folder / "mlflow.db"

    process: "subprocess.Popen[bytes] | None"

    def start(self) -> None:
        """Start it and wait until it answers."""
        where = [
            "--backend-store-uri",
            f"sqlite:///{self.database}",
            "--artifacts-destination",
            str(self.folder / "artifacts"),
        ]
        command = [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
            "--workers",
            "1",
        ]
        self.process = subprocess.Popen(
            [*command, *where],
            env=clean_environment() | {"MLFLOW_DISABLE_TELEMETRY": "true"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        until = time.monotonic() + START_SECONDS
        while not self.answers():
            assert time.monotonic() < until, "the MLflow server does not start"
            assert self.process.poll() is None, "the MLflow server has ended"
            time.sleep(0.2)

    def answers(self) -> bool:
        """Whether it is up."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def kill(self) -> None:
        """Kill -9 all of it."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class Proxy(ThreadingHTTPServer):
    """Passes requests on to a server; what becomes of each is decided by its number.

    Attributes:
        fate: request number, from 1, to ``pass``, ``error`` (an answer 500), ``page`` (a web page), ``drop`` (no answer, the
            request goes nowhere), ``lose`` (the server does what was asked, the answer is lost) or seconds of waiting.
    """

    daemon_threads = True

    def __init__(self, server: MlflowServer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.server, self.requests, self.lock = server, 0, threading.Lock()
        self.fate: Callable[[int], str | float] = lambda _: "pass"

    def struck_by(self, fate: Callable[[int], str | float]) -> None:
        """Count requests from 1 again."""
        with self.lock:
            self.requests, self.fate = 0, fate

    def next_fate(self) -> str | float:
        with self.lock:
            self.requests += 1
            number = self.requests
        return self.fate(number)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has given up is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: Proxy

    def _answer(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fate = self.server.next_fate()
        if isinstance(fate, float):
            time.sleep(fate)
        if fate == "drop":
            return
        if fate in ("error", "page"):
            self._send(500 if fate == "error" else 200, b"<html>not what you asked for</html>", "text/html")
            return
        connection = http.client.HTTPConnection("127.0.0.1", self.server.server.port, timeout=120)
        try:
            connection.request(self.command, self.path, content, dict(self.headers))
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException):
            return  # the server is not there
        finally:
            connection.close()
        if fate != "lose":
            self._send(answer.status, body, answer.headers.get("Content-Type", "application/json"))

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@contextmanager
def proxied(server: MlflowServer) -> Iterator[Proxy]:
    """Run a proxy for ``server``."""
    with Proxy(server) as proxy:
        thread = threading.Thread(target=proxy.serve_forever)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
