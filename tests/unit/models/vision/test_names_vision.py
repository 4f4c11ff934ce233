"""Every layout goes in and out again without a change of a bit."""

from collections.abc import Callable, Mapping

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save
from torch import Tensor, nn

from callosum.core.errors import InputError
from callosum.models.checkpoints import names_vision as names
from callosum.models.vision.clip_resnet import ClipResNet, ClipResNetConfig
from callosum.models.vision.resnet import ResNet, ResNetConfig
from callosum.models.vision.swin import Swin, SwinConfig, relative_position_index
from callosum.models.vision.vit import ViT, ViTConfig

State = dict[str, Tensor]
Rename = Callable[[Mapping[str, Tensor]], State]

PARTS = ("weight", "bias")
NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def conv_norm(at: str, conv: str, norm: str) -> list[str]:
    return [f"{at}{conv}.weight", *(f"{at}{norm}.{part}" for part in NORM)]


def bottlenecks(depths: tuple[int, ...]) -> list[str]:
    found: list[str] = []
    for layer, depth in enumerate(depths, start=1):
        for n in range(depth):
            at = f"layer{layer}.{n}."
            for k in (1, 2, 3):
                found += conv_norm(at, f"conv{k}", f"bn{k}")
            found += conv_norm(at, "downsample.0", "downsample.1") if n == 0 else []
    return found


def timm_vit(n: int) -> list[str]:
    """Names written out from a file of timm's, for n blocks."""
    inner = ["norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2"]
    blocks = [f"blocks.{k}.{name}.{part}" for k in range(n) for name in inner for part in PARTS]
    return ["cls_token", "pos_embed", *(f"{at}.{p}" for at in ("patch_embed.proj", "norm") for p in PARTS), *blocks]


def clip_vit(n: int) -> list[str]:
    inner = ["ln_1.weight", "ln_1.bias", "attn.in_proj_weight", "attn.in_proj_bias", "attn.out_proj.weight"]
    inner += ["attn.out_proj.bias", "ln_2.weight", "ln_2.bias", "mlp.c_fc.weight", "mlp.c_fc.bias"]
    inner += ["mlp.c_proj.weight", "mlp.c_proj.bias"]
    blocks = [f"transformer.resblocks.{k}.{name}" for k in range(n) for name in inner]
    ends = [f"{at}.{part}" for at in ("ln_pre", "ln_post") for part in PARTS]
    return ["class_embedding", "positional_embedding", "conv1.weight", *ends, *blocks]


def hf_swin(n: int) -> list[str]:
    inner = ["layernorm_before", "attention.self.query", "attention.self.key", "attention.self.value"]
    inner += ["attention.output.dense", "layernorm_after", "intermediate.dense", "output.dense"]
    found = [f"{at}.{part}" for at in ("embeddings.patch_embeddings.projection", "embeddings.norm") for part in PARTS]
    for stage in (0, 1):
        for k in range(n):
            at = f"encoder.layers.{stage}.blocks.{k}."
            found += [f"{at}{name}.{part}" for name in inner for part in PARTS]
            found += [at + "attention.self.relative_position_bias_table", at + "attention.self.relative_position_index"]
    merge = ["reduction.weight", "norm.weight", "norm.bias"]
    return [*found, *(f"encoder.layers.0.downsample.{name}" for name in merge), "layernorm.weight", "layernorm.bias"]


def torchvision_resnet(n: int) -> list[str]:
    return [*conv_norm("", "conv1", "bn1"), *bottlenecks((n, n, n, n))]


def clip_resnet(n: int) -> list[str]:
    stem = [name for k in (1, 2, 3) for name in conv_norm("", f"conv{k}", f"bn{k}")]
    pool = [f"attnpool.{kind}_proj.{part}" for kind in "qkvc" for part in PARTS]
    return [*stem, *bottlenecks((n, n, n, n)), *pool, "attnpool.positional_embedding"]


