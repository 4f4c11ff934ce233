"""Pairwise sigmoid loss (SigLIP, Zhai et al. 2023): every pair is one yes-or-no question, so no row competes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from callosum.objectives.objective import Need
from callosum.objectives.pairs import Pairing
from callosum.objectives.views import Views


@dataclass(frozen=True, kw_only=True)
class SigLip(Pairing):
    """Minus the log-sigmoid of all pairs, signed by their truth, summed and divided by the number of images."""

    needs: ClassVar[frozenset[Need]] = frozenset({Need.SCALE, Need.BIAS})
    initial_logit_scale: ClassVar[float] = 10.0
    initial_logit_bias: ClassVar[float] = -10.0

    def __call__(self, views: Views) -> dict[str, Tensor]:
        """`loss`, and its parts `positive` and `negative`."""
        views = views.paired()
        image = views.my_image
        truth_NM = self.truth(image, views.text)
        logits_NM = views.scale() * image.embedding_ND @ views.text.embedding_ND.T + views.bias()
        weight = views.num_processes / len(views.image)
        positive = -functional.logsigmoid(logits_NM).masked_fill(truth_NM != 1, 0.0).sum() * weight
        negative = -functional.logsigmoid(-logits_NM).masked_fill(truth_NM != 0, 0.0).sum() * weight
        return {"loss": positive + negative, "positive": positive.detach(), "negative": negative.detach()}
