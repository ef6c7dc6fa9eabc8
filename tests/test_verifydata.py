"""`unrolled verify data`: what DVC's own status does not see is found, named, and mended by the command that is named."""

import hashlib
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from conftest import Fault, clean_environment
from scratchcheckout import commit, dvc, git

from unrolled.errors import UserError
from unrolled.verifydata import Finding, Hasher, verify_data

PIPELINE = """\
stages:
  fetch:
    foreach: ${tasks}
    do:
      cmd: >-
        mkdir -p data/raw/${item}/deep && cd data/raw/${item} && echo same > same &&
        echo ${item} > one && echo ${item} ${item} > deep/two
      deps: [conf.txt]
      outs:
        - data/raw/${item}:
            persist: true
  train:
    cmd: cat data/raw/*/one > data/weights && echo '{}' > metrics.json
    deps: [data/raw]
    outs: [data/weights]
    metrics:
      - metrics.json:
          cache: false
"""


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git checkout with a DVC pipeline of three stages, run; each test leaves it whole."""
    root = tmp_path_factory.mktemp("verify")
    (root / "dvc.yaml").write_text(PIPELINE)
    (root / "params.yaml").write_text("tasks: [energy, mnist]\n")
    (root / "conf.txt").write_text("as committed\n")
    (root / ".gitignore").write_text("/data\n")
    git(root, "init", "--quiet")
    dvc(root, "init", "--quiet")
    dvc(root, "repro")
    commit(root, "results")
    return root


def _flip(path: Path) -> None:
    """Flip a bit as a failing disk does: neither the size nor the time changes, nor may the file be writable."""
    before, content = path.stat(), bytearray(path.read_bytes())
    content[0] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(before.st_mode)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _object(root: Path, md5: str) -> Path:
    return root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]


def _kept(root: Path, path: str) -> Path:
    """Return the object in the cache of a file of an output, or of an output itself, as it is when it is whole."""
    for stage in yaml.safe_load((root / "dvc.lock").read_text())["stages"].values():
        for out in stage["outs"]:
            if out["path"] == path:
                return _object(root, out["md5"])
    return _object(root, hashlib.md5((root / path).read_bytes()).hexdigest())


def _follow(root: Path, findings: list[Finding]) -> None:
    for finding in findings:
        subprocess.run(["sh", "-c", finding.mend], cwd=root, check=True, env=clean_environment(), capture_output=True)


DAMAGED = "files damaged or deleted, in DVC's cache and among outputs"
FILE, FOLDER, WEIGHTS = "data/raw/mnist/deep/two", "data/raw/mnist", "data/weights"
FAULTS: dict[str, tuple[Callable[[Path], list[Path]], Callable[[Path], list[Path]], str]] = {
    # what gets a flipped bit, what is removed, and what is said
    "a bit flipped in a file of an output": (lambda root: [root / FILE], lambda root: [], f"{FILE} is damaged"),
    "a bit flipped in an output of one file": (lambda root: [root / WEIGHTS], lambda root: [], f"{WEIGHTS} is damaged"),
    "a file of an output deleted": (lambda root: [], lambda root: [root / FILE], f"{FILE} is missing"),
    "a bit flipped in an object of the cache": (
        lambda root: [_kept(root, FILE)],
        lambda root: [],
        f"of {FILE} the object in DVC's cache is damaged",
    ),
    "an object of the cache deleted": (
        lambda root: [],
        lambda root: [_kept(root, WEIGHTS)],
        f"of {WEIGHTS} the object",
    ),
    "a bit flipped in the cache's list of a folder": (
        lambda root: [_kept(root, FOLDER)],
        lambda root: [],
        f"of {FOLDER} the object in DVC's",
    ),
    "a bit flipped in an output and in its object": (
        lambda root: [_kept(root, FILE), root / FILE],
        lambda root: [],
        "; of data/raw/mnist",
    ),
    "a bit flipped in an output, its folder's list deleted": (
        lambda root: [root / FILE],
        lambda root: [_kept(root, FOLDER)],
        f"{FOLDER} is damaged; of {FOLDER} the object in DVC's cache is missing",
    ),
    "a bit flipped in an output and in another's object": (
        lambda root: [root / FILE, _kept(root, "data/raw/mnist/one")],
        lambda root: [],
        f"{FILE} is damaged; of data/raw/mnist/one the object",
    ),
    "a bit flipped in what git keeps": (lambda root: [root / "metrics.json"], lambda root: [], "damaged"),
}


@pytest.mark.slow
@pytest.mark.chaos(make_test=True)
@pytest.mark.parametrize("what", FAULTS)
def test_a_fault_is_named_and_the_command_that_is_named_mends_it(what: str, pipeline: Path, fault: Fault) -> None:
    flip, remove, told = FAULTS[what]
    assert verify_data(pipeline) == []
    lock = (pipeline / "dvc.lock").read_bytes()
    removed, flipped = remove(pipeline), flip(pipeline)
    with fault(DAMAGED, what):
        for path in flipped:
            _flip(path)
        for path in removed:
            path.unlink()
        findings = verify_data(pipeline)
        assert len(findings) == 1
        assert told in findings[0].problem
        _follow(pipeline, findings)
        assert verify_data(pipeline) == []
        assert (pipeline / "dvc.lock").read_bytes() == lock


@pytest.mark.slow
@pytest.mark.chaos(make_test=True)
def test_an_object_of_two_outputs_is_named_for_both_and_mended_once_or_twice(pipeline: Path, fault: Fault) -> None:
    with fault(DAMAGED, "a bit flipped in the one object of two outputs"):
        _flip(_kept(pipeline, "data/raw/mnist/same"))
        findings = verify_data(pipeline)
        assert [finding.path for finding in findings] == ["data/raw/energy", "data/raw/mnist"]
        _follow(pipeline, findings[:1])
        assert verify_data(pipeline) == []
        _flip(_kept(pipeline, "data/raw/mnist/same"))
        _follow(pipeline, findings)
        assert verify_data(pipeline) == []


@pytest.mark.slow
def test_dvc_status_does_not_see_it(pipeline: Path) -> None:
    dvc(pipeline, "status")
    _flip(pipeline / FILE)
    assert "up to date" in dvc(pipeline, "status")
    findings = verify_data(pipeline)
    assert findings
    _follow(pipeline, findings)


@pytest.mark.slow
def test_inputs_strangers_and_earlier_objects_are_looked_at_too(pipeline: Path) -> None:
    (pipeline / "conf.txt").write_text("edited\n")
    (pipeline / "data/raw/energy/three").write_text("not of the stage\n")
    earlier = _object(pipeline, hashlib.md5(b"of an earlier run").hexdigest())
    earlier.parent.mkdir(exist_ok=True)
    earlier.write_bytes(b"of an earlier ran")
    findings = {finding.path: finding for finding in verify_data(pipeline)}
    assert set(findings) == {"data/raw/energy/three", "conf.txt", earlier.relative_to(pipeline).as_posix()}
    assert findings["conf.txt"].problem == "changed since fetch@energy ran (unless you meant it: git restore conf.txt)"
    assert findings["conf.txt"].mend == "dvc repro fetch@energy"
    assert "of an earlier run" in findings[earlier.relative_to(pipeline).as_posix()].problem
    git(pipeline, "restore", "conf.txt")
    _follow(pipeline, [finding for finding in findings.values() if finding.path != "conf.txt"])
    assert verify_data(pipeline) == []


@pytest.mark.slow
def test_an_input_that_is_not_what_a_stage_ran_on_is_told(pipeline: Path) -> None:
    (pipeline / "data/raw/old").mkdir()
    (pipeline / "data/raw/old/one").write_text("of a task that is no more\n")
    assert [(finding.path, finding.mend) for finding in verify_data(pipeline)] == [("data/raw", "dvc repro train")]
    (pipeline / "data/raw/old/one").unlink()
    (pipeline / "data/raw/old").rmdir()


@pytest.mark.slow
def test_without_any_output_one_line_says_how_they_come(pipeline: Path, tmp_path: Path) -> None:
    (pipeline / "data").rename(tmp_path / "data")
    assert verify_data(pipeline) == [Finding("data", "none of the 3 outputs is here", "dvc checkout")]
    _follow(pipeline, verify_data(pipeline))
    assert verify_data(pipeline) == []
    (pipeline / "data").rename(tmp_path / "again")
    (pipeline / ".dvc/cache").rename(tmp_path / "cache")
    assert verify_data(pipeline) == [Finding("data", "none of the 3 outputs is here", "dvc repro")]
    (tmp_path / "cache").rename(pipeline / ".dvc/cache")
    (tmp_path / "data").rename(pipeline / "data")


@pytest.mark.slow
def test_a_list_that_leads_out_of_its_folder_is_refused(pipeline: Path) -> None:
    lock = (pipeline / "dvc.lock").read_text()
    text = b'[{"md5": "d41d8cd98f00b204e9800998ecf8427e", "relpath": "../../../conf.txt"}]'
    name = f"{hashlib.md5(text).hexdigest()}.dir"
    _object(pipeline, name).parent.mkdir(exist_ok=True)
    _object(pipeline, name).write_bytes(text)
    honest = next(out["md5"] for out in yaml.safe_load(lock)["stages"]["fetch@mnist"]["outs"])
    (pipeline / "dvc.lock").write_text(lock.replace(honest, name))
    with pytest.raises(UserError, match=r"lists '../../../conf.txt', which leads out of its folder"):
        verify_data(pipeline)
    (pipeline / "dvc.lock").write_text(lock)
    _object(pipeline, name).unlink()


def test_the_command_prints_each_finding_and_ends_with_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from unrolled import verifydata
    from unrolled.commands import verify

    found = [Finding("data/weights", "data/weights is missing", "dvc checkout data/weights")]
    monkeypatch.setattr(verify, "project_root", lambda: tmp_path)
    monkeypatch.setattr(verifydata, "verify_data", lambda root, hasher: list(found))
    with pytest.raises(SystemExit, match=r"^error: 1 not as dvc.lock says \(above\); run the commands in that order"):
        verify.main(["data"])
    assert "data/weights: data/weights is missing; mend it with: dvc checkout data/weights" in capsys.readouterr().out
    found.clear()
    verify.main(["data"])
    assert "all as dvc.lock says, here and in DVC's cache" in capsys.readouterr().out
    for wrong, told in (
        ([], "expected: unrolled verify energy-gru-0, or: unrolled verify data"),
        (["date"], "'date' is neither a cell, such as energy-gru-0"),
        (["data", "x=1"], "unknown key 'x'"),
    ):
        with pytest.raises(SystemExit, match=told):
            verify.main(wrong)


@pytest.mark.parametrize("content", ["stages: [", "- a list\n", None])
def test_a_damaged_lock_is_told(content: str | None, tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").write_text(PIPELINE)
    (tmp_path / "params.yaml").write_text("tasks: []\n")
    if content is not None:
        (tmp_path / "dvc.lock").write_text(content)
    with pytest.raises(UserError, match=r"bring it back with: git restore dvc.lock"):
        verify_data(tmp_path)


def test_each_file_is_read_once_and_in_large_blocks(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(os.urandom(1 << 20) * 64)
    hasher, began = Hasher(), time.process_time()
    assert hasher.md5(path) == hasher.md5(path) == hashlib.md5(path.read_bytes()).hexdigest()
    assert (hasher.files, hasher.size) == (1, 64 << 20)
    assert time.process_time() - began < 2
