"""Linear, perceptron, attention and convolution of equal value and less time, for inference on a CPU.

Weights are laid out for oneDNN once (`mkldnn::_reorder_*_weight`) and multiplied by operators that torch's own compiler
emits (`mkldnn::_linear_pointwise`, `mkldnn::_convolution_pointwise`). These operators are private to torch: nothing
here is built before `probe` has called them on this machine. In bfloat16 a module still takes and returns float32:
residual sums and norms stay exact, and only products are rounded.

Packed weights cannot be copied, pickled or read back, and carry no gradient.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, groupby

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from callosum.models.layers import Activation, Attention, Mlp
from callosum.models.runtime.precision import Path
from callosum.models.runtime.switch import permitted

LONG = 64
"""From this many positions on, attention goes picture by picture: the scores of one fit in a core's cache."""

FUSABLE = {
    Activation.GELU: ("gelu", "none"),
    Activation.GELU_TANH: ("gelu", "tanh"),
    Activation.RELU: ("relu", ""),
}
"""Attribute and algorithm that apply an activation inside the product; quick GELU has none."""


def linear_weight(weight_VW: Float[Tensor, "V W"]) -> Tensor:
    """The weight of a linear layer, packed."""
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight_VW.contiguous())
    return packed


def linear(x: Tensor, packed: Tensor, bias: Tensor | None, *, fused: tuple[str, str] = ("none", "")) -> Tensor:
    """`x @ weight.T + bias` with a packed weight, and an activation where one is fused."""
    out: Tensor = torch.ops.mkldnn._linear_pointwise(x, packed, bias, fused[0], [], fused[1])
    return out


def layer_of(weight_VW: Float[Tensor, "V W"], bias_V: Float[Tensor, " V"] | None) -> nn.Linear:
    """A linear layer of these tensors.

    Not built on torch's meta device, where drawing the first weights would load torch's compiler: a second of work.
    """
    layer = nn.Linear(1, 1)
    layer.out_features, layer.in_features = weight_VW.shape
    layer.weight = nn.Parameter(weight_VW)
    layer.register_parameter("bias", None if bias_V is None else nn.Parameter(bias_V))
    return layer


class PackedLinear(nn.Module):
    """`nn.Linear` with a packed weight.

    Args:
        plain: The layer to replace.
        dtype: Format of the product; what comes out is always as what came in.
        scale: Factor per output, multiplied into weight and bias.
    """

    def __init__(self, plain: nn.Linear, *, dtype: torch.dtype, scale: Tensor | None = None) -> None:
        super().__init__()
        weight, bias = plain.weight.detach(), None if plain.bias is None else plain.bias.detach()
        if scale is not None:
            weight, bias = weight * scale[:, None], None if bias is None else bias * scale
        self.in_features, self.out_features, self.dtype = plain.in_features, plain.out_features, dtype
        # Not buffers: `.to()` and `.float()` must pass them by.
        self.weight = linear_weight(weight.to(dtype))
        self.bias = None if bias is None else bias.to(dtype)

    def forward(self, x: Float[Tensor, "*B W"]) -> Float[Tensor, "*B V"]:
        """Multiply; float32 in, float32 out."""
        return linear(x.to(self.dtype), self.weight, self.bias).to(x.dtype)


class SwitchedLinear(nn.Module):
    """`nn.Linear` under the switch."""

    def __init__(self, plain: nn.Linear) -> None:
        super().__init__()
        self.plain = plain

    def forward(self, x: Float[Tensor, "*B W"]) -> Float[Tensor, "*B V"]:
        """Multiply."""
        with permitted():
            out: Tensor = self.plain(x)
        return out


