"""Layers that the towers share: attention, the two-layer perceptron and the pre-norm block made of both.

`models.runtime` replaces these very modules by faster ones of equal value, so towers are built from them alone.
"""

from __future__ import annotations

from enum import StrEnum

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional


class Activation(StrEnum):
    """Non-linearity of a perceptron."""

    GELU = "gelu"
    GELU_TANH = "gelu_tanh"
    QUICK_GELU = "quick_gelu"
    RELU = "relu"

    def __call__(self, x: Tensor) -> Tensor:
        """Apply it; `quick_gelu` is `x * sigmoid(1.702 x)`, which only weights of OpenAI's CLIP want."""
        match self:
            case Activation.GELU:
                return functional.gelu(x)
            case Activation.GELU_TANH:
                return functional.gelu(x, approximate="tanh")
            case Activation.QUICK_GELU:
                return x * torch.sigmoid(1.702 * x)
            case Activation.RELU:
                return functional.relu(x)


class Attention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017) with an optional mask of the positions that count."""

    def __init__(self, width: int, num_heads: int, *, is_causal: bool = False) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.is_causal = is_causal
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x_BLW: Float[Tensor, "B L W"], mask_BL: Bool[Tensor, "B L"] | None = None) -> Tensor:
        """Mix positions; masked-out positions, and later ones where the attention is causal, are never attended to."""
        B, L, W = x_BLW.shape
        qkv = self.qkv(x_BLW).view(B, L, 3, self.num_heads, W // self.num_heads).permute(2, 0, 3, 1, 4)
        score_BHLL = (qkv[0] @ qkv[1].transpose(-1, -2)) * (W // self.num_heads) ** -0.5
        if mask_BL is not None:
            score_BHLL = score_BHLL.masked_fill(~mask_BL[:, None, None, :], float("-inf"))
        if self.is_causal:
            later_LL = torch.ones(L, L, dtype=torch.bool, device=x_BLW.device).triu(1)
            score_BHLL = score_BHLL.masked_fill(later_LL, float("-inf"))
        mixed = score_BHLL.softmax(dim=-1).to(qkv.dtype) @ qkv[2]
        out: Tensor = self.out(mixed.transpose(1, 2).reshape(B, L, W))
        return out


class Mlp(nn.Module):
    """Two linear layers and the activation between them."""

    def __init__(self, width: int, hidden: int, *, activation: Activation = Activation.GELU) -> None:
        super().__init__()
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)
        self.activation = activation

    def forward(self, x: Float[Tensor, "*B W"]) -> Float[Tensor, "*B W"]:
        """Widen, bend, narrow."""
        out: Tensor = self.down(self.activation(self.up(x)))
        return out


class Block(nn.Module):
    """Pre-norm transformer block: attention, then a perceptron."""

    def __init__(
        self,
        width: int,
        num_heads: int,
        *,
        mlp_ratio: float = 4.0,
        activation: Activation = Activation.GELU,
        norm_eps: float = 1e-5,
        is_causal: bool = False,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=norm_eps)
        self.attention = Attention(width, num_heads, is_causal=is_causal)
        self.norm2 = nn.LayerNorm(width, eps=norm_eps)
        self.mlp = Mlp(width, int(mlp_ratio * width), activation=activation)

    def forward(self, x_BLW: Float[Tensor, "B L W"], mask_BL: Bool[Tensor, "B L"] | None = None) -> Tensor:
        """Two residual steps."""
        x_BLW = x_BLW + self.attention(self.norm1(x_BLW), mask_BL)
        return x_BLW + self.mlp(self.norm2(x_BLW))


def masked_mean(x_BLW: Float[Tensor, "B L W"], mask_BL: Bool[Tensor, "B L"]) -> Float[Tensor, "B W"]:
    """Average over the positions that count."""
    weight_BL1 = mask_BL.to(x_BLW.dtype)[..., None]
    return (x_BLW * weight_BL1).sum(dim=1) / weight_BL1.sum(dim=1).clamp_min(1.0)
