"""A stage of bottlenecks with packed convolutions: sums and ReLUs inside the products, one format from end to end."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from callosum.models.runtime.packed import PackedConv
from callosum.models.vision.resnet import Bottleneck


def is_stage(module: nn.Module) -> bool:
    """Whether a module is a row of bottlenecks whose norms have been folded."""
    if type(module) is not nn.Sequential or not len(module):
        return False
    return all(
        type(block) is Bottleneck
        and all(type(norm) is nn.Identity for norm in (block.norm1, block.norm2, block.norm3))
        and not any(isinstance(part, nn.BatchNorm2d) for part in block.modules())
        for block in module
    )


class PackedStage(nn.Module):
    """A row of `resnet.Bottleneck` whose norms have been folded (`is_stage`).

    Args:
        plain: The row to replace.
        dtype: Format of the products, and of the maps between the blocks.
    """

    def __init__(self, plain: nn.Sequential, *, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.blocks = nn.ModuleList(PackedBottleneck(block, dtype=dtype) for block in plain)  # type: ignore[arg-type]

    def forward(self, x_BCYX: Float[Tensor, "B C Y X"]) -> Float[Tensor, "B D V U"]:
        """Every block in turn; float32 in, float32 out."""
        y = x_BCYX.to(self.dtype, memory_format=torch.channels_last)
        for block in self.blocks:
            y = block(y)
        return y.to(x_BCYX.dtype)


class PackedBottleneck(nn.Module):
    """One block, in the format of its products."""

    def __init__(self, plain: Bottleneck, *, dtype: torch.dtype) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = (
            PackedConv(conv, dtype=dtype) for conv in (plain.conv1, plain.conv2, plain.conv3)
        )
        self.pool, self.shortcut = plain.pool, nn.Sequential()
        if isinstance(plain.shortcut, nn.Sequential):
            parts = [part for part in plain.shortcut if type(part) is not nn.Identity]
            self.shortcut.extend(PackedConv(p, dtype=dtype) if type(p) is nn.Conv2d else p for p in parts)

    def forward(self, x: Float[Tensor, "B C Y X"]) -> Float[Tensor, "B D V U"]:
        """Residual step."""
        y = self.conv2.product(self.conv1.product(x, is_bent=True), is_bent=True)
        return self.conv3.product(self.pool(y), is_bent=True, other=self.shortcut(x))
