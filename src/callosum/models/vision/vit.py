"""The vision transformer (Dosovitskiy et al. 2021), as timm builds it and as CLIP does (Radford et al. 2021).

Both put a class token before the patches, add learned positions and run pre-norm blocks; the features are the class
token after the last norm. CLIP also norms the tokens before the first block and has no bias in the patch convolution.
Positions are never interpolated: a checkpoint of another picture size is an error, not a guess.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from callosum.core.errors import InputError
from callosum.models.layers import Activation, Block

STOCK = {
    "medtiny": (96, 3),
    "tiny": (192, 3),
    "xsmall": (256, 4),
    "small": (384, 6),
    "medium": (512, 8),
    "betwixt": (640, 10),
    "base": (768, 12),
    "so150m": (896, 14),
    "large": (1024, 16),
    "so400m": (1152, 16),
    "huge": (1280, 16),
    "giant": (1408, 16),
    "gigantic": (1664, 16),
}
"""Width and heads by timm's word for the size: the state dict tells the width but not the heads."""

SAME_COMPUTATION = {"clip", "quickgelu", "in21k", "dino", "sam"}
"""Words of timm's names that change nothing here beyond what the name and the tensors tell."""

NOT_BUILT = {
    "dist_token": "a distillation token",
    "reg_token": "register tokens",
    "attn_pool.": "attention pooling",
    "fc_norm.": "average pooling before the norm",
    ".ls1.": "layer scale",
    ".q_norm.": "normalised queries and keys",
    ".mlp.norm.": "a norm inside the perceptron",
    ".attn.norm.": "a norm inside the attention",
    ".mlp.fc1_g.": "a gated perceptron",
    "patch_embed.backbone.": "a convolutional backbone",
}


@dataclass(frozen=True, kw_only=True)
class ViTConfig:
    """Sizes of the tower.

    Attributes:
        size_px: Side of the square input.
        patch_px: Side of a patch.
        width: Width of tokens and features.
        num_blocks: Transformer blocks.
        num_heads: Heads per block.
        mlp_ratio: Hidden width of the perceptron over `width`.
        activation: Of the perceptron; weights of OpenAI's CLIP want `quick_gelu`.
        norm_eps: Of every norm; 1e-6 in timm, 1e-5 in CLIP.
        has_pre_norm: Norm the tokens before the first block, as CLIP does.
        has_patch_bias: Whether the patch convolution has a bias; CLIP's has none.
    """

    size_px: int
    patch_px: int
    width: int
    num_blocks: int
    num_heads: int
    mlp_ratio: float = 4.0
    activation: Activation = Activation.GELU
    norm_eps: float = 1e-6
    has_pre_norm: bool = False
    has_patch_bias: bool = True


