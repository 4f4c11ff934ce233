"""The Swin transformer (Liu et al. 2021): attention inside windows that shift by half from block to block.

The computation is that of `SwinModel` in transformers 4, whose weights MedCLIP holds: maps that are no multiple of the
window are padded with zeros after the norm, a window that covers its map does not shift, and the features are the mean
over the last map after the final norm. A window larger than its map shrinks to it, as in the authors' code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isqrt

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from callosum.core.errors import InputError
from callosum.models.layers import Activation, Mlp

APART = -100.0
"""Added to the score of two positions that only the cyclic shift made neighbours."""


@dataclass(frozen=True, kw_only=True)
class SwinConfig:
    """Sizes of the tower; the defaults are Swin-tiny.

    Attributes:
        size_px: Side of the square input.
        patch_px: Side of a patch.
        width: Width of the first stage; it doubles with every stage.
        depths: Blocks per stage.
        num_heads: Heads per stage.
        window: Side of a window, in tokens.
        mlp_ratio: Hidden width of the perceptron over its width.
        activation: Of the perceptron.
        drop_path: Share of the residual branches that the last block leaves out in training, rising from 0 at the
            first (stochastic depth, Huang et al. 2016).
    """

    size_px: int = 224
    patch_px: int = 4
    width: int = 96
    depths: tuple[int, ...] = (2, 2, 6, 2)
    num_heads: tuple[int, ...] = (3, 6, 12, 24)
    window: int = 7
    mlp_ratio: float = 4.0
    activation: Activation = Activation.GELU
    drop_path: float = 0.0

    def side_of(self, stage: int) -> int:
        """Side of the map in a stage, in tokens: half patches count, and so do halves of odd maps."""
        return -(-self.size_px // (self.patch_px * 2**stage))

    def window_of(self, stage: int) -> int:
        """Side of the window in a stage: at most the map's."""
        return min(self.window, self.side_of(stage))


def relative_position_index(window: int) -> Int[Tensor, "L L"]:
    """Row of the bias table for each pair of positions in a window."""
    at_L2 = torch.cartesian_prod(*[torch.arange(window, device="cpu")] * 2).view(-1, 2)
    apart_LL2 = at_L2[:, None] - at_L2[None, :] + window - 1
    return apart_LL2[..., 0] * (2 * window - 1) + apart_LL2[..., 1]


def shift_mask(side: int, window: int, shift: int) -> Float[Tensor, "V L L"]:
    """What keeps the map's far edges apart in windows of a map that was rolled by `shift`, per window."""
    at_S = torch.arange(side, device="cpu")
    part_S = (at_S >= side - window).int() + (at_S >= side - shift).int()
    part_VL = windows((3 * part_S[:, None] + part_S[None, :])[None, :, :, None], window)[..., 0]
    return (part_VL[:, :, None] != part_VL[:, None, :]) * APART


