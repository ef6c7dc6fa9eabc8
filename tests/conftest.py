"""What several tests share: a checkout in miniature and tiny window sets."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples every time, nothing kept between runs, and no clock: a machine may be busy.
settings.register_profile("same", derandomize=True, database=None, deadline=None)
settings.load_profile("same")

ROOT = Path(__file__).parents[1]


Fault = Callable[[str, str], AbstractContextManager[None]]


@pytest.fixture
def run_module() -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Run ``python -m MODULE ARGS`` in a folder, as a stage does, with the folder's own code first if it has some."""

    def run(module: str, *arguments: str, cwd: Path = ROOT, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=cwd,
            env=clean_environment() | {"PYTHONPATH": "src"} | environment,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run


def clean_environment() -> dict[str, str]:
    """The environment without what a surrounding DVC or MLflow would add; this Python first on the path."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "MLFLOW_", "GIT_"))}
    return kept | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "DVC_NO_ANALYTICS": "true",
        "OMP_NUM_THREADS": "1",
    }


def skip_if_ignored(number: int) -> None:
    """Skip a test of a signal that this process, and what it starts, was started to ignore."""
    if signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip(
            f"what started this process has it ignore {signal.Signals(number).name}, as nohup and a shell's & do"
        )


@pytest.fixture
def fault(request: pytest.FixtureRequest) -> Fault:
    """``with fault(kind, promise):`` counts one fault for reports/reliability.md."""
    from reliability import counted

    return partial(counted, test=request.node.nodeid.partition("[")[0])


def pytest_sessionstart(session: pytest.Session) -> None:
    from reliability import began

    if not hasattr(session.config, "workerinput"):  # pytest-xdist's workers have sessions of their own
        began()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tell reports/reliability.md of each test that came to no fault: it is skipped, or its fixtures failed."""
    from reliability import not_tried

    made = yield
    if call.excinfo is not None and (made.skipped or made.when == "setup"):
        not_tried(item.nodeid.partition("[")[0], str(call.excinfo.value) or call.excinfo.typename)
    return made


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    from reliability import ended

    whole = exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    if whole and not hasattr(session.config, "workerinput"):
        ended()


@pytest.fixture(scope="session")
def made_checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scratch checkout with small cells, run once for all workers; see ``scratchcheckout``."""
    from scratchcheckout import make_checkout

    base = tmp_path_factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "made" / "unrolled"
    root.parent.mkdir(exist_ok=True)
    with (root.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a worker waits for the one that makes it
        whole = root.parent / "whole"
        if not whole.is_file():
            shutil.rmtree(root, ignore_errors=True)
            make_checkout(root)
            whole.touch()
    return root


@pytest.fixture(scope="module")
def checkout(made_checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the scratch checkout for the tests of one file."""
    from scratchcheckout import copy_checkout

    return copy_checkout(made_checkout, tmp_path_factory.mktemp("pipeline") / "unrolled")
