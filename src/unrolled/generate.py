"""Write text one symbol at a time from the carried state."""

import torch
from torch import Tensor

from unrolled.errors import UserError
from unrolled.model import SequenceModel


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
    model: SequenceModel, prompt: Tensor, length: int, temperature: float, top_k: int, generator: torch.Generator
) -> Tensor:
    """Return ``length`` tokens that follow ``prompt``.

    The prompt is read once; after it, each step feeds one symbol and goes on from the carried state.

    Args:
        model: a trained language model.
        prompt: (characters,) int64.
        length: how many tokens to write.
        temperature: the logits are divided by it; 0 takes the likeliest symbol every time.
        top_k: only the k likeliest symbols can come; 0 for all.
        generator: where chance comes from: the same seed writes the same text.
    """
    model.eval()
    written = torch.empty(length, dtype=torch.int64)
    logits, state = model(prompt[None])
    for position in range(length):
        token = draw(logits[0, -1], temperature, top_k, generator)
        written[position] = token
        logits, state = model(token.view(1, 1), state)
    return written


def draw(logits: Tensor, temperature: float, top_k: int, generator: torch.Generator) -> Tensor:
    """Return one token drawn from ``logits`` (vocabulary,); see ``generate``."""
    if temperature < 1e-6:  # indistinguishable from 0, and float32 cannot divide by much less
        return logits.argmax()
    # Subtracting the largest first keeps a low temperature finite.
    scaled = (logits - logits.max()) / temperature
    if 0 < top_k < len(scaled):
        scaled = scaled.masked_fill(scaled < scaled.topk(top_k).values[-1], -torch.inf)
    return torch.multinomial(torch.softmax(scaled, dim=0), 1, generator=generator)[0]
