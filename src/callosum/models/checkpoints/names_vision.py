"""Names and layouts of published image towers, to ours and back.

Each pair of functions is pure and loses nothing: `out(in_(state))` is `state`. Names that a layout does not know pass
unchanged, so that whoever loads the result can list them as unexpected. Names are relative to the tower.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from math import isqrt

import torch
from torch import Tensor

from callosum.core.errors import InputError
from callosum.models.vision.swin import relative_position_index

Names = tuple[tuple[str, str], ...]
"""Pairs of foreign name and ours; `#` stands for a number and `*` for the last part, such as `weight`."""

TIMM_VIT: Names = (
    ("cls_token", "class_token"),
    ("pos_embed", "position"),
    ("patch_embed.proj.*", "patch.*"),
    ("norm_pre.*", "pre_norm.*"),
    ("blocks.#.attn.qkv.*", "blocks.#.attention.qkv.*"),
    ("blocks.#.attn.proj.*", "blocks.#.attention.out.*"),
    ("blocks.#.mlp.fc1.*", "blocks.#.mlp.up.*"),
    ("blocks.#.mlp.fc2.*", "blocks.#.mlp.down.*"),
)
CLIP_VIT: Names = (
    ("class_embedding", "class_token"),
    ("positional_embedding", "position"),
    ("conv1.*", "patch.*"),
    ("ln_pre.*", "pre_norm.*"),
    ("transformer.resblocks.#.ln_1.*", "blocks.#.norm1.*"),
    ("transformer.resblocks.#.attn.in_proj_weight", "blocks.#.attention.qkv.weight"),
    ("transformer.resblocks.#.attn.in_proj_bias", "blocks.#.attention.qkv.bias"),
    ("transformer.resblocks.#.attn.out_proj.*", "blocks.#.attention.out.*"),
    ("transformer.resblocks.#.ln_2.*", "blocks.#.norm2.*"),
    ("transformer.resblocks.#.mlp.c_fc.*", "blocks.#.mlp.up.*"),
    ("transformer.resblocks.#.mlp.c_proj.*", "blocks.#.mlp.down.*"),
    ("ln_post.*", "norm.*"),
)
HF_SWIN: Names = (
    ("embeddings.patch_embeddings.projection.*", "patch.*"),
    ("embeddings.norm.*", "patch_norm.*"),
    ("encoder.layers.#.blocks.#.layernorm_before.*", "stages.#.blocks.#.norm1.*"),
    ("encoder.layers.#.blocks.#.attention.self.qkv.*", "stages.#.blocks.#.attention.qkv.*"),
    ("encoder.layers.#.blocks.#.attention.self.relative_position_bias_table", "stages.#.blocks.#.attention.bias_table"),
    ("encoder.layers.#.blocks.#.attention.output.dense.*", "stages.#.blocks.#.attention.out.*"),
    ("encoder.layers.#.blocks.#.layernorm_after.*", "stages.#.blocks.#.norm2.*"),
    ("encoder.layers.#.blocks.#.intermediate.dense.*", "stages.#.blocks.#.mlp.up.*"),
    ("encoder.layers.#.blocks.#.output.dense.*", "stages.#.blocks.#.mlp.down.*"),
    ("encoder.layers.#.downsample.norm.*", "stages.#.merge.norm.*"),
    ("encoder.layers.#.downsample.reduction.*", "stages.#.merge.reduce.*"),
    ("layernorm.*", "norm.*"),
)
HF_SWIN_PARTS = ("query", "key", "value")
RESIDUAL: Names = tuple(
    (f"layer{n + 1}.#.{foreign}.*", f"stages.{n}.#.{ours}.*")
    for n in range(4)
    for foreign, ours in (
        ("conv1", "conv1"),
        ("bn1", "norm1"),
        ("conv2", "conv2"),
        ("bn2", "norm2"),
        ("conv3", "conv3"),
        ("bn3", "norm3"),
        ("downsample.0", "shortcut.conv"),
        ("downsample.1", "shortcut.norm"),
    )
)
TORCHVISION_RESNET: Names = (("bn1.*", "norm1.*"), *RESIDUAL)
CLIP_RESNET: Names = (
    ("bn1.*", "norm1.*"),
    ("bn2.*", "norm2.*"),
    ("bn3.*", "norm3.*"),
    *RESIDUAL,
    ("attnpool.positional_embedding", "pool.position"),
    ("attnpool.q_proj.*", "pool.query.*"),
    ("attnpool.k_proj.*", "pool.key.*"),
    ("attnpool.v_proj.*", "pool.value.*"),
    ("attnpool.c_proj.*", "pool.out.*"),
)


def timm_vit_in(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Timm's VisionTransformer to `ViT`."""
    return _renamed(state, TIMM_VIT)


