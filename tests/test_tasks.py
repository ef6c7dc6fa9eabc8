"""Each task's reader refuses what is not its format; its stand-in is that format, the same twice."""

import struct
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from conftest import ROOT

from unrolled.config import compose_config
from unrolled.dataset import Examples, Series, Text
from unrolled.errors import UserError
from unrolled.fetch import fetch, sha256_of
from unrolled.taskmodule import task_module, task_names
from unrolled.tasks import bitcoin, energy, mnist, shakespeare
from unrolled.window import read_source, window_raw
from unrolled.windowset import open_windows, save_windows

HEADER = "Date,Consumption,Wind,Solar,Wind+Solar"
GOOD = ["2006-01-01,1069.184,,,", "2006-01-02,1380.521,,,", "2006-01-03,1442.533,,,"]


@pytest.mark.parametrize("name", task_names())
def test_a_stand_in_is_read_like_the_real_files_and_is_the_same_twice(name: str, tmp_path: Path) -> None:
    module = task_module(name)
    for folder in ("one", "two"):
        fetch(module, "stand-in", tmp_path / folder, None)
    for file in module.FILES:
        assert sha256_of(tmp_path / "one" / file.name) == sha256_of(tmp_path / "two" / file.name)
        assert sha256_of(tmp_path / "one" / file.name) != file.sha256, "a stand-in cannot pass for the real file"
    windows = window_raw(module, tmp_path / "one", compose_config([f"task={name}"], ROOT, ("task",)), _source())
    assert windows.meta["source"] == "stand-in"
    folder = tmp_path / "windows"
    folder.mkdir()
    save_windows(windows, folder)
    assert open_windows(folder).meta == windows.meta


@pytest.mark.parametrize("name", task_names())
def test_what_window_stores_is_at_most_a_fifth_more_than_the_series(name: str, tmp_path: Path) -> None:
    module = task_module(name)
    fetch(module, "stand-in", tmp_path / "raw", None)
    windows = window_raw(module, tmp_path / "raw", compose_config([f"task={name}"], ROOT, ("task",)), _source())
    (tmp_path / "windows").mkdir()
    save_windows(windows, tmp_path / "windows")
    stored = sum(path.stat().st_size for path in (tmp_path / "windows").iterdir())
    data = module.read(tmp_path / "raw")
    assert stored <= 1.2 * _size(data)


def _size(data: Series | Examples | Text) -> int:
    if isinstance(data, Series):
        return data.values.nbytes + (0 if data.known is None else data.known.nbytes)
    return len(data.text.encode()) if isinstance(data, Text) else data.inputs.nbytes + data.targets.nbytes


def _source() -> dict[str, Any]:
    return {"source": "stand-in", "sha256": {}}


def _csv(folder: Path, lines: list[str], header: str = HEADER) -> Path:
    path = folder / energy.NAME
    path.write_bytes(("\n".join([header, *lines]) + "\n").encode("utf-8", "surrogatepass"))
    return path


def test_a_good_csv_is_a_series(tmp_path: Path) -> None:
    series = energy.read_file(_csv(tmp_path, GOOD))
    assert series.values[:, 0].tolist() == [1069.184, 1380.521, 1442.533]
    assert (series.start.isoformat(), series.unit) == ("2006-01-01", "GWh")


