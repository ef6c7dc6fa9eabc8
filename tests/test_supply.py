"""Nothing is installed that was not locked by hash, no malicious release can be chosen, and the audit never passes unasked."""

import json
import re
import subprocess
import sys
import threading
import tomllib
import zipfile
from collections.abc import Iterator
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, clean_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from unrolled.errors import UserError

sys.path.insert(0, str(ROOT / "audit"))

from advisories import ACCEPTED, Acceptance, ask, findings, main, overdue, pins, read_accepted

OURS, BENCHMARKS = ((ROOT / place / "requirements.lock").read_text() for place in (".", "benchmarks"))
LOCK = OURS + BENCHMARKS
PROJECT = (ROOT / "pyproject.toml").read_text()
BY_PLATFORM = re.compile(r"torch|triton|cuda-.*|nvidia-.*")  # torch's builds, and what only some of them need
TODAY = date(2027, 1, 31)
CLOSED = "http://127.0.0.1:9/v1/query"  # nothing listens there


def _blocks() -> dict[str, str]:
    """Each locked package's lines."""
    blocks = re.split(r"^(?=[a-z0-9])", re.sub(r"^#.*\n", "", LOCK, flags=re.MULTILINE), flags=re.MULTILINE)
    return {block.split("==")[0]: block for block in blocks if block.strip()}


def test_every_locked_package_has_hashes() -> None:
    bare = [name for name, block in _blocks().items() if not re.search(r"--hash=sha256:[0-9a-f]{64}\b", block)]
    assert bare == []


def test_the_lock_is_the_same_whatever_torch_it_was_made_with() -> None:
    assert [name for name in _blocks() if BY_PLATFORM.fullmatch(name)] == []
    assert "+cpu" not in LOCK


def test_the_lock_holds_what_the_project_asks_for() -> None:
    project = tomllib.loads(PROJECT)["project"]
    asked = [Requirement(line) for line in (*project["dependencies"], *project["optional-dependencies"]["dev"])]
    locked = pins(LOCK, PROJECT)
    wrong = [str(r) for r in asked if not r.specifier.contains(locked.get(canonicalize_name(r.name), "0"))]
    assert wrong == [], "run `make lock`"


def test_the_benchmarks_lock_holds_what_they_ask_for_and_nothing_that_ours_has() -> None:
    lines = (ROOT / "benchmarks" / "requirements.txt").read_text().splitlines()
    asked = [Requirement(line) for line in lines if line[0] not in "#-"]
    locked = pins(LOCK, PROJECT)
    wrong = [str(r) for r in asked if not r.specifier.contains(locked.get(canonicalize_name(r.name), "0"))]
    assert wrong == [], "run `make lock`"
    assert len(asked) == 5
    assert set(pins(OURS, PROJECT)) & set(pins(BENCHMARKS, PROJECT)) == {"torch"}


def test_one_release_of_torch_is_named() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", pins(LOCK, PROJECT)["torch"])


