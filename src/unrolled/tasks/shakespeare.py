"""Tiny Shakespeare: 1,115,394 characters of plays, 65 distinct."""

from pathlib import Path

import numpy as np

from unrolled.dataset import Text
from unrolled.errors import UserError
from unrolled.rawfile import RawFile
from unrolled.splits import checked, share

LICENCE = "the plays are in the public domain; the selection's publisher states no licence"
ATTRIBUTION = "William Shakespeare; selection by Andrej Karpathy (github.com/karpathy/char-rnn)"
NAME = "input.txt"
FILES = (
    RawFile(
        name=NAME,
        sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        addresses=(
            "https://raw.githubusercontent.com/karpathy/char-rnn/6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e/data/tinyshakespeare/input.txt",
            "https://storage.googleapis.com/download.tensorflow.org/data/shakespeare.txt",
        ),
        mirror_path=f"shakespeare/{NAME}",
        max_bytes=4_000_000,
        max_unpacked_bytes=4_000_000,
    ),
)


def read(folder: Path) -> Text:
    """Return the text of the raw folder.

    Raises:
        UserError: it is empty, too long, or not UTF-8.
    """
    path, most = folder / NAME, FILES[0].max_unpacked_bytes
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise UserError(f"{path.name} has more than the {most:,} bytes expected at most; cut it")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path.name}: byte {error.start} is not UTF-8; save the text as UTF-8") from error
    if "\0" in text:
        raise UserError(f"{path.name}: character {text.index(chr(0))} is a NUL byte, so it is no text; remove it")
    if not text:
        raise UserError(f"{path.name} is empty; expected a text")
    return Text(text)


def split(data: Text, validation_fraction: float, test_fraction: float) -> dict[str, tuple[int, int]]:
    """Return the splits in characters: the first share is validation, the last the test, all between is training.

    Training reaches up to the test, as in char-RNN and nanoGPT, where the last tenth is held out. A validation part
    right before the test would take the beginning of the test's own play out of training.
    """
    size = len(data.text)
    validation = int(share("validation_fraction", validation_fraction) * size)
    test = int((1 - share("test_fraction", test_fraction)) * size)
    checked({"validation": (0, validation), "train": (validation, test), "test": (test, size)}, size)
    return {"train": (validation, test), "validation": (0, validation), "test": (test, size)}


WORDS = {
    "noun": "king queen love night day sword crown heart blood friend father son lady lord duke ghost moon sea storm",
    "verb": "love fear know follow serve kill see hear trust leave meet praise curse seek find keep",
    "adjective": "sweet noble false gentle bloody fair cold proud honest weary quick jealous vain yonder",
    "speaker": "ROMEO JULIET HAMLET MACBETH VIOLA BRUTUS ZOE QUINCE XAVIER PORTIA",
    "end": ". ! :",
}


def stand_in(folder: Path) -> None:
    """Write generated dialogue in the real file's form (NAME, colon, speech, empty line): about 200,000 characters."""
    rng = np.random.default_rng(1564)

    def pick(kind: str) -> str:
        # Frequent and rare words, as in real text.
        words = WORDS[kind].split()
        return words[min(int(rng.exponential(len(words) / 4)), len(words) - 1)]

    def sentence() -> str:
        forms = (
            f"I {pick('verb')} the {pick('adjective')} {pick('noun')}, and thou dost {pick('verb')} it not",
            f"what, shall the {pick('noun')} {pick('verb')} thy {pick('noun')}",
            f"come, {pick('adjective')} {pick('noun')}; {pick('verb')} me and {pick('verb')} my {pick('noun')}",
            f"thy {pick('noun')} is a {pick('adjective')} {pick('noun')}",
        )
        number = int(rng.integers(len(forms)))
        text = forms[number] + ("?" if number == 1 else pick("end"))
        return text[0].upper() + text[1:]

    parts: list[str] = []
    size = 0
    while size < 200_000:
        lines = "\n".join(sentence() for _ in range(int(rng.integers(1, 5))))
        parts.append(f"{pick('speaker')}:\n{lines}\n\n")
        size += len(parts[-1])
    (folder / NAME).write_text("".join(parts), encoding="utf-8", newline="\n")
