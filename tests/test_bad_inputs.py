"""Every bad input is refused at once, in little memory, and with the message that docs/bad-inputs.md shows."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from badinputs import DOC, Tried, page
from conftest import ROOT, Fault, clean_environment

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs Linux's account of peak memory"),
]


@pytest.fixture(scope="module")
def tried() -> list[Tried]:
    """All of them, tried in a process that has the readers and nothing else in memory."""
    done = subprocess.run(
        [sys.executable, ROOT / "tests/badinputs.py", "measure"],
        capture_output=True,
        text=True,
        env=clean_environment() | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT / 'tests'}"},
        timeout=400,
    )
    assert done.returncode == 0, done.stderr
    return [Tried(**json.loads(line)) for line in done.stdout.splitlines()]


@pytest.mark.chaos(make_test=True)
def test_each_is_told_in_one_line_within_a_second_and_200_mb(tried: list[Tried], fault: Fault) -> None:
    for one in tried:
        what = f"{one.reader}, {one.given}"
        with fault("bad inputs, each told in one line, or read rightly, within a second and 200 MB", one.reader):
            assert "\n" not in one.told, what
            assert (one.told == "(is read)") == ("byte order mark" in one.given and "YAML" not in one.reader), what
            assert one.seconds < 1, f"{what}: {one.seconds:.2f} s"
            assert one.grown < 200e6, f"{what}: {one.grown / 1e6:.0f} MB"


def test_the_page_shows_what_is_told(tried: list[Tried]) -> None:
    assert page(tried) == DOC.read_text(), "write it anew with: python tests/badinputs.py"
