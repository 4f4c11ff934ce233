"""Batches of texts of like length, equal texts once: less padding, and nothing encoded twice.

Padding every text to the context length is what costs a text encoder most: a report's sentence has some 24 word pieces
and the context 256. Reports repeat their sentences, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from callosum.core.errors import UsageError

CALL_TOKENS = 9
"""What a further batch costs, in tokens: BERT-base takes as long for it as for this many."""

MIN_TOKENS = 256
"""Batches of so many tokens are not divided further among threads: below, products lose more than a thread gains."""


@dataclass(frozen=True, kw_only=True)
class TextPlan:
    """Which texts to encode together, and how to get back to the order they came in.

    Attributes:
        batches: Rows of the input per batch, each distinct text once, short batches of short texts first.
        restore_N: For each text of the input its row in the outputs of all batches, one after the other.
    """

    batches: tuple[tuple[int, ...], ...]
    restore_N: Int[np.ndarray, " N"]


def bucketed(ids: Sequence[Sequence[int]], *, batch_size: int = 8, pad_length: int | None = None) -> TextPlan:
    """Plan the batches that cost least: padding against the cost of one more batch, by dynamic programming.

    Args:
        ids: Token ids of each text, without padding.
        batch_size: Texts in a batch, at most.
        pad_length: Where the tower's pooling counts the padding, the length every text is padded to; texts then cost
            the same and only repetition is saved.

    Raises:
        UsageError: a batch of less than one text.
    """
    if batch_size < 1:
        message = f"A batch holds at least one text; found batch_size {batch_size}."
        raise UsageError(message)
    first: dict[tuple[int, ...], int] = {}
    source = [first.setdefault(tuple(row), n) for n, row in enumerate(ids)]
    length = {n: pad_length or len(row) for row, n in first.items()}
    order = sorted(length, key=lambda n: length[n])
    batches = tuple(tuple(order[a:b]) for a, b in _cuts([length[n] for n in order], batch_size))
    row = {n: at for at, n in enumerate(order)}
    return TextPlan(batches=batches, restore_N=np.array([row[n] for n in source], dtype=np.intp))


def chunked(ids: Sequence[Sequence[int]], *, max_tokens: int = 1024, num_threads: int = 1) -> TextPlan:
    """Plan batches for a tower that takes texts one after the other without padding: so many tokens each.

    Batches are of like size, since products over few tokens do not pay, and as many as there are threads where that
    leaves each some hundred tokens.

    Args:
        ids: Token ids of each text, without padding.
        max_tokens: Tokens in a batch, at most, except where one text has more.
        num_threads: Batches that are encoded side by side.
    """
    first: dict[tuple[int, ...], int] = {}
    source = [first.setdefault(tuple(row), n) for n, row in enumerate(ids)]
    order = sorted(set(source), key=lambda n: len(ids[n]))
    num_tokens = sum(len(ids[n]) for n in order)
    share = num_tokens / max(1, -(-num_tokens // max_tokens), min(num_threads, num_tokens // MIN_TOKENS))
    batches: list[list[int]] = []
    size = 0
    for n in order:
        length = len(ids[n])
        if not batches or size + length > max_tokens or size + length / 2 > share:
            batches.append([])
            size = 0
        batches[-1].append(n)
        size += length
    row = {n: at for at, n in enumerate(order)}
    restore_N = np.array([row[n] for n in source], dtype=np.intp)
    return TextPlan(batches=tuple(map(tuple, batches)), restore_N=restore_N)


def _cuts(lengths: Sequence[int], batch_size: int) -> list[tuple[int, int]]:
    """Where to cut ascending lengths, so that tokens, padding and batches cost least in sum."""
    cost, start = [0], [0]
    for stop in range(1, len(lengths) + 1):
        longest = lengths[stop - 1]
        options = [(cost[a] + CALL_TOKENS + (stop - a) * longest, a) for a in range(max(0, stop - batch_size), stop)]
        best = min(options)
        cost.append(best[0])
        start.append(best[1])
    cuts, stop = [], len(lengths)
    while stop > 0:
        cuts.append((start[stop], stop))
        stop = start[stop]
    return cuts[::-1]
