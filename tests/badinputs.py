"""The bad inputs that are tried on every reader: what each is told, how long it takes and how much memory.

python tests/badinputs.py            writes docs/bad-inputs.md
python tests/badinputs.py measure    prints a line of JSON for each
"""

import gzip
import hashlib
import json
import os
import re
import shutil
import struct
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from conftest import ROOT
from loopback import PROXIES, serve, write_certificate
from trainedfolders import write_trained
from windowsets import series_windows

from unrolled.check import read_params
from unrolled.config import compose_config
from unrolled.errors import UserError
from unrolled.fetch import fetch_file
from unrolled.jsonfile import read_json
from unrolled.model import load
from unrolled.predictiontable import read_table
from unrolled.rawfile import RawFile
from unrolled.taskmodule import task_module
from unrolled.tasks import energy, mnist, shakespeare
from unrolled.window import read_source
from unrolled.windowset import check_digest, open_windows, save_windows

DOC = ROOT / "docs/bad-inputs.md"
HEADER = """\
# Bad inputs

What each reader says to an input that is damaged, of another kind, or made to do harm, and to a few that look odd and are read.
Each is tried by `tests/test_bad_inputs.py` on the real reader: within a second of processor time and with less than 200 MB
more than the reader's start took. `python tests/badinputs.py` writes this page. Beside these, property tests give the
readers any bytes at all: a result that is right or one line of error, nothing else.

"""
HEAD = "Date,Consumption\n"
ROW = "2006-01-01,1069.184\n"
GIGABYTE = 1_000_000_000


@dataclass(frozen=True)
class Bad:
    """An input and the reader that gets it, both in the working directory."""

    reader: str
    given: str
    make: Callable[[], object]
    read: Callable[[], object]


@dataclass(frozen=True)
class Tried:
    """What came of it; seconds of processor time, and bytes of memory beyond what the reader's start had taken."""

    reader: str
    given: str
    told: str
    seconds: float
    grown: int


def _text(name: str, content: str | bytes) -> Callable[[], object]:
    def make() -> None:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    return make


def _large(name: str, start: bytes, size: int) -> Callable[[], object]:
    """Make a sparse file: what follows ``start`` reads as NUL bytes and takes no room."""

    def make() -> None:
        with open(name, "wb") as file:
            file.write(start)
            file.truncate(size)

    return make


def laughs() -> str:
    """Return 500 bytes of YAML that stand for a thousand million values."""
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    for before, this in zip("abcdefgh", "bcdefghi", strict=True):
        lines.append(f"{this}: &{this} [{', '.join([f'*{before}'] * 10)}]")
    return "\n".join(lines) + "\n"


def _yaml() -> Iterator[Bad]:
    def task(content: str | bytes) -> Callable[[], object]:
        def make() -> None:
            shutil.copytree(ROOT / "conf", "conf")
            _text("conf/task/mine.yaml", content)()

        return make

    def compose() -> object:
        return compose_config(["task=mine"], Path.cwd(), ("task",))

    doubled = "".join(f"v{i}: ${{v{i - 1}}}${{v{i - 1}}}\n" for i in range(1, 40))
    deep, long = "[" * 10_000, f"window: {{context: 0x{'f' * 5_000}}}\n"
    for given, content in {
        "aliases of aliases: 10^9 values in 500 bytes": laughs(),
        "interpolations of interpolations: 2^39 characters": f"v0: x\n{doubled}",
        "10,000 levels": deep,
        "a number of 5,000 digits": long,
        "a NUL byte": "window: \0\n",
        "a megabyte": "# a comment\n" * 90_000,
        "UTF-16": "window: {context: 3}\n".encode("utf-16"),
    }.items():
        yield Bad("a task's YAML file", given, task(content), compose)
    with_number = (ROOT / "conf/task/energy.yaml").read_text().replace("learning_rate: ", "learning_rate: 1e400 # ")
    yield Bad("a task's YAML file", "1e400 for a number", task(with_number), compose)
    marked = (ROOT / "conf/task/energy.yaml").read_bytes()
    yield Bad("a task's YAML file", "a byte order mark of UTF-8", task(b"\xef\xbb\xbf" + marked), compose)
    yield Bad("params.yaml", "aliases of aliases", _text("params.yaml", laughs()), lambda: read_params(Path()))