class ViT(nn.Module):
    """Pictures to the class token after the last norm."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.config = config
        W = config.width
        self.patch = nn.Conv2d(3, W, config.patch_px, config.patch_px, bias=config.has_patch_bias)
        self.class_token = nn.Parameter(torch.zeros(1, 1, W))
        self.position = nn.Parameter(torch.zeros(1, 1 + self.grid**2, W))
        self.pre_norm = nn.LayerNorm(W, eps=config.norm_eps) if config.has_pre_norm else nn.Identity()
        self.blocks = nn.ModuleList(
            Block(
                W,
                config.num_heads,
                mlp_ratio=config.mlp_ratio,
                activation=Activation(config.activation),
                norm_eps=config.norm_eps,
            )
            for _ in range(config.num_blocks)
        )
        self.norm = nn.LayerNorm(W, eps=config.norm_eps)
        nn.init.trunc_normal_(self.position, std=0.02)
        nn.init.normal_(self.class_token, std=1e-6)

    @property
    def feature_width(self) -> int:
        """Width of the features."""
        return self.config.width

    @property
    def grid(self) -> int:
        """Patches per side; pixels that do not fill a patch are not seen, as in timm and CLIP."""
        return self.config.size_px // self.config.patch_px

    def features_and_tokens(self, x: Float[Tensor, "B 3 S S"]) -> tuple[Float[Tensor, "B F"], Float[Tensor, "B P W"]]:
        """Features and patch tokens, both after the last norm, in one pass; patches row by row."""
        x_BLW = self.norm(self._mixed(x))
        return x_BLW[:, 0], x_BLW[:, 1:]

    def tokens(self, x: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B P W"]:
        """Patch tokens after the last norm, row by row."""
        return self.features_and_tokens(x)[1]

    def forward(self, x: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B F"]:
        """Features before projection."""
        features: Tensor = self.norm(self._mixed(x)[:, 0])
        return features

    def _mixed(self, x: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B L W"]:
        """Class token and patches after the last block."""
        patch_BPW = self.patch(x).flatten(2).transpose(1, 2)
        first_B1W = self.class_token.to(patch_BPW.dtype).expand(len(x), -1, -1)
        x_BLW: Tensor = self.pre_norm(torch.cat([first_B1W, patch_BPW], dim=1) + self.position)
        for block in self.blocks:
            x_BLW = block(x_BLW)
        return x_BLW


def vit_config(timm_name: str, *, size_px: int, state: Mapping[str, Sequence[int]]) -> ViTConfig:
    """Sizes of a timm vision transformer, from its name and the shapes of its tensors.

    Args:
        timm_name: Such as `vit_base_patch16_224`, with or without a tag after a full stop.
        size_px: Side of the square input.
        state: Shapes by timm's names, without prefix.

    Raises:
        InputError: a variant that computes something else, or shapes that disagree with the name or the size.
    """
    words = timm_name.split(".")[0].split("_")
    if words[0] not in ("vit", "deit") or len(words) < 3 or words[1] not in STOCK:
        message = f"The image tower {timm_name!r} is not known; known are vit_<size>_patch<px> with these sizes:"
        raise InputError(message, hint=f"{', '.join(STOCK)}.")
    patch = re.fullmatch(r"patch(\d+)", words[2])
    odd = [word for word in words[3:] if not (word.isdecimal() or word in SAME_COMPUTATION)]
    if patch is None or odd:
        message = f"{timm_name!r} is a variant this package does not compute: {', '.join(odd) or words[2]}."
        raise InputError(message, hint="Stock vit_<size>_patch<px>_<size_px> towers with a class token are.")
    _refuse_variants(state)
    width, num_heads = STOCK[words[1]]
    found = tuple(_shape(state, "patch_embed.proj.weight", 4))
    if found != (width, 3, int(patch[1]), int(patch[1])):
        message = f"{timm_name!r} has patches {[width, 3, int(patch[1]), int(patch[1])]}; found {list(found)}."
        raise InputError(message, hint="The weights are of another model.")
    if ("clip" in words) != ("norm_pre.weight" in state):
        message = "A norm before the blocks belongs to the towers called clip, and to no other."
        raise InputError(message, hint="The weights are of another model.")
    config = ViTConfig(
        size_px=size_px,
        patch_px=found[2],
        width=width,
        num_blocks=_depth(state, r"blocks\.(\d+)\.norm1\.weight"),
        num_heads=num_heads,
        mlp_ratio=_mlp_ratio(_shape(state, "blocks.0.mlp.fc1.weight", 2)),
        activation=Activation.QUICK_GELU if "quickgelu" in words else Activation.GELU,
        norm_eps=1e-5 if "clip" in words else 1e-6,
        has_pre_norm="clip" in words,
        has_patch_bias="patch_embed.proj.bias" in state,
    )
    return _fitting(config, _shape(state, "pos_embed", 3)[1])


def clip_vit_config(
    *, size_px: int, state: Mapping[str, Sequence[int]], activation: Activation, head_width: int = 64
) -> ViTConfig:
    """Sizes of the image tower of CLIP or open_clip, from the shapes of its tensors.

    Args:
        size_px: Side of the square input.
        state: Shapes by CLIP's names below `visual.`.
        activation: `quick_gelu` for weights of OpenAI, `gelu` for most of open_clip's; the tensors do not tell.
        head_width: Width of a head; 64 except for a few towers of open_clip (80, 88 and 104).

    Raises:
        InputError: a tower that computes something else, or shapes that disagree with the size.
    """
    if odd := next((name for name in state if ".ls_1." in name or name.startswith("attn_pool.")), None):
        message = f"CLIP's image tower with layer scale or attention pooling is not computed; found {odd!r}."
        raise InputError(message)
    width, _, patch_px, _ = _shape(state, "conv1.weight", 4)
    if width % head_width:
        message = f"Heads are {head_width} wide; found tokens {width} wide, which is no multiple."
        raise InputError(message, hint="Give the head_width of the model's config.")
    config = ViTConfig(
        size_px=size_px,
        patch_px=patch_px,
        width=width,
        num_blocks=_depth(state, r"transformer\.resblocks\.(\d+)\.ln_1\.weight"),
        num_heads=width // head_width,
        mlp_ratio=_mlp_ratio(_shape(state, "transformer.resblocks.0.mlp.c_fc.weight", 2)),
        activation=activation,
        norm_eps=1e-5,
        has_pre_norm="ln_pre.weight" in state,
        has_patch_bias="conv1.bias" in state,
    )
    return _fitting(config, _shape(state, "positional_embedding", 2)[0])


def _refuse_variants(state: Mapping[str, Sequence[int]]) -> None:
    """Say by name what a state dict of timm's asks for and this tower does not compute."""
    found = {what for part, what in NOT_BUILT.items() if any(part in name for name in state)}
    if "cls_token" not in state:
        found.add("no class token")
    if "blocks.0.attn.qkv.bias" not in state:
        found.add("attention without bias")
    if found:
        message = (
            f"A vision transformer with a class token and plain blocks was expected; found {', '.join(sorted(found))}."
        )
        raise InputError(message, hint="This variant is not computed.")


def _shape(state: Mapping[str, Sequence[int]], name: str, num_axes: int) -> tuple[int, ...]:
    """Shape of a tensor that has to be there."""
    shape = tuple(state.get(name, ()))
    if len(shape) != num_axes or 0 in shape:
        message = (
            f"A tensor {name!r} of {num_axes} axes was expected; found {list(shape) if name in state else 'none'}."
        )
        raise InputError(message, hint="The weights are of another model.")
    return shape


def _depth(state: Mapping[str, Sequence[int]], pattern: str) -> int:
    """Number of blocks."""
    return sum(1 for name in state if re.fullmatch(pattern, name))


def _mlp_ratio(up: tuple[int, ...]) -> float:
    """Hidden width over width, such that `int(ratio * width)` is the hidden width to the unit."""
    hidden, width = up
    ratio = hidden / width
    return ratio if int(ratio * width) == hidden else math.nextafter(ratio, math.inf)


def _fitting(config: ViTConfig, num_positions: int) -> ViTConfig:
    """The config, if the checkpoint's positions are those of its picture size."""
    grid = config.size_px // config.patch_px
    if num_positions != grid**2 + 1:
        message = (
            f"Pictures of {config.size_px} px in patches of {config.patch_px} px have {grid**2} positions "
            f"and one of the class token; found {num_positions}."
        )
        raise InputError(message, hint="Give the size the weights were trained at; positions are not interpolated.")
    return config