@pytest.mark.parametrize(
    ("lines", "header", "told"),
    [
        (GOOD, "Date,Load", "has no column 'Consumption'; it has: Date, Load"),
        (GOOD, "Day,Consumption,a,b,c", "has no column 'Date'; it has: Day"),
        ([], HEADER, "has a header but no rows"),
        ([GOOD[0], GOOD[0]], HEADER, "line 3: the day 2006-01-01 comes twice"),
        ([GOOD[1], GOOD[0]], HEADER, "line 3: the day 2006-01-01 is out of order"),
        ([GOOD[0], GOOD[2]], HEADER, "line 3: the day 2006-01-03 follows a gap"),
        ([GOOD[0], "2006-01-02,about 1300,,,"], HEADER, "line 3: Consumption is 'about 1300', but expected a finite"),
        ([GOOD[0], "2006-01-02,NaN,,,"], HEADER, "line 3: Consumption is 'NaN', but expected a finite number"),
        ([GOOD[0], "2006-01-02,inf,,,"], HEADER, "line 3: Consumption is 'inf'"),
        ([GOOD[0], "2006-01-02,,,,"], HEADER, "line 3: Consumption is ''"),
        (["01.01.2006,1,,,"], HEADER, "line 2: Date is '01.01.2006', but expected a day as YYYY-MM-DD"),
        (["2006-02-30,1,,,"], HEADER, "line 2: Date is '2006-02-30'"),
        (['"2006-01-01,1'], HEADER, "line 2: it is not a csv: unexpected end of data"),
        ([GOOD[0], "2006-01-02,1e400,,,"], HEADER, "line 3: Consumption is '1e400', but expected a finite number"),
        ([GOOD[0], "2006-01-02,1380"], HEADER, "line 3: it has 2 columns, but the header has 5"),
        ([GOOD[0], "2006-01-02,1380,,,,"], HEADER, "line 3: it has 6 columns, but the header has 5"),
        (["9999-12-31,1,,,"], HEADER, "line 2: Date is '9999-12-31', but expected a day before 9000-01-01"),
        (GOOD, "Date,Consumption,Date,a,b", "has 2 columns 'Date'"),
        ([GOOD[0], "2006-01-02,13\0" + "80,,,"], HEADER, "line 3: it has a NUL byte"),
        ([GOOD[0], '2006-01-02,"' + "9" * 100_000], HEADER, "line 3: it has more than 100,000 bytes"),
        (
            [GOOD[0], "2006-01-02," + "9" * 1_000 + "x,,,"],
            HEADER,
            f"Consumption is '{'9' * 100}' and 901 characters more",
        ),
        (GOOD, HEADER + "," * 1_000, "has 1,005 columns, but expected at most 1,000"),
        (GOOD, "\ud800", "is not UTF-8"),
    ],
)
def test_a_bad_csv_is_refused_with_its_first_bad_line(lines: list[str], header: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        energy.read_file(_csv(tmp_path, lines, header))
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_or_not_text_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(UserError, match="there is no file"):
            energy.read_file(path)
    (tmp_path / "wide.csv").write_bytes("\n".join([HEADER, *GOOD]).encode("utf-16"))
    with pytest.raises(UserError, match="is not a csv in UTF-8 but in UTF-16; save it as UTF-8"):
        energy.read_file(tmp_path / "wide.csv")
    (tmp_path / "marked.csv").write_bytes("\n".join([HEADER, *GOOD]).encode("utf-8-sig"))
    assert len(energy.read_file(tmp_path / "marked.csv").values) == 3, "a mark of UTF-8 is no part of the first name"
    (tmp_path / "picture.csv").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(UserError, match="is not a csv"):
        energy.read_file(tmp_path / "picture.csv")


def test_a_price_must_be_above_0(tmp_path: Path) -> None:
    path = tmp_path / bitcoin.NAME
    path.write_text("Currency,Date,Closing Price (USD)\nBTC,2013-10-01,123.6\nBTC,2013-10-02,0\n")
    with pytest.raises(UserError, match=r"line 3: Closing Price \(USD\) is 0, but must be greater than 0"):
        bitcoin.read_file(path)


IMAGES = np.arange(2 * 28 * 28, dtype=np.uint64).astype(np.uint8).tobytes()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "an IDX file of bytes in 3 dimensions"),
        (bytes([0, 0, 8, 3]) + bytes(6), "has 10 bytes and starts with"),
        (b"<!doctype html>", "an IDX file of bytes in 3 dimensions"),
        (bytes([0, 0, 13, 3]) + struct.pack(">3I", 2, 28, 28) + IMAGES, "an IDX file of bytes in 3 dimensions"),
        (bytes([0, 0, 8, 1]) + struct.pack(">I", 1568) + IMAGES, "an IDX file of bytes in 3 dimensions"),
        (bytes([0, 0, 8, 3]) + struct.pack(">3I", 3, 28, 28) + IMAGES, "its header says 3 x 28 x 28, which are 2,368"),
        (bytes([0, 0, 8, 3]) + struct.pack(">3I", 2, 28, 28) + IMAGES[:-1], "but it has 1,583"),
        (
            bytes([0, 0, 8, 3]) + struct.pack(">3I", 2**32 - 1, 2**32 - 1, 2**32 - 1) + IMAGES,
            "its header says 4294967295",
        ),
    ],
)
def test_an_idx_header_that_lies_is_refused(content: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(UserError) as refused:
        mnist.read_idx(path, 3)
    assert told in str(refused.value)


def test_images_and_labels_must_agree(tmp_path: Path) -> None:
    mnist.stand_in(tmp_path)
    labels = tmp_path / "train-labels-idx1-ubyte"
    content = labels.read_bytes()
    labels.write_bytes(content[:4] + struct.pack(">I", 3) + content[8:11])
    with pytest.raises(UserError, match="train: 1437 images, but 3 labels"):
        mnist.read(tmp_path)
    labels.write_bytes(content[:8] + b"\x0a" + content[9:])
    with pytest.raises(UserError, match="has the label 10, but expected 0 to 9"):
        mnist.read(tmp_path)


@pytest.mark.parametrize(("content", "told"), [(b"", "is empty"), (b"ab\xff", "byte 2 is not UTF-8")])
def test_a_text_must_be_text(content: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / shakespeare.NAME).write_bytes(content)
    with pytest.raises(UserError, match=told):
        shakespeare.read(tmp_path)


def test_a_character_that_training_never_had_is_refused(tmp_path: Path) -> None:
    text = "abcd" * 100
    config = compose_config(["task=shakespeare", "window.context=5"], ROOT, ("task",))
    for changed, position in ((text[:-1] + "z", 399), ("z" + text[1:], 0)):
        (tmp_path / shakespeare.NAME).write_text(changed)
        with pytest.raises(UserError, match=f"character 'z' at position {position} is not among the 4 of the training"):
            window_raw(shakespeare, tmp_path, config, _source())


@pytest.mark.parametrize(
    ("task", "override", "told"),
    [
        (
            "energy",
            "window.context=5000",
            "context 5000 + horizon 1 needs 5001 rows in the train split, but it has 3287",
        ),
        ("energy", "window.horizon=800", "needs 800 rows in the validation split, but it has 365"),
        ("energy", "split.test=2030-01-01", "lies outside the data, which has 2006-01-01 to 2017-12-31"),
        ("energy", "split.test=2014-01-01", "it is empty or out of order"),
        ("energy", "split.validation=soon", "expected a day as YYYY-MM-DD"),
        ("bitcoin", "split.gap_days=-1", "expected a whole number, at least 0"),
        ("bitcoin", "split.validation_fraction=1", "expected a number between 0 and 1"),
        ("shakespeare", "split.test_fraction=0.97", "it is empty or out of order"),
        ("energy", "window.transform=null", "a series needs level, log_return or min_max"),
        ("energy", "~split.test", "split has the keys validation; expected test, validation"),
        ("energy", "+split.gap=1", "split has the keys validation, test, gap; expected test, validation"),
        ("mnist", "window.context=14", "the examples of mnist have 28 steps, no more and no fewer"),
        ("mnist", "window.horizon=3", "window.horizon=3: mnist is no series, so its horizon is 1"),
        ("shakespeare", "window.horizon=3", "shakespeare is no series, so its horizon is 1"),
        ("shakespeare", "window.context=300000", "needs 300001 characters in the train split, but it has 170"),
    ],
)
def test_a_window_or_split_that_does_not_fit_is_refused(task: str, override: str, told: str, tmp_path: Path) -> None:
    module: ModuleType = task_module(task)
    module.stand_in(tmp_path)
    with pytest.raises(UserError) as refused:
        window_raw(module, tmp_path, compose_config([f"task={task}", override], ROOT, ("task",)), _source())
    assert told in str(refused.value)


@pytest.mark.parametrize("name", task_names())
def test_a_raw_file_changed_by_hand_or_gone_is_refused(name: str, tmp_path: Path) -> None:
    module, raw = task_module(name), tmp_path / name
    fetch(module, "stand-in", raw, None)
    assert read_source(raw)["source"] == "stand-in"
    path = raw / module.FILES[0].name
    with path.open("ab") as file:
        file.write(b"1")
    with pytest.raises(UserError, match=f"has been changed since it was fetched .*dvc repro fetch@{name}"):
        read_source(raw)
    path.unlink()
    with pytest.raises(UserError, match=f"has no {path.name}; fetch again with: dvc repro fetch@{name}"):
        read_source(raw)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"source": "real", "sha256": 3}'])
