"""Swin's attention with packed weights: the table of biases and the mask of shifted windows are added up once."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from callosum.models.runtime.packed import PackedLinear, linear
from callosum.models.vision.swin import WindowAttention


class PackedWindowAttention(nn.Module):
    """`swin.WindowAttention` with packed weights and torch's fused attention.

    Args:
        plain: The module to replace.
        dtype: Format of the products.
    """

    def __init__(self, plain: WindowAttention, *, dtype: torch.dtype) -> None:
        super().__init__()
        W = plain.out.in_features
        self.num_heads, self.dtype = plain.num_heads, dtype
        scale = torch.ones(3 * W)
        scale[:W] = (W // plain.num_heads) ** -0.5
        self.qkv = PackedLinear(plain.qkv, dtype=dtype, scale=scale)
        self.out = PackedLinear(plain.out, dtype=dtype)
        self.bias_HLL = plain.bias_table.detach()[plain.index].permute(2, 0, 1).contiguous().to(dtype)
        self._seen: tuple[Tensor | None, Tensor] = (None, self.bias_HLL[None])

    def forward(self, x_NLW: Float[Tensor, "N L W"], mask_VLL: Float[Tensor, "V L L"] | None = None) -> Tensor:
        """Mix positions; `mask_VLL` is added to the scores of each picture's windows."""
        N, L, W = x_NLW.shape
        qkv = linear(x_NLW.to(self.dtype), self.qkv.weight, self.qkv.bias)
        q, k, v = qkv.view(N, L, 3, self.num_heads, W // self.num_heads).permute(2, 0, 3, 1, 4).unbind(0)
        bias = self._bias(mask_VLL)
        V = N if len(bias) == 1 else len(bias)
        # Picture by picture, since every picture has the same biases: one addition, no copies of them.
        parts = [
            functional.scaled_dot_product_attention(q[n : n + V], k[n : n + V], v[n : n + V], attn_mask=bias, scale=1.0)
            for n in range(0, N, V)
        ]
        mixed = (parts[0] if len(parts) == 1 else torch.cat(parts)).transpose(1, 2).reshape(N, L, W)
        return linear(mixed, self.out.weight, self.out.bias).to(x_NLW.dtype)

    def _bias(self, mask_VLL: Tensor | None) -> Tensor:
        """Biases of the offsets, plus the mask: kept as long as the same mask comes."""
        mask, bias = self._seen
        if mask is not mask_VLL:
            bias = self.bias_HLL[None] if mask_VLL is None else self.bias_HLL + mask_VLL[:, None].to(self.dtype)
            self._seen = (mask_VLL, bias)
        return bias
