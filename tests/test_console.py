"""Errors at the command's edge: one line, exit code 1, and how what DVC removed comes back."""

import errno

import pytest

from unrolled.console import one_line_errors
from unrolled.errors import UserError


@pytest.fixture(autouse=True)
def _outside_dvc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DVC_STAGE", raising=False)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (UserError("context 5 is too long"), "error: context 5 is too long"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/data/x"),
            "error: No space left on device: /data/x; make room",
        ),
        (
            OSError(errno.EROFS, "Read-only file system", "/data/x"),
            "error: Read-only file system: /data/x; make it writable",
        ),
        (OSError(errno.EACCES, "Permission denied", "/data/.x.7.partial"), "error: Permission denied: /data; make it"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/tmp/a", None, "/data/b"),
            "error: No space left on device: /data/b;",
        ),
        (OSError("1408848 requested and 40832 written"), "error: No space left on device; make room"),
        (OSError(errno.ENOTDIR, "Not a directory", "/data/x"), "error: Not a directory: /data/x; put it right"),
        (MemoryError(), "error: there is not enough memory; lower encoder.hidden_size"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "error: there is not enough memory"),
        (UserError("it is\nbroken"), "error: it is broken"),
    ],
)
def test_a_mistake_is_one_line(error: Exception, told: str) -> None:
    with pytest.raises(SystemExit) as stopped, one_line_errors():
        raise error
    assert str(stopped.value).startswith(told)
    assert "\n" not in str(stopped.value)


def test_in_a_stage_it_says_how_the_earlier_outputs_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_STAGE", "train@energy-gru-0")
    with pytest.raises(SystemExit) as stopped, one_line_errors():
        raise OSError(errno.ENOSPC, "No space left on device", "/data/x")
    assert "`dvc checkout train@energy-gru-0` brings them back" in str(stopped.value)
    assert "`git restore reports`" in str(stopped.value)


def test_a_fetch_removes_nothing_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_STAGE", "fetch@energy")
    with pytest.raises(SystemExit, match="earlier stay as they were") as stopped, one_line_errors():
        raise UserError("no network")
    assert "dvc checkout" not in str(stopped.value)


@pytest.mark.parametrize("error", [KeyError("ours"), RuntimeError("ours")])
def test_a_defect_of_ours_keeps_its_traceback(error: Exception) -> None:
    with pytest.raises(type(error)), one_line_errors():
        raise error