VIT = {"size_px": 16, "patch_px": 8, "width": 32, "num_heads": 2}
LAYOUTS: dict[str, tuple[Rename, Rename, Callable[[int], list[str]], Callable[[int], nn.Module]]] = {
    "timm_vit": (
        names.timm_vit_in,
        names.timm_vit_out,
        timm_vit,
        lambda n: ViT(ViTConfig(**VIT, num_blocks=n)),
    ),
    "clip_vit": (
        names.clip_vit_in,
        names.clip_vit_out,
        clip_vit,
        lambda n: ViT(ViTConfig(**VIT, num_blocks=n, has_pre_norm=True, has_patch_bias=False)),
    ),
    "hf_swin": (
        names.hf_swin_in,
        names.hf_swin_out,
        hf_swin,
        lambda n: Swin(SwinConfig(size_px=16, patch_px=2, width=8, depths=(n, n), num_heads=(1, 2), window=4)),
    ),
    "torchvision_resnet": (
        names.torchvision_resnet_in,
        names.torchvision_resnet_out,
        torchvision_resnet,
        lambda n: ResNet(ResNetConfig(stem=4, depths=(n, n, n, n))),
    ),
    "clip_resnet": (
        names.clip_resnet_in,
        names.clip_resnet_out,
        clip_resnet,
        lambda n: ClipResNet(ClipResNetConfig(size_px=64, stem=4, depths=(n, n, n, n), num_heads=2, dim=8)),
    ),
}
UNKNOWN = ["fc.weight", "head.weight", "head.bias", "proj", "blocks.x.attn.qkv.weight", "layer5.0.conv1.weight", "ünï"]


def assert_equal(one: State, other: State) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert value.dtype == other[name].dtype, name
        assert value.shape == other[name].shape, name
        assert torch.equal(value, other[name]), name


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("n", [1, 2, 12])
def test_the_published_names_are_those_of_the_tower(layout: str, n: int) -> None:
    rename_in, rename_out, published, tower = LAYOUTS[layout]
    with torch.device("meta"):
        ours = tower(n).state_dict()
    foreign = rename_out(ours)
    assert sorted(foreign) == sorted(published(n))
    kept = {name: value for name, value in foreign.items() if not name.endswith("relative_position_index")}
    back = rename_in(kept)
    assert {name: value.shape for name, value in back.items()} == {name: value.shape for name, value in ours.items()}


@pytest.mark.parametrize("layout", LAYOUTS)
@given(
    n=st.integers(1, 2),
    dtype=st.sampled_from([torch.float32, torch.float16, torch.bfloat16]),
    extra=st.sets(st.sampled_from(UNKNOWN)),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=10)
def test_in_and_out_is_nothing(layout: str, n: int, dtype: torch.dtype, extra: set[str], seed: int) -> None:
    rename_in, rename_out, _, tower = LAYOUTS[layout]
    draw = torch.Generator().manual_seed(seed)
    foreign: State = {}
    for name, value in rename_out(tower(n).state_dict()).items():
        if value.dtype.is_floating_point:
            foreign[name] = torch.randn(value.shape, generator=draw).to(dtype)
        elif name.endswith("num_batches_tracked"):
            foreign[name] = torch.tensor(seed)
        else:
            foreign[name] = value
    foreign |= {name: torch.randn(2, 3, generator=draw) for name in extra}
    before = {name: value.clone() for name, value in foreign.items()}
    ours = rename_in(foreign)
    assert_equal(foreign, before)
    assert extra <= ours.keys()
    assert_equal(rename_out(ours), before)
    assert_equal(rename_in(rename_out(ours)), ours)
    save(rename_out(ours))  # can be written


def test_old_weights_without_counters_pass() -> None:
    rename_in, rename_out, _, tower = LAYOUTS["torchvision_resnet"]
    foreign = {k: v for k, v in rename_out(tower(1).state_dict()).items() if not k.endswith("num_batches_tracked")}
    assert_equal(rename_out(rename_in(foreign)), foreign)
    found = tower(1).load_state_dict(rename_in(foreign), strict=False)
    assert not found.unexpected_keys
    assert all(name.endswith("num_batches_tracked") for name in found.missing_keys)


def test_half_of_an_attention_is_left_as_it_is() -> None:
    state = {"encoder.layers.0.blocks.0.attention.self.query.weight": torch.zeros(2, 2)}
    assert_equal(names.hf_swin_in(state), state)


def test_an_index_of_another_window_is_not_dropped() -> None:
    name = "encoder.layers.0.blocks.0.attention.self.relative_position_index"
    right = relative_position_index(4)
    assert names.hf_swin_in({name: right}) == {}
    for wrong in (right.T.contiguous(), right[:3], torch.tensor(0)):
        assert list(names.hf_swin_in({name: wrong})) == [name]


def test_two_names_never_become_one() -> None:
    state = {"cls_token": torch.zeros(1, 1, 4), "class_token": torch.ones(1, 1, 4)}
    with pytest.raises(InputError, match="fell together"):
        names.timm_vit_in(state)