def windows(x_BYXW: Tensor, window: int) -> Float[Tensor, "N L W"]:
    """A map as windows: N counts pictures, then windows row by row."""
    B, Y, X, W = x_BYXW.shape
    x = x_BYXW.view(B, Y // window, window, X // window, window, W).transpose(2, 3)
    return x.reshape(-1, window * window, W)


def unwindowed(x_NLW: Tensor, side: int) -> Float[Tensor, "B S S W"]:
    """The inverse of `windows`, for a square map."""
    window = isqrt(x_NLW.shape[1])
    n = side // window
    x = x_NLW.view(-1, n, n, window, window, x_NLW.shape[-1]).transpose(2, 3)
    return x.reshape(-1, side, side, x_NLW.shape[-1])


class WindowAttention(nn.Module):
    """Attention inside a window, with a learned bias for every offset between two positions."""

    index: Tensor

    def __init__(self, width: int, num_heads: int, *, window: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, num_heads))
        self.register_buffer("index", relative_position_index(window), persistent=False)
        nn.init.trunc_normal_(self.bias_table, std=0.02)

    def forward(self, x_NLW: Float[Tensor, "N L W"], mask_VLL: Float[Tensor, "V L L"] | None = None) -> Tensor:
        """Mix positions; `mask_VLL` is added to the scores of each picture's windows."""
        N, L, W = x_NLW.shape
        qkv = self.qkv(x_NLW).view(N, L, 3, self.num_heads, W // self.num_heads).permute(2, 0, 3, 1, 4)
        bias_HLL = self.bias_table[self.index].permute(2, 0, 1)
        score_NHLL = (qkv[0] @ qkv[1].transpose(-1, -2)) * (W // self.num_heads) ** -0.5 + bias_HLL
        if mask_VLL is not None:
            score = score_NHLL.view(-1, len(mask_VLL), self.num_heads, L, L) + mask_VLL[:, None]
            score_NHLL = score.view(N, self.num_heads, L, L)
        mixed = score_NHLL.softmax(dim=-1).to(qkv.dtype) @ qkv[2]
        out: Tensor = self.out(mixed.transpose(1, 2).reshape(N, L, W))
        return out


class SwinBlock(nn.Module):
    """Pre-norm block on a map: attention in windows, then a perceptron.

    Args:
        config: Sizes of the tower.
        stage: The stage it stands in.
        is_shifted: Whether its windows are shifted by half a window, where the map is larger than one.
        drop_path: Share of its residual branches left out in training.
    """

    mask: Tensor | None

    def __init__(self, config: SwinConfig, stage: int, *, is_shifted: bool, drop_path: float) -> None:
        super().__init__()
        width, side = config.width * 2**stage, config.side_of(stage)
        self.window = config.window_of(stage)
        self.shift = self.window // 2 if is_shifted and side > self.window else 0
        self.padding = -side % self.window
        self.drop_path = drop_path
        mask = shift_mask(side + self.padding, self.window, self.shift) if self.shift else None
        self.register_buffer("mask", mask, persistent=False)
        self.norm1 = nn.LayerNorm(width)
        self.attention = WindowAttention(width, config.num_heads[stage], window=self.window)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, round(config.mlp_ratio * width), activation=Activation(config.activation))

    def forward(self, x_BSSW: Float[Tensor, "B S S W"]) -> Float[Tensor, "B S S W"]:
        """Two residual steps."""
        x_BSSW = x_BSSW + self._kept(self._attended(self.norm1(x_BSSW)))
        return x_BSSW + self._kept(self.mlp(self.norm2(x_BSSW)))

    def _attended(self, x_BSSW: Tensor) -> Tensor:
        S = x_BSSW.shape[1]
        y = functional.pad(x_BSSW, (0, 0, 0, self.padding, 0, self.padding)) if self.padding else x_BSSW
        if self.shift:
            y = y.roll((-self.shift, -self.shift), dims=(1, 2))
        y = unwindowed(self.attention(windows(y, self.window), self.mask), S + self.padding)
        if self.shift:
            y = y.roll((self.shift, self.shift), dims=(1, 2))
        return y[:, :S, :S]

    def _kept(self, branch: Tensor) -> Tensor:
        """The branch, or in training nothing for some pictures and more for the others."""
        if not (self.training and self.drop_path):
            return branch
        return branch * functional.dropout(branch.new_ones(len(branch), 1, 1, 1), self.drop_path)


class Merge(nn.Module):
    """Four neighbours become one token of twice the width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduce = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x_BSSW: Float[Tensor, "B S S W"]) -> Float[Tensor, "B T T V"]:
        """Halve the map; an odd one is padded with zeros."""
        odd = x_BSSW.shape[1] % 2
        x = functional.pad(x_BSSW, (0, 0, 0, odd, 0, odd)) if odd else x_BSSW
        corners = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        merged: Tensor = self.reduce(self.norm(torch.cat(corners, dim=-1)))
        return merged


class Stage(nn.Module):
    """Blocks on one map, and the merge that halves it for the next stage."""

    def __init__(self, config: SwinConfig, stage: int, *, drop_paths: Sequence[float]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            SwinBlock(config, stage, is_shifted=n % 2 == 1, drop_path=rate) for n, rate in enumerate(drop_paths)
        )
        is_last = stage == len(config.depths) - 1
        self.merge = nn.Identity() if is_last else Merge(config.width * 2**stage)

    def forward(self, x_BSSW: Float[Tensor, "B S S W"]) -> Float[Tensor, "B T T V"]:
        """The map of the next stage."""
        for block in self.blocks:
            x_BSSW = block(x_BSSW)
        merged: Tensor = self.merge(x_BSSW)
        return merged


class Swin(nn.Module):
    """Pictures to the mean over the last map after the final norm."""

    def __init__(self, config: SwinConfig) -> None:
        super().__init__()
        self.config = config
        self.patch = nn.Conv2d(3, config.width, config.patch_px, config.patch_px)
        self.patch_norm = nn.LayerNorm(config.width)
        num_blocks = sum(config.depths)
        rates = [config.drop_path * n / max(1, num_blocks - 1) for n in range(num_blocks)]
        self.stages = nn.ModuleList()
        for n, depth in enumerate(config.depths):
            self.stages.append(Stage(config, n, drop_paths=[rates.pop(0) for _ in range(depth)]))
        self.norm = nn.LayerNorm(self.feature_width)

    @property
    def feature_width(self) -> int:
        """Width of the features."""
        return self.config.width * 2 ** (len(self.config.depths) - 1)

    @property
    def grid(self) -> int:
        """Tokens per side of the last map."""
        return self.config.side_of(len(self.config.depths) - 1)

    def features_and_tokens(self, x: Float[Tensor, "B 3 S S"]) -> tuple[Float[Tensor, "B F"], Float[Tensor, "B P F"]]:
        """Features and the tokens they are the mean of, in one pass."""
        tokens_BPF = self.tokens(x)
        return tokens_BPF.mean(dim=1), tokens_BPF

    def tokens(self, x: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B P F"]:
        """The last map after the final norm, row by row."""
        if missing := -x.shape[-1] % self.config.patch_px:
            x = functional.pad(x, (0, missing, 0, missing))
        x_BSSW = self.patch_norm(self.patch(x).permute(0, 2, 3, 1))
        for stage in self.stages:
            x_BSSW = stage(x_BSSW)
        tokens_BPF: Tensor = self.norm(x_BSSW.flatten(1, 2))
        return tokens_BPF

    def forward(self, x: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B F"]:
        """Features before projection."""
        return self.tokens(x).mean(dim=1)


def swin_config(*, size_px: int, state: Mapping[str, Sequence[int]]) -> SwinConfig:
    """Sizes of a Swin of transformers 4, from the shapes of its tensors.

    Args:
        size_px: Side of the square input.
        state: Shapes by the names of `SwinModel`, without prefix.

    Raises:
        InputError: tensors of another model, or windows that a picture of this size cannot have.
    """
    patch = tuple(state.get("embeddings.patch_embeddings.projection.weight", ()))
    depths: list[int] = []
    tables: list[tuple[int, ...]] = []
    while table := state.get(f"encoder.layers.{len(depths)}.blocks.0.attention.self.relative_position_bias_table"):
        block = re.compile(rf"encoder\.layers\.{len(depths)}\.blocks\.\d+\.layernorm_before\.weight")
        depths.append(sum(1 for name in state if block.fullmatch(name)))
        tables.append(tuple(table))
    hidden = tuple(state.get("encoder.layers.0.blocks.0.intermediate.dense.weight", ()))
    if len(patch) != 4 or not tables or len(hidden) != 2:
        message = "A Swin transformer with the names of transformers 4 was expected; found tensors of another model."
        raise InputError(message)
    sides = [(isqrt(table[0]) + 1) // 2 for table in tables]
    config = SwinConfig(
        size_px=size_px,
        patch_px=patch[2],
        width=patch[0],
        depths=tuple(depths),
        num_heads=tuple(table[1] for table in tables),
        window=max(sides),
        mlp_ratio=hidden[0] / hidden[1],
    )
    expected = [config.window_of(n) for n in range(len(depths))]
    if sides != expected:
        message = f"Pictures of {size_px} px have windows of {expected} tokens a side; found {sides}."
        raise InputError(message, hint="Give the size the weights were trained at.")
    return config
