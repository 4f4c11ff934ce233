"""GLoRIA (Huang et al. 2021): whole images with whole reports, and image regions with words.

Every word looks at the image: its weights over the regions make a picture of the word, and a text fits an image when
its words resemble their pictures. Released code differs from itself in three places; this is its training path, where
all words including the first token count and their fits are summed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from callosum.core.errors import InputError, UsageError
from callosum.objectives.contrastive import both_ways
from callosum.objectives.objective import Need
from callosum.objectives.pairs import Pairing
from callosum.objectives.views import Side, Views


@dataclass(frozen=True, kw_only=True)
class Gloria(Pairing):
    """The paper's loss: both directions of the global and of the local score, summed.

    Attributes:
        region_temperature: Sharpness of a word's weights over the regions (tau 1).
        word_temperature: Sharpness of the sum over words (tau 2).
        pair_temperature: What scores are multiplied with before the softmax over pairs (tau 3).
        global_weight: Weight of the global score's two terms.
        local_weight: Weight of the local score's two terms.
    """

    region_temperature: float = 4.0
    word_temperature: float = 5.0
    pair_temperature: float = 10.0
    global_weight: float = 1.0
    local_weight: float = 1.0

    needs: ClassVar[frozenset[Need]] = frozenset({Need.TOKENS})
    initial_logit_scale: ClassVar[float] = 1.0
    initial_logit_bias: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        if not all(each > 0 for each in (self.region_temperature, self.word_temperature, self.pair_temperature)):
            message = "GLoRIA: temperatures are above zero."
            raise UsageError(message)

    def __call__(self, views: Views) -> dict[str, Tensor]:
        """`loss`; `global` and `local` (each direction's mean added), and `matched`. The logit scale is not used."""
        whole = both_ways(views, self, self.global_score)
        parts = both_ways(views, self, self.local_score)
        return {
            # Both ways come as their mean, and the paper adds them.
            "loss": 2 * (self.global_weight * whole["loss"] + self.local_weight * parts["loss"]),
            "global": 2 * whole["loss"].detach(),
            "local": 2 * parts["loss"].detach(),
            "matched": whole["matched"],
        }

    def global_score(self, image: Side, text: Side) -> Float[Tensor, "N M"]:
        """Cosines of whole embeddings, times tau 3."""
        image_ND, text_MD = (functional.normalize(side.embedding_ND, dim=1, eps=1e-8) for side in (image, text))
        return self.pair_temperature * image_ND @ text_MD.T

    def local_score(self, image: Side, text: Side) -> Float[Tensor, "N M"]:
        """How well the words of each text resemble their pictures in each image, times tau 3."""
        if image.token_NLD is None or text.token_NLD is None:
            message = "This objective needs regions of the images and words of the texts."
            raise InputError(message, hint="Ask the towers for their tokens.")
        columns = []
        for m, word_LD in enumerate(text.token_NLD):
            if text.token_mask_NL is not None:
                word_LD = word_LD[text.token_mask_NL[m]]
            picture_NLD = word_pictures(
                word_LD, image.token_NLD, image.token_mask_NL, temperature=self.region_temperature
            )
            fit_NL = functional.cosine_similarity(picture_NLD, word_LD[None], dim=2, eps=1e-8)
            columns.append((self.word_temperature * fit_NL).logsumexp(dim=1))
        return self.pair_temperature * torch.stack(columns, dim=1)


def word_pictures(
    word_LD: Float[Tensor, "L D"],
    region_NPD: Float[Tensor, "N P D"],
    mask_NP: Bool[Tensor, "N P"] | None = None,
    *,
    temperature: float,
) -> Float[Tensor, "N L D"]:
    """The regions of each image as one word after another sees them: first words compete for a region, then regions."""
    weight_NPL = (region_NPD @ word_LD.T).softmax(dim=2)
    weight_NLP = temperature * weight_NPL.transpose(1, 2)
    if mask_NP is not None:
        weight_NLP = weight_NLP.masked_fill(~mask_NP[:, None], float("-inf"))
    return weight_NLP.softmax(dim=2) @ region_NPD