class PackedMlp(nn.Module):
    """`layers.Mlp` with packed weights; what is between the layers stays in the format of the products.

    Args:
        plain: The module to replace.
        dtype: Format of the products.
        is_fused: Whether the activation is applied inside the first product, where it can be.
    """

    def __init__(self, plain: Mlp, *, dtype: torch.dtype, is_fused: bool) -> None:
        super().__init__()
        self.up, self.down = PackedLinear(plain.up, dtype=dtype), PackedLinear(plain.down, dtype=dtype)
        self.activation = plain.activation
        self.fused = FUSABLE.get(plain.activation) if is_fused else None

    def forward(self, x: Float[Tensor, "*B W"]) -> Float[Tensor, "*B W"]:
        """Widen, bend, narrow."""
        hidden = linear(x.to(self.up.dtype), self.up.weight, self.up.bias, fused=self.fused or ("none", ""))
        if self.fused is None:
            hidden = self.activation(hidden)
        return linear(hidden, self.down.weight, self.down.bias).to(x.dtype)


@dataclass(frozen=True)
class Segments:
    """Given instead of a mask: texts that stand one after the other in one row, without padding.

    Attributes:
        lengths: Tokens of each.
    """

    lengths: tuple[int, ...]

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """First token of each."""
        return tuple(accumulate(self.lengths, initial=0))[:-1]

    @cached_property
    def runs(self) -> tuple[tuple[int, int, int], ...]:
        """Start, number and length of neighbours of one length, which are attended to in one batch."""
        found, start = [], 0
        for length, group in groupby(self.lengths):
            num = len(list(group))
            found.append((start, num, length))
            start += num * length
        return tuple(found)


Mix = Callable[[Float[Tensor, "B L V"], int, Bool[Tensor, "B _ L"] | None], Float[Tensor, "B L W"]]
"""Attention proper: queries (scaled), keys and values side by side, number of heads and mask to mixed values."""


