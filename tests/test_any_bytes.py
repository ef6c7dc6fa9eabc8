"""Readers take any bytes at all: what comes of them is a result that holds or a word to the user, and nothing else."""

import gzip
import io
import json
import zlib
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trainedfolders import write_trained
from windowsets import series_windows

from unrolled.dataset import Text
from unrolled.errors import UserError
from unrolled.fetch import _unzipped
from unrolled.jsonfile import read_json
from unrolled.model import load
from unrolled.predictiontable import read_table
from unrolled.resume import PARTS, checkpoint_to_resume, sealed, unsealed
from unrolled.tasks import mnist, shakespeare
from unrolled.window import read_source
from unrolled.windowset import check_digest, open_windows, save_windows
from unrolled.yamlfile import read_yaml

FAST = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _bent(whole: bytes, start: int, bad: bytes) -> bytes:
    """Put ``bad`` into ``whole`` somewhere."""
    place = start % (len(whole) + 1)
    return whole[:place] + bad + whole[place + len(bad) :]


START, BAD = st.integers(0, 10**6), st.binary(min_size=1, max_size=12)


def _result(read: Callable[[], Any]) -> Any:
    """Return what a reader returns, or None if it tells the user why not; any other error is a fault of the reader."""
    try:
        return read()
    except UserError:
        return None


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@FAST
@given(value=PLAIN)
def test_any_plain_values_come_back_from_yaml_and_json(value: Any, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(value), encoding="utf-8")
    assert read_yaml(tmp_path / "a.yaml") == value
    (tmp_path / "a.json").write_text(json.dumps({"": value}), encoding="utf-8")
    assert read_json(tmp_path / "a.json", dict) == {"": value}


@FAST
@given(content=st.binary(max_size=60) | st.text("a&*:{}[]<!|>-?%@`'\"# \n\t0", max_size=60).map(str.encode))
def test_yaml_of_any_bytes_is_a_value_or_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(content)
    try:
        read_yaml(tmp_path / "a.yaml")
    except ValueError as error:
        assert str(error)  # noqa: PT017 - any bytes may as well be YAML


@FAST
@given(content=st.binary(max_size=60) | st.text('{}[]":,1e-+.nulltrueNaN\\ ', max_size=60).map(str.encode))
def test_json_of_any_bytes_is_an_object_or_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "source.json").write_bytes(content)
    found = _result(lambda: read_json(tmp_path / "source.json", dict))
    assert found is None or isinstance(found, dict)
    _result(lambda: read_source(tmp_path))


@FAST
@given(shape=st.lists(st.integers(0, 5), min_size=3, max_size=3), data=st.data())
def test_idx_of_any_shape_is_read_as_it_was_written_and_bent_is_refused(
    shape: list[int], data: st.DataObject, tmp_path: Path
) -> None:
    array = np.arange(int(np.prod(shape)), dtype=np.uint8).reshape(shape)
    whole = bytes([0, 0, 8, 3]) + b"".join(size.to_bytes(4, "big") for size in shape) + array.tobytes()
    path = tmp_path / "images"
    path.write_bytes(whole)
    assert np.array_equal(mnist.read_idx(path, 3), array)
    path.write_bytes(_bent(whole, data.draw(START), data.draw(BAD)))
    found = _result(lambda: mnist.read_idx(path, 3))
    assert found is None or found.nbytes == path.stat().st_size - 16
    path.write_bytes(whole + b"1")
    assert _result(lambda: mnist.read_idx(path, 3)) is None


@FAST
@given(content=st.binary(max_size=40) | st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_a_text_of_any_bytes_is_that_text_or_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / shakespeare.NAME).write_bytes(content)
    found = _result(lambda: shakespeare.read(tmp_path))
    assert found is None or (isinstance(found, Text) and found.text.encode() == content.removeprefix(b"\xef\xbb\xbf"))


