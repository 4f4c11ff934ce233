"""A small text tower: word pieces, a few transformer blocks, mean pooling."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from callosum.models.layers import Activation, Block, masked_mean
from callosum.models.text.sizes import SmallTextConfig


class SmallText(nn.Module):
    """Token ids to features: the mean over tokens of the last block beside the mean of the plain word vectors."""

    def __init__(self, config: SmallTextConfig) -> None:
        super().__init__()
        self.config = config
        self.token = nn.Embedding(config.vocab_size, config.width)
        self.place = nn.Parameter(torch.zeros(config.context_length, config.width))
        self.norm_in = nn.LayerNorm(config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            Block(config.width, config.num_heads, mlp_ratio=2, activation=Activation.GELU_TANH)
            for _ in range(config.num_blocks)
        )
        self.norm = nn.LayerNorm(2 * config.width)
        nn.init.normal_(self.token.weight, std=0.02)
        nn.init.normal_(self.place, std=0.005)

    @property
    def feature_width(self) -> int:
        """Width of the features."""
        return 2 * self.config.width

    def tokens(self, ids_BL: Int[Tensor, "B L"], mask_BL: Bool[Tensor, "B L"]) -> tuple[Tensor, Tensor]:
        """Word vectors and the output of the last block, both `[B, L, W]`."""
        word_BLW = self.norm_in(self.token(ids_BL))
        x_BLW = word_BLW + self.place[: ids_BL.shape[1]]
        for block in self.blocks:
            x_BLW = block(x_BLW, mask_BL)
        return word_BLW, x_BLW

    def forward(self, ids_BL: Int[Tensor, "B L"], mask_BL: Bool[Tensor, "B L"]) -> Float[Tensor, "B F"]:
        """Features before projection."""
        word_BLW, x_BLW = self.tokens(ids_BL, mask_BL)
        both = torch.cat([masked_mean(x_BLW, mask_BL), masked_mean(word_BLW, mask_BL)], dim=1)
        return self.dropout(self.norm(both.float()))
