from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from callosum.core.errors import InputError
from callosum.models.checkpoints.names_vision import hf_swin_in, hf_swin_out
from callosum.models.vision.swin import Swin, SwinConfig, relative_position_index, swin_config

Fill = Callable[[nn.Module], nn.Module]
TINY = SwinConfig(size_px=32, patch_px=2, width=8, depths=(2, 2), num_heads=(1, 2), window=4, mlp_ratio=2.0)


def shapes(state: Mapping[str, Tensor]) -> dict[str, list[int]]:
    return {name: list(value.shape) for name, value in state.items()}


def norm(x: Tensor, s: Mapping[str, Tensor], name: str) -> Tensor:
    return functional.layer_norm(x, x.shape[-1:], s[name + ".weight"], s[name + ".bias"], 1e-5)


def linear(x: Tensor, s: Mapping[str, Tensor], name: str) -> Tensor:
    return functional.linear(x, s[name + ".weight"], s.get(name + ".bias"))


def attended(x: Tensor, s: Mapping[str, Tensor], at: str, window: int, shift: int) -> Tensor:
    """Windowed attention pair by pair: who may see whom follows from where two tokens stand, without any rolling."""
    B, S, _, W = x.shape
    table = s[at + "attention.self.relative_position_bias_table"]
    heads = table.shape[1]
    side = -(-S // window) * window
    flat = functional.pad(x, (0, 0, 0, side - S, 0, side - S)).flatten(1, 2)
    parts = [linear(flat, s, f"{at}attention.self.{part}") for part in ("query", "key", "value")]
    query, key, value = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in parts)
    bias = torch.full((heads, side * side, side * side), float("-inf"))
    region = [sum(at_px >= edge for edge in (side - window, side - shift)) if shift else 0 for at_px in range(side)]
    for i in range(side * side):
        for j in range(side * side):
            (yi, xi), (yj, xj) = (((n // side - shift) % side, (n % side - shift) % side) for n in (i, j))
            if (yi // window, xi // window) != (yj // window, xj // window):
                continue
            row = (yi - yj + window - 1) * (2 * window - 1) + (xi - xj + window - 1)
            is_apart = (region[yi], region[xi]) != (region[yj], region[xj])
            bias[:, i, j] = table[row] - 100.0 * is_apart
    score = query @ key.transpose(-1, -2) / (W // heads) ** 0.5 + bias
    mixed = (score.softmax(dim=-1) @ value).transpose(1, 2).flatten(2)
    return linear(mixed, s, at + "attention.output.dense").view(B, side, side, W)[:, :S, :S]


def swin_tokens(s: Mapping[str, Tensor], x: Tensor, config: SwinConfig) -> Tensor:
    """What SwinModel of transformers 4 computes, from the tensors under its names."""
    missing = -x.shape[-1] % config.patch_px
    x = functional.pad(x, (0, missing, 0, missing))
    name = "embeddings.patch_embeddings.projection"
    x = functional.conv2d(x, s[name + ".weight"], s[name + ".bias"], stride=config.patch_px).permute(0, 2, 3, 1)
    x = norm(x, s, "embeddings.norm")
    for stage, depth in enumerate(config.depths):
        S = x.shape[1]
        for n in range(depth):
            at = f"encoder.layers.{stage}.blocks.{n}."
            window = min(config.window, S)
            shift = window // 2 if n % 2 and config.window < S else 0
            x = x + attended(norm(x, s, at + "layernorm_before"), s, at, window, shift)
            y = functional.gelu(linear(norm(x, s, at + "layernorm_after"), s, at + "intermediate.dense"))
            x = x + linear(y, s, at + "output.dense")
        if stage + 1 < len(config.depths):
            x = functional.pad(x, (0, 0, 0, S % 2, 0, S % 2))
            x = torch.cat([x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]], dim=-1)
            x = linear(
                norm(x, s, f"encoder.layers.{stage}.downsample.norm"), s, f"encoder.layers.{stage}.downsample.reduction"
            )
    return norm(x.flatten(1, 2), s, "layernorm")


@torch.inference_mode()
def test_medclips_tower_gives_medclips_numbers(goldens: Path) -> None:
    folder = goldens / "medclip_tiny"
    weights = torch.load(folder / "pytorch_model.bin", weights_only=True)
    prefix = "vision_model.model."
    state = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    config = swin_config(size_px=64, state=shapes(state))
    assert config == SwinConfig(
        size_px=64, patch_px=2, width=16, depths=(1, 1, 2, 1), num_heads=(1, 2, 4, 8), window=4, mlp_ratio=2.0
    )
    tower = Swin(config).eval()
    tower.load_state_dict(hf_swin_in(state), strict=True)
    golden = np.load(folder / "golden.npz")
    features, tokens = tower.features_and_tokens(torch.from_numpy(golden["pixel_values"]).repeat(1, 3, 1, 1))
    assert (tokens - torch.from_numpy(golden["swin_last"])).abs().max() <= 2e-5
    assert (features - torch.from_numpy(golden["swin_pooler"])).abs().max() <= 2e-5
    again = hf_swin_out(tower.state_dict())
    assert again.keys() == state.keys()
    assert all(torch.equal(again[name], state[name]) and again[name].dtype == state[name].dtype for name in state)


@pytest.mark.parametrize(
    ("size_px", "window", "what"),
    [
        (32, 4, "whole windows, shifted"),
        (32, 8, "a window that is the map"),
        (32, 16, "a window larger than the map"),
        (28, 4, "padded windows, an odd map"),
        (25, 3, "padded pixels, an odd window"),
    ],
    ids=lambda value: str(value).replace(" ", "-"),
)
@torch.inference_mode()
def test_transformers_computation(size_px: int, window: int, what: str, filled: Fill) -> None:
    config = replace(TINY, size_px=size_px, window=window)
    tower = filled(Swin(config))
    state = hf_swin_out(tower.state_dict())
    x = torch.randn(2, 3, size_px, size_px)
    expected = swin_tokens(state, x, config)
    features, tokens = tower.features_and_tokens(x)
    assert tokens.shape == (2, tower.grid**2, tower.feature_width)
    assert expected.std() > 0.5
    assert (tokens - expected).abs().max() < 2e-5
    assert (features - expected.mean(dim=1)).abs().max() < 2e-5
    assert torch.equal(tower(x), features)
    assert swin_config(size_px=size_px, state=shapes(state)).depths == config.depths
    assert shapes(Swin(swin_config(size_px=size_px, state=shapes(state))).state_dict()) == shapes(tower.state_dict())


@torch.inference_mode()
def test_weights_can_be_assigned_to_a_tower_without_memory(filled: Fill) -> None:
    tower = filled(Swin(TINY))
    with torch.device("meta"):
        empty = Swin(TINY).eval()
    empty.load_state_dict(tower.state_dict(), strict=True, assign=True)
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(empty(x), tower(x))


def test_the_size_of_swin_tiny() -> None:
    with torch.device("meta"):
        tower = Swin(SwinConfig())
    state = hf_swin_out(tower.state_dict())
    assert sum(value.numel() for value in tower.parameters()) + 768 * 512 == 27_912_570
    assert len(state) == 231
    assert sum(name.endswith("relative_position_index") for name in state) == 12
    assert swin_config(size_px=224, state=shapes(state)) == SwinConfig()


def test_offsets_share_a_row_of_the_bias_table() -> None:
    index = relative_position_index(7)
    assert index.shape == (49, 49)
    assert index.min() == 0
    assert index.max() == 168
    assert index.unique().numel() == 169
    assert (index.diagonal() == 84).all()
    assert index[0, 8] == index[8, 16]  # one down and one right, twice
    assert index[0, 8] != index[8, 0]


def test_paths_are_dropped_in_training_only(filled: Fill) -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 3, 16, 16)
    small = replace(TINY, size_px=16, depths=(1, 1))
    plain, dropping = filled(Swin(small)), filled(Swin(replace(small, drop_path=0.5)))
    with torch.inference_mode():
        assert torch.equal(plain(x), dropping(x))
        assert torch.equal(plain.train()(x), plain.eval()(x))
        differs = (dropping.train()(x) - plain(x)).abs().amax(dim=1) > 1e-6
        block = dropping.stages[1].blocks[0]
        kept = block._kept(torch.ones(4000, 1, 1, 1)).flatten()
    assert differs.all()  # nothing dropped means the others count double
    assert set(kept.tolist()) == {0.0, 2.0}
    assert abs(kept.mean() - 1) < 0.1


def test_other_tensors_are_refused(filled: Fill) -> None:
    state = shapes(hf_swin_out(Swin(TINY).state_dict()))
    with pytest.raises(InputError, match=r"windows of \[4, 2\] tokens a side; found \[4, 4\]"):
        swin_config(size_px=8, state=state)
    with pytest.raises(InputError, match="another model"):
        swin_config(size_px=32, state={"conv1.weight": [64, 3, 7, 7]})