def _csv() -> Iterator[Bad]:
    def read() -> object:
        return energy.read_file(Path("mine.csv"))

    names = ",".join(f"c{i}" for i in range(1_000_000))
    narrow = ",".join(f"c{i}" for i in range(5_000))
    for given, make in {
        "10^6 columns": _text("mine.csv", f"{names}\n{','.join('1' * 1_000_000)}\n"),
        "5,000 columns": _text("mine.csv", f"{narrow}\n{','.join('1' * 5_000)}\n"),
        "a line of 1 GB": _large("mine.csv", HEAD.encode() + b"2006-01-01," + b"1" * 1_000_000, GIGABYTE),
        "a quote that is never closed": _text("mine.csv", HEAD + '2006-01-01,"1\n' + ROW * 1_000_000),
        "NUL bytes": _text("mine.csv", HEAD + "2006-01-01,10\0\n"),
        "UTF-16": _text("mine.csv", (HEAD + ROW).encode("utf-16")),
        "Latin-1": _text("mine.csv", (HEAD + "2006-01-01,1€\n").encode("cp1252")),
        "1e400": _text("mine.csv", HEAD + "2006-01-01,1e400\n"),
        "NaN": _text("mine.csv", HEAD + "2006-01-01,NaN\n"),
        "a value that is missing": _text("mine.csv", HEAD + "2006-01-01\n"),
        "a value too many": _text("mine.csv", HEAD + "2006-01-01,1,2\n"),
        "a column twice": _text("mine.csv", "Date,Consumption,Consumption\n2006-01-01,1,2\n"),
        "a day that is none": _text("mine.csv", HEAD + "2006-02-30,1\n"),
        "a gap": _text("mine.csv", HEAD + ROW + "2006-01-03,1\n"),
        "the last day of Python's calendar": _text("mine.csv", HEAD + "9999-12-31,1\n"),
        "a header and no rows": _text("mine.csv", HEAD),
        "nothing": _text("mine.csv", ""),
        "a gzip file": _text("mine.csv", gzip.compress((HEAD + ROW).encode(), mtime=0)),
        "a folder": lambda: Path("mine.csv").mkdir(),
        "a pipe that nobody writes to": lambda: os.mkfifo("mine.csv"),
        "a link to a device without end": lambda: Path("mine.csv").symlink_to("/dev/zero"),
        "a byte order mark of UTF-8": _text("mine.csv", "\ufeff" + HEAD + ROW),
    }.items():
        yield Bad("a csv, ours or yours", given, make, read)
    calendar = task_module("energy_calendar")
    make = _text("mine.csv", HEAD + "1900-01-01,1\n")
    yield Bad(
        "a csv, with the calendar", "a day before its holidays", make, lambda: calendar.read_file(Path("mine.csv"))
    )


def _idx() -> Iterator[Bad]:
    name = "train-images-idx3-ubyte"
    start = bytes([0, 0, 8, 3])
    whole = start + struct.pack(">3I", 2, 28, 28) + bytes(2 * 784)
    claims = start + struct.pack(">3I", 2**31, 28, 28)
    few = start + struct.pack(">3I", 100_000, 28, 28)
    for given, make in {
        "a header that claims 2^31 images": _text(name, claims + bytes(784)),
        "a header that overflows": _text(name, start + struct.pack(">3I", 2**32 - 1, 2**32 - 1, 2**32 - 1)),
        "100,000 images that are there": _large(name, few, 16 + 100_000 * 784),
        "cut off": _text(name, whole[:-1]),
        "numbers of another kind": _text(name, bytes([0, 0, 13, 3]) + whole[4:]),
        "a web page": _text(name, "<!doctype html>"),
    }.items():
        yield Bad("an IDX file", given, make, lambda: mnist.read_idx(Path(name), 3))


def _texts() -> Iterator[Bad]:
    for given, make in {
        "a line of 1 GB": _large("input.txt", b"To be", GIGABYTE),
        "NUL bytes": _text("input.txt", "To be\0or not"),
        "UTF-16": _text("input.txt", "To be".encode("utf-16")),
        "nothing": _text("input.txt", ""),
        "a byte order mark of UTF-8": _text("input.txt", "\ufeffTo be"),
    }.items():
        yield Bad("a text", given, make, lambda: shakespeare.read(Path()))


