"""Fixtures: the published models' answers, where the data packs are, and weights that are not degenerate."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn


@pytest.fixture(scope="session")
def goldens(data_root: Path) -> Path:
    """The folder of answers that other implementations gave."""
    folder = data_root.parent / "goldens"
    if not folder.is_dir():
        pytest.skip("the goldens are not beside the data packs")
    return folder


@pytest.fixture(autouse=True)
def _same_draw() -> None:
    """Pictures and weights are the same in every run."""
    torch.manual_seed(0)


@pytest.fixture
def filled() -> Callable[[nn.Module], nn.Module]:
    """Give every tensor of a network random values of a sensible size, norms and their statistics included."""

    def fill(network: nn.Module) -> nn.Module:
        draw = torch.Generator().manual_seed(5)
        for name, value in network.state_dict().items():
            if not value.dtype.is_floating_point:
                continue
            noise = torch.randn(value.shape, generator=draw)
            if name.endswith("running_var"):
                value.copy_(0.5 + noise.abs())
            elif value.ndim == 1:
                value.copy_(("norm" in name and name.endswith("weight")) + 0.2 * noise)
            else:
                value.copy_(noise * (value[0].numel() ** -0.5 if value.ndim != 3 else 0.5))
        return network.eval()

    return fill
