"""Stage fetch: a task's raw files from a mirror or their publishers, or its stand-ins.

usage: unrolled fetch task=energy [data=real|stand-in]

UNROLLED_MIRROR, an absolute folder or an http(s) address, is tried first. Whatever the address, the unpacked content's
sha256 is pinned, so that nothing downstream can tell where it came from.
"""

import gzip
import hashlib
import json
import os
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

from unrolled.errors import UserError
from unrolled.rawfile import RawFile

CHUNK = 1 << 20
PIECE = 1 << 16  # of a download
SECONDS = 20  # without an answer, then the next address is tried
ALTERNATIVES = (
    "set UNROLLED_MIRROR to a folder or an address that has the files, or say `data: stand-in` in params.yaml to go on "
    "with generated data"
)


def plan_attempts(file: RawFile, mirror: str | None) -> list[str]:
    """Return the places to try for ``file``, in order: paths and addresses.

    Raises:
        UserError: ``mirror`` is neither an http(s) address nor an absolute folder that exists.
    """
    if not mirror:
        return list(file.addresses)
    if mirror.startswith(("http://", "https://")):
        return [f"{mirror.rstrip('/')}/{file.mirror_path}", *file.addresses]
    folder = Path(mirror)
    if not folder.is_absolute() or not folder.is_dir():
        raise UserError(f"UNROLLED_MIRROR={mirror!r}: expected an absolute folder that exists, or an http(s) address")
    packed = folder / file.mirror_path
    return [str(place) for place in (packed, packed.parent / file.name) if place.is_file()] + list(file.addresses)


def fetch_file(file: RawFile, folder: Path, mirror: str | None) -> None:
    """Put ``file`` into ``folder``, verified; a file that is already there with the right content stays.

    Raises:
        UserError: no place had it; the message says what each one answered.
    """
    target = folder / file.name
    if target.is_file() and sha256_of(target) == file.sha256:
        return
    answers = []
    for place in plan_attempts(file, mirror):
        partial = folder / f".{file.name}.{os.getpid()}.partial"
        try:
            _obtain(place, file, partial)
        except _Refused as refusal:
            answers.append(f"{place}: {refusal}")
            continue
        else:
            partial.replace(target)
            return
        finally:
            partial.unlink(missing_ok=True)
    raise UserError(f"{file.name} could not be fetched. " + "; ".join(answers) + f". What now: {ALTERNATIVES}")


class _Refused(Exception):
    """Why one place did not serve the file."""


def _obtain(place: str, file: RawFile, target: Path) -> None:
    """Download or copy, unpack, verify and sync ``file`` from one place.

    Raises:
        _Refused: it did not have the file as it must be.
    """
    if not place.startswith(("http://", "https://")):
        with open(place, "rb") as source:
            _unpack(source, file, target, packed=place.endswith(".gz"))
        return
    download = target.with_suffix(".download")
    try:
        _download(place, download, file.max_bytes)
        with download.open("rb") as source:
            _unpack(source, file, target, packed=file.packed is not None)
    finally:
        download.unlink(missing_ok=True)


def _download(address: str, target: Path, most: int) -> None:
    import pooch
    import requests

    # Ask first: a file of the wrong size need not be downloaded, and a redirect must not drop the encryption.
    try:
        with requests.get(address, stream=True, timeout=SECONDS) as answer:
            answer.raise_for_status()
            size = answer.headers.get("content-length", "")
            if address.startswith("https://") and not answer.url.startswith("https://"):
                raise _Refused(f"it redirects from https to {answer.url.split(':')[0]}")
            if size.isdecimal() and int(size) > most:
                raise _Refused(f"it has {int(size):,} bytes, more than the {most:,} expected at most")
        downloader = pooch.HTTPDownloader(progressbar=_progress(target.name, most), timeout=SECONDS, chunk_size=PIECE)
        downloader(address, str(target), None)
    except requests.RequestException as error:
        raise _Refused(_short(error)) from error
    except _TooLarge as error:
        raise _Refused(f"it has more than the {most:,} bytes expected at most") from error


class _TooLarge(Exception):
    """A download went on beyond its cap."""


