"""What fine-tuning keeps of what was there before: weights between the start and the end, and their figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from callosum.models.dual import DualEncoder
from callosum.train.held_out import weights_of
from callosum.train.step import Step

Weights = Mapping[str, Tensor]
END = 1.0
ACCURACIES = ("validation_accuracy", "retained_accuracy")
"""Both count: by one alone the start, or the end, would always be best."""


@dataclass(kw_only=True)
class Sweep:
    """Figures along the line from the start to the end.

    Attributes:
        end: Weights at the end.
        shares: Share of the end in the weights.
        figures: What was measured at each.
        kept: The share that was kept.
    """

    end: Weights = field(default_factory=dict, repr=False)
    shares: list[float] = field(default_factory=list)
    figures: list[dict[str, float]] = field(default_factory=list)
    kept: float = END

    def to_json(self) -> dict[str, Any]:
        """The JSON object."""
        return {"shares": self.shares, "figures": self.figures, "kept": self.kept}


def sweep(step: Step, start: Weights, measure: Callable[[], dict[str, float]], *, num_shares: int) -> Sweep:
    """Measure weights between the start and the end, both included (Wortsman et al. 2022, WiSE-FT).

    Args:
        step: Its network holds the end, and does again afterwards.
        start: Weights before the run.
        measure: Figures of the network as it is.
        num_shares: How many, evenly apart; at least 2.
    """
    found = Sweep(end=weights_of(step.network))
    for share in np.linspace(0.0, END, max(2, num_shares)).tolist():
        interpolate(step.network, start, found.end, share)
        found.shares.append(share)
        found.figures.append(measure())
    step.network.load_state_dict(found.end)
    return found


def keep_best(network: DualEncoder, start: Weights, found: Sweep, *, is_chosen: bool) -> None:
    """Set the weights to the best of a sweep by the mean of both accuracies, if asked for; the end where equal."""
    scores = [[each[name] for name in ACCURACIES if name in each] for each in found.figures]
    if is_chosen and all(len(each) == len(ACCURACIES) for each in scores):
        best = max(range(len(scores)), key=lambda n: (float(np.mean(scores[n])), found.shares[n]))
        found.kept = found.shares[best]
        interpolate(network, start, found.end, found.kept)


def interpolate(network: DualEncoder, start: Weights, end: Weights, share: float) -> None:
    """Set the weights to `share` of the end and the rest of the start.

    Counters, and weights that only the end has, are those of the end.
    """
    mixed = {}
    for name, value in end.items():
        before = start.get(name)
        is_mixed = before is not None and before.shape == value.shape and value.is_floating_point()
        mixed[name] = torch.lerp(before.to(value), value, share) if is_mixed and before is not None else value
    network.load_state_dict(mixed)
