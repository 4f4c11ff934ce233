"""Averaged weights: a moving average of a network's, which is what a run keeps (Polyak and Juditsky 1992)."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, *, decay: float, step: int) -> None:
    """Move the average towards the weights after `step` steps; early ones count more than `decay` says.

    What is not a floating-point number, such as a counter, is copied.
    """
    share = 1 - min(decay, (1 + step) / (10 + step))
    pairs = zip(average.state_dict().values(), network.state_dict().values(), strict=True)
    for kept, new in pairs:
        if kept.dtype.is_floating_point:
            kept.lerp_(new.to(kept.dtype), share)
        else:
            kept.copy_(new)
