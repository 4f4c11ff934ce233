"""AdamW, its rate over the steps, and its rates over the layers (Loshchilov and Hutter 2019)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from callosum.core.errors import UsageError
from callosum.models.dual import DualEncoder

LAYER = re.compile(r"stages\.\d+\.(?:blocks\.)?\d+(?=\.)|stages\.\d+(?=\.(?:conv|norm|shortcut))|blocks\.\d+(?=\.)")
"""Where a parameter's name says which layer of its tower it belongs to."""


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """How weights move.

    Attributes:
        learning_rate: Peak, after a linear warm-up and before a cosine.
        floor: Share of the peak that the cosine ends at.
        warmup_share: Share of the steps that warm up.
        weight_decay: Decay of matrices; vectors (biases, norms, the temperature) have none.
        betas: Decay of the averages of the gradient and of its square.
        eps: Added to the root of the latter.
        layer_decay: Rate of each layer over that of the layer above it; below 1, early layers keep more of what they
            were trained to (Clark et al. 2020, ELECTRA). Projections have the whole rate.
        image_rate: Rate of the image side over that of the run.
        text_rate: Rate of the text side over that of the run.
        max_norm: Bound of the gradient's norm; 0 for none.
    """

    learning_rate: float = 1e-4
    floor: float = 0.0
    warmup_share: float = 0.1
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = 1e-8
    layer_decay: float = 1.0
    image_rate: float = 1.0
    text_rate: float = 1.0
    max_norm: float = 1.0

    def __post_init__(self) -> None:
        positive = {"learning_rate": self.learning_rate, "eps": self.eps}
        shares = {"floor": self.floor, "warmup_share": self.warmup_share, "layer_decay": self.layer_decay}
        least = {name: getattr(self, name) for name in ("weight_decay", "image_rate", "text_rate", "max_norm")}
        if low := next((name for name, value in least.items() if not 0 <= value < math.inf), None):
            message = f"{low} is a number of at least 0; found {least[low]}."
            raise UsageError(message)
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            message = f"betas are two numbers of at least 0 and below 1; found {list(self.betas)}."
            raise UsageError(message)
        for name, value in positive.items():
            if not (0 < value < math.inf):
                message = f"{name} is above zero; found {value}."
                raise UsageError(message)
        for name, value in shares.items():
            if not 0 <= value <= 1:
                message = f"{name} is between 0 and 1; found {value}."
                raise UsageError(message)

    def rate(self, step: int, num_steps: int) -> float:
        """Learning rate of step `step`, counted from 0."""
        warmup = int(self.warmup_share * num_steps)
        if step < warmup:
            return self.learning_rate * (step + 1) / warmup
        done = min(1.0, (step - warmup) / max(1, num_steps - warmup))
        return self.learning_rate * (self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * done)))


def adamw(network: DualEncoder, extra: Iterable[nn.Parameter], config: OptimConfig) -> torch.optim.AdamW:
    """The optimiser of all parameters that want a gradient; each group keeps its share of the rate as `rate_share`.

    Args:
        network: Both towers.
        extra: Parameters beside them, such as those of heads, with the whole rate.
        config: Rates and decays.

    Raises:
        UsageError: nothing is trained.
    """
    groups: dict[tuple[float, float], list[Tensor]] = {}
    shares = {name: _share(name, at, config) for name, at in _heights(network)}
    named = [(shares.get(name, 1.0), p) for name, p in network.named_parameters()] + [(1.0, p) for p in extra]
    for share, parameter in named:
        if parameter.requires_grad and share:
            decay = config.weight_decay if parameter.ndim >= 2 else 0.0
            groups.setdefault((share, decay), []).append(parameter)
    if not groups:
        message = "Nothing is trained: every weight is locked."
        raise UsageError(message, hint="Unlock a tower, or train the projections.")
    settings, number = [], count()
    for (share, decay), members in groups.items():
        places = {id(p): next(number) for p in members}
        for is_part in (False, True):  # what is dealt out over processes cannot be moved together with what is not
            own = [p for p in members if isinstance(p, DTensor) is is_part]
            numbers = [places[id(p)] for p in own]
            chosen = {"params": own, "numbers": numbers, "rate_share": share, "weight_decay": decay}
            settings += [chosen] if own else []
    return torch.optim.AdamW(settings, lr=config.learning_rate, betas=config.betas, eps=config.eps, fused=True)


def numbered(optimizer: torch.optim.Optimizer) -> dict[int, Tensor]:
    """What an optimiser moves, by its place; of one of `adamw` by numbers that do not tell what is dealt out."""
    found: dict[int, Tensor] = {}
    for group in optimizer.param_groups:
        places = group.get("numbers", range(len(found), len(found) + len(group["params"])))
        found |= zip(places, group["params"], strict=True)
    return found


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group its share of `rate`."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["rate_share"]


def _heights(network: DualEncoder) -> Iterator[tuple[str, int]]:
    """For each parameter of a tower how many layers lie above it; what comes before the first counts as below it."""
    for side in ("vision", "text"):
        names = [name for name, _ in getattr(network, side).named_parameters()]
        layers = list(dict.fromkeys(found[0] for name in names if (found := LAYER.match(name))))
        at = {layer: n + 1 for n, layer in enumerate(layers)}
        reached = 0
        for name in names:
            found = LAYER.match(name)
            reached = at[found[0]] if found else reached
            yield f"{side}.{name}", len(layers) + 1 - reached


def _share(name: str, height: int, config: OptimConfig) -> float:
    side = config.image_rate if name.startswith("vision.") else config.text_rate
    return side * config.layer_decay**height
