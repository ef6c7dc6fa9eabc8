"""Language models to beat: single characters, an n-gram model, and general compressors."""

import bz2
import lzma
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from unrolled.baselines.examples import class_frequencies

Values = NDArray[np.float64]
Tokens = NDArray[np.integer]
Codes = NDArray[np.int64]
LEAST_DISCOUNT = 0.05  # of a count: something is always left for what was not seen


def uniform_losses(characters: int, vocabulary: int) -> Values:
    """Return the loss in nats, (characters,), of a guess that finds every token equally likely."""
    return np.full(characters, np.log(vocabulary))


def unigram_losses(train: Tokens, scored: Tokens, vocabulary: int) -> Values:
    """Return the loss in nats of each scored token under the training text's frequencies, whatever came before it."""
    losses: Values = -np.log(class_frequencies(train, vocabulary))[scored]
    return losses


def ngram_losses(tokens: Tokens, train: tuple[int, int], scored: Codes, orders: int, vocabulary: int) -> Values:
    """Return the loss in nats of each scored token under n-gram models of order 1 to ``orders``, (orders, scored).

    Interpolated Kneser-Ney with three discounts: Chen and Goodman, "An empirical study of smoothing techniques for
    language modeling", 1999. With c(h x) the count of token x after the context h, and h' the context without its first token,

        p(x | h) = max(c(h x) - D(c(h x)), 0) / c(h) + sum_y D(c(h y)) / c(h) * p(x | h')

    down to the uniform guess. The highest order counts occurrences, those below it distinct tokens before h' x. A context
    that training does not have leaves p(x | h') as it is. The probabilities of all tokens after a context sum to one.

    Args:
        tokens: (characters,) the whole text, each an index below ``vocabulary``.
        train: half-open range that is counted; contexts at its start reach back before it.
        scored: (scored,) positions to score; contexts are the tokens before each.
        orders: highest order; order n sees n - 1 tokens.
        vocabulary: how many tokens there are.
    """
    rows = slice(*train)
    known, wanted = tokens[rows].astype(np.int64), tokens[scored].astype(np.int64)
    lower = np.full(len(scored), 1 / vocabulary)  # of the distinct counts, which higher orders fall back on
    losses = np.empty((orders, len(scored)))
    contexts = _contexts(tokens, vocabulary)
    context = next(contexts)
    for order in range(1, orders + 1):
        longer = next(contexts)
        pairs, after = context[rows] * vocabulary + known, context[scored]
        losses[order - 1] = -np.log(_interpolated(pairs, after, wanted, lower, vocabulary))
        _, first = np.unique(longer[rows] * vocabulary + known, return_index=True)
        lower = _interpolated(pairs[first], after, wanted, lower, vocabulary)
        context = longer
    return losses


def _contexts(tokens: Tokens, vocabulary: int) -> Iterator[Codes]:
    """Yield for k = 0, 1, ... a number for the k tokens before each position: equal numbers, equal tokens."""
    code = np.zeros(len(tokens), dtype=np.int64)
    while True:
        yield code
        longer = np.zeros_like(code)  # 0: the text begins fewer than k tokens before
        longer[1:] = code[:-1] * vocabulary + tokens[:-1] + 1
        # Numbered afresh: k tokens as digits of one number would not fit into 64 bits for long.
        code = np.unique(longer, return_inverse=True)[1].astype(np.int64)


def _interpolated(pairs: Codes, after: Codes, wanted: Codes, lower: Values, vocabulary: int) -> Values:
    """Return p(wanted | after) from the counted ``pairs`` (context * vocabulary + token) and the lower order's p."""
    seen, counts = np.unique(pairs, return_counts=True)
    contexts = seen // vocabulary
    taken = discounts(counts)[np.minimum(counts, 3)]
    size = int(max(contexts.max(), after.max())) + 1
    total = np.bincount(contexts, weights=counts, minlength=size)[after]
    left = np.bincount(contexts, weights=taken, minlength=size)[after]
    asked = after * vocabulary + wanted
    place = np.minimum(np.searchsorted(seen, asked), len(seen) - 1)
    kept = np.where(seen[place] == asked, (counts - taken)[place], 0)
    return np.where(total > 0, (kept + left * lower) / np.maximum(total, 1), lower)


def discounts(counts: NDArray[np.integer]) -> Values:
    """Return what is taken off a count of 0, 1, 2, and 3 or more, (4,): Chen and Goodman's estimate from ``counts``.

    Half an occurrence each where there are too few counts of 1, 2 and 3 to estimate from.
    """
    n1, n2, n3, n4 = (int((counts == size).sum()) for size in (1, 2, 3, 4))
    if 0 in (n1, n2, n3):
        return np.array([0, 0.5, 0.5, 0.5])
    y = n1 / (n1 + 2 * n2)
    estimated = np.array([0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3])
    return np.concatenate([[0], np.clip(estimated[1:], LEAST_DISCOUNT, [1, 2, 3])])


def compressed_bits(train: str, text: str, compressor: str) -> float:
    """Return the bits per character that ``text`` adds to the compressed training text.

    Args:
        train: what the compressor has read before.
        text: what is scored.
        compressor: xz, whose dictionary here is larger than both texts, or bz2, whose blocks of 900 kB forget what lies
            before them.
    """
    size = {"xz": _xz_size, "bz2": _bz2_size}[compressor]
    before, whole = train.encode(), (train + text).encode()
    return (size(whole) - size(before)) * 8 / len(text)


def _xz_size(content: bytes) -> int:
    smallest = 4096  # bytes, of a dictionary
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": max(len(content), smallest)}]
    return len(lzma.compress(content, filters=filters))


def _bz2_size(content: bytes) -> int:
    return len(bz2.compress(content, compresslevel=9))
