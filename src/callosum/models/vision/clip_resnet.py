"""The residual network of CLIP (Radford et al. 2021): three convolutions first, pooling for strides, attention last.

The attention pooling is part of the tower and ends in the shared space: no projection follows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from callosum.core.errors import InputError
from callosum.models.vision.resnet import EXPANSION, fold_norms, residual_stages, stage_depths, stage_maps


@dataclass(frozen=True, kw_only=True)
class ClipResNetConfig:
    """Sizes of the tower; the defaults are CLIP's RN50.

    Attributes:
        size_px: Side of the square input.
        stem: Channels after the first convolutions; stage n is `4 * stem * 2**n` wide.
        depths: Bottleneck blocks per stage.
        num_heads: Heads of the attention pooling.
        dim: Width of the shared space.
    """

    size_px: int = 224
    stem: int = 64
    depths: tuple[int, ...] = (3, 4, 6, 3)
    num_heads: int = 32
    dim: int = 1024

    @property
    def map_width(self) -> int:
        """Channels of the last map."""
        return EXPANSION * self.stem * 2 ** (len(self.depths) - 1)

    @property
    def grid(self) -> int:
        """Side of the last map: the stem divides by four, every stage but the first by two."""
        return self.size_px // 2 ** (len(self.depths) + 1)


class AttentionPool(nn.Module):
    """One attention step whose only query is the mean of the map."""

    def __init__(self, width: int, num_heads: int, *, grid: int, dim: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.position = nn.Parameter(torch.randn(1 + grid**2, width) * width**-0.5)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, dim)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D"]:
        """Pool a map."""
        x_BPC = x.flatten(2).transpose(1, 2)
        x_BLC = torch.cat([x_BPC.mean(dim=1, keepdim=True), x_BPC], dim=1) + self.position
        query_BH1W = self._heads(self.query(x_BLC[:, :1]))
        key_BHLW, value_BHLW = self._heads(self.key(x_BLC)), self._heads(self.value(x_BLC))
        score_BH1L = (query_BH1W @ key_BHLW.transpose(-1, -2)) * key_BHLW.shape[-1] ** -0.5
        mixed = score_BH1L.softmax(dim=-1).to(value_BHLW.dtype) @ value_BHLW
        out: Tensor = self.out(mixed.flatten(1))
        return out

    def _heads(self, x_BLC: Float[Tensor, "B L C"]) -> Float[Tensor, "B H L W"]:
        return x_BLC.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


class ClipResNet(nn.Module):
    """Pictures to the shared space, before they become unit vectors."""

    def __init__(self, config: ClipResNetConfig) -> None:
        super().__init__()
        self.config = config
        half = config.stem // 2
        self.conv1 = nn.Conv2d(3, half, 3, 2, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(half)
        self.conv2 = nn.Conv2d(half, half, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(half)
        self.conv3 = nn.Conv2d(half, config.stem, 3, 1, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(config.stem)
        self.stages = residual_stages(config.stem, config.depths, is_pooled=True)
        self.pool = AttentionPool(config.map_width, config.num_heads, grid=config.grid, dim=config.dim)

    @property
    def feature_width(self) -> int:
        """Width of the features, which is that of the shared space."""
        return self.config.dim

    def fold_norms(self) -> None:
        """Fold every batch norm into the convolution before it: the same function, for inference only."""
        fold_norms(self)

    def features_and_map(
        self, x: Float[Tensor, "B 3 S S"], *, stage: int = 3
    ) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B C H W"]]:
        """Features and the map of a stage, counted from 1, in one pass."""
        last, wanted = stage_maps(self.stages, self._stem(x), stage)
        return self.pool(last), wanted

    def tokens(self, x: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B P C"]:
        """The last map before the pooling, row by row; its width is `config.map_width`."""
        return stage_maps(self.stages, self._stem(x), len(self.stages))[0].flatten(2).transpose(1, 2)

    def forward(self, x: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B D"]:
        """Features in the shared space."""
        return self.features_and_map(x, stage=len(self.stages))[0]

    def _stem(self, x: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B C H W"]:
        x = functional.relu(self.norm1(self.conv1(x)), inplace=True)
        x = functional.relu(self.norm2(self.conv2(x)), inplace=True)
        x = functional.relu(self.norm3(self.conv3(x)), inplace=True)
        return functional.avg_pool2d(x, 2)


def clip_resnet_config(*, size_px: int, state: Mapping[str, Sequence[int]]) -> ClipResNetConfig:
    """Sizes of the residual network of CLIP, from the shapes of its tensors.

    Args:
        size_px: Side of the square input.
        state: Shapes by CLIP's names below `visual.`.

    Raises:
        InputError: tensors of another model, or positions of another picture size.
    """
    needed = ["conv3.weight", "attnpool.c_proj.weight", "attnpool.positional_embedding"]
    depths = stage_depths(state)
    if not depths or any(name not in state for name in needed):
        message = "CLIP's residual network was expected; found tensors of another model."
        raise InputError(message)
    config = ClipResNetConfig(
        size_px=size_px,
        stem=state["conv3.weight"][0],
        depths=depths,
        # a head is 64 wide in every published size
        num_heads=state["attnpool.c_proj.weight"][1] // 64,
        dim=state["attnpool.c_proj.weight"][0],
    )
    if (found := state["attnpool.positional_embedding"][0]) != config.grid**2 + 1:
        message = f"Pictures of {size_px} px have {config.grid**2} positions and one of their mean; found {found}."
        raise InputError(message, hint="Give the size the weights were trained at; positions are not interpolated.")
    return config
