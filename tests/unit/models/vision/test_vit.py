from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from callosum.core.errors import InputError
from callosum.models.checkpoints.names_vision import clip_vit_out, timm_vit_in, timm_vit_out
from callosum.models.layers import Activation
from callosum.models.vision.vit import ViT, ViTConfig, clip_vit_config, vit_config

Fill = Callable[[nn.Module], nn.Module]
TIMM = ViTConfig(size_px=24, patch_px=8, width=48, num_blocks=2, num_heads=3, mlp_ratio=2.0)
CLIP = ViTConfig(
    size_px=24,
    patch_px=8,
    width=128,
    num_blocks=2,
    num_heads=2,
    activation=Activation.QUICK_GELU,
    norm_eps=1e-5,
    has_pre_norm=True,
    has_patch_bias=False,
)


def shapes(state: Mapping[str, Tensor]) -> dict[str, list[int]]:
    return {name: list(value.shape) for name, value in state.items()}


def timm_tokens(s: Mapping[str, Tensor], x: Tensor, *, patch: int, heads: int, eps: float = 1e-6) -> Tensor:
    """What timm's VisionTransformer.forward_features computes, from the tensors under timm's names."""
    width = s["cls_token"].shape[-1]
    tiles = functional.unfold(x, patch, stride=patch).transpose(1, 2)
    tiles = tiles @ s["patch_embed.proj.weight"].view(width, -1).T + s["patch_embed.proj.bias"]
    x = torch.cat([s["cls_token"].repeat(len(x), 1, 1), tiles], dim=1) + s["pos_embed"]
    for n in range(sum(name.endswith("norm1.weight") for name in s)):
        at = f"blocks.{n}."
        y = functional.layer_norm(x, (width,), s[at + "norm1.weight"], s[at + "norm1.bias"], eps)
        qkv = functional.linear(y, s[at + "attn.qkv.weight"], s[at + "attn.qkv.bias"])
        query, key, value = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in qkv.chunk(3, dim=-1))
        y = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        x = x + functional.linear(y, s[at + "attn.proj.weight"], s[at + "attn.proj.bias"])
        y = functional.layer_norm(x, (width,), s[at + "norm2.weight"], s[at + "norm2.bias"], eps)
        y = functional.gelu(functional.linear(y, s[at + "mlp.fc1.weight"], s[at + "mlp.fc1.bias"]))
        x = x + functional.linear(y, s[at + "mlp.fc2.weight"], s[at + "mlp.fc2.bias"])
    return functional.layer_norm(x, (width,), s["norm.weight"], s["norm.bias"], eps)


def clip_features(s: Mapping[str, Tensor], x: Tensor, *, heads: int) -> Tensor:
    """What CLIP's VisionTransformer computes before `proj`, from the tensors under CLIP's names."""

    def norm(x: Tensor, name: str) -> Tensor:
        return functional.layer_norm(x, x.shape[-1:], s[name + ".weight"], s[name + ".bias"], 1e-5)

    stride = s["conv1.weight"].shape[-1]
    x = functional.conv2d(x, s["conv1.weight"], stride=stride).flatten(2).transpose(1, 2)
    first = s["class_embedding"].expand(len(x), 1, -1)
    x = norm(torch.cat([first, x], dim=1) + s["positional_embedding"], "ln_pre").transpose(0, 1)
    for n in range(sum(name.endswith("ln_1.weight") for name in s)):
        at = f"transformer.resblocks.{n}."
        y = norm(x, at + "ln_1")
        w, b = s[at + "attn.in_proj_weight"], s[at + "attn.in_proj_bias"]
        out = s[at + "attn.out_proj.weight"], s[at + "attn.out_proj.bias"]
        y, _ = functional.multi_head_attention_forward(
            y, y, y, y.shape[-1], heads, w, b, None, None, False, 0.0, *out, training=False, need_weights=False
        )
        x = x + y
        y = functional.linear(norm(x, at + "ln_2"), s[at + "mlp.c_fc.weight"], s[at + "mlp.c_fc.bias"])
        y = y * torch.sigmoid(1.702 * y)
        x = x + functional.linear(y, s[at + "mlp.c_proj.weight"], s[at + "mlp.c_proj.bias"])
    return norm(x[0], "ln_post")


