"""ResNet-50 and its deeper kin (He et al. 2016), with the stride on the 3x3 convolution as torchvision has it (v1.5).

`Bottleneck` also serves CLIP's residual network, which pools where this one strides.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from callosum.core.errors import InputError

EXPANSION = 4
PAIRS = (("conv1", "norm1"), ("conv2", "norm2"), ("conv3", "norm3"), ("conv", "norm"))


@dataclass(frozen=True, kw_only=True)
class ResNetConfig:
    """Sizes of the tower; the defaults are ResNet-50. It takes pictures of any size.

    Attributes:
        stem: Channels after the first convolution; stage n is `4 * stem * 2**n` wide.
        depths: Bottleneck blocks per stage.
    """

    stem: int = 64
    depths: tuple[int, ...] = (3, 4, 6, 3)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and a shortcut.

    Args:
        width_in: Channels that come in.
        width: Channels inside; four times as many go out.
        stride: Of the block.
        is_pooled: Average-pool before the last convolution and the shortcut instead of striding (Zhang 2019).
    """

    def __init__(self, width_in: int, width: int, *, stride: int, is_pooled: bool = False) -> None:
        super().__init__()
        width_out = EXPANSION * width
        conv_stride, pool_stride = (1, stride) if is_pooled else (stride, 1)
        self.conv1 = nn.Conv2d(width_in, width, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, conv_stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.pool = nn.AvgPool2d(pool_stride) if pool_stride > 1 else nn.Identity()
        self.conv3 = nn.Conv2d(width, width_out, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(width_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or width_in != width_out:
            parts: list[tuple[str, nn.Module]] = [("pool", nn.AvgPool2d(pool_stride))] if pool_stride > 1 else []
            parts.append(("conv", nn.Conv2d(width_in, width_out, 1, conv_stride, bias=False)))
            parts.append(("norm", nn.BatchNorm2d(width_out)))
            self.shortcut = nn.Sequential(OrderedDict(parts))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D H2 W2"]:
        """Residual step."""
        y = functional.relu(self.norm1(self.conv1(x)), inplace=True)
        y = self.pool(functional.relu(self.norm2(self.conv2(y)), inplace=True))
        return functional.relu(self.norm3(self.conv3(y)) + self.shortcut(x), inplace=True)


def residual_stages(stem: int, depths: Sequence[int], *, is_pooled: bool = False) -> nn.ModuleList:
    """Stages of bottlenecks, of which all but the first halve the map."""
    stages, width_in = nn.ModuleList(), stem
    for n, depth in enumerate(depths):
        width = stem * 2**n
        blocks: list[nn.Module] = []
        for m in range(depth):
            stride = 2 if n > 0 and m == 0 else 1
            blocks.append(Bottleneck(width_in, width, stride=stride, is_pooled=is_pooled))
            width_in = EXPANSION * width
        stages.append(nn.Sequential(*blocks))
    return stages


def fold_norms(network: nn.Module) -> None:
    """Fold every batch norm into the convolution before it: the same function, for inference only."""
    network.eval()
    for owner in list(network.modules()):
        for conv, norm in PAIRS:
            if isinstance(getattr(owner, norm, None), nn.BatchNorm2d):
                setattr(owner, conv, fuse_conv_bn_eval(getattr(owner, conv), getattr(owner, norm)))
                setattr(owner, norm, nn.Identity())


def stage_maps(stages: nn.ModuleList, x: Tensor, stage: int) -> tuple[Tensor, Tensor]:
    """The map after the last stage and the one after stage `stage`, which counts from 1.

    Raises:
        InputError: there is no such stage.
    """
    if not 1 <= stage <= len(stages):
        message = f"A stage from 1 to {len(stages)} was expected; found {stage}."
        raise InputError(message)
    wanted = x
    for n, blocks in enumerate(stages, start=1):
        x = blocks(x)
        wanted = x if n == stage else wanted
    return x, wanted


class ResNet(nn.Module):
    """Pictures to the mean over the last map."""

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        self.config = config
        self.conv1 = nn.Conv2d(3, config.stem, 7, 2, 3, bias=False)
        self.norm1 = nn.BatchNorm2d(config.stem)
        self.stages = residual_stages(config.stem, config.depths)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @property
    def region_width(self) -> int:
        """Channels of the third stage, whose map GLoRIA takes its regions from."""
        return self.config.stem * 16

    @property
    def feature_width(self) -> int:
        """Width of the features."""
        return EXPANSION * self.config.stem * 2 ** (len(self.config.depths) - 1)

    def fold_norms(self) -> None:
        """Fold every batch norm into the convolution before it: the same function, for inference only."""
        fold_norms(self)

    def features_and_map(
        self, x: Float[Tensor, "B 3 S S"], *, stage: int = 3
    ) -> tuple[Float[Tensor, "B F"], Float[Tensor, "B C H W"]]:
        """Features and the map of a stage, counted from 1, in one pass.

        GLoRIA (Huang et al. 2021) takes its local features from the third: 1024 x 19 x 19 for a picture of 299 px.
        """
        last, wanted = stage_maps(self.stages, self._stem(x), stage)
        return last.mean(dim=(2, 3)), wanted

    def tokens(self, x: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B P F"]:
        """The last map, row by row."""
        return stage_maps(self.stages, self._stem(x), len(self.stages))[0].flatten(2).transpose(1, 2)

    def forward(self, x: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B F"]:
        """Features before projection."""
        return self.features_and_map(x, stage=len(self.stages))[0]

    def _stem(self, x: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B C H W"]:
        x = functional.relu(self.norm1(self.conv1(x)), inplace=True)
        return functional.max_pool2d(x, 3, 2, 1)


def resnet_config(state: Mapping[str, Sequence[int]]) -> ResNetConfig:
    """Sizes of a residual network of torchvision's, from the shapes of its tensors.

    Args:
        state: Shapes by torchvision's names, without prefix.

    Raises:
        InputError: tensors of another model, blocks without a bottleneck, or grouped or wide convolutions.
    """
    depths = stage_depths(state)
    first = tuple(state.get("conv1.weight", ()))
    if not depths or first[1:] != (3, 7, 7):
        message = "A residual network with torchvision's names was expected; found tensors of another model."
        raise InputError(message)
    stem = first[0]
    for n in range(len(depths)):
        found, width = tuple(state.get(f"layer{n + 1}.0.conv2.weight", ())), stem * 2**n
        if found != (width, width, 3, 3) or f"layer{n + 1}.0.conv3.weight" not in state:
            message = f"Bottleneck blocks {width} channels wide were expected in stage {n + 1}; found {list(found)}."
            raise InputError(message, hint="Basic blocks, grouped convolutions and wide variants are not computed.")
    return ResNetConfig(stem=stem, depths=depths)


def stage_depths(state: Mapping[str, Sequence[int]]) -> tuple[int, ...]:
    """Blocks per stage, by the names that torchvision and CLIP share."""
    depths: list[int] = []
    while any(name.startswith(f"layer{len(depths) + 1}.") for name in state):
        block = re.compile(rf"layer{len(depths) + 1}\.\d+\.conv1\.weight")
        depths.append(sum(1 for name in state if block.fullmatch(name)))
    return tuple(depths)
