"""Hash anew what the pipeline read and wrote, and what DVC's cache keeps of it, and compare it with dvc.lock.

`dvc status` asks the file system whether a file has a new time or size; a bit that flips on a disk changes neither.
"""

import hashlib
import json
import re
import shlex
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from unrolled.errors import UserError
from unrolled.yamlfile import read_yaml

BLOCK = 4 << 20


@dataclass(frozen=True)
class Finding:
    """Something that is not what dvc.lock says.

    Attributes:
        path: what it is, relative to the checkout where it lies in it.
        problem: what is wrong with it.
        mend: the command that brings it back.
    """

    path: str
    problem: str
    mend: str


@dataclass
class Output:
    """What a stage wrote, as dvc.lock has it: a file, or a folder whose ``md5`` ends with ``.dir``."""

    stage: str
    path: str
    md5: str
    cached: bool


@dataclass
class Hasher:
    """Hashes files, each once.

    Attributes:
        files: how many it has read.
        size: how many bytes.
    """

    files: int = 0
    size: int = 0
    _known: dict[Path, str] = field(default_factory=dict)

    def md5(self, path: Path) -> str:
        """Return the md5 (hex) of a file's content."""
        if path not in self._known:
            content, block = hashlib.md5(usedforsecurity=False), bytearray(BLOCK)
            with path.open("rb", buffering=0) as file:
                while count := file.readinto(block):
                    content.update(memoryview(block)[:count])
                    self.size += count
            self.files += 1
            self._known[path] = content.hexdigest()
        return self._known[path]


def verify_data(root: Path, hasher: Hasher | None = None) -> list[Finding]:
    """Return what of the outputs, of the inputs and of DVC's cache is not what dvc.lock says; nothing is changed.

    Raises:
        UserError: dvc.lock, dvc.yaml or params.yaml cannot be read.
    """
    hasher = hasher or Hasher()
    stages = locked_stages(root)
    outputs = list(_outputs(root, stages))
    cache = Cache(root, hasher)
    ours = [output for output in outputs if output.cached]
    if ours and not any((root / output.path).exists() for output in ours):
        kept = all(cache.state(output.md5) == "whole" for output in ours)
        return [Finding("data", f"none of the {len(ours)} outputs is here", "dvc checkout" if kept else "dvc repro")]
    findings = [finding for output in outputs for finding in _check_output(root, output, cache, hasher)]
    findings += _check_inputs(root, stages, outputs, findings, hasher)
    return findings + cache.leftovers()


def locked_stages(root: Path) -> dict[str, Any]:
    """Return what dvc.lock says of the stages that the pipeline has now, in dvc.yaml's order: upstream first.

    It keeps those of removed cells too.

    Raises:
        UserError: a file is damaged or missing.
    """
    locked = _keys("dvc.lock", _read_lock, root).get("stages", {})
    params, names = _keys("params.yaml", read_yaml, root), list[str]()
    for stage, body in _keys("dvc.yaml", read_yaml, root).get("stages", {}).items():
        each = re.fullmatch(r"\$\{(\w+)\}", str(body.get("foreach", "")))
        names += [f"{stage}@{key}" for key in params[each[1]]] if each else [stage]
    return {name: locked[name] for name in names if name in locked}


def _keys(name: str, read: Callable[[Path], Any], root: Path) -> dict[str, Any]:
    try:
        content = read(root / name)
    except (OSError, ValueError) as error:
        told = " ".join(str(error).split())
        raise UserError(f"{name} cannot be read: {told}; bring it back with: git restore {name}") from error
    if not isinstance(content, dict):
        raise UserError(f"{name} holds {type(content).__name__}, not keys; bring it back with: git restore {name}")
    return content


def _read_lock(path: Path) -> Any:
    """Return what dvc.lock holds: DVC's own file, and too long for ``read_yaml``."""
    import yaml

    try:
        return getattr(yaml, "CSafeLoader", yaml.SafeLoader)(path.read_bytes()).get_single_data()
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _outputs(root: Path, stages: Mapping[str, Any]) -> Iterator[Output]:
    in_git = _uncached(root)
    for stage, body in stages.items():
        for out in body.get("outs", []):
            yield Output(stage, out["path"], out["md5"], not any(re.fullmatch(path, out["path"]) for path in in_git))