CONTENT = b"the publisher's content"


def _raw(*addresses: str, packed: bool = False) -> RawFile:
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    form = {"packed": "gzip"} if packed else {}
    return RawFile("days.csv", sha256, addresses, "mine/days.csv", 12_000_000, 50_000_000, **form)  # type: ignore[arg-type]


def _downloads(address: str, secure: str, served: dict[str, tuple[int, bytes]]) -> Iterator[Bad]:
    served |= {
        "/days": (200, CONTENT),
        "/other": (200, CONTENT + b"."),
        "/bomb": (200, gzip.compress(bytes(60_000_000), mtime=0)),
        "/tail": (200, gzip.compress(CONTENT, mtime=0) * 2),
        "/cut": (200, gzip.compress(CONTENT, mtime=0)[:-9]),
        "/endless": (200, bytes(20_000_000)),
        "/large": (200, bytes(13_000_000)),
        "/squeezed": (200, gzip.compress(bytes(GIGABYTE // 4), 1, mtime=0)),
        "/page": (200, b"<!doctype html><html>rate limit</html>"),
        "/dropped": (302, f"{address}/days".encode()),
        "/round": (302, f"{secure}/round".encode()),
    }

    def reader(place: str, packed: bool = False) -> Callable[[], object]:
        return lambda: fetch_file(_raw(place, packed=packed), Path(), None)

    nothing: Callable[[], object] = lambda: None  # noqa: E731
    for given, read in {
        "gzip that expands a thousandfold": reader(f"{address}/bomb", packed=True),
        "gzip with something after its end": reader(f"{address}/tail", packed=True),
        "gzip that is cut off": reader(f"{address}/cut", packed=True),
        "an answer packed for the way, 250 MB unpacked": reader(f"{address}/squeezed"),
        "an answer larger than expected": reader(f"{address}/large"),
        "an answer without end": reader(f"{address}/endless"),
        "other content": reader(f"{address}/other"),
        "a web page": reader(f"{address}/page"),
        "a redirect from https to http": reader(f"{secure}/dropped"),
        "redirects in a circle": reader(f"{secure}/round"),
    }.items():
        yield Bad("a download", given, nothing, read)

    def link() -> None:
        Path("mirror/mine").mkdir(parents=True)
        Path("secret").write_text("not of the mirror")
        Path("mirror/mine/days.csv").symlink_to(Path("secret").resolve())

    def read() -> object:
        return fetch_file(_raw(), Path(), str(Path("mirror").resolve()))

    yield Bad("a mirror folder", "a link that leads out of it", link, read)
    note = json.dumps({"source": "real", "sha256": {"../secret": "0"}})
    make = _text("energy/source.json", note)
    yield Bad("what fetch noted", "a name that leads out of its folder", make, lambda: read_source(Path("energy")))


def _header(shape: str, kind: str = "<f8") -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def _stored() -> Iterator[Bad]:
    folder = Path("data/windows/ramp")

    def windows(name: str, content: bytes) -> Callable[[], object]:
        def make() -> None:
            folder.mkdir(parents=True)
            save_windows(series_windows(), folder)
            (folder / name).write_bytes(content)

        return make

    def flipped() -> None:
        windows("other", b"")()
        array = np.load(folder / "series.npy")
        array[-1] += 1
        np.save(folder / "series.npy", array)

    for given, make in {
        "an array that claims 2^31 rows": windows("series.npy", _header("(2147483648, 1)") + bytes(64)),
        "an array of Python's objects": windows("series.npy", _header("(9, 1)", "|O") + bytes(64)),
        "meta data of 100,000 levels": windows("meta.json", b"[" * 100_000),
        "one value changed": flipped,
    }.items():
        yield Bad("windows", given, make, lambda: check_digest(open_windows(folder), folder))

    model = Path("ramp-gru-0")

    def trained(name: str, content: bytes) -> Callable[[], object]:
        def make() -> None:
            write_trained(Path(), series_windows(), "ramp-gru-0")
            (model / name).write_bytes(content)

        return make

    for given, make in {
        "a configuration of aliases": trained("config.yaml", laughs().encode()),
        "a configuration with an object": trained("config.yaml", b"head: !!python/object/apply:os.system [true]\n"),
        "meta data of 100,000 levels": trained("meta.json", b"[" * 100_000),
        "weights whose header claims 2^60 bytes": trained("weights.safetensors", struct.pack("<Q", 2**60) + b"{}"),
        "a pickle for weights": trained("weights.safetensors", b"\x80\x04cos\nsystem\n"),
    }.items():
        yield Bad("a model folder", given, make, lambda: load(model))

    def many() -> None:
        pd.DataFrame({"actual": np.zeros(25_000_000, np.int8)}).to_parquet("test.parquet")

    def cut() -> None:
        pd.DataFrame({"actual": [1.0], "predicted": [1.0]}).to_parquet("test.parquet")
        Path("test.parquet").write_bytes(Path("test.parquet").read_bytes()[:-9])

    for given, make in {
        "25 million rows in a few thousand bytes": many,
        "cut off": cut,
        "a pickle": _text("test.parquet", b"\x80\x04cos\nsystem\n"),
    }.items():
        yield Bad("predictions", given, make, lambda: read_table(Path("test.parquet")))
    for given, content in {"100,000 levels": "[" * 100_000, "cut off": '{"mae": 1', "a list": "[1]"}.items():
        yield Bad("scores", given, _text("m.json", content), lambda: read_json(Path("m.json"), dict))


def _told(bad: Bad) -> str:
    try:
        bad.read()
    except UserError as error:
        told = re.sub(r"127\.0\.0\.1:\d+", "publisher.example", str(error).replace(str(Path.cwd()), ""))
        # What a library packs is not the same everywhere.
        return re.sub(
            r"it served [\d,]+ bytes with another sha256 \(\w+", "it served N bytes with another sha256 (...", told
        )
    return "(is read)"


def _memory(key: str) -> int:
    text = Path("/proc/self/status").read_text()
    return int(re.findall(rf"{key}:\s+(\d+) kB", text)[0]) * 1024


def try_it(bad: Bad) -> Tried:
    """Let a process of its own read ``bad``, so that its peak of memory is its own."""
    bad.make()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            before, began = _memory("VmRSS"), time.process_time()
            told = _told(bad)
            tried = Tried(bad.reader, bad.given, told, time.process_time() - began, _memory("VmHWM") - before)
            os.write(writing, json.dumps(asdict(tried)).encode())
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)  # nothing of the parent's is to be ended here
    os.close(writing)
    with open(reading, "rb") as pipe:
        content = pipe.read()
    os.waitpid(child, 0)
    if not content:
        raise RuntimeError(f"{bad.reader}, {bad.given}: no refusal but a crash; its traceback is above")
    return Tried(**json.loads(content))


def try_all() -> Iterator[Tried]:
    """Try every bad input, each in an empty folder."""
    for name in PROXIES:
        os.environ.pop(name, None)
    served: dict[str, Any] = {}
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        pem = write_certificate(home)
        os.environ["REQUESTS_CA_BUNDLE"] = str(pem)
        address, secure = stack.enter_context(serve(served, [])), stack.enter_context(serve(served, [], pem))
        for kind in (_yaml(), _csv(), _idx(), _texts(), _downloads(address, secure, served), _stored()):
            for bad in kind:
                with tempfile.TemporaryDirectory() as scratch:
                    os.chdir(scratch)
                    yield try_it(bad)
                    os.chdir(home)


def page(tried: list[Tried]) -> str:
    """Return docs/bad-inputs.md."""
    rows = [
        f"| {one.reader} | {one.given} | {' '.join(one.told.split()).replace('|', chr(92) + '|')} |" for one in tried
    ]
    return HEADER + "\n".join(["| reader | input | what is said |", "|---|---|---|", *rows]) + "\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["measure"]:
        for one in try_all():
            print(json.dumps(asdict(one)), flush=True)
    else:
        DOC.write_text(page(list(try_all())), encoding="utf-8")
