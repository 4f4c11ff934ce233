"""The network of two towers: features of each projected to unit vectors of one width."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn
from torch.nn import functional

from callosum.models.preprocess import Preprocess, TowerResample
from callosum.models.text.pooling import projection
from callosum.models.towers import DualConfig, build_tower


class DualEncoder(nn.Module):
    """Image tower and text tower with a projection each.

    Args:
        config: Sizes.
        preprocess: Gives the mean and deviation that pictures are normalised with.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: DualConfig, preprocess: Preprocess) -> None:
        super().__init__()
        self.config = config
        self.preprocess = preprocess
        for name in ("mean", "std"):
            values = torch.tensor(getattr(preprocess, name), device="cpu").view(1, 3, 1, 1)
            self.register_buffer(name, values, persistent=False)
        self.vision: Any = build_tower(config.vision)
        self.text: Any = build_tower(config.text)
        self.image_projection = projection(config.image_head, self.vision.feature_width, config.dim)
        self.text_projection = projection(config.text_head, self.text.feature_width, config.dim)
        if config.has_regions:
            self.region_projection = nn.Linear(self.vision.region_width, config.dim, bias=False)
        self.log_logit_scale = nn.Parameter(torch.tensor(math.log(12.0)))
        if config.has_logit_bias:
            self.logit_bias = nn.Parameter(torch.zeros(()))

    @property
    def logit_scale(self) -> Float[Tensor, ""]:
        """One over the temperature, bounded."""
        return self.log_logit_scale.clamp(0.0, math.log(self.config.max_logit_scale)).exp()

    def normalise(self, pixels: UInt8[Tensor, "B S S 3"]) -> Float[Tensor, "B 3 S S"]:
        """Prepared pictures to the tower's input, channels last in memory."""
        x = (pixels.permute(0, 3, 1, 2).float() / 255.0 - self.mean) / self.std
        if side := self.preprocess.tower_px:
            has_corners = self.preprocess.tower_resample is TowerResample.BILINEAR_CORNERS
            x = functional.interpolate(
                x, size=side, mode="bilinear" if has_corners else "bicubic", align_corners=has_corners
            )
        return x.contiguous(memory_format=torch.channels_last)

    def embed_features(self, features_BF: Float[Tensor, "B F"]) -> Float[Tensor, "B D"]:
        """Image features to unit vectors."""
        return functional.normalize(self.image_projection(features_BF).float(), dim=-1)

    def encode_image(self, pixels: UInt8[Tensor, "B S S 3"]) -> Float[Tensor, "B D"]:
        """Preprocessed pictures to unit vectors."""
        return self.embed_features(self.vision(self.normalise(pixels)))

    def encode_text(self, ids_BL: Int[Tensor, "B L"], mask_BL: Bool[Tensor, "B L"]) -> Float[Tensor, "B D"]:
        """Token ids to unit vectors."""
        return functional.normalize(self.text_projection(self.text(ids_BL, mask_BL)).float(), dim=-1)

    def encode_regions(self, pixels: UInt8[Tensor, "B S S 3"]) -> Float[Tensor, "B P D"]:
        """Preprocessed pictures to unit vectors of their regions, row by row."""
        _, map_BCHW = self.vision.features_and_map(self.normalise(pixels))
        return functional.normalize(self.region_projection(map_BCHW.flatten(2).transpose(1, 2)).float(), dim=-1)


class ImageSide(nn.Module):
    """One side of a network as a tower of its own, to be converted: normalised pictures to the shared space."""

    def __init__(self, network: DualEncoder) -> None:
        super().__init__()
        self.tower, self.projection = network.vision, network.image_projection

    def forward(self, x: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B D"]:
        """Vectors, not of norm one."""
        out: Tensor = self.projection(self.tower(x))
        return out


class TextSide(nn.Module):
    """The other side: padded token ids and their mask to the shared space."""

    def __init__(self, network: DualEncoder) -> None:
        super().__init__()
        self.tower, self.projection = network.text, network.text_projection

    def forward(self, ids_BL: Int[Tensor, "B L"], mask_BL: Bool[Tensor, "B L"]) -> Float[Tensor, "B D"]:
        """Vectors, not of norm one."""
        out: Tensor = self.projection(self.tower(ids_BL, mask_BL))
        return out
