"""Stage fetch: a task's raw files from a mirror or their publishers, or its stand-ins.

usage: unrolled fetch task=energy [data=real|stand-in]

UNROLLED_MIRROR, an absolute folder or an http(s) address, is tried first. Whatever the address, the unpacked content's
sha256 is pinned, so that nothing downstream can tell where it came from.
"""

import hashlib
import json
import os
import sys
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO
from urllib.parse import urljoin, urlsplit

from unrolled.addresses import public
from unrolled.errors import UserError
from unrolled.outputs import scratch_folder
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
    if _has_host(mirror):
        return [f"{mirror.rstrip('/')}/{file.mirror_path}", *file.addresses]
    folder = Path(mirror)
    if not folder.is_absolute() or not folder.is_dir():
        raise UserError(
            f"UNROLLED_MIRROR={public(mirror, mirror)!r}: expected an absolute folder that exists, or an http(s) address"
        )
    packed = folder / file.mirror_path
    unpacked = packed.parent / file.name
    # A folder without the file is named all the same, so that a failure says where it was looked for.
    return [str(unpacked if unpacked.is_file() and not packed.is_file() else packed), *file.addresses]


def _has_host(address: str) -> bool:
    try:
        return address.startswith(("http://", "https://")) and bool(urlsplit(address).hostname)
    except ValueError:
        return False


def fetch_file(file: RawFile, folder: Path, mirror: str | None) -> None:
    """Put ``file`` into ``folder``, verified; a file that is already there with the right content stays.

    Raises:
        UserError: no place had it; the message says what each one answered.
    """
    target = folder / file.name
    if _is_there(file, folder):
        return
    answers = []
    for place in plan_attempts(file, mirror):
        partial = folder / f".{file.name}.{os.getpid()}.partial"
        try:
            _obtain(place, file, partial)
        except _Refused as refusal:
            answers.append(f"{public(place, place)}: {refusal}")
            continue
        else:
            partial.replace(target)
            return
        finally:
            partial.unlink(missing_ok=True)
    raise UserError(f"{file.name} could not be fetched. " + "; ".join(answers) + f". What now: {ALTERNATIVES}")


def _is_there(file: RawFile, folder: Path) -> bool:
    target = folder / file.name
    return target.is_file() and sha256_of(target) == file.sha256


class _Refused(Exception):
    """Why one place did not serve the file."""


def _obtain(place: str, file: RawFile, target: Path) -> None:
    """Download or copy, unpack, verify and sync ``file`` from one place.

    Raises:
        _Refused: it did not have the file as it must be.
    """
    if not place.startswith(("http://", "https://")):
        here = Path(place)
        mirror = here.parents[len(Path(file.mirror_path).parts) - 1]
        if not here.resolve().is_relative_to(mirror.resolve()):
            raise _Refused("it is a link that leads out of the mirror; put the file itself there")
        if here.exists() and not here.is_file():
            raise _Refused("it is no file")
        with ExitStack() as opened:
            try:
                source: BinaryIO = opened.enter_context(open(place, "rb"))
            except OSError as error:  # in writing it would be ours, and no other place would help
                raise _Refused(error.strerror or str(error)) from error
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
    from tqdm import tqdm
    from urllib3.exceptions import HTTPError

    every = 0.2 if sys.stderr.isatty() else 15.0
    label = target.name.split(".", 2)[1] if target.name.startswith(".") else target.name
    with _answer(address, SECONDS) as answer, target.open("wb") as out:
        said = answer.headers.get("content-length", "")
        if said.isdecimal() and int(said[:19]) > most:
            raise _Refused(f"it has {int(said[:19]):,} bytes, more than the {most:,} expected at most")
        with tqdm(unit="B", unit_scale=True, desc=f"fetch {label}", mininterval=every, leave=False) as bar:
            try:
                # As it comes: what is packed for the way would be unpacked here, however much it becomes.
                for piece in answer.raw.stream(PIECE, decode_content=False):
                    bar.update(len(piece))
                    if bar.n > most:
                        raise _Refused(f"it has more than the {most:,} bytes expected at most")
                    out.write(piece)
            except HTTPError as error:
                raise _Refused(_short(error)) from error


@contextmanager
def _answer(address: str, seconds: float) -> Iterator[Any]:
    """Yield what ``address`` answers, its content not read yet.

    Raises:
        _Refused: nothing, an error, or a redirect that would drop the encryption.
    """
    import requests

    try:
        with requests.get(
            address,
            stream=True,
            timeout=seconds,
            headers={"Accept-Encoding": "identity"},
            hooks={"response": _stay_encrypted},  # is called before a redirect is followed
        ) as answer:
            answer.raise_for_status()
            yield answer
    except requests.RequestException as error:
        raise _Refused(_short(error)) from error


def _stay_encrypted(answer: Any, **_: Any) -> None:
    target = urljoin(answer.url, answer.headers.get("location", ""))
    if answer.is_redirect and answer.url.startswith("https://") and not target.startswith("https://"):
        raise _Refused(f"it redirects from https to {target.split(':')[0]}")


