"""The same function with outlier channels: what trained transformers have and random weights lack.

Trained transformers carry a few channels many times larger than the rest (Dettmers et al. 2022). A scale per tensor
that fits them leaves nothing for the others, so that an 8-bit tower looks faithful on random weights and is not on
real ones. Gains of the norms multiplied by a factor, and columns of the layers behind them divided by it, bring the
outliers back without changing the function.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import nn

from callosum.models.layers import Block
from callosum.models.vision.swin import SwinBlock


def with_outliers(
    tower: nn.Module, *, num_channels: int = 6, factors: tuple[float, float] = (20.0, 60.0), seed: int = 0
) -> nn.Module | None:
    """A copy of a tower of pre-norm blocks, equal in float32, with outlier channels after every norm.

    Args:
        tower: The tower; blocks of another kind stay as they are.
        num_channels: Outliers per norm.
        factors: Least and largest factor.
        seed: Of the choice of channels and factors.

    Returns:
        None for a tower without such blocks, which would stay as it is.
    """
    if not any(True for _ in _pairs(tower)):
        return None
    tower = copy.deepcopy(tower)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for norm, layer in _pairs(tower):
            W = norm.weight.shape[0]
            channels = torch.randperm(W, generator=generator)[:num_channels]
            least, most = factors
            factor_W = torch.ones(W)
            factor_W[channels] = least + (most - least) * torch.rand(len(channels), generator=generator)
            norm.weight.mul_(factor_W)
            norm.bias.mul_(factor_W)
            layer.weight.div_(factor_W)
    return tower


def _pairs(tower: nn.Module) -> Iterator[tuple[nn.LayerNorm, nn.Linear]]:
    """Each norm, and the only layer that reads it."""
    for block in tower.modules():
        if type(block) in (Block, SwinBlock):
            yield block.norm1, block.attention.qkv  # type: ignore[misc, union-attr]
            yield block.norm2, block.mlp.up  # type: ignore[misc, union-attr]