def mix_bmm(qkv_BLV: Float[Tensor, "B L V"], num_heads: int, mask: Bool[Tensor, "B _ L"] | None) -> Tensor:
    """Two batched products and a softmax."""
    B, L, W = qkv_BLV.shape[0], qkv_BLV.shape[1], qkv_BLV.shape[2] // 3
    qkv = qkv_BLV.view(B, L, 3, num_heads, W // num_heads)
    if L < LONG:
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        return _mixed(q, k, v, None if mask is None else mask[:, None]).transpose(1, 2).reshape(B, L, W)
    out = qkv_BLV.new_empty(B, L, num_heads, W // num_heads)
    for n in range(B):
        q, k, v = qkv[n].permute(1, 2, 0, 3).unbind(0)
        out[n] = _mixed(q, k, v, None if mask is None else mask[n]).transpose(0, 1)
    return out.view(B, L, W)


def _mixed(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    score = q @ k.transpose(-1, -2)
    if mask is not None:
        score = score.masked_fill_(~mask, float("-inf"))
    return score.softmax(dim=-1) @ v


def mix_switched(qkv_BLV: Float[Tensor, "B L V"], num_heads: int, mask: Bool[Tensor, "B _ L"] | None) -> Tensor:
    """The same under the switch."""
    with permitted():
        return mix_bmm(qkv_BLV, num_heads, mask)


def mix_sdpa(qkv_BLV: Float[Tensor, "B L V"], num_heads: int, mask: Bool[Tensor, "B _ L"] | None) -> Tensor:
    """Torch's fused attention."""
    B, L, W = qkv_BLV.shape[0], qkv_BLV.shape[1], qkv_BLV.shape[2] // 3
    q, k, v = qkv_BLV.view(B, L, 3, num_heads, W // num_heads).permute(2, 0, 3, 1, 4).unbind(0)
    out = functional.scaled_dot_product_attention(q, k, v, attn_mask=None if mask is None else mask[:, None], scale=1.0)
    return out.transpose(1, 2).reshape(B, L, W)


MIX: dict[Path, Mix] = {Path.BMM: mix_bmm, Path.SWITCHED: mix_switched, Path.SDPA: mix_sdpa}


class PackedAttention(nn.Module):
    """`layers.Attention` with packed weights, the scale of the scores folded into the queries' weight.

    Args:
        plain: The module to replace.
        dtype: Format of the products.
        mix: How scores are made and values mixed.
    """

    def __init__(self, plain: Attention, *, dtype: torch.dtype, mix: Mix) -> None:
        super().__init__()
        W = plain.out.in_features
        self.num_heads, self.is_causal, self.mix = plain.num_heads, plain.is_causal, mix
        scale = torch.ones(3 * W)
        scale[:W] = (W // plain.num_heads) ** -0.5
        self.qkv = PackedLinear(plain.qkv, dtype=dtype, scale=scale)
        self.out = PackedLinear(plain.out, dtype=dtype)

    def forward(self, x_BLW: Float[Tensor, "B L W"], mask: Bool[Tensor, "B L"] | Segments | None = None) -> Tensor:
        """Mix positions, in each segment for itself where the row consists of segments."""
        qkv = linear(x_BLW.to(self.qkv.dtype), self.qkv.weight, self.qkv.bias)
        if isinstance(mask, Segments):
            parts = []
            for start, num, length in mask.runs:
                part = qkv[0, start : start + num * length].view(num, length, -1)
                parts.append(self.mix(part, self.num_heads, self._mask(part, None)).flatten(0, 1))
            mixed = torch.cat(parts)[None]
        else:
            mixed = self.mix(qkv, self.num_heads, self._mask(qkv, mask))
        return linear(mixed, self.out.weight, self.out.bias).to(x_BLW.dtype)

    def _mask(self, qkv_BLV: Tensor, mask_BL: Tensor | None) -> Tensor | None:
        """Who may attend to whom, `[B, L, L]` or `[B, 1, L]`; None where everybody may."""
        B, L, _ = qkv_BLV.shape
        mask = None if mask_BL is None or bool(mask_BL.all()) else mask_BL[:, None, :]
        if self.is_causal:
            earlier_LL = torch.ones(L, L, dtype=torch.bool).tril()
            mask = earlier_LL.expand(B, L, L) if mask is None else mask & earlier_LL
        return mask


class PackedConv(nn.Module):
    """`nn.Conv2d` with a packed weight, laid out at the first call for the size that comes.

    Args:
        plain: The layer to replace; zero padding by numbers only (`can_pack`).
        dtype: Format of the products.
    """

    def __init__(self, plain: nn.Conv2d, *, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype, self.is_packed = dtype, False
        self.padding, self.stride, self.dilation = plain.padding, plain.stride, plain.dilation
        self.groups = plain.groups
        self._lock = threading.Lock()
        self.weight = plain.weight.detach().to(dtype)
        self.bias = None if plain.bias is None else plain.bias.detach().to(dtype)

    def forward(self, x_BCYX: Float[Tensor, "B C Y X"]) -> Float[Tensor, "B D V U"]:
        """Convolve; float32 in, float32 out."""
        return self.product(x_BCYX.to(self.dtype, memory_format=torch.channels_last)).to(x_BCYX.dtype)

    def product(self, x_BCYX: Tensor, *, is_bent: bool = False, other: Tensor | None = None) -> Tensor:
        """Convolve in the format of the products, add another map, and apply a ReLU where `is_bent`."""
        if not self.is_packed:
            self._pack(x_BCYX)
        sizes = (self.weight, self.bias, self.padding, self.stride, self.dilation, self.groups)
        bend = "relu" if is_bent else None
        if other is None:
            out: Tensor = torch.ops.mkldnn._convolution_pointwise(x_BCYX, *sizes, bend or "none", [], "")
        else:
            out = torch.ops.mkldnn._convolution_pointwise.binary(x_BCYX, other, *sizes, "add", 1.0, bend, [], None)
        return out

    def _pack(self, x: Tensor) -> None:
        with self._lock:
            if self.is_packed:
                return
            self.weight = torch.ops.mkldnn._reorder_convolution_weight(
                self.weight, self.padding, self.stride, self.dilation, self.groups, list(x.shape)
            )
            self.is_packed = True


def can_pack(conv: nn.Conv2d) -> bool:
    """Whether the packed operator computes this convolution."""
    return conv.padding_mode == "zeros" and not isinstance(conv.padding, str)