@FAST
@given(content=st.binary(max_size=3000), start=START, bad=BAD, cut=st.integers(1, 3000))
def test_gzip_of_any_bytes_is_unpacked_and_damaged_is_refused(content: bytes, start: int, bad: bytes, cut: int) -> None:
    whole = gzip.compress(content, mtime=0)
    assert b"".join(_unzipped(io.BytesIO(whole))) == content
    with pytest.raises((EOFError, zlib.error)):
        list(_unzipped(io.BytesIO(whole[: -min(cut, len(whole))])))
    with suppress(EOFError, zlib.error):
        assert b"".join(_unzipped(io.BytesIO(_bent(whole, start, bad)))) == content  # in a field that says nothing


CHECKPOINT = b"".join(sealed({part: kind() for part, kind in PARTS.items()} | {"loops": {"fit_loop": {}}}))


def _goes_on(content: bytes, folder: Path) -> bool:
    (folder / "last.ckpt").write_bytes(content)
    return checkpoint_to_resume(folder, "") is not None


@FAST
@given(start=START, bad=BAD)
def test_a_checkpoint_with_any_damage_is_not_gone_on_with(start: int, bad: bytes, tmp_path: Path) -> None:
    bent = _bent(CHECKPOINT, start, bad)
    assert _goes_on(bent, tmp_path) == (bent == CHECKPOINT)


def test_a_bit_flipped_anywhere_in_a_checkpoint_is_seen_before_it_is_unpickled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.load", lambda *_, **__: pytest.fail("it is unpickled"))
    for place in range(len(CHECKPOINT)):
        with pytest.raises(ValueError, match="its sha256 is not that of its content"):
            unsealed(CHECKPOINT[:place] + bytes([CHECKPOINT[place] ^ 1 << place % 8]) + CHECKPOINT[place + 1 :])


@FAST
@given(content=st.binary(max_size=60), start=START, bad=BAD)
def test_any_bytes_with_a_right_digest_are_a_checkpoint_or_not_gone_on_with(
    content: bytes, start: int, bad: bytes, tmp_path: Path
) -> None:
    assert not _goes_on(content + sha256(content).digest(), tmp_path)
    bent = _bent(CHECKPOINT[:-32], start, bad)
    _goes_on(bent + sha256(bent).digest(), tmp_path)


@FAST
@given(name=st.sampled_from(["meta.json", "series.npy"]), start=START, bad=BAD)
def test_windows_with_any_damage_are_what_they_were_or_refused(
    name: str, start: int, bad: bytes, tmp_path: Path
) -> None:
    folder = tmp_path / "ramp"
    folder.mkdir(exist_ok=True)
    save_windows(series_windows(), folder)
    (folder / name).write_bytes(_bent((folder / name).read_bytes(), start, bad))

    def read() -> Any:
        windows = open_windows(folder)
        check_digest(windows, folder)
        return windows

    windows = _result(read)
    assert windows is None or windows.meta == series_windows().meta


@FAST
@given(start=START, bad=BAD)
def test_a_table_with_any_damage_is_a_table_or_refused(start: int, bad: bytes, tmp_path: Path) -> None:
    path = tmp_path / "test.parquet"
    pd.DataFrame({"actual": np.arange(50.0), "predicted": np.arange(50.0)}).to_parquet(path, index=False)
    path.write_bytes(_bent(path.read_bytes(), start, bad))
    found = _result(lambda: read_table(path))
    assert found is None or isinstance(found, pd.DataFrame)


@FAST
@given(start=START, bad=BAD, config=st.text(max_size=60))
def test_a_model_folder_with_any_damage_is_a_model_or_refused(
    start: int, bad: bytes, config: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = write_trained(tmp_path_factory.mktemp("model"), series_windows())
    weights, kept = folder / "weights.safetensors", (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(config)
    assert _result(lambda: load(folder)) is None
    (folder / "config.yaml").write_text(kept)
    weights.write_bytes(_bent(weights.read_bytes(), start, bad))
    _result(lambda: load(folder))
