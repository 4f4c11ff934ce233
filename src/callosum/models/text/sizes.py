"""Sizes of the small text tower, shared by its torch and its numpy form."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class SmallTextConfig:
    """Sizes of the tower.

    Attributes:
        vocab_size: Word pieces.
        width: Width of tokens and features.
        num_blocks: Transformer blocks.
        num_heads: Heads per block.
        context_length: Longest text in word pieces; the rest is cut.
        dropout: Dropout on the features, in training.
    """

    vocab_size: int
    width: int = 256
    num_blocks: int = 1
    num_heads: int = 4
    context_length: int = 96
    dropout: float = 0.1
