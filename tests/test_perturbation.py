"""What is changed on purpose is changed everywhere it should be and nowhere else."""

import leakfixtures as planted
import numpy as np
import pytest

from unrolled.dataset import Examples, Series, Text
from unrolled.perturbation import add_unknown_character, change_rows_after, rows_in, shuffle_targets

TRAIN = (0, 400)


def test_every_later_row_of_a_series_is_another_one_and_above_zero() -> None:
    data = planted.raw("series")
    assert isinstance(data, Series)
    values = np.column_stack([data.values[:, 0], np.zeros(planted.ROWS)])
    changed = change_rows_after(Series(values, ("load", "holiday"), data.start, "GWh"), 400, TRAIN)
    assert isinstance(changed, Series)
    assert (changed.values[:400] == values[:400]).all()
    assert (changed.values[400:] != values[400:]).all()
    assert (changed.values[400:] > 0).all()


@pytest.mark.parametrize(("train", "first"), [((0, 400), 400), ((500, 600), 400)])
def test_every_later_example_but_those_of_training_is_another_one(train: tuple[int, int], first: int) -> None:
    data = planted.raw("examples")
    changed = change_rows_after(data, first, train)
    assert isinstance(data, Examples)
    assert isinstance(changed, Examples)
    later = np.arange(planted.ROWS) >= first
    later[slice(*train)] = False
    assert ((changed.inputs != data.inputs).all(axis=(1, 2)) == later).all()
    assert ((changed.targets != data.targets) == later).all()
    assert changed.targets.max() < 3


def test_every_later_character_is_another_one_of_the_same_alphabet() -> None:
    data = planted.raw("text")
    assert isinstance(data, Text)
    changed = change_rows_after(data, 1000, (0, 1000))
    assert isinstance(changed, Text)
    assert changed.text[:1000] == data.text[:1000]
    assert all(one != other for one, other in zip(changed.text[1000:], data.text[1000:], strict=True))
    assert set(change_rows_after(data, 100, (100, 1000)).text[100:1000]) == set(data.text[100:1000])  # type: ignore[union-attr]
    unknown = add_unknown_character(data).text
    assert unknown[:-1] == data.text[:-1]
    assert unknown[-1] not in data.text


@pytest.mark.parametrize("kind", ["series", "examples", "text"])
def test_shuffling_keeps_what_is_outside_the_part_and_the_targets_in_it(kind: str) -> None:
    data = planted.raw(kind)
    low, high = 100, 500
    shuffled, again = (shuffle_targets(data, (low, high), 3, returns=False) for _ in range(2))
    ours, theirs, repeated = (_targets(each) for each in (data, shuffled, again))
    assert rows_in(shuffled) == rows_in(data)
    assert (theirs == repeated).all()
    assert (theirs[:low] == ours[:low]).all()
    assert (theirs[high:] == ours[high:]).all()
    assert (theirs[low:high] != ours[low:high]).any()
    assert sorted(theirs[low:high]) == sorted(ours[low:high])
    if isinstance(data, Examples):
        assert (shuffled.inputs == data.inputs).all()  # type: ignore[union-attr]


def test_returns_are_shuffled_and_added_up_anew() -> None:
    data = planted.raw("series")
    shuffled = shuffle_targets(data, (100, 500), 3, returns=True)
    ours, theirs = np.log(_targets(data)), np.log(_targets(shuffled))
    np.testing.assert_allclose(sorted(np.diff(theirs[100:500])), sorted(np.diff(ours[100:500])), atol=1e-12)
    assert not np.allclose(np.diff(theirs[100:500]), np.diff(ours[100:500]))
    np.testing.assert_allclose(theirs[[100, 499]], ours[[100, 499]])
    assert (theirs[500:] == ours[500:]).all()


def _targets(data: Series | Examples | Text) -> np.ndarray:
    if isinstance(data, Text):
        return np.array(list(data.text))
    return data.values[:, 0] if isinstance(data, Series) else data.targets
