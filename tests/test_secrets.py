"""What is secret in the environment stays there: no file, no run in MLflow and no line of output has it."""

import base64
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
import requests
import scratchcheckout

from unrolled.addresses import public
from unrolled.errors import UserError
from unrolled.fetch import fetch_file, plan_attempts, unavailable
from unrolled.rawfile import RawFile
from unrolled.trackingstore import attempt, describe
from unrolled.workshop import choose_data

CANARY = "canary+in/a coal-mine"
QUOTED = quote(CANARY, safe="")
NOWHERE = f"http://user:{QUOTED}@127.0.0.1:9"  # nothing listens there
SECRETS = dict.fromkeys(
    (
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AZURE_STORAGE_CONNECTION_STRING",
        "GITHUB_TOKEN",
        "HF_TOKEN",
        "DVC_STUDIO_TOKEN",
        "MLFLOW_TRACKING_PASSWORD",
        "MLFLOW_TRACKING_TOKEN",
        "OPENAI_API_KEY",
    ),
    CANARY,
) | {"MLFLOW_TRACKING_USERNAME": "user", "HTTPS_PROXY": NOWHERE, "UNROLLED_MIRROR": NOWHERE}
FORMS = [form.encode() for form in (CANARY, QUOTED)]
FORMS += [base64.b64encode(f"user:{form}".encode()) for form in (CANARY, QUOTED)]  # as in a header Authorization
PARAMS = """\
data: stand-in
trainer: smoke
tasks: [energy]
cells:
  energy-rnn-0: {task: energy, model: rnn, seed: 0}
"""


def _told(content: bytes) -> list[bytes]:
    return [form for form in FORMS if form in content]


def _files_that_tell(root: Path) -> list[str]:
    return [str(path) for path in sorted(root.rglob("*")) if path.is_file() and _told(path.read_bytes())]


def test_the_search_finds_it(tmp_path: Path) -> None:
    for number, form in enumerate((*FORMS, b"nothing")):
        (tmp_path / str(number)).write_bytes(b"x" + form + b"x")
    assert len(_files_that_tell(tmp_path)) == len(FORMS)


@pytest.mark.slow
def test_no_stage_command_or_store_keeps_a_secret(tmp_path: Path, run_module) -> None:
    scratchcheckout.copy_parts(tmp_path)
    (tmp_path / "params.yaml").write_text(PARAMS)
    scratchcheckout.git(tmp_path, "init", "--quiet")
    scratchcheckout.commit(tmp_path, "start")
    scratchcheckout.git(tmp_path, "remote", "add", "origin", f"https://user:{QUOTED}@example.org/x.git")
    elsewhere = {"MLFLOW_TRACKING_URI": NOWHERE}
    one = ("unrolled.cli", "train", "task=energy", "model=gru", "trainer=smoke")
    runs = [
        (("dvc", "repro", "--verbose"), {}, 0),
        ((*one, "out=outputs/local"), {}, 0),
        ((*one, "seed=1", "out=outputs/remote"), elsewhere, 0),
        (("unrolled.cli", "track"), elsewhere, 1),
        (("unrolled.cli", "fetch", "task=shakespeare", "data=real"), {}, 1),
        (("unrolled.cli", "config", "task=energy", "model=gru", "out=${oc.env:GITHUB_TOKEN}"), {}, 1),
    ]
    said = ""
    for command, more, expected in runs:
        done = run_module(*command, cwd=tmp_path, **SECRETS, **more)
        assert done.returncode == expected, done.stderr
        assert not _told((done.stdout + done.stderr).encode()), command
        said += done.stdout + done.stderr
    assert "not tracked in MLflow from here on" in said
    assert "http://127.0.0.1:9" in said, "the address without its password"
    for name in ("mlflow.db", "data/sidecars", "reports/energy/rnn/0/metrics.json", "outputs/remote/meta.json"):
        assert (tmp_path / name).exists()
    config = tmp_path / ".git/config"  # where this test has put it
    assert _files_that_tell(tmp_path) == [str(config)]


class _Locked(BaseHTTPRequestHandler):
    """Answers 401 to everything."""

    def do_GET(self) -> None:
        self.send_error(401)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def locked(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Locked)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_mirror_is_named_without_its_password(locked: str, tmp_path: Path) -> None:
    file = RawFile("x.csv", "0" * 64, (), "x/x.csv", 1000, 1000)
    mirror = f"http://user:{QUOTED}@{locked}/files"
    with pytest.raises(UserError) as refused:
        fetch_file(file, tmp_path, mirror)
    assert f"http://{locked}/files/x/x.csv: HTTPError: 401" in str(refused.value)
    why = unavailable(SimpleNamespace(FILES=[file]), tmp_path, mirror)  # type: ignore[arg-type]
    assert why is not None
    assert f"{locked} (HTTPError: 401" in why
    with pytest.raises(UserError, match="UNROLLED_MIRROR='ftp://example.org/x': expected") as unknown:
        plan_attempts(file, f"ftp://user:{QUOTED}@example.org/x")
    assert not _told(f"{refused.value} {why} {unknown.value}".encode())


