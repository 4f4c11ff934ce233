"""From the hidden states of a text tower to one vector per text, and from that to the shared space."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from callosum.core.errors import UsageError
from callosum.models.layers import masked_mean
from callosum.models.towers import Projection


class Pool(StrEnum):
    """How hidden states become one vector; part of a checkpoint's fingerprint.

    The first three are named after `open_clip`'s. Its own `max_pooler` leaves out the text and keeps the padding; here
    it is the maximum over the text.
    """

    CLS = "cls_last_hidden_state_pooler"
    """The first position of the last layer, without BERT's tanh pooler (BiomedCLIP, Zhang et al. 2023)."""
    MEAN = "mean_pooler"
    MAX = "max_pooler"
    MEDCLIP_UNMASKED = "medclip_unmasked"
    """Mean over ALL positions, padding too, of layers 1, 2 and the last, then over the three (MedCLIP, Wang et al.
    2022). The vector depends on the length of the padding, which therefore must be fixed."""
    MEDCLIP_MASKED = "medclip_masked"
    """The same without the padding: independent of its length, and not what MedCLIP's weights were trained with."""
    GLORIA = "gloria"
    """Sum of the last four layers, then the mean over a fixed number of slots, of which the unused are zero (GLoRIA,
    Huang et al. 2021)."""

    def layers(self, num_blocks: int) -> list[int]:
        """Which hidden states are pooled; 0 is the embeddings, `num_blocks` the last layer.

        Raises:
            UsageError: the tower has fewer layers than this pooling reads.
        """
        match self:
            case Pool.MEDCLIP_UNMASKED | Pool.MEDCLIP_MASKED:
                layers = [1, 2, num_blocks]
            case Pool.GLORIA:
                layers = list(range(num_blocks - 3, num_blocks + 1))
            case _:
                layers = [num_blocks]
        if max(layers) > num_blocks or min(layers) < 0:
            message = f"The pooling {self.value} reads hidden states {layers}; the tower has 0 to {num_blocks}."
            raise UsageError(message)
        return layers


def pooled(
    pool: Pool, states: Sequence[Float[Tensor, "B L W"]], mask_BL: Bool[Tensor, "B L"], *, num_slots: int
) -> Float[Tensor, "B W"]:
    """Pool the hidden states that `pool.layers` names; `num_slots` is what GLoRIA's mean divides by."""
    match pool:
        case Pool.CLS:
            return states[-1][:, 0]
        case Pool.MEAN:
            return masked_mean(states[-1], mask_BL)
        case Pool.MAX:
            return states[-1].masked_fill(~mask_BL[..., None], float("-inf")).amax(dim=1)
        case Pool.MEDCLIP_UNMASKED:
            return torch.stack([x_BLW.mean(dim=1) for x_BLW in states]).mean(dim=0)
        case Pool.MEDCLIP_MASKED:
            return torch.stack([masked_mean(x_BLW, mask_BL) for x_BLW in states]).mean(dim=0)
        case Pool.GLORIA:
            # The sums of the pieces of each word, summed over words, are the sum over pieces: no need to find words.
            x_BLW = torch.stack(list(states)).sum(dim=0)
            return (x_BLW * mask_BL[..., None].to(x_BLW.dtype)).sum(dim=1) / num_slots


def word_sums(
    x_BLW: Float[Tensor, "B L W"], mask_BL: Bool[Tensor, "B L"], joins_BL: Bool[Tensor, "B L"]
) -> tuple[Float[Tensor, "B K W"], Bool[Tensor, "B K"]]:
    """Sum the pieces of each word (GLoRIA's local features).

    Args:
        x_BLW: Features of pieces.
        mask_BL: The pieces that count; those that begin and end a text are words of their own.
        joins_BL: Pieces that continue the word before, `SubwordTokenizer.joins_V[ids]`.

    Returns:
        Features of words `[B, K, W]`, where K is the largest number of words, zero where there is none; and the mask
        of the words.
    """
    # A piece that continues nothing, at the very start, is a word.
    word_BL = ((~joins_BL & mask_BL).cumsum(dim=1) - 1).clamp_min(0)
    num_words_B = word_BL.amax(dim=1) + 1
    index_K = torch.arange(int(num_words_B.amax()), device=x_BLW.device)
    belongs_BKL = (word_BL[:, None, :] == index_K[:, None]) & mask_BL[:, None, :]
    return belongs_BKL.to(x_BLW.dtype) @ x_BLW, index_K < num_words_B[:, None]


def projection(kind: Projection, width: int, dim: int) -> nn.Module:
    """Build a projection; state names are `open_clip`'s (`weight`, or `0.weight` and `2.weight`).

    Args:
        kind: `mlp` has one hidden layer of `(width + dim) // 2` and the exact GELU; that of `relu` is `width` wide.
        width: Width of the tower's features.
        dim: Width of the shared space.

    Raises:
        UsageError: without a projection both widths must be equal.
    """
    match kind:
        case Projection.LINEAR:
            return nn.Linear(width, dim, bias=False)
        case Projection.AFFINE:
            return nn.Linear(width, dim)
        case Projection.MLP:
            hidden = (width + dim) // 2
            return nn.Sequential(nn.Linear(width, hidden, bias=False), nn.GELU(), nn.Linear(hidden, dim, bias=False))
        case Projection.RELU:
            return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, dim))
        case Projection.NONE:
            if width != dim:
                message = f"Without a projection the features must have the width of the space, {dim}; found {width}."
                raise UsageError(message, hint="Choose linear or mlp.")
            return nn.Identity()