@torch.inference_mode()
def test_biomedclips_tower_gives_open_clips_numbers(goldens: Path) -> None:
    folder = goldens / "biomedclip_tiny"
    weights = load_file(folder / "open_clip_model.safetensors")
    prefix = "visual.trunk."
    state = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    config = vit_config("vit_medtiny_patch16_64", size_px=64, state=shapes(state))
    assert config == ViTConfig(size_px=64, patch_px=16, width=96, num_blocks=3, num_heads=3)
    tower = ViT(config).eval()
    tower.load_state_dict(timm_vit_in(state), strict=True)
    golden = np.load(folder / "golden.npz")
    x = torch.from_numpy(golden["pixel_values"])
    features, tokens = tower.features_and_tokens(x)
    expected = torch.from_numpy(golden["vit_forward_features"])
    assert (features - expected[:, 0]).abs().max() <= 2e-5
    assert (tokens - expected[:, 1:]).abs().max() <= 2e-5
    projected = tower(x) @ weights["visual.head.proj.weight"].T
    assert (projected - torch.from_numpy(golden["image_features"])).abs().max() <= 2e-5


@torch.inference_mode()
def test_timms_computation(filled: Fill) -> None:
    tower = filled(ViT(TIMM))
    x = torch.randn(3, 3, 24, 24)
    expected = timm_tokens(timm_vit_out(tower.state_dict()), x, patch=8, heads=3)
    features, tokens = tower.features_and_tokens(x)
    assert features.shape == (3, tower.feature_width)
    assert tokens.shape == (3, 9, 48)
    assert expected.std() > 0.5
    assert (torch.cat([features[:, None], tokens], dim=1) - expected).abs().max() < 2e-5
    assert (tower(x) - expected[:, 0]).abs().max() < 2e-5
    assert torch.equal(tower.tokens(x), tokens)


@torch.inference_mode()
def test_clips_computation(filled: Fill) -> None:
    tower = filled(ViT(CLIP))
    x = torch.randn(3, 3, 24, 24)
    state = clip_vit_out(tower.state_dict())
    expected = clip_features(state, x, heads=2)
    assert (tower(x) - expected).abs().max() < 2e-5
    assert (tower.features_and_tokens(x)[0] - expected).abs().max() < 2e-5
    other = ViT(clip_vit_config(size_px=24, state=shapes(state), activation=Activation.GELU)).eval()
    other.load_state_dict(tower.state_dict())
    assert (other(x) - expected).abs().max() > 1e-3  # the activation is not in the tensors: it has to be told


@pytest.mark.parametrize("config", [TIMM, CLIP], ids=["timm", "clip"])
@torch.inference_mode()
def test_weights_can_be_assigned_to_a_tower_without_memory(config: ViTConfig, filled: Fill) -> None:
    tower = filled(ViT(config))
    with torch.device("meta"):
        empty = ViT(config).eval()
    empty.load_state_dict(tower.state_dict(), strict=True, assign=True)
    x = torch.randn(2, 3, 24, 24)
    assert torch.equal(empty(x), tower(x))


def test_pixels_that_fill_no_patch_are_not_seen(filled: Fill) -> None:
    tower = filled(ViT(replace(TIMM, size_px=29)))
    x = torch.randn(1, 3, 29, 29)
    y = x.clone()
    y[:, :, 24:], y[:, :, :, 24:] = 9.0, 9.0
    assert torch.equal(tower(x), tower(y))


@pytest.mark.parametrize(
    ("name", "width", "heads", "ratio", "num_parameters"),
    [
        ("vit_base_patch16_224", 768, 12, 4.0, 85_798_656),
        ("vit_small_patch16_224.augreg_in21k", 384, 6, 4.0, 21_665_664),
        ("vit_giant_patch14_224", 1408, 16, 48 / 11, None),
        ("vit_gigantic_patch14_224", 1664, 16, 64 / 13, None),
    ],
)
def test_stock_sizes(name: str, width: int, heads: int, ratio: float, num_parameters: int | None) -> None:
    patch_px = int(name.split("_patch")[1][:2])
    sizes = ViTConfig(
        size_px=224, patch_px=patch_px, width=width, num_blocks=12, num_heads=heads, mlp_ratio=ratio + 1e-9
    )
    with torch.device("meta"):
        tower = ViT(sizes)
        state = timm_vit_out(tower.state_dict())
        again = ViT(vit_config(name, size_px=224, state=shapes(state)))
    assert len(state) == 150
    assert shapes(again.state_dict()) == shapes(tower.state_dict())
    assert again.config.num_heads == heads
    if num_parameters:
        assert sum(value.numel() for value in state.values()) == num_parameters


