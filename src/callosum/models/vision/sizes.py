"""Sizes of the hybrid image tower, shared by its torch and its numpy form."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class HybridConfig:
    """Sizes of the tower.

    Attributes:
        size_px: Side of the square input.
        stem: Channels after the first convolution.
        widths: Channels of the three residual stages, each of which halves the grid.
        depths: Residual blocks per stage.
        token_width: Width of the attention blocks.
        num_blocks: Attention blocks.
        num_heads: Heads per block.
        thumbnail_px: Side of the thumbnail token's picture; 0 leaves the token out.
        dropout: Dropout on the features and, three times that, on the thumbnail token; in training only.
    """

    size_px: int = 112
    stem: int = 32
    widths: tuple[int, ...] = (48, 96, 192)
    depths: tuple[int, ...] = (2, 2, 2)
    token_width: int = 256
    num_blocks: int = 1
    num_heads: int = 4
    thumbnail_px: int = 16
    dropout: float = 0.1
