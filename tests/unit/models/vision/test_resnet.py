from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from callosum.core.errors import InputError
from callosum.models.checkpoints.names_vision import torchvision_resnet_out
from callosum.models.vision.resnet import ResNet, ResNetConfig, resnet_config

Fill = Callable[[nn.Module], nn.Module]
TINY = ResNetConfig(stem=8, depths=(1, 2, 2, 1))


def shapes(state: Mapping[str, Tensor]) -> dict[str, list[int]]:
    return {name: list(value.shape) for name, value in state.items()}


def torchvision_maps(s: Mapping[str, Tensor], x: Tensor) -> list[Tensor]:
    """What torchvision's ResNet computes, stage by stage, from the tensors under its names."""

    def norm(x: Tensor, name: str) -> Tensor:
        mean, var = s[name + ".running_mean"], s[name + ".running_var"]
        return functional.batch_norm(x, mean, var, s[name + ".weight"], s[name + ".bias"], eps=1e-5)

    x = functional.relu(norm(functional.conv2d(x, s["conv1.weight"], stride=2, padding=3), "bn1"))
    x = functional.max_pool2d(x, kernel_size=3, stride=2, padding=1)
    maps = []
    for layer in (1, 2, 3, 4):
        for n in range(sum(name.startswith(f"layer{layer}.") and name.endswith("conv1.weight") for name in s)):
            at = f"layer{layer}.{n}."
            stride = 2 if layer > 1 and n == 0 else 1
            y = functional.relu(norm(functional.conv2d(x, s[at + "conv1.weight"]), at + "bn1"))
            y = functional.conv2d(y, s[at + "conv2.weight"], stride=stride, padding=1)
            y = functional.relu(norm(y, at + "bn2"))
            y = norm(functional.conv2d(y, s[at + "conv3.weight"]), at + "bn3")
            if at + "downsample.0.weight" in s:
                x = norm(functional.conv2d(x, s[at + "downsample.0.weight"], stride=stride), at + "downsample.1")
            x = functional.relu(x + y)
        maps.append(x)
    return maps


@torch.inference_mode()
def test_torchvisions_computation(filled: Fill) -> None:
    tower = filled(ResNet(TINY))
    x = torch.randn(3, 3, 75, 75)
    maps = torchvision_maps(torchvision_resnet_out(tower.state_dict()), x)
    scale = maps[-1].abs().max()
    features = functional.adaptive_avg_pool2d(maps[-1], 1).flatten(1)
    assert features.shape == (3, tower.feature_width)
    assert scale > 0.5
    assert (tower(x) - features).abs().max() < 2e-5 * scale
    assert (tower.tokens(x).transpose(1, 2).reshape(maps[-1].shape) - maps[-1]).abs().max() < 2e-5 * scale
    for stage in (1, 2, 3, 4):
        both, local = tower.features_and_map(x, stage=stage)
        assert torch.equal(both, tower(x))
        assert (local - maps[stage - 1]).abs().max() < 2e-5 * scale
    assert torch.equal(tower.features_and_map(x)[1], tower.features_and_map(x, stage=3)[1])
    with pytest.raises(InputError, match="from 1 to 4 was expected; found 0"):
        tower.features_and_map(x, stage=0)


@torch.inference_mode()
def test_folding_the_norms_changes_nothing(filled: Fill) -> None:
    tower = filled(ResNet(TINY))
    x = torch.randn(2, 3, 64, 64)
    before = tower(x)
    tower.fold_norms()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in tower.modules())
    assert (tower(x) - before).abs().max() < 1e-5 * before.abs().max()
    tower.fold_norms()
    assert (tower(x) - before).abs().max() < 1e-5 * before.abs().max()


def test_the_size_of_resnet_50() -> None:
    with torch.device("meta"):
        tower = ResNet(ResNetConfig())
        local = tower.eval().features_and_map(torch.zeros(1, 3, 299, 299))[1]
    state = torchvision_resnet_out(tower.state_dict())
    assert len(state) == 318
    assert sum(value.numel() for value in tower.parameters()) + 2048 * 512 == 24_556_608
    assert tower.feature_width == 2048
    assert local.shape == (1, 1024, 19, 19)
    assert resnet_config(shapes(state)) == ResNetConfig()


def test_other_networks_are_refused() -> None:
    state = shapes(torchvision_resnet_out(ResNet(TINY).state_dict()))
    assert resnet_config(state) == TINY
    with pytest.raises(InputError, match="another model"):
        resnet_config({"cls_token": [1, 1, 8]})
    with pytest.raises(InputError, match="wide variants"):
        resnet_config({**state, "layer1.0.conv2.weight": [16, 16, 3, 3]})
    basic = {name: shape for name, shape in state.items() if ".conv3." not in name}
    with pytest.raises(InputError, match="Basic blocks"):
        resnet_config(basic)