def _progress(name: str, most: int) -> Any:
    """Return a tqdm bar that pooch drives and that stops a download without end."""
    from tqdm import tqdm

    class CappedBar(tqdm):  # type: ignore[type-arg]
        def __bool__(self) -> bool:
            return True  # a bar whose total is unknown is false to pooch, which would then not drive it

        def update(self, n: float | None = 1) -> bool | None:
            done = super().update(n)
            if self.n > most + PIECE:  # pooch counts whole pieces
                raise _TooLarge
            return done

    every = 0.2 if sys.stderr.isatty() else 15.0
    label = name.split(".", 2)[1] if name.startswith(".") else name
    return CappedBar(unit="B", unit_scale=True, desc=f"fetch {label}", mininterval=every, leave=False, total=0)


def _unpack(source: BinaryIO, file: RawFile, target: Path, packed: bool) -> None:
    """Write the content of ``source``, verified and synced, to ``target``."""
    start = source.read(64).lstrip()[:15].lower()
    source.seek(0)
    content, size = hashlib.sha256(), 0
    try:
        reader: Any = gzip.GzipFile(fileobj=source) if packed else source
        with target.open("wb") as out:
            while chunk := reader.read(CHUNK):
                size += len(chunk)
                if size > file.max_unpacked_bytes:
                    raise _Refused(f"it unpacks to more than the {file.max_unpacked_bytes:,} bytes expected at most")
                content.update(chunk)
                out.write(chunk)
            out.flush()
            os.fsync(out.fileno())
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        what = "a web page instead of the data" if _is_page(start) else f"a damaged gzip file ({_short(error)})"
        raise _Refused(f"it served {what}") from error
    if content.hexdigest() != file.sha256:
        what = "a web page instead of the data" if _is_page(start) else f"{size:,} bytes with another sha256"
        raise _Refused(f"it served {what} ({content.hexdigest()[:12]}, expected {file.sha256[:12]})")


def _is_page(start: bytes) -> bool:
    return start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head"))


def _short(error: Exception) -> str:
    """Return the error's kind and its first 160 characters in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(module: ModuleType, data: str, folder: Path, mirror: str | None) -> None:
    """Fill ``folder`` with the files of a task's ``module`` and source.json, which says what they are.

    Args:
        module: one of ``tasks/``.
        data: ``real`` or ``stand-in``.
        folder: data/raw/<task>.
        mirror: UNROLLED_MIRROR.

    Raises:
        UserError: a file cannot be had.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if data == "stand-in":
        module.stand_in(folder)
    else:
        for file in module.FILES:
            fetch_file(file, folder, mirror)
    found = {file.name: sha256_of(folder / file.name) for file in module.FILES}
    about = {"source": data, "sha256": found}
    (folder / "source.json").write_text(json.dumps(about, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def unavailable(module: ModuleType, folder: Path, mirror: str | None) -> str | None:
    """Return why a task's real files cannot be had, or None if they can; a look, not a download.

    Raises:
        UserError: ``mirror`` is no place at all.
    """
    import requests

    for file in module.FILES:
        target, reasons = folder / file.name, []
        if target.is_file() and sha256_of(target) == file.sha256:
            continue
        for place in plan_attempts(file, mirror):
            if not place.startswith(("http://", "https://")):
                break
            try:
                with requests.get(place, stream=True, timeout=5) as answer:
                    answer.raise_for_status()
                    start = next(answer.iter_content(64), b"")
                if not _is_page(start.lstrip()[:15].lower()):
                    break
                reasons.append(f"{place.split('/')[2]} (a web page)")
            except requests.RequestException as error:
                reasons.append(f"{place.split('/')[2]} ({type(error).__name__})")
        else:
            return f"{file.name}: no answer from {', '.join(reasons)}"
    return None


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the stage: ``python -m unrolled.fetch task=energy data=real``."""
    from unrolled.arguments import parse_arguments, required
    from unrolled.checkout import project_root
    from unrolled.console import one_line_errors
    from unrolled.taskmodule import task_module, task_names

    with one_line_errors():
        root = project_root()
        given = parse_arguments(sys.argv[1:] if arguments is None else arguments, {"task": None, "data": "real"})
        task = required(given, "task", task_names())
        data = required(given, "data", ("real", "stand-in"))
        fetch(task_module(task), data, root / "data" / "raw" / task, os.environ.get("UNROLLED_MIRROR"))
        print(f"{task}: {data} files in data/raw/{task}")


if __name__ == "__main__":
    main()
