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
        (OSError(errno.EROFS, "Read-only file system", "/data/x"), "error: Read-only file system: /data/x; make room"),
    ],
)
def test_a_mistake_is_one_line(error: Exception, told: str) -> None:
    with pytest.raises(SystemExit) as stopped, one_line_errors():
        raise error
    assert str(stopped.value).startswith(told)


def test_in_a_stage_it_says_how_the_earlier_outputs_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_STAGE", "train@energy-gru-0")
    with pytest.raises(SystemExit) as stopped, one_line_errors():
        raise OSError(errno.ENOSPC, "No space left on device", "/data/x")
    assert "`dvc checkout train@energy-gru-0` brings them back" in str(stopped.value)
    assert "`git restore reports`" in str(stopped.value)


def test_a_defect_of_ours_keeps_its_traceback() -> None:
    with pytest.raises(KeyError), one_line_errors():
        raise KeyError("ours")
