"""Change raw data on purpose: what lies after a row, or which target belongs to which input. The originals stay as they are."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from unrolled.dataset import Examples, RawData, Series, Text

Part = tuple[int, int]


def rows_in(data: RawData) -> int:
    """Return how many rows a series, examples a set, or characters a text has."""
    if isinstance(data, Text):
        return len(data.text)
    return len(data.values if isinstance(data, Series) else data.targets)


def change_rows_after(data: RawData, end: int, train: Part) -> RawData:
    """Return ``data`` with every row from ``end`` on made another one, in a way that any transform still takes.

    Series: each value v of a column becomes 3 max |column| - v, positive and far above all before. Examples: inputs are
    inverted and each class becomes the next, but for training examples: the scaler that they decide is not in question.
    Text: each character becomes the next of the training part's alphabet, which leaves that alphabet as it is.

    Args:
        data: what the task's reader returned.
        end: first row, example or character to change.
        train: half-open range of the training part.
    """
    if isinstance(data, Series):
        peak = np.abs(data.values).max(axis=0)
        values = data.values.copy()
        values[end:] = 3 * np.where(peak > 0, peak, 1.0) - values[end:]
        return replace(data, values=values)
    if isinstance(data, Examples):
        later = np.arange(len(data.targets)) >= end
        later[slice(*train)] = False
        inputs, targets = data.inputs.copy(), data.targets.copy()
        inputs[later] = 255 - inputs[later]
        targets[later] = (targets[later].astype(np.int64) + 1) % data.classes
        return replace(data, inputs=inputs, targets=targets)
    alphabet = "".join(sorted(set(data.text[slice(*train)])))
    following = str.maketrans(alphabet, alphabet[1:] + alphabet[:1])
    return Text(data.text[:end] + data.text[end:].translate(following))


def add_unknown_character(data: Text) -> Text:
    """Return ``data`` with a character at its end that it has nowhere else."""
    unknown = next(chr(code) for code in range(0xE000, 0xF900) if chr(code) not in data.text)  # for private use
    return Text(data.text[:-1] + unknown)


def shuffle_targets(data: RawData, part: Part, seed: int, returns: bool) -> RawData:
    """Return ``data`` with the targets within ``part`` in another order, as if their inputs said nothing about them.

    Series: the target column; the inputs, which are its own past, are then noise too. Text: the characters, likewise.
    Examples: the classes, the inputs stay.

    Args:
        data: what the task's reader returned.
        part: half-open range of rows.
        seed: of the order.
        returns: shuffle the log-returns of a series and add them up anew: shuffled prices could be foretold, for after a
            rise they fall back.
    """
    rng = np.random.default_rng(seed)
    rows = slice(*part)
    if isinstance(data, Examples):
        targets = data.targets.copy()
        targets[rows] = rng.permutation(targets[rows])
        return replace(data, targets=targets)
    if isinstance(data, Text):
        codes = np.frombuffer(data.text[rows].encode("utf-32-le"), dtype="<u4")
        shuffled = rng.permutation(codes).tobytes().decode("utf-32-le")
        return Text(data.text[: part[0]] + shuffled + data.text[part[1] :])
    values = data.values.copy()
    values[rows, 0] = _shuffled_returns(values[rows, 0], rng) if returns else rng.permutation(values[rows, 0])
    return replace(data, values=values)


def _shuffled_returns(prices: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    logs = np.log(prices)
    steps = np.concatenate([logs[:1], rng.permutation(np.diff(logs))])
    paths: NDArray[np.float64] = np.exp(np.cumsum(steps))
    return paths
