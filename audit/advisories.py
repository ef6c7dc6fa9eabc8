"""`make audit`: what OSV knows of every locked package; what is known and accepted stands in accepted.toml.

usage: python audit/advisories.py     (with .venv; needs the network)

Ends with 1 if a package has a known vulnerability or is known to be malicious, if an acceptance is past its day, or if the
service did not answer for every package: no answer is not a clean bill. It asks OSV, which also lists malicious releases;
pip-audit's default service passes over packages that it cannot find and calls the rest clean.
"""

import datetime
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unrolled.errors import UserError

ROOT = Path(__file__).parents[1]
ACCEPTED = ROOT / "audit" / "accepted.toml"
PIN = re.compile(r"^([a-z0-9][a-z0-9.-]*)==([^\s;]+)", re.MULTILINE)


@dataclass(frozen=True)
class Acceptance:
    """An advisory that was looked at and does no harm here, until the day when it must be looked at again."""

    id: str
    date: datetime.date
    expires: datetime.date
    reason: str


def read_accepted(text: str) -> tuple[Acceptance, ...]:
    """The acceptances in accepted.toml's text.

    Raises:
        UserError: if an entry lacks its id, day, end or reason, or ends before it begins.
    """
    kinds = {"id": str, "date": datetime.date, "expires": datetime.date, "reason": str}
    entries: list[dict[str, Any]] = tomllib.loads(text).get("accepted", [])
    for entry in entries:
        if set(entry) != set(kinds) or not all(entry[k] and isinstance(entry[k], kind) for k, kind in kinds.items()):
            raise UserError(
                f"accepted.toml: cannot take {entry}; expected id, date, expires and reason, none empty; complete it"
            )
        if entry["expires"] <= entry["date"]:
            raise UserError(
                f"accepted.toml: {entry['id']} expires on {entry['expires']}, expected a day after its date {entry['date']}"
            )
    return tuple(Acceptance(**entry) for entry in entries)


def overdue(accepted: Sequence[Acceptance], today: datetime.date) -> list[str]:
    """One sentence for each acceptance that is past its day."""
    return [
        f"{a.id}: accepted on {a.date} until {a.expires}, which is past; upgrade (`make lock`), or look again and set a new day"
        for a in accepted
        if a.expires < today
    ]


def pins(lock: str, project: str) -> dict[str, str]:
    """Every package's release: from the text of the locks, and torch's from pyproject.toml's, as they leave it out."""
    (torch,) = re.findall(r'"torch==([^"]+)"', project)
    return dict(PIN.findall(lock)) | {"torch": torch}


def ask(packages: Mapping[str, str]) -> list[dict[str, Any]]:
    """What pip-audit reports of each package: its name, version and vulns.

    Raises:
        UserError: if the service cannot be reached, or did not answer for every package.
    """
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "requirements.txt"
        listed.write_text("".join(f"{name}=={version}\n" for name, version in packages.items()))
        command = [sys.executable, "-m", "pip_audit", "--vulnerability-service", "osv", "--format", "json"]
        command += ["--no-deps", "--disable-pip", "--progress-spinner", "off", "--cache-dir", folder]
        done = subprocess.run([*command, "--requirement", str(listed)], capture_output=True, text=True)
    try:
        answers: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except ValueError:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise UserError(
            f"not audited: no answer from the vulnerability service ({last}). Nothing is known about the "
            f"{len(packages)} packages; run `make audit` where the network can be reached"
        ) from None
    unanswered = sorted(set(packages) - {answer["name"] for answer in answers if "vulns" in answer})
    if unanswered:
        raise UserError(
            f"not audited: the vulnerability service left out {', '.join(unanswered)}; run `make audit` again"
        )
    return answers


def findings(answers: Sequence[Mapping[str, Any]], accepted: Sequence[Acceptance]) -> list[str]:
    """One sentence for each advisory that nobody accepted."""
    known = {acceptance.id.upper() for acceptance in accepted}
    return [
        f"{answer['name']} {answer['version']}: {', '.join([vuln['id'], *vuln['aliases']])}; "
        f"fixed in {', '.join(vuln['fix_versions']) or 'no release'}. {vuln['description'][:200]}"
        for answer in answers
        for vuln in answer["vulns"]
        if not known & {name.upper() for name in (vuln["id"], *vuln["aliases"])}
    ]


def main(accepted_text: str, today: datetime.date) -> str:
    """Audit the lock and return a sentence that says what was found good.

    Raises:
        UserError: if anything else was found, or nothing could be.
    """
    accepted = read_accepted(accepted_text)
    locks = "".join((ROOT / place / "requirements.lock").read_text() for place in (".", "benchmarks"))
    packages = pins(locks, (ROOT / "pyproject.toml").read_text())
    if problems := overdue(accepted, today) or findings(ask(packages), accepted):
        mend = "Upgrade (`make lock`), or accept in audit/accepted.toml with a reason and an end"
        raise UserError("\n".join([f"{len(problems)} to see to", *problems, mend]))
    ids = ", ".join(acceptance.id for acceptance in accepted)
    return f"{len(packages)} packages: nothing known against them but what is accepted ({ids or 'nothing'})"


if __name__ == "__main__":
    try:
        print(main(ACCEPTED.read_text(), datetime.date.today()))
    except UserError as error:
        sys.exit(f"error: {error}")