def test_a_damaged_note_of_what_was_fetched_is_told(content: str, tmp_path: Path) -> None:
    (tmp_path / "source.json").write_text(content)
    with pytest.raises(UserError, match=r"source.json is damaged .*fetch again with: dvc repro fetch@"):
        read_source(tmp_path)


def test_an_unknown_task_names_the_known() -> None:
    with pytest.raises(
        UserError,
        match="unknown task 'weather'; valid: bitcoin, bitcoin_prices, energy, energy_calendar, mnist, mnist_pixels, shakespeare",
    ):
        task_module("weather")


def test_an_idx_file_larger_than_ever_fits_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "train-labels-idx1-ubyte"
    with path.open("wb") as file:
        file.write(bytes([0, 0, 8, 1]) + struct.pack(">I", 2**31))
        file.truncate(8 + 2**31)  # a sparse file: as many bytes as its header says
    with pytest.raises(UserError, match="has 2,147,483,656 bytes, but expected at most 50,000,000"):
        mnist.read_idx(path, 1)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"To be\0or not", "character 5 is a NUL byte, so it is no text"),
        (b"", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"a" * 4_000_001, "more than the 4,000,000 bytes expected at most"),
        ("To be".encode("utf-16"), "byte 0 is not UTF-8"),
    ],
)
def test_what_is_no_text_is_refused(content: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / shakespeare.NAME).write_bytes(content)
    with pytest.raises(UserError, match=told):
        shakespeare.read(tmp_path)
    (tmp_path / shakespeare.NAME).write_bytes(b"\xef\xbb\xbfTo be")
    assert shakespeare.read(tmp_path).text == "To be"


def test_a_calendar_is_told_for_the_years_whose_holidays_are_known(tmp_path: Path) -> None:
    for first in ("1900-01-01", "2099-12-01", "8999-12-01"):
        path = tmp_path / energy.NAME
        path.write_text(f"Date,Consumption\n{first},1300\n")
        with pytest.raises(UserError, match="holidays are known here from 1991 to 2099"):
            task_module("energy_calendar").read_file(path)
