"""ConVIRT (Zhang et al. 2020): InfoNCE at a fixed temperature, images over texts weighing more than texts over images.

Text pooling and the two projections belong to the towers; they have to be trained (a well-known re-implementation runs
them without gradient, so that its text side never learns).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from callosum.core.errors import UsageError
from callosum.objectives.contrastive import both_ways
from callosum.objectives.objective import Need
from callosum.objectives.pairs import Pairing
from callosum.objectives.views import Side, Views


@dataclass(frozen=True, kw_only=True)
class ConVirt(Pairing):
    """The paper's loss.

    Attributes:
        temperature: Cosines are divided by it; it is not learnt.
        image_weight: The paper's lambda.
    """

    temperature: float = 0.1
    image_weight: float = 0.75

    needs: ClassVar[frozenset[Need]] = frozenset()
    initial_logit_scale: ClassVar[float] = 1.0
    initial_logit_bias: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        if not self.temperature > 0 or not 0 <= self.image_weight <= 1:
            message = (
                f"ConVIRT: temperature {self.temperature:g} > 0, image_weight {self.image_weight:g} in 0..1 needed."
            )
            raise UsageError(message)

    def __call__(self, views: Views) -> dict[str, Tensor]:
        """`loss`; `image_to_text`, `text_to_image` and `matched`. The logit scale is not used."""

        def score(image: Side, text: Side) -> Tensor:
            return image.embedding_ND @ text.embedding_ND.T / self.temperature

        return both_ways(views, self, score, image_weight=self.image_weight)
