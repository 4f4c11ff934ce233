from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from callosum.core.errors import InputError
from callosum.models.checkpoints.names_vision import clip_resnet_out
from callosum.models.vision.clip_resnet import ClipResNet, ClipResNetConfig, clip_resnet_config

Fill = Callable[[nn.Module], nn.Module]
TINY = ClipResNetConfig(size_px=64, stem=8, depths=(1, 2, 1, 1), num_heads=4, dim=24)


def shapes(state: Mapping[str, Tensor]) -> dict[str, list[int]]:
    return {name: list(value.shape) for name, value in state.items()}


def clip_map(s: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """The last map of CLIP's ModifiedResNet, from the tensors under its names."""

    def step(x: Tensor, conv: str, norm: str, **how: int) -> Tensor:
        mean, var = s[norm + ".running_mean"], s[norm + ".running_var"]
        x = functional.conv2d(x, s[conv + ".weight"], **how)
        return functional.batch_norm(x, mean, var, s[norm + ".weight"], s[norm + ".bias"], eps=1e-5)

    for n in (1, 2, 3):
        x = functional.relu(step(x, f"conv{n}", f"bn{n}", stride=2 if n == 1 else 1, padding=1))
    x = functional.avg_pool2d(x, 2)
    for layer in (1, 2, 3, 4):
        for n in range(sum(name.startswith(f"layer{layer}.") and name.endswith("conv1.weight") for name in s)):
            at = f"layer{layer}.{n}."
            stride = 2 if layer > 1 and n == 0 else 1
            y = functional.relu(step(x, at + "conv1", at + "bn1"))
            y = functional.relu(step(y, at + "conv2", at + "bn2", padding=1))
            y = step(functional.avg_pool2d(y, stride), at + "conv3", at + "bn3")
            if at + "downsample.0.weight" in s:
                x = step(functional.avg_pool2d(x, stride), at + "downsample.0", at + "downsample.1")
            x = functional.relu(x + y)
    return x


def pooled(s: Mapping[str, Tensor], x: Tensor, heads: int) -> Tensor:
    """Attention pooling as OpenAI wrote it: all of PyTorch's attention, of which the first query is kept."""
    s = {name.removeprefix("attnpool."): value for name, value in s.items() if name.startswith("attnpool.")}
    x = x.flatten(start_dim=2).permute(2, 0, 1)
    x = torch.cat([x.mean(dim=0, keepdim=True), x]) + s["positional_embedding"][:, None]
    out, _ = functional.multi_head_attention_forward(
        x[:1],
        x,
        x,
        x.shape[-1],
        heads,
        None,
        torch.cat([s["q_proj.bias"], s["k_proj.bias"], s["v_proj.bias"]]),
        None,
        None,
        False,
        0.0,
        s["c_proj.weight"],
        s["c_proj.bias"],
        use_separate_proj_weight=True,
        q_proj_weight=s["q_proj.weight"],
        k_proj_weight=s["k_proj.weight"],
        v_proj_weight=s["v_proj.weight"],
        training=False,
        need_weights=False,
    )
    return out[0]


@torch.inference_mode()
def test_clips_computation(filled: Fill) -> None:
    tower = filled(ClipResNet(TINY))
    x = torch.randn(3, 3, 64, 64)
    state = clip_resnet_out(tower.state_dict())
    last = clip_map(state, x)
    expected = pooled(state, last, heads=4)
    assert expected.shape == (3, tower.feature_width)
    assert (tower.tokens(x) - last.flatten(2).transpose(1, 2)).abs().max() < 2e-5 * last.abs().max()
    assert (tower(x) - expected).abs().max() < 2e-5 * expected.abs().max()
    features, local = tower.features_and_map(x)
    assert torch.equal(features, tower(x))
    assert local.shape == (3, 4 * 8 * 4, 4, 4)


@torch.inference_mode()
def test_folding_the_norms_changes_nothing(filled: Fill) -> None:
    tower = filled(ClipResNet(TINY))
    x = torch.randn(2, 3, 64, 64)
    before = tower(x)
    tower.fold_norms()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in tower.modules())
    assert (tower(x) - before).abs().max() < 1e-5 * before.abs().max()


def test_the_size_of_rn50() -> None:
    with torch.device("meta"):
        tower = ClipResNet(ClipResNetConfig())
    state = clip_resnet_out(tower.state_dict())
    assert sum(value.numel() for value in tower.parameters()) == 38_316_896
    assert shapes(state)["attnpool.positional_embedding"] == [50, 2048]
    assert clip_resnet_config(size_px=224, state=shapes(state)) == ClipResNetConfig()
    with pytest.raises(InputError, match="81 positions and one of their mean; found 50"):
        clip_resnet_config(size_px=288, state=shapes(state))
    with pytest.raises(InputError, match="another model"):
        clip_resnet_config(size_px=224, state={"layer1.0.conv1.weight": [64, 64, 1, 1]})