def _unpack(source: BinaryIO, file: RawFile, target: Path, packed: bool) -> None:
    """Write the content of ``source``, verified and synced, to ``target``."""
    start = source.read(64).lstrip()[:15].lower()
    source.seek(0)
    content, size = hashlib.sha256(), 0
    try:
        with target.open("wb") as out:
            for chunk in _unzipped(source) if packed else iter(lambda: source.read(CHUNK), b""):
                size += len(chunk)
                if size > file.max_unpacked_bytes:
                    raise _Refused(f"it unpacks to more than the {file.max_unpacked_bytes:,} bytes expected at most")
                content.update(chunk)
                out.write(chunk)
            out.flush()
            os.fsync(out.fileno())
    except (EOFError, zlib.error) as error:
        what = "a web page instead of the data" if _is_page(start) else f"a damaged gzip file ({_short(error)})"
        raise _Refused(f"it served {what}") from error
    if content.hexdigest() != file.sha256:
        what = "a web page instead of the data" if _is_page(start) else f"{size:,} bytes with another sha256"
        raise _Refused(f"it served {what} ({content.hexdigest()[:12]}, expected {file.sha256[:12]})")


def _unzipped(source: BinaryIO) -> Iterator[bytes]:
    """Yield the content of a gzip file of one member in chunks, its checksum verified.

    Raises:
        EOFError: it is cut off.
        zlib.error: it is no such file, or damaged, or something follows.
    """
    unpacker = zlib.decompressobj(wbits=31)  # gzip's header and trailer
    while not unpacker.eof:
        packed = unpacker.unconsumed_tail or source.read(CHUNK)
        chunk = unpacker.decompress(packed, CHUNK)
        if not packed and not chunk:
            raise EOFError("it is cut off")
        yield chunk
    if unpacker.unused_data or source.read(1):
        raise zlib.error("something follows after its end")


def _is_page(start: bytes) -> bool:
    return start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head"))


def _short(error: Exception) -> str:
    """Return in a few words why nothing came; what requests says of a machine without a network fills a screen."""
    from requests import ConnectionError, Timeout
    from requests.exceptions import ProxyError, SSLError
    from urllib3.exceptions import ReadTimeoutError

    if isinstance(error, Timeout | ReadTimeoutError):
        return "no answer in time"
    if isinstance(error, ConnectionError) and not isinstance(error, ProxyError | SSLError):
        return "no connection: its name is not known here" if "NameResolution" in str(error) else "no connection"
    return f"{type(error).__name__}: {' '.join(public(str(error)).split())[:160]}"


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(module: ModuleType, data: str, folder: Path, mirror: str | None) -> None:
    """Fill ``folder`` with the files of a task's ``module`` and source.json, which says what they are; all or none.

    Args:
        module: one of ``tasks/``.
        data: ``real`` or ``stand-in``.
        folder: data/raw/<task>.
        mirror: UNROLLED_MIRROR.

    Raises:
        UserError: a file cannot be had.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with scratch_folder(folder) as new:
        if data == "stand-in":
            module.stand_in(new)
        else:
            for file in module.FILES:
                if not _is_there(file, folder):
                    fetch_file(file, new, mirror)
        found = {}
        for file in module.FILES:
            path = new / file.name
            found[file.name] = sha256_of(path if path.is_file() else folder / file.name)
        about = json.dumps({"source": data, "sha256": found}, indent=1, sort_keys=True) + "\n"
        (new / "source.json").write_text(about, encoding="utf-8")
        # If this is cut short, no source.json is left that would call the ones by the other's name.
        (folder / "source.json").unlink(missing_ok=True)
        for name in [*found, "source.json"]:
            if (new / name).is_file():
                (new / name).replace(folder / name)


def unavailable(module: ModuleType, folder: Path, mirror: str | None) -> str | None:
    """Return why a task's real files cannot be had, or None if they can; a look, not a download.

    A file in a mirror folder is read and verified; of an address only the start is asked for.

    Raises:
        UserError: ``mirror`` is no place at all.
    """
    for file in module.FILES:
        if _is_there(file, folder):
            continue
        reasons = []
        for place in plan_attempts(file, mirror):
            try:
                _look(place, file)
                break
            except _Refused as refusal:
                reasons.append(f"{public(place, place).split('/')[2] if _has_host(place) else place} ({refusal})")
        else:
            return f"{file.name} cannot be had from {', '.join(reasons)}"
    return None


def _look(place: str, file: RawFile) -> None:
    """Look whether a place has ``file``.

    Raises:
        _Refused: it does not.
    """
    from urllib3.exceptions import HTTPError

    if not _has_host(place):
        with tempfile.TemporaryDirectory() as scratch:
            _obtain(place, file, Path(scratch) / file.name)
        return
    with _answer(place, 5) as answer:
        try:
            start = answer.raw.read(64, decode_content=False)
        except HTTPError as error:
            raise _Refused(_short(error)) from error
    if _is_page(start.lstrip()[:15].lower()):
        raise _Refused("a web page")


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
