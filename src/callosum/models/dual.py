"""The network of two towers: features of each projected to unit vectors of one width."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn
from torch.nn import functional

from callosum.models.text.sizes import SmallTextConfig
from callosum.models.text.small import SmallText
from callosum.models.vision.hybrid import Hybrid
from callosum.models.vision.sizes import HybridConfig

MAX_LOGIT_SCALE = 50.0


class DualEncoder(nn.Module):
    """Image tower and text tower with a linear projection each.

    Args:
        vision: Sizes of the image tower.
        text: Sizes of the text tower.
        dim: Width of the shared space.
    """

    def __init__(self, *, vision: HybridConfig, text: SmallTextConfig, dim: int) -> None:
        super().__init__()
        self.vision = Hybrid(vision)
        self.text = SmallText(text)
        self.image_projection = nn.Linear(self.vision.feature_width, dim, bias=False)
        self.text_projection = nn.Linear(self.text.feature_width, dim, bias=False)
        self.log_logit_scale = nn.Parameter(torch.tensor(math.log(12.0)))

    @property
    def logit_scale(self) -> Float[Tensor, ""]:
        """One over the temperature, at most 50."""
        return self.log_logit_scale.clamp(0.0, math.log(MAX_LOGIT_SCALE)).exp()

    def embed_features(self, features_BF: Float[Tensor, "B F"]) -> Float[Tensor, "B D"]:
        """Image features to unit vectors."""
        return functional.normalize(self.image_projection(features_BF).float(), dim=-1)

    def encode_image(self, pixels: UInt8[Tensor, "B S S 3"]) -> Float[Tensor, "B D"]:
        """Preprocessed pictures to unit vectors."""
        return self.embed_features(self.vision(self.vision.normalise(pixels)))

    def encode_text(self, ids_BL: Int[Tensor, "B L"], mask_BL: Bool[Tensor, "B L"]) -> Float[Tensor, "B D"]:
        """Token ids to unit vectors."""
        return functional.normalize(self.text_projection(self.text(ids_BL, mask_BL)).float(), dim=-1)
