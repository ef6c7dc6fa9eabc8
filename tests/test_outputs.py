"""Folders and files appear whole or not at all."""

from pathlib import Path

import pytest

from unrolled.outputs import check_writable, whole_folder, write_whole


def test_a_folder_that_fails_leaves_the_earlier_one_as_it_was(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with whole_folder(out) as folder:
        (folder / "a").write_text("first")
    with pytest.raises(ZeroDivisionError), whole_folder(out) as folder:
        (folder / "a").write_text("second")
        raise ZeroDivisionError
    assert (out / "a").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_that_succeeds_replaces_the_earlier_one_whole(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    for name in ("a", "b"):
        with whole_folder(out) as folder:
            (folder / name).write_text(name)
    assert [path.name for path in out.iterdir()] == ["b"]
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    write_whole(tmp_path / "deep" / "a.txt", "one")
    write_whole(tmp_path / "deep" / "a.txt", "two")
    assert (tmp_path / "deep" / "a.txt").read_text() == "two"
    assert len(list((tmp_path / "deep").iterdir())) == 1


def test_a_place_that_cannot_be_written_to_is_found_before_work_starts(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        check_writable(tmp_path / "file" / "models")