def timm_vit_out(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`ViT` to the VisionTransformer of timm."""
    return _renamed(state, _turned(TIMM_VIT))


def clip_vit_in(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The image tower of CLIP or open_clip, below `visual.`, to `ViT`; `proj`, `[W, D]`, passes unchanged."""
    out = _renamed(state, CLIP_VIT)
    for name, num_axes in (("class_token", 1), ("position", 2)):
        if name in out and out[name].ndim == num_axes:
            out[name] = out[name].reshape(*[1] * (3 - num_axes), *out[name].shape)
    return out


def clip_vit_out(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`ViT` to the image tower of CLIP or open_clip, below `visual.`."""
    out = _renamed(state, _turned(CLIP_VIT))
    for name, num_axes in (("class_embedding", 1), ("positional_embedding", 2)):
        if name in out:
            out[name] = out[name].reshape(out[name].shape[3 - num_axes :])
    return out


def hf_swin_in(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`SwinModel` of transformers 4 to `Swin`: query, key and value fused, position indices dropped.

    An index that is not the one its window has stays, to be found unexpected.
    """
    out = {name: value for name, value in state.items() if not _is_known_index(name, value)}
    for name in state:
        if (match := re.fullmatch(r"(.+\.attention\.self\.)query\.(weight|bias)", name)) is None:
            continue
        parts = [f"{match[1]}{part}.{match[2]}" for part in HF_SWIN_PARTS]
        if all(part in out for part in parts):
            out[f"{match[1]}qkv.{match[2]}"] = torch.cat([out.pop(part) for part in parts])
    return _renamed(out, HF_SWIN)


def hf_swin_out(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`Swin` to `SwinModel` of transformers 4, with the position indices it keeps as buffers."""
    out: dict[str, Tensor] = {}
    for name, value in _renamed(state, _turned(HF_SWIN)).items():
        if match := re.fullmatch(r"(.+\.attention\.self\.)qkv\.(weight|bias)", name):
            for part, third in zip(HF_SWIN_PARTS, value.chunk(3), strict=True):
                out[f"{match[1]}{part}.{match[2]}"] = third
            continue
        out[name] = value
        if name.endswith(".attention.self.relative_position_bias_table"):
            window = (isqrt(len(value)) + 1) // 2
            out[name.removesuffix("bias_table") + "index"] = relative_position_index(window)
    return out


def torchvision_resnet_in(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Torchvision's ResNet to `ResNet`; `fc` passes unchanged."""
    return _renamed(state, TORCHVISION_RESNET)


def torchvision_resnet_out(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`ResNet`, its norms not folded, to the ResNet of torchvision."""
    return _renamed(state, _turned(TORCHVISION_RESNET))


def clip_resnet_in(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """CLIP's ModifiedResNet, below `visual.`, to `ClipResNet`."""
    return _renamed(state, CLIP_RESNET)


def clip_resnet_out(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`ClipResNet`, its norms not folded, to CLIP's ModifiedResNet, below `visual.`."""
    return _renamed(state, _turned(CLIP_RESNET))


def _turned(names: Names) -> Names:
    return tuple((ours, foreign) for foreign, ours in names)


def _renamed(state: Mapping[str, Tensor], names: Names) -> dict[str, Tensor]:
    """The state under the names of the second column.

    Raises:
        InputError: two tensors would get one name.
    """
    rules = [(re.compile(_pattern(old)), list(re.split(r"[#*]", new))) for old, new in names]
    out = {_new_name(name, rules): value for name, value in state.items()}
    if len(out) != len(state):
        message = (
            f"{len(state)} names of tensors were expected after renaming; found {len(out)}, since some fell together."
        )
        raise InputError(message, hint="The weights hold names of two layouts.")
    return out


def _pattern(template: str) -> str:
    return re.escape(template).replace(r"\#", r"(\d+)").replace(r"\*", "([a-z_]+)")


def _new_name(name: str, rules: Iterable[tuple[re.Pattern[str], list[str]]]) -> str:
    for pattern, parts in rules:
        if match := pattern.fullmatch(name):
            return parts[0] + "".join(group + part for group, part in zip(match.groups(), parts[1:], strict=True))
    return name


def _is_known_index(name: str, value: Tensor) -> bool:
    if not name.endswith(".attention.self.relative_position_index") or value.ndim != 2:
        return False
    expected = relative_position_index(isqrt(len(value)))
    return value.shape == expected.shape and bool((value.cpu() == expected).all())
