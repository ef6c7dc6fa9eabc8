"""Write text one symbol at a time from the carried state, one text or many at once."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch import Tensor

from unrolled.errors import UserError
from unrolled.model import SequenceModel
from unrolled.stepper import make_stepper


def encode(text: str, vocabulary: str) -> Tensor:
    """Return the tokens (characters,) int64 of ``text``.

    Raises:
        UserError: the text is empty or has a character that the training text never had.
    """
    if not text:
        raise UserError("the prompt is empty; give at least one character")
    index = {character: token for token, character in enumerate(vocabulary)}
    for position, character in enumerate(text):
        if character not in index:
            raise UserError(
                f"the character {character!r} at position {position} of the prompt is not in the training text; its "
                f"{len(vocabulary)} characters are {vocabulary!r}"
            )
    return torch.tensor([index[character] for character in text])


@torch.inference_mode()
def generate(
    model: SequenceModel,
    prompt: Tensor,
    length: int,
    temperature: float,
    top_k: int,
    seed: int,
    streams: int = 1,
    precision: torch.dtype = torch.float32,
) -> Tensor:
    """Return ``streams`` continuations of ``prompt``, (streams, length) int64.

    The prompt is read once; after it, each step feeds one symbol and goes on from the carried state.

    Args:
        model: a trained language model.
        prompt: (characters,) int64.
        length: how many tokens to write.
        temperature: the logits are divided by it; 0 takes the likeliest symbol every time.
        top_k: only the k likeliest symbols can come; 0 for all.
        seed: the same seed writes the same text; text i of several is the one that ``seed + i`` writes alone.
        streams: how many texts to write side by side.
        precision: see ``make_stepper``.
    """
    model.eval()
    chance = [torch.rand(length, generator=torch.Generator().manual_seed(seed + number)) for number in range(streams)]
    shares = (1 - torch.stack(chance, dim=1))[..., None].numpy()  # (length, streams, 1) in (0, 1]
    logits, state = model(prompt.expand(streams, -1))
    logits, stepper = logits[:, -1], make_stepper(model, state, precision)
    choose = chooser(temperature, top_k)
    written = np.empty((length, streams), dtype=np.int64)
    # As many threads for numpy's products as for torch's: bits change with the count.
    with threadpool_limits(torch.get_num_threads()):
        for position, share in enumerate(shares):
            said = stepper.step(written[position - 1]) if position else logits.numpy()
            written[position] = choose(said, share)
    return torch.from_numpy(written.T.copy())


Choose = Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.int64]]


def chooser(temperature: float, top_k: int) -> Choose:
    """Return the function that takes a token (streams,) from each row of logits (streams, vocabulary); see ``generate``.

    It is the first token at which the probabilities, added up, reach ``share`` (streams, 1), from (0, 1], of their sum: one
    random number a token, and no token without a chance, whatever the number. In numpy, whose calls take half as long as
    torch's on one row, and whose sort, on many, takes a quarter of torch's search for the k-th largest; but torch adds up
    many rows in a quarter of numpy's time.
    """
    if temperature < 1e-6:  # indistinguishable from 0, and float32 cannot divide by much less
        return lambda logits, share: logits.argmax(axis=1)
    coldness = np.float32(1 / temperature)

    def choose(logits: NDArray[np.float32], share: NDArray[np.float32]) -> NDArray[np.int64]:
        scaled = logits * coldness
        ordered = np.sort(scaled, axis=1)
        chances = np.exp(scaled - ordered[:, -1:])
        if 0 < top_k < scaled.shape[1]:
            chances *= scaled >= ordered[:, -top_k, None]
        reached = torch.from_numpy(chances).cumsum(dim=1).numpy()
        tokens: NDArray[np.int64] = (reached >= share * reached[:, -1:]).argmax(axis=1)
        return tokens

    return choose
