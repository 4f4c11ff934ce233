"""Texts one after the other in one row: no padding, and products as tall as the processor likes them.

Only attention looks from token to token, and does so text by text; everything else in a transformer sees rows of
tokens and does not care whose they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from callosum.core.errors import InputError, UsageError
from callosum.models.runtime.first_row import FirstRowBlock
from callosum.models.runtime.packed import PackedAttention, Segments
from callosum.models.text.bert import Bert
from callosum.models.text.pooling import Pool, pooled


def takes_unpadded(tower: nn.Module) -> bool:
    """Whether a tower is a BERT made fast by `accelerate` whose vectors do not depend on padding."""
    if type(tower) is not Bert or tower.config.pad_length is not None:
        return False
    return all(type(getattr(block, "block", block).attention) is PackedAttention for block in tower.blocks)


def encode_unpadded(tower: Bert, texts: Sequence[Sequence[int]]) -> Float[Tensor, "N W"]:
    """Features of texts, as the tower gives them for each alone.

    Args:
        tower: One that `takes_unpadded`.
        texts: Token ids of each, without padding; `bucket.chunked` says how many to give at once.

    Raises:
        UsageError: another tower.
        InputError: no text; an empty one; one longer than the table of positions.
    """
    if not takes_unpadded(tower):
        message = "A BERT made fast, with a pooling that leaves out the padding, takes texts without it; found another."
        raise UsageError(message, hint="Call the tower with padded ids and their mask.")
    lengths = tuple(map(len, texts))
    if not lengths or min(lengths) < 1 or max(lengths) > len(tower.place):
        found = f"{min(lengths)} to {max(lengths)} ids" if lengths else "no text"
        message = f"Texts of 1 to {len(tower.place)} ids were expected; found {found}."
        raise InputError(message, hint="Cut texts to the context length.")
    ids_T = torch.tensor([token for text in texts for token in text])
    place_TW = torch.cat([tower.place[:length] for length in lengths])
    x_1TW = tower.norm_in(tower.token(ids_T) + place_TW + tower.kind[0])[None]
    return _features(tower, x_1TW, Segments(lengths))


def _features(tower: Bert, x_1TW: Tensor, segments: Segments) -> Tensor:
    """Run the blocks and pool."""
    last = tower.blocks[-1]
    if tower.pool is Pool.CLS and isinstance(last, FirstRowBlock):
        for block in tower.blocks[:-1]:
            x_1TW = block(x_1TW, segments)
        return last.first_rows(x_1TW, segments)[0]
    states = [x_1TW]
    for block in tower.blocks:
        states.append(block(states[-1], segments))
    wanted = [states[n][0] for n in tower.pool.layers(len(tower.blocks))]
    padded = [pad_sequence(list(x_TW.split(segments.lengths)), batch_first=True) for x_TW in wanted]
    mask_NL = torch.arange(max(segments.lengths)) < torch.tensor(segments.lengths)[:, None]
    return pooled(tower.pool, padded, mask_NL, num_slots=tower.config.context_length)
