"""Fetching: whatever the address serves, what lands is the pinned content or nothing."""

import gzip
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from loopback import PAGE, PROXIES, Served, serve, write_certificate

from unrolled import fetch as fetching
from unrolled.errors import UserError
from unrolled.fetch import fetch, fetch_file, plan_attempts, sha256_of, unavailable
from unrolled.rawfile import RawFile

CONTENT = b"Date,Consumption\n" + b"2006-01-01,1069.184\n" * 500
NOWHERE = "http://127.0.0.1:9"  # the discard port: nothing listens


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Served, list[str]]]:
    """An address, what it serves by path, and what it was asked for."""
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(fetching, "SECONDS", 5)
    served: Served = {}
    asked: list[str] = []
    with serve(served, asked) as address:
        yield address, served, asked


@pytest.fixture
def secure_host(host, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an https server, whose certificate is trusted here, that serves what ``host`` serves."""
    pem = write_certificate(tmp_path_factory.mktemp("tls"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pem))
    with serve(host[1], host[2], pem) as address:
        yield address


def _file(*addresses: str, packed: bool = False, content: bytes = CONTENT) -> RawFile:
    return RawFile(
        name="days.csv",
        sha256=hashlib.sha256(content).hexdigest(),
        addresses=addresses,
        mirror_path="energy/days.csv" + (".gz" if packed else ""),
        max_bytes=50_000,
        max_unpacked_bytes=100_000,
        packed="gzip" if packed else None,
    )


def _only(folder: Path) -> bytes:
    (found,) = folder.iterdir()
    return found.read_bytes()


@pytest.mark.parametrize("packed", [False, True])
def test_a_good_address_gives_the_file(host, tmp_path: Path, packed: bool) -> None:
    address, served, _ = host
    served["/days"] = (200, gzip.compress(CONTENT) if packed else CONTENT)
    fetch_file(_file(f"{address}/days", packed=packed), tmp_path, None)
    assert _only(tmp_path) == CONTENT


BAD: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "missing": (lambda content: content, "404"),
    "truncated": (lambda content: content[:-9], "IncompleteRead"),
    "cut": (lambda content: content[:-9], "bytes with another sha256"),
    "corrupted": (lambda content: b"d" + content[1:], "bytes with another sha256"),
    "page": (lambda content: PAGE, "a web page instead of the data"),
    "empty": (lambda content: b"", "0 bytes with another sha256"),
    "large": (lambda content: bytes(60_000), "60,000 bytes, more than the 50,000 expected at most"),
    "endless": (lambda content: bytes(3_000_000), "it has more than the 50,000 bytes expected at most"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_address_is_left_for_the_next_one(host, tmp_path: Path, kind: str) -> None:
    address, served, asked = host
    bend, _ = BAD[kind]
    if kind != "missing":
        served[f"/{kind}"] = (200, bend(CONTENT))
    served["/good"] = (200, CONTENT)
    fetch_file(_file(f"{address}/{kind}", f"{address}/good"), tmp_path, None)
    assert _only(tmp_path) == CONTENT
    assert asked[0] == f"/{kind}"


@pytest.mark.parametrize("kind", BAD)
def test_without_a_good_address_it_says_what_each_one_served(host, tmp_path: Path, kind: str) -> None:
    address, served, _ = host
    bend, told = BAD[kind]
    if kind != "missing":
        served[f"/{kind}"] = (200, bend(CONTENT))
    with pytest.raises(UserError) as refused:
        fetch_file(_file(f"{address}/{kind}"), tmp_path, None)
    assert told in str(refused.value)
    assert "set UNROLLED_MIRROR" in str(refused.value)
    assert "`data: stand-in`" in str(refused.value)
    assert list(tmp_path.iterdir()) == [], "nothing half stays"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (gzip.compress(CONTENT)[:-20], "a damaged gzip file"),
        (PAGE, "a web page instead of the data"),
        (gzip.compress(CONTENT + b"x"), "bytes with another sha256"),
        (gzip.compress(bytes(5_000_000)), "unpacks to more than the 100,000 bytes"),
        (gzip.compress(CONTENT) + b"x", "something follows after its end"),
        (gzip.compress(b"") * 2_000, "something follows after its end"),
        (gzip.compress(CONTENT)[:-8] + bytes(8), "incorrect data check"),
        (b"\x1f\x8b\x08\x08" + b"n" * 40_000, "it is cut off"),
    ],
    ids=["cut off", "a page", "other content", "a bomb", "a tail", "many members", "another sum", "a long name"],
)
def test_a_packed_file_is_unpacked_with_care(host, tmp_path: Path, body: bytes, told: str) -> None:
    address, served, _ = host
    served["/days"] = (200, body)
    with pytest.raises(UserError) as refused:
        fetch_file(_file(f"{address}/days", packed=True), tmp_path, None)
    assert told in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_is_not_fetched_again_and_a_damaged_one_is(host, tmp_path: Path) -> None:
    address, served, asked = host
    served["/days"] = (200, CONTENT)
    target = tmp_path / "days.csv"
    target.write_bytes(CONTENT)
    fetch_file(_file(f"{address}/days"), tmp_path, None)
    assert asked == []
    target.write_bytes(b"damaged")
    fetch_file(_file(f"{address}/days"), tmp_path, None)
    assert target.read_bytes() == CONTENT


def test_a_failed_fetch_leaves_the_earlier_file(tmp_path: Path) -> None:
    (tmp_path / "days.csv").write_bytes(b"last year's")
    with pytest.raises(UserError, match=r"http://127.0.0.1:9: no connection\. What now: set UNROLLED_MIRROR"):
        fetch_file(_file(NOWHERE), tmp_path, None)
    assert _only(tmp_path) == b"last year's"


def test_a_mirror_folder_that_cannot_serve_is_named_once_with_the_reason(tmp_path: Path) -> None:
    mirror, folder = tmp_path / "mirror", tmp_path / "raw"
    place = mirror / "energy/days.csv"
    place.parent.mkdir(parents=True)
    folder.mkdir()
    for content, told in ((None, "No such file"), (CONTENT[:-1], "bytes with another sha256"), (PAGE, "a web page")):
        if content is not None:
            place.write_bytes(content)
        with pytest.raises(UserError) as refused:
            fetch_file(_file(NOWHERE), folder, str(mirror))
        assert str(refused.value).count(str(place)) == 1
        assert told in str(refused.value)
        assert f"{place} (" in str(unavailable(SimpleNamespace(FILES=[_file(NOWHERE)]), folder, str(mirror)))
    place.write_bytes(CONTENT)
    assert unavailable(SimpleNamespace(FILES=[_file(NOWHERE)]), folder, str(mirror)) is None


def test_a_mirror_folder_comes_before_the_addresses(tmp_path: Path) -> None:
    mirror, folder = tmp_path / "mirror", tmp_path / "raw"
    (mirror / "energy").mkdir(parents=True)
    folder.mkdir()
    (mirror / "energy/days.csv.gz").write_bytes(gzip.compress(CONTENT))
    fetch_file(_file(NOWHERE, packed=True), folder, str(mirror))
    assert _only(folder) == CONTENT
    (folder / "days.csv").unlink()
    (mirror / "energy/days.csv.gz").unlink()
    (mirror / "energy/days.csv").write_bytes(CONTENT)
    fetch_file(_file(NOWHERE, packed=True), folder, str(mirror))
    assert _only(folder) == CONTENT, "an unpacked file in the mirror does too"


def test_a_link_out_of_the_mirror_and_what_is_no_file_are_refused(tmp_path: Path) -> None:
    mirror, folder = tmp_path / "mirror", tmp_path / "raw"
    place = mirror / "energy/days.csv"
    place.parent.mkdir(parents=True)
    folder.mkdir()
    (tmp_path / "days.csv").write_bytes(CONTENT)
    (mirror / "days.csv").write_bytes(CONTENT)
    place.symlink_to(tmp_path / "days.csv")
    with pytest.raises(UserError, match="it is a link that leads out of the mirror; put the file itself there"):
        fetch_file(_file(NOWHERE), folder, str(mirror))
    place.unlink()
    os.mkfifo(place)  # whoever opens it waits for a writer
    with pytest.raises(UserError, match="it is no file"):
        fetch_file(_file(NOWHERE), folder, str(mirror))
    place.unlink()
    place.symlink_to(mirror / "days.csv")
    (tmp_path / "link").symlink_to(mirror)
    fetch_file(_file(NOWHERE), folder, str(tmp_path / "link"))
    assert _only(folder) == CONTENT, "links within it are its own affair, and so is one to the whole of it"


def test_what_is_fetched_takes_a_links_place_and_leaves_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "energy").mkdir()
    (tmp_path / "energy/days.csv").write_bytes(CONTENT)
    (tmp_path / "raw").mkdir()
    (tmp_path / "mine").write_bytes(b"not yours")
    (tmp_path / "raw/days.csv").symlink_to(tmp_path / "mine")
    (tmp_path / "raw/source.json").symlink_to(tmp_path / "mine")
    fetch(SimpleNamespace(FILES=[_file()]), "real", tmp_path / "raw", str(tmp_path))
    assert (tmp_path / "mine").read_bytes() == b"not yours"
    assert (tmp_path / "raw/days.csv").read_bytes() == CONTENT


def test_a_mirror_address_comes_before_the_publishers(host, tmp_path: Path) -> None:
    address, served, asked = host
    served["/mirror/energy/days.csv"] = (200, CONTENT)
    fetch_file(_file(f"{address}/publisher"), tmp_path, f"{address}/mirror/")
    assert set(asked) == {"/mirror/energy/days.csv"}


@pytest.mark.parametrize("mirror", ["data", "/nowhere/at/all", "ftp://example.org", "http://", "http://[bad"])
def test_a_mirror_that_is_no_place_is_refused(mirror: str) -> None:
    with pytest.raises(UserError, match="expected an absolute folder that exists, or an http"):
        plan_attempts(_file(), mirror)


def test_a_redirect_that_drops_the_encryption_is_not_followed(host, secure_host: str, tmp_path: Path) -> None:
    address, served, asked = host
    served["/days"] = (200, CONTENT)
    served["/moved"] = (302, b"/days")
    served["/dropped"] = (302, f"{address}/days".encode())
    served["/there"] = (302, f"{address}/and-back".encode())
    served["/and-back"] = (302, f"{secure_host}/days".encode())
    fetch_file(_file(f"{secure_host}/moved"), tmp_path, None)
    assert _only(tmp_path) == CONTENT
    (tmp_path / "days.csv").unlink()
    for path in ("/dropped", "/there"):
        asked.clear()
        with pytest.raises(
            UserError, match="it redirects from https to http;|it redirects from https to http. What now"
        ):
            fetch_file(_file(f"{secure_host}{path}"), tmp_path, None)
        assert asked == [path], "the other address was not even asked"
        task = SimpleNamespace(FILES=[_file(f"{secure_host}{path}")])
        assert "it redirects from https to http" in str(unavailable(task, tmp_path, None))


def test_what_is_packed_for_the_way_is_not_unpacked(host, tmp_path: Path) -> None:
    address, served, _ = host
    served["/squeezed"] = (200, gzip.compress(bytes(500_000_000), compresslevel=1)[:40_000])
    with pytest.raises(UserError, match="40,000 bytes with another sha256"):
        fetch_file(_file(f"{address}/squeezed"), tmp_path, None)


def test_source_json_says_what_the_files_are(tmp_path: Path) -> None:
    task = SimpleNamespace(FILES=[_file()], stand_in=lambda folder: (folder / "days.csv").write_bytes(b"made up"))
    fetch(task, "stand-in", tmp_path / "raw", None)
    assert '"source": "stand-in"' in (tmp_path / "raw/source.json").read_text()
    assert sha256_of(tmp_path / "raw/days.csv") in (tmp_path / "raw/source.json").read_text()


def _made_up(text: bytes) -> object:
    def stand_in(folder: Path) -> None:
        (folder / "days.csv").write_bytes(text)
        if not text:
            raise OSError("the disk is full")

    return SimpleNamespace(FILES=[_file(NOWHERE)], stand_in=stand_in)


def test_a_fetch_that_fails_leaves_all_files_and_what_is_said_of_them(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    fetch(_made_up(b"made up"), "stand-in", raw, None)
    before = {path.name: path.read_bytes() for path in raw.iterdir()}
    two = SimpleNamespace(FILES=[_file(), _file(NOWHERE, content=b"other")])
    (tmp_path / "energy").mkdir()
    (tmp_path / "energy/days.csv").write_bytes(CONTENT)
    with pytest.raises(UserError):  # the first file is there, the second nowhere
        fetch(two, "real", raw, str(tmp_path))
    with pytest.raises(OSError, match="full"):
        fetch(_made_up(b""), "stand-in", raw, None)
    assert {path.name: path.read_bytes() for path in raw.iterdir()} == before
    assert {path.name for path in tmp_path.iterdir()} == {"raw", "energy"}, "nothing half stays"


def test_a_look_says_whether_the_files_can_be_had(host, tmp_path: Path) -> None:
    address, served, _ = host
    task = SimpleNamespace(FILES=[_file(f"{address}/days")])
    assert "days.csv cannot be had from 127.0.0.1" in unavailable(task, tmp_path, None)
    served["/days"] = (200, CONTENT)
    assert unavailable(task, tmp_path, None) is None
    served["/days"] = (200, PAGE)
    assert unavailable(task, tmp_path, None) is not None, "a web page is not the file"
    (tmp_path / "days.csv").write_bytes(CONTENT)
    assert unavailable(task, tmp_path, None) is None, "what is there need not be fetched"
