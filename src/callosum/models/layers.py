"""Transformer block shared by the two towers of the starter."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional


class Attention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017) with an optional mask of the positions that count."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x_BLW: Float[Tensor, "B L W"], mask_BL: Bool[Tensor, "B L"] | None = None) -> Tensor:
        """Mix positions; masked-out positions are never attended to."""
        B, L, W = x_BLW.shape
        qkv = self.qkv(x_BLW).view(B, L, 3, self.num_heads, W // self.num_heads).permute(2, 0, 3, 1, 4)
        score_BHLL = (qkv[0] @ qkv[1].transpose(-1, -2)) * (W // self.num_heads) ** -0.5
        if mask_BL is not None:
            score_BHLL = score_BHLL.masked_fill(~mask_BL[:, None, None, :], float("-inf"))
        mixed = score_BHLL.softmax(dim=-1).to(qkv.dtype) @ qkv[2]
        out: Tensor = self.out(mixed.transpose(1, 2).reshape(B, L, W))
        return out


class Block(nn.Module):
    """Pre-norm transformer block: attention, then a two-layer perceptron with GELU (tanh form)."""

    def __init__(self, width: int, num_heads: int, *, mlp_ratio: int = 2, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, num_heads)
        self.norm2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, mlp_ratio * width)
        self.down = nn.Linear(mlp_ratio * width, width)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(self, x_BLW: Float[Tensor, "B L W"], mask_BL: Bool[Tensor, "B L"] | None = None) -> Tensor:
        """Two residual steps."""
        x_BLW = x_BLW + self.dropout(self.attention(self.norm1(x_BLW), mask_BL))
        hidden = functional.gelu(self.up(self.norm2(x_BLW)), approximate="tanh")
        return x_BLW + self.dropout(self.down(hidden))


def masked_mean(x_BLW: Float[Tensor, "B L W"], mask_BL: Bool[Tensor, "B L"]) -> Float[Tensor, "B W"]:
    """Average over the positions that count."""
    weight_BL1 = mask_BL.to(x_BLW.dtype)[..., None]
    return (x_BLW * weight_BL1).sum(dim=1) / weight_BL1.sum(dim=1).clamp_min(1.0)


def init_linear(module: nn.Module, *, generator: torch.Generator) -> None:
    """Truncated-normal weights of deviation 0.02 and zero biases for every linear layer below `module`."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=0.02, generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