def test_every_hidden_width_survives_the_ratio() -> None:
    sizes = ViTConfig(size_px=16, patch_px=16, width=896, num_blocks=1, num_heads=14)
    with torch.device("meta"):
        base = shapes(timm_vit_out(ViT(sizes).state_dict()))
    for hidden in range(100, 1200):
        state = {**base, "blocks.0.mlp.fc1.weight": [hidden, 896]}
        config = vit_config("vit_so150m_patch16_16", size_px=16, state=state)
        assert int(config.mlp_ratio * config.width) == hidden


def test_clip_towers_of_timm(filled: Fill) -> None:
    config = replace(CLIP, width=192, num_heads=3, activation=Activation.GELU)
    state = shapes(timm_vit_out(ViT(config).state_dict()))
    assert vit_config("vit_tiny_patch8_clip_24.openai", size_px=24, state=state) == config
    quick = vit_config("vit_tiny_patch8_clip_quickgelu_24", size_px=24, state=state)
    assert quick.activation is Activation.QUICK_GELU
    with pytest.raises(InputError, match="norm before the blocks"):
        vit_config("vit_tiny_patch8_24", size_px=24, state=state)


def plain_tiny() -> dict[str, list[int]]:
    sizes = ViTConfig(size_px=32, patch_px=16, width=192, num_blocks=1, num_heads=3)
    return shapes(timm_vit_out(ViT(sizes).state_dict()))


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("resnet50", "resnet50"),
        ("vit_enormous_patch16_224", "sizes: medtiny, tiny"),
        ("vit_tiny_r_s16_p8_224", ": s16, p8."),
        ("vit_tiny_patch16_gap_32", ": gap."),
        ("vit_tiny_patch16_reg4_32", ": reg4."),
        ("vit_tiny_patch16_siglip_32", ": siglip."),
        ("vit_tiny_patch16_rpn_32", ": rpn."),
        ("vit_small_patch16_32", r"\[384, 3, 16, 16\]; found \[192, 3, 16, 16\]"),
        ("vit_tiny_patch8_32", r"\[192, 3, 8, 8\]; found \[192, 3, 16, 16\]"),
        ("vit_tiny_patch16_clip_32", "norm before the blocks"),
    ],
)
def test_other_names_are_refused_by_name(name: str, found: str) -> None:
    with pytest.raises(InputError, match=found):
        vit_config(name, size_px=32, state=plain_tiny())


@pytest.mark.parametrize(
    ("extra", "found"),
    [
        ("dist_token", "distillation"),
        ("reg_token", "register"),
        ("blocks.0.ls1.gamma", "layer scale"),
        ("blocks.0.attn.q_norm.weight", "normalised queries"),
        ("attn_pool.latent", "attention pooling"),
        ("fc_norm.weight", "average pooling"),
    ],
)
def test_other_tensors_are_refused_by_name(extra: str, found: str) -> None:
    assert vit_config("vit_tiny_patch16_32", size_px=32, state=plain_tiny()).num_blocks == 1
    with pytest.raises(InputError, match=found):
        vit_config("vit_tiny_patch16_32", size_px=32, state={**plain_tiny(), extra: [1]})


@pytest.mark.parametrize(
    ("missing", "found"), [("cls_token", "no class token"), ("blocks.0.attn.qkv.bias", "without bias")]
)
def test_missing_tensors_are_refused_by_name(missing: str, found: str) -> None:
    state = plain_tiny()
    del state[missing]
    with pytest.raises(InputError, match=found):
        vit_config("vit_tiny_patch16_32", size_px=32, state=state)


def test_positions_are_not_interpolated() -> None:
    with pytest.raises(InputError, match=r"64 px .* 16 positions .* found 5.*not interpolated"):
        vit_config("vit_tiny_patch16_32", size_px=64, state=plain_tiny())
    clip = shapes(clip_vit_out(ViT(CLIP).state_dict()))
    assert clip_vit_config(size_px=24, state=clip, activation=Activation.QUICK_GELU) == CLIP
    with pytest.raises(InputError, match="not interpolated"):
        clip_vit_config(size_px=32, state=clip, activation=Activation.QUICK_GELU)
    with pytest.raises(InputError, match="no multiple"):
        clip_vit_config(size_px=24, state=clip, activation=Activation.GELU, head_width=80)
    with pytest.raises(InputError, match="attention pooling"):
        clip_vit_config(size_px=24, state={**clip, "attn_pool.query": [1, 1]}, activation=Activation.GELU)
