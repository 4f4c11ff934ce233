"""A small hybrid image tower: residual 3x3 convolutions, then attention over the last grid and a thumbnail token.

Dense 3x3 convolutions are what a CPU multiplies fastest in bfloat16 (ResNet, He et al. 2016); two attention blocks
over the 7x7 grid give the tower a view of the whole picture, and a 16x16 thumbnail, projected to one token, keeps the
coarse layout of brightness that convolutions with pooling forget.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from callosum.models.layers import Activation, Block
from callosum.models.vision.sizes import HybridConfig


class Residual(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, width_in: int, width: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or width_in != width:
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(stride, ceil_mode=True),
                nn.Conv2d(width_in, width, 1, bias=False),
                nn.BatchNorm2d(width),
            )
        nn.init.zeros_(self.norm2.weight)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D H2 W2"]:
        """Residual step."""
        y = functional.relu(self.norm1(self.conv1(x)), inplace=True)
        return functional.relu(self.norm2(self.conv2(y)) + self.shortcut(x), inplace=True)


class Hybrid(nn.Module):
    """Pictures to features: the mean of the grid tokens beside an attention-pooled token."""

    def __init__(self, config: HybridConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = nn.Sequential(
            nn.Conv2d(3, config.stem, 3, 2, 1, bias=False), nn.BatchNorm2d(config.stem), nn.ReLU(inplace=True)
        )
        stages: list[nn.Module] = []
        width_in = config.stem
        for width, depth in zip(config.widths, config.depths, strict=True):
            for n in range(depth):
                stages.append(Residual(width_in, width, stride=2 if n == 0 else 1))
                width_in = width
        self.stages = nn.Sequential(*stages)
        W = config.token_width
        grid = -(-config.size_px // 2 ** (1 + len(config.widths)))
        self.to_token = nn.Linear(width_in, W)
        self.place = nn.Parameter(torch.zeros(1, grid * grid, W))
        self.query = nn.Parameter(torch.zeros(1, 1, W))
        self.thumbnail = nn.Linear(config.thumbnail_px**2, W) if config.thumbnail_px else None
        self.thumbnail_dropout = nn.Dropout(min(0.5, 3 * config.dropout))
        self.blocks = nn.ModuleList(
            Block(W, config.num_heads, mlp_ratio=2, activation=Activation.GELU_TANH) for _ in range(config.num_blocks)
        )
        self.norm = nn.LayerNorm(2 * W)
        self.dropout = nn.Dropout(config.dropout)
        nn.init.trunc_normal_(self.place, std=0.02)
        nn.init.trunc_normal_(self.query, std=0.02)

    @property
    def feature_width(self) -> int:
        """Width of the features."""
        return 2 * self.config.token_width

    def fold_norms(self) -> None:
        """Fold every batch norm into the convolution before it: the same function, for inference only."""
        self.eval()
        pairs: list[tuple[nn.Module, str, str]] = [(self.stem, "0", "1")]
        for block in self.stages:
            pairs += [(block, "conv1", "norm1"), (block, "conv2", "norm2")]
            if isinstance(block.shortcut, nn.Sequential):
                pairs.append((block.shortcut, "1", "2"))
        for owner, conv, norm in pairs:
            setattr(owner, conv, fuse_conv_bn_eval(getattr(owner, conv), getattr(owner, norm)))
            setattr(owner, norm, nn.Identity())

    def forward(self, x: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B F"]:
        """Features before projection."""
        grid = self.stages(self.stem(x))
        tokens_BPW = self.to_token(grid.flatten(2).transpose(1, 2)) + self.place
        parts = [self.query.expand(len(x), -1, -1).to(tokens_BPW.dtype)]
        if self.thumbnail is not None:
            grey = x.mean(dim=1, keepdim=True)
            small = functional.adaptive_avg_pool2d(grey, self.config.thumbnail_px).flatten(1)
            parts.append(self.thumbnail_dropout(self.thumbnail(small))[:, None].to(tokens_BPW.dtype))
        x_BLW = torch.cat([*parts, tokens_BPW], dim=1)
        for block in self.blocks:
            x_BLW = block(x_BLW)
        pooled = torch.cat([x_BLW[:, 0], x_BLW[:, len(parts) :].mean(dim=1)], dim=1)
        return self.dropout(self.norm(pooled.float()))