def test_a_failed_fetch_tells_no_token_of_the_mirrors_address(
    locked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = RawFile("x.csv", "0" * 64, (), "x/x.csv", 1000, 1000)
    mirror = f"http://{locked}/files?token={QUOTED}"
    said = []
    for error in (
        None,
        requests.exceptions.SSLError(f"Max retries exceeded with url: /files?token={QUOTED}/x (Caused by)"),
    ):
        with monkeypatch.context() as patch:
            if error is not None:
                patch.setattr(requests, "get", _raises(error))
            with pytest.raises(UserError) as refused:
                fetch_file(file, tmp_path, mirror)
            said.append(str(refused.value))
            said.append(str(unavailable(SimpleNamespace(FILES=[file]), tmp_path, mirror)))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="UNROLLED_MIRROR='ftp://host/x': expected") as unknown:
        plan_attempts(file, f"ftp://host/x?token={CANARY}")
    assert f"http://{locked}/files: HTTPError: 401" in said[0]
    assert f"http://{locked}/files: SSLError: Max retries exceeded with url: /files (Caused by)" in said[2]
    assert not _told(f"{said} {unknown.value}".encode())
    assert CANARY.split()[-1] not in str(unknown.value)


def _raises(error: Exception) -> Callable[..., Any]:
    def get(*_: Any, **__: Any) -> Any:
        raise error

    return get


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://me:secret@host/x", "http://host/x"),
        ("http://me:sec/r@et@host/x failed", "http://host/x failed"),
        ("postgresql+psycopg2://me@host/db", "postgresql+psycopg2://host/db"),
        ("http://host/x and me@example.org", "http://host/x and me@example.org"),
        ("sqlite:////home/me/mlflow.db", "sqlite:////home/me/mlflow.db"),
        ("get http://host/x?token=secret failed", "get http://host/x failed"),
        ("//me:secret@host/x?token=secret", "//host/x"),
        (
            "HTTPSConnectionPool(port=443): url: /x/y.gz?token=se/c//ret (Caused by it)",
            "HTTPSConnectionPool(port=443): url: /x/y.gz (Caused by it)",
        ),
        ("is /data/what? here", "is /data/what? here"),
    ],
)
def test_an_address_is_shown_without_its_secrets(text: str, shown: str) -> None:
    assert public(text) == shown


STORES = [
    (f"http://me:{QUOTED}@host/x?token={QUOTED}#{QUOTED}", "http://host/x"),
    (f"postgres://host/db?password={QUOTED}", "postgres://host/db"),
    (f"postgres://host/db?password={CANARY}", "postgres://host/db"),  # with its slash and its space
    (f"postgresql://me:{CANARY}@host/db", "postgresql://host/db"),
    (f"http://host/x?token=a@{QUOTED}", "http://..."),
    (f"http://me:a?{QUOTED}@host/x", "http://..."),
    (f"sqlite:////home/me@work/mlflow.db?password={QUOTED}", "sqlite:////home/me@work/mlflow.db"),
    ("/home/me/mlruns", "/home/me/mlruns"),
]


@pytest.mark.parametrize(("uri", "shown"), STORES)
def test_a_store_is_shown_without_user_password_query_and_fragment(uri: str, shown: str) -> None:
    assert public(uri, uri) == shown


@pytest.mark.parametrize(("uri", "shown"), STORES)
def test_the_notice_of_a_store_that_does_not_work_keeps_what_its_address_hides(
    uri: str, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)

    def fail() -> None:
        raise OSError(f"unsupported URI '{uri}' for the registry")

    assert attempt(tmp_path, fail) is None
    said = capsys.readouterr().out
    assert f"unsupported URI '{shown}' for the registry" in said
    assert f"completes {shown} from" in said
    assert not _told(said.encode())
    assert CANARY.split()[-1] not in said


def test_other_addresses_in_an_error_are_cut_too() -> None:
    error = OSError(f'moved to "http://me:x@host/y?token={QUOTED}" or http://there/z#{QUOTED}')
    assert describe(error, "http://here") == 'OSError: moved to "http://host/y" or http://there/z'


def test_make_run_names_a_mirror_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "params.yaml").write_text(PARAMS)
    monkeypatch.setattr("unrolled.workshop.missing_data", lambda *_: [])
    choose_data(tmp_path, f"http://user:{QUOTED}@host/files?token={QUOTED}")
    assert capsys.readouterr().out == "data: real, from http://host/files\n"