def _uncached(root: Path) -> list[str]:
    """Return patterns of the outputs that DVC does not cache because git has them."""
    patterns = []
    for body in _keys("dvc.yaml", read_yaml, root)["stages"].values():
        body = body.get("do", body)
        for out in (
            out for kind in ("outs", "metrics", "plots") for out in body.get(kind, []) if isinstance(out, dict)
        ):
            patterns += [path for path, told in out.items() if told.get("cache") is False]
    return ["[^/]+".join(map(re.escape, re.split(r"\$\{[^}]*\}", path))) for path in patterns]


class Cache:
    """DVC's cache: each object's name is the md5 of its content."""

    def __init__(self, root: Path, hasher: Hasher) -> None:
        """Args: ``root``: the checkout."""
        from dvc.config import Config

        self.root, self.hasher = root, hasher
        chosen = Config(str(root / ".dvc"))["cache"].get("dir")
        self.folder = Path(chosen or root / ".dvc" / "cache") / "files" / "md5"
        self.asked: set[Path] = set()

    def place(self, md5: str) -> Path:
        """Return where the object ``md5`` is kept."""
        return self.folder / md5[:2] / md5[2:]

    def state(self, md5: str) -> str:
        """Return ``whole``, ``damaged`` or ``missing``."""
        place = self.place(md5)
        self.asked.add(place)
        if not place.is_file():
            return "missing"
        return "whole" if self.hasher.md5(place) == md5.removesuffix(".dir") else "damaged"

    def manifest(self, md5: str) -> dict[str, str] | None:
        """Return the md5 of each file, by its path in the folder, that the object of a folder lists; None without it.

        Raises:
            UserError: it lists a path that leads out of the folder.
        """
        if self.state(md5) != "whole":
            return None
        listed = {entry["relpath"]: entry["md5"] for entry in json.loads(self.place(md5).read_bytes())}
        for path in listed:
            if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
                raise UserError(f"{self.place(md5)} lists {path!r}, which leads out of its folder; remove that object")
        return listed

    def leftovers(self) -> list[Finding]:
        """Return the damaged among the objects that dvc.lock does not name: of earlier runs and other branches."""
        found = []
        for place in sorted(self.folder.glob("??/*")):
            name = place.parent.name + place.name
            if (
                place not in self.asked
                and re.fullmatch(r"[0-9a-f]{32}(\.dir)?", name)
                and self.state(name) == "damaged"
            ):
                problem = "this object of DVC's cache, of an earlier run, is damaged"
                found.append(Finding(_shown(self.root, place), problem, _command("rm", "-f", _shown(self.root, place))))
        return found


def _check_output(root: Path, output: Output, cache: Cache, hasher: Hasher) -> Iterator[Finding]:
    if not output.cached:
        yield from _check_in_git(root, output, hasher)
    elif output.md5.endswith(".dir"):
        yield from _check_folder(root, output, cache, hasher)
    else:
        here = _state(root / output.path, output.md5, hasher)
        yield from _judge(root, output, [(output.path, output.md5, here)], cache)


def _check_in_git(root: Path, output: Output, hasher: Hasher) -> Iterator[Finding]:
    here = _state(root / output.path, output.md5, hasher)
    if here == "whole":
        return
    kept = subprocess.run(["git", "show", f"HEAD:./{output.path}"], cwd=root, capture_output=True)
    in_git = kept.returncode == 0 and hashlib.md5(kept.stdout, usedforsecurity=False).hexdigest() == output.md5
    mend = ("git", "restore", "--source=HEAD", output.path) if in_git else _again(output.stage)
    yield Finding(output.path, here, _command(*mend))


def _check_folder(root: Path, output: Output, cache: Cache, hasher: Hasher) -> Iterator[Finding]:
    folder = root / output.path
    state = cache.state(output.md5)
    listed = cache.manifest(output.md5)
    if listed is None:
        # Without its list no file can be named, but the folder can be compared as a whole.
        here = "missing" if not folder.is_dir() else "whole" if folder_md5(folder, hasher) == output.md5 else "damaged"
        yield from _judge(root, output, [(output.path, output.md5, here)], cache)
        return
    assert state == "whole"
    files = [(f"{output.path}/{path}", md5, _state(folder / path, md5, hasher)) for path, md5 in listed.items()]
    yield from _judge(root, output, files, cache)
    for path in _files(folder) if folder.is_dir() else ():
        name = path.relative_to(folder).as_posix()
        if name not in listed:
            yield Finding(
                f"{output.path}/{name}", "not written by the stage", _command("rm", "-f", f"{output.path}/{name}")
            )