def test_make_installs_by_hash_and_resolves_torch_alone(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    for name in ("requirements.lock", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
    said = subprocess.run(["make", "-n", "install"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    installs = [line for line in said.splitlines() if "pip install" in line]
    resolved = [line for line in installs if "--no-deps" not in line]
    unhashed = [line for line in installs if "--require-hashes" not in line and line not in resolved]
    assert len(installs) == 4
    assert [line.split()[-2:] for line in unhashed] == [["--editable", "."]]
    assert len(resolved) == 1
    assert "torch==" in resolved[0]


def _wheel(folder: Path, name: str, version: str, requires: str = "") -> None:
    """The least that pip takes for a wheel."""
    stem = f"{name.replace('-', '_')}-{version}"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + (
        f"Requires-Dist: {requires}\n" if requires else ""
    )
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{stem}.dist-info/METADATA", metadata)
        wheel.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{stem}.dist-info/RECORD", "")


def _resolves(folder: Path, wanted: str) -> bool:
    """Whether pip finds releases in the folder under the project's constraints; nothing is installed."""
    command = [
        "pip",
        "--isolated",
        "install",
        "--dry-run",
        "--ignore-installed",
        "--no-index",
        "--find-links",
        str(folder),
    ]
    constraints = ["--constraint", str(ROOT / "constraints.txt")]
    done = subprocess.run([sys.executable, "-m", *command, *constraints, wanted], capture_output=True, text=True)
    assert done.returncode == 0 or "ResolutionImpossible" in done.stderr, done.stderr
    return done.returncode == 0


@pytest.mark.parametrize("name", ["lightning", "pytorch-lightning"])
def test_the_malicious_releases_cannot_be_chosen_whatever_asks_for_them(tmp_path: Path, name: str) -> None:
    for version in ("2.6.2", "2.6.3"):
        _wheel(tmp_path, name, version)
    _wheel(tmp_path, "wants-it", "1.0", f"{name}>=2.6.2")
    assert not _resolves(tmp_path, "wants-it")
    _wheel(tmp_path, name, "2.6.4")
    assert _resolves(tmp_path, "wants-it")


def test_whatever_resolves_is_constrained() -> None:
    makefile = (ROOT / "Makefile").read_text()
    (compiling,) = re.findall(r"^COMPILE := (.*)", makefile, re.MULTILINE)
    recipes = [line.replace("$(COMPILE)", compiling) for line in makefile.splitlines() if line.startswith("\t")]
    resolving = [line for line in recipes if re.search(r"\$\(INSTALL\)|pip-compile|pip install", line)]
    resolving = [line for line in resolving if "$(LOCKED)" not in line and "--no-deps" not in line]
    assert len(resolving) == 3
    assert all("--constraint constraints.txt" in line for line in resolving)
    assert "--constraint ../constraints.txt" in (ROOT / "benchmarks" / "requirements.txt").read_text().splitlines()
    assert not {"lightning"} & set(_blocks())
    assert pins(LOCK, PROJECT)["pytorch-lightning"] not in {"2.6.2", "2.6.3"}


WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.y*ml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_commit_and_get_no_credentials(path: Path) -> None:
    text = path.read_text()
    used = re.findall(r"uses: *(\S.*)", text)
    assert used
    assert [line for line in used if not re.fullmatch(r"[\w-]+/[\w./-]+@[0-9a-f]{40} +# v\d+\.\d+\.\d+", line)] == []
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    assert [name for name, job in workflow["jobs"].items() if "permissions" in job] == []
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    checkouts = [step for step in steps if step.get("uses", "").startswith("actions/checkout@")]
    assert checkouts
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_the_workflow_runs_the_tests_that_everyone_runs() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text())["jobs"]
    assert [step["run"] for step in jobs["test"]["steps"] if "run" in step] == ["make test"]
    assert jobs["test"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    assert re.search(r"^make test$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE), "and so does .ci/run"


@pytest.mark.parametrize(
    "fails", ["", "diff outputs/mnist-lstm-0-first", "verify bitcoin-cnn_lstm-0 steps=64", "train task=energy "]
)
def test_ci_compares_the_bits_of_a_cell_of_every_task(fails: str) -> None:
    text, params = (ROOT / ".ci" / "run").read_text(), yaml.safe_load((ROOT / "params.yaml").read_text())
    (part,) = re.findall(r"^same_bits\(\) \{$.*?^xargs .*?$", text, re.MULTILINE | re.DOTALL)
    stub = f'echo "ran $*"; [ -z "{fails}" ] || [[ "$* " != "{fails}"* ]]'
    stubs = f"dvc() {{ :; }}; unrolled() {{ {stub}; }}; export UNROLLED_MIRROR=somewhere"
    script = f"set -euo pipefail\n{stubs}\n{part}\necho went on"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert (done.returncode == 0, "went on" in done.stdout) == (not fails, not fails), "the first that fails ends it"
    if fails:
        return
    ran: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        cell, found, command = line.partition(": ran ")
        if found:
            ran.setdefault(cell, []).append(command)
    assert sorted(params["cells"][cell]["task"] for cell in ran) == sorted(params["tasks"])
    for cell, commands in ran.items():
        task, model, seed = cell.split("-")
        first, second = f"outputs/{cell}-first", f"outputs/{cell}-second"
        train = f"train task={task} model={model} seed={seed} trainer=smoke trainer.limit_train_batches=16"
        expected = [
            f"{train} out={first}",
            f"{train} out={second}",
            f"diff {first} {second}",
            f"verify {cell} steps=64",
        ]
        assert commands == expected, "trained twice, compared, and held to the receipt"


def test_ci_ends_at_the_first_command_that_fails_and_compares_one_cell_whole() -> None:
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    assert "set -euo pipefail" in lines
    assert "unrolled verify energy-rnn-0" in lines


def _acceptance(**changed: object) -> Acceptance:
    values = {"id": "CVE-1", "date": TODAY - timedelta(9), "expires": TODAY, "reason": "unreachable"} | changed
    return Acceptance(**values)  # type: ignore[arg-type]


def test_an_acceptance_holds_until_its_day_and_not_a_day_longer() -> None:
    assert overdue([_acceptance()], TODAY) == []
    (told,) = overdue([_acceptance()], TODAY + timedelta(1))
    assert told.startswith("CVE-1: accepted on 2027-01-22 until 2027-01-31, which is past")


@pytest.mark.parametrize("missing", ["id", "date", "expires", "reason"])
def test_an_acceptance_says_what_when_until_when_and_why(missing: str) -> None:
    lines = {"id": '"CVE-1"', "date": "2027-01-01", "expires": "2027-02-01", "reason": '"unreachable"'}
    whole = "\n".join(["[[accepted]]", *(f"{key} = {value}" for key, value in lines.items())])
    assert read_accepted(whole)[0].expires == date(2027, 2, 1)
    with pytest.raises(UserError, match="expected id, date, expires and reason"):
        read_accepted(whole.replace(f"{missing} = {lines[missing]}", ""))
    with pytest.raises(UserError, match="expected id, date, expires and reason"):
        read_accepted(whole.replace(lines[missing], '""'))


def test_an_acceptance_does_not_end_before_it_begins() -> None:
    with pytest.raises(UserError, match="expected a day after its date 2027-01-01"):
        read_accepted('[[accepted]]\nid = "CVE-1"\ndate = 2027-01-01\nexpires = 2027-01-01\nreason = "unreachable"\n')


def test_the_committed_acceptances_can_be_read() -> None:
    assert all(len(acceptance.reason) > 40 for acceptance in read_accepted(ACCEPTED.read_text()))


def test_torch_is_audited_though_it_is_not_locked() -> None:
    listed = pins(
        "numpy==2.4.6 \\\n    --hash=sha256:00\n    # via torch\nruamel-yaml==0.19.1 \\\n", '"torch==2.13.0",'
    )
    assert listed == {"numpy": "2.4.6", "ruamel-yaml": "0.19.1", "torch": "2.13.0"}


def test_only_accepted_advisories_pass_under_any_of_their_names() -> None:
    vuln = {"id": "GHSA-a", "aliases": ["CVE-1"], "fix_versions": ["1.1"], "description": "Bad."}
    answers = [{"name": "mine", "version": "1.0", "vulns": [vuln]}]
    assert findings(answers, []) == ["mine 1.0: GHSA-a, CVE-1; fixed in 1.1. Bad."]
    assert findings(answers, [_acceptance(id="CVE-2")]) != []
    assert findings(answers, [_acceptance(id="cve-1")]) == []
    assert findings(answers, [_acceptance(id="GHSA-a")]) == []


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A vulnerability service on loopback that knows something bad of diskcache; the packages that it was asked about."""
    asked: list[str] = []

    class Answering(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(f"{query['package']['name']}=={query['version']}")
            affected = [{"package": {"name": "diskcache", "ecosystem": "PyPI"}, "versions": ["5.6.3"]}]
            vuln = {"id": "MAL-1", "aliases": ["CVE-1"], "summary": "Steals.", "affected": affected}
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"vulns": [vuln]} if "diskcache" in asked[-1] else {}).encode())

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("PIP_AUDIT_OSV_URL", f"http://127.0.0.1:{server.server_port}/v1/query")
        yield asked
        server.shutdown()
        thread.join()


def test_every_package_is_asked_about_and_what_is_known_is_told(service: list[str]) -> None:
    answers = ask({"diskcache": "5.6.3", "torch": "2.13.0"})
    assert sorted(service) == ["diskcache==5.6.3", "torch==2.13.0"]
    assert findings(answers, []) == ["diskcache 5.6.3: CVE-1, MAL-1; fixed in no release. Steals."]


def test_a_package_that_was_passed_over_is_not_audited(monkeypatch: pytest.MonkeyPatch) -> None:
    passed_over = {"dependencies": [{"name": "six", "skip_reason": "Dependency not found on PyPI"}], "fixes": []}
    said = subprocess.CompletedProcess([], 0, stdout=json.dumps(passed_over), stderr="No known vulnerabilities found")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: said)
    with pytest.raises(UserError, match="not audited: the vulnerability service left out six"):
        ask({"six": "1.17.0"})


def test_an_expired_acceptance_fails_the_audit_without_any_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_AUDIT_OSV_URL", CLOSED)
    accepted = '[[accepted]]\nid = "CVE-1"\ndate = 2027-01-01\nexpires = 2027-01-30\nreason = "unreachable"\n'
    with pytest.raises(UserError, match="1 to see to\nCVE-1: accepted on 2027-01-01 until 2027-01-30, which is past"):
        main(accepted, TODAY)


def test_make_audit_says_so_and_fails_where_the_service_cannot_be_reached() -> None:
    command, environment = [sys.executable, "audit/advisories.py"], {"PYTHONPATH": "src", "PIP_AUDIT_OSV_URL": CLOSED}
    done = subprocess.run(command, cwd=ROOT, env=clean_environment() | environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: not audited: no answer from the vulnerability service")
    assert done.stdout == ""


def test_the_audit_passes_when_all_were_asked_about_and_only_what_is_accepted_is_known(service: list[str]) -> None:
    accepted = '[[accepted]]\nid = "CVE-1"\ndate = 2027-01-01\nexpires = 2027-01-31\nreason = "unreachable"\n'
    said = main(accepted, TODAY)
    assert said == f"{len(pins(LOCK, PROJECT))} packages: nothing known against them but what is accepted (CVE-1)"
    assert set(service) == {f"{name}=={version}" for name, version in pins(LOCK, PROJECT).items()}
    with pytest.raises(UserError, match="diskcache 5.6.3: CVE-1, MAL-1"):
        main("", TODAY)
