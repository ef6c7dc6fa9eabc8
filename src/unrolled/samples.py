"""Text that a language model writes, beside how much of it is copied from what it was trained on."""

from typing import Any

from unrolled.generate import encode, generate
from unrolled.model import SequenceModel
from unrolled.windowset import WindowSet

LENGTH = 600
TEMPERATURES = (0.5, 0.8, 1.0)
PASSAGE = 20  # characters: some four words, which hardly recur by chance


def write_samples(model: SequenceModel, windows: WindowSet, seed: int = 0) -> list[dict[str, Any]]:
    """Return for each temperature ``temperature``, ``text`` (characters) and ``copied``, see ``copied_share``."""
    vocabulary, (low, high) = windows.meta["vocabulary"], windows.split("train")
    training = "".join(vocabulary[token] for token in windows.arrays["tokens"][low:high])
    prompt = encode(
        "\n" if "\n" in vocabulary else vocabulary[0], vocabulary
    )  # what follows a line break is a beginning
    samples = []
    for temperature in TEMPERATURES:
        tokens = generate(model, prompt, LENGTH, temperature, 0, seed)[0]
        text = "".join(vocabulary[token] for token in tokens.tolist())
        samples.append({"temperature": temperature, "text": text, "copied": copied_share(text, training)})
    return samples


def copied_share(text: str, training: str, passage: int = PASSAGE) -> float:
    """Return the share of all passages of ``passage`` characters in ``text`` that stand in ``training`` word for word."""
    count = len(text) - passage + 1
    return sum(text[start : start + passage] in training for start in range(count)) / count