def _judge(root: Path, output: Output, files: Iterable[tuple[str, str, str]], cache: Cache) -> Iterator[Finding]:
    """Yield a finding if one of an output's files, (path, md5, state here), is not whole here or in the cache."""
    told = [(path, here, cache.place(md5), cache.state(md5)) for path, md5, here in files]
    bad_here = [(path, here) for path, here, _, _ in told if here != "whole"]
    bad_kept = [(path, kept, place) for path, _, place, kept in told if kept != "whole"]
    if not bad_here and not bad_kept:
        return
    lost = any(here != "whole" and kept != "whole" for _, here, _, kept in told)
    # DVC takes what it believes to know of a file, by its time and size, for true; of a file that is gone it knows nothing.
    steps: list[tuple[str, ...]] = [
        ("rm", "-f", _shown(root, place)) for _, kept, place in bad_kept if kept == "damaged"
    ]
    steps += (
        [("rm", "-rf", output.path)] if lost else [("rm", "-f", path) for path, here in bad_here if here == "damaged"]
    )
    if lost:
        steps.append(_again(output.stage))
    else:
        steps += [("dvc", "checkout", output.path)] if bad_here else []
        steps += [("dvc", "commit", "--force", output.stage)] if bad_kept else []
    problems = [f"{path} is {here}" for path, here in bad_here]
    if not (root / output.path).exists():
        problems = [f"{output.path} is missing"]
    problems += [f"of {path} the object in DVC's cache is {kept}" for path, kept, _ in bad_kept]
    yield Finding(output.path, "; ".join(problems), " && ".join(_command(*step) for step in steps))


def _check_inputs(
    root: Path, stages: Mapping[str, Any], outputs: Iterable[Output], found: Iterable[Finding], hasher: Hasher
) -> Iterator[Finding]:
    """Yield what a stage depends on and is no longer what it ran on, unless an output in it was found already."""
    written = {output.path: output.md5 for output in outputs}
    bad = {finding.path for finding in found}
    told = set()
    for stage, body in stages.items():
        for dep in body.get("deps", []):
            path, md5 = dep["path"], dep["md5"]
            if (path, md5) in told or any(_overlap(path, name) for name in bad):
                continue
            if path in written:
                here = "whole" if written[path] == md5 else "changed"
            elif md5.endswith(".dir"):
                folder = root / path
                here = "missing" if not folder.is_dir() else "whole" if folder_md5(folder, hasher) == md5 else "changed"
            else:
                here = {"damaged": "changed"}.get(state := _state(root / path, md5, hasher), state)
            if here != "whole":
                told.add((path, md5))
                ours = path in written or any(_overlap(path, name) for name in written)
                undo = "" if ours else f" (unless you meant it: git restore {path})"
                yield Finding(path, f"{here} since {stage} ran{undo}", _command("dvc", "repro", stage))


def _overlap(one: str, other: str) -> bool:
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")


def folder_md5(folder: Path, hasher: Hasher) -> str:
    """Return what DVC calls a folder: the md5 of the list of its files, with ``.dir``."""
    listed = [{"md5": hasher.md5(path), "relpath": path.relative_to(folder).as_posix()} for path in _files(folder)]
    text = json.dumps(sorted(listed, key=lambda entry: entry["relpath"]), sort_keys=True)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() + ".dir"


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files below ``folder`` that DVC sees; .dvcignore hides compiled modules."""
    return (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def _state(path: Path, md5: str, hasher: Hasher) -> str:
    if not path.is_file():
        return "missing"
    return "whole" if hasher.md5(path) == md5 else "damaged"


def _again(stage: str) -> tuple[str, ...]:
    return "dvc", "repro", "--force", "--single-item", stage


def _shown(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _command(*words: str) -> str:
    return shlex.join(words)
