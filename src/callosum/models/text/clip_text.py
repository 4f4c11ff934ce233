"""The text tower of CLIP (Radford et al. 2021): causal blocks, and the feature at the token that ends the text."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from callosum.core.errors import InputError
from callosum.models.layers import Activation, Block


@dataclass(frozen=True, kw_only=True)
class ClipTextConfig:
    """Sizes of the tower; the defaults are those beside ViT-B.

    Attributes:
        vocab_size: Byte pairs; the last of them ends a text.
        width: Width of tokens and features.
        num_blocks: Transformer blocks.
        num_heads: Heads per block.
        context_length: Longest text in byte pairs, and rows of the table of positions; the rest is cut.
        mlp_ratio: Width inside the perceptrons, over `width`.
        norm_eps: What the norms add to the variance.
        activation: `quick_gelu` for weights of OpenAI and those that were tuned from them, `gelu` for most others.
    """

    vocab_size: int = 49408
    width: int = 512
    num_blocks: int = 12
    num_heads: int = 8
    context_length: int = 77
    mlp_ratio: float = 4.0
    norm_eps: float = 1e-5
    activation: Activation = Activation.GELU


class ClipText(nn.Module):
    """Token ids to features."""

    def __init__(self, config: ClipTextConfig) -> None:
        super().__init__()
        self.config = config
        self.token = nn.Embedding(config.vocab_size, config.width)
        self.place = nn.Parameter(torch.zeros(config.context_length, config.width))
        self.blocks = nn.ModuleList(
            Block(
                config.width,
                config.num_heads,
                mlp_ratio=config.mlp_ratio,
                activation=Activation(config.activation),
                norm_eps=config.norm_eps,
                is_causal=True,
            )
            for _ in range(config.num_blocks)
        )
        self.norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        nn.init.normal_(self.token.weight, std=0.02)
        nn.init.normal_(self.place, std=0.01)

    @property
    def feature_width(self) -> int:
        """Width of the features."""
        return self.config.width

    def tokens(self, ids_BL: Int[Tensor, "B L"], mask_BL: Bool[Tensor, "B L"]) -> Float[Tensor, "B L W"]:
        """Output of the last block after the final norm, at every position.

        Raises:
            InputError: the rows are longer than the context.
        """
        L = ids_BL.shape[1]
        if len(self.place) < L:
            message = f"This tower has {len(self.place)} positions; found a row of {L} ids."
            raise InputError(message, hint="Cut texts to the context length.")
        x_BLW = self.token(ids_BL) + self.place[:L]
        for block in self.blocks:
            x_BLW = block(x_BLW, mask_BL)
        out: Tensor = self.norm(x_BLW)
        return out

    def forward(self, ids_BL: Int[Tensor, "B L"], mask_BL: Bool[Tensor, "B L"]) -> Float[Tensor, "B W"]:
        """Features before projection: where the largest id stands first, which is the one that ends the text."""
        end_B = ids_BL.argmax(dim=1)
        return self.tokens(ids_BL, mask_BL)[torch.arange(len(ids_BL), device=ids_BL.device), end_B]
