"""The last block for the class token alone: the rest of its output is never read.

A tower whose features are the first row of its last block needs, in that block, keys and values of every row but
queries, perceptron and residual sums of the first only. That is the same function with a twelfth less of the last
block's work for each thing left out: 7 % of a base tower.
"""

from __future__ import annotations

import threading
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from callosum.models.layers import Attention, Block
from callosum.models.runtime.packed import PackedLinear, Segments, layer_of, linear
from callosum.models.text.bert import Bert, BertBlock
from callosum.models.text.pooling import Pool
from callosum.models.vision.vit import ViT


def reads_first_row(tower: nn.Module) -> bool:
    """Whether the forward pass of a tower reads nothing but the first row of its last block."""
    return type(tower) is ViT or (type(tower) is Bert and tower.pool is Pool.CLS)


def shorten(tower: ViT | Bert, *, dtype: torch.dtype) -> None:
    """Let the last block compute the first row only, during calls of the tower; `tokens()` still gives every row.

    The block's modules are shared with the full path, so they can be replaced before or after.
    """
    last = FirstRowBlock(tower.blocks[-1], dtype=dtype)  # type: ignore[arg-type]
    tower.blocks[-1] = last
    tower.register_forward_pre_hook(last.begin)
    tower.register_forward_hook(last.end, always_call=True)


class FirstRowBlock(nn.Module):
    """A block that computes its first row only, between `begin` and `end`.

    Args:
        block: The block, its attention not yet replaced; without causal attention.
        dtype: Format of the products.
    """

    def __init__(self, block: Block | BertBlock, *, dtype: torch.dtype) -> None:
        super().__init__()
        self.block, self.is_post_norm, self.dtype = block, type(block) is BertBlock, dtype
        self._calls = threading.local()
        attention = block.attention
        assert type(attention) is Attention and not attention.is_causal
        W, self.num_heads = attention.out.in_features, attention.num_heads
        self.query = PackedLinear(_rows(attention.qkv, 0, W), dtype=dtype)
        self.keys_values = PackedLinear(_rows(attention.qkv, W, 3 * W), dtype=dtype)
        self.out = PackedLinear(attention.out, dtype=dtype)

    def begin(self, *_: Any) -> None:
        """From here on, in this thread, the first row only."""
        self._calls.is_short = True

    def end(self, *_: Any) -> None:
        """From here on every row."""
        self._calls.is_short = False

    def forward(
        self, x_BLW: Float[Tensor, "B L W"], mask: Bool[Tensor, "B L"] | Segments | None = None
    ) -> Float[Tensor, "B M W"]:
        """Two residual steps, of the first row `[B, 1, W]` or of all."""
        if not getattr(self._calls, "is_short", False):
            out: Tensor = self.block(x_BLW, mask)
            return out
        return self.first_rows(x_BLW, mask)

    def first_rows(self, x_BLW: Float[Tensor, "B L W"], mask: Bool[Tensor, "B L"] | Segments | None) -> Tensor:
        """Two residual steps of the first row `[B, 1, W]`, or of the first row of each of N segments `[1, N, W]`."""
        norm1, norm2, mlp = self.block.norm1, self.block.norm2, self.block.mlp
        at = list(mask.starts) if isinstance(mask, Segments) else [0]
        if self.is_post_norm:
            x_BMW = norm1(x_BLW[:, at] + self._attended(x_BLW, mask, at))
            return norm2(x_BMW + mlp(x_BMW))
        x_BMW = x_BLW[:, at] + self._attended(norm1(x_BLW), mask, at)
        return x_BMW + mlp(norm2(x_BMW))

    def _attended(self, x_BLW: Tensor, mask: Tensor | Segments | None, at: list[int]) -> Tensor:
        """Attention of the rows `at` to every row, or to those of their segment."""
        x = x_BLW.to(self.dtype)
        query_BMW = linear(x[:, at], self.query.weight, self.query.bias)
        keys, values = linear(x, self.keys_values.weight, self.keys_values.bias).chunk(2, dim=-1)
        if isinstance(mask, Segments):
            parts, n = [], 0
            for start, num, length in mask.runs:
                rows = slice(start, start + num * length)
                keys_NLW, values_NLW = (y[0, rows].view(num, length, -1) for y in (keys, values))
                parts.append(self._mixed(query_BMW[0, n : n + num, None], keys_NLW, values_NLW, None))
                n += num
            mixed = torch.cat(parts).transpose(0, 1)
        else:
            mixed = self._mixed(query_BMW, keys, values, None if mask is None else mask[:, None, None, :])
        return linear(mixed, self.out.weight, self.out.bias).to(x_BLW.dtype)

    def _mixed(self, query_B1W: Tensor, keys_BLW: Tensor, values_BLW: Tensor, mask: Tensor | None) -> Tensor:
        """Attention of one row to others, `[B, 1, W]`."""
        q, k, v = (y.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for y in (query_B1W, keys_BLW, values_BLW))
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)


def _rows(plain: nn.Linear, start: int, stop: int) -> nn.Linear:
    """Some outputs of a linear layer, as a layer."""
    bias = None if plain.bias is None else plain.bias.detach()[start:stop]
    return layer_of(plain.weight.detach()[start:stop], bias)
