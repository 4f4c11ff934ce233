"""Low-rank adaptation: frozen matrices, and a trained product of two thin ones beside each (Hu et al. 2022, LoRA).

After training the product is added into the matrix, so that a checkpoint has the layers it had before.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from callosum.core.errors import UsageError


class LowRank(nn.Module):
    """`base(x) + scale * up(down(x))`; `up` is zero at first, so that nothing changes until something is learnt.

    Args:
        base: The frozen layer.
        rank: Width between the thin matrices.
        alpha: Scale, times the rank.
    """

    def __init__(self, base: nn.Linear, *, rank: int, alpha: float) -> None:
        super().__init__()
        self.base = base
        self.scale = alpha / rank
        self.down = nn.Parameter(torch.empty(rank, base.in_features))
        self.up = nn.Parameter(torch.zeros(base.out_features, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, x: Float[Tensor, "*B I"]) -> Float[Tensor, "*B O"]:
        """The adapted layer."""
        out: Tensor = self.base(x) + self.scale * functional.linear(functional.linear(x, self.down), self.up)
        return out

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """The plain layer of equal function."""
        self.base.weight += self.scale * self.up @ self.down
        return self.base


def add_low_rank(network: nn.Module, *, rank: int, alpha: float) -> int:
    """Adapt every linear layer of attention and perceptrons below `network`; returns how many there are.

    Raises:
        UsageError: the rank is below one, or there is no such layer.
    """
    if rank < 1:
        message = f"The rank of an adaptation is at least 1; found {rank}."
        raise UsageError(message)
    owners = [(owner, name) for owner in network.modules() for name in NAMES if hasattr(owner, name)]
    found = [(owner, name) for owner, name in owners if type(getattr(owner, name)) is nn.Linear]
    if not found:
        message = "Low-rank adaptation is for towers with attention; this network has none."
        raise UsageError(message, hint="Train it whole, or its projections.")
    for owner, name in found:
        setattr(owner, name, LowRank(getattr(owner, name), rank=rank, alpha=alpha))
    return len(found)


NAMES = ("qkv", "out", "up", "down")
"""Attributes of `models.layers.Attention`, `Mlp` and Swin's attention that hold their matrices."""


def merge_low_rank(network: nn.Module) -> None:
    """Put the plain layers back, in place."""
    for owner in list(network.modules()):
        for name, child in list(owner.named_children()):
            if isinstance(child, LowRank):
                setattr(owner, name, child.merged())
