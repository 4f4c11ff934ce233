"""Augmentation of a batch of pictures: one affine resampling, then grey, colour, blur, noise and cutout.

Each pack has its own limits: chest films are not mirrored and hardly cropped, because position and coarse brightness
carry the finding; tissue and smears have no up or down and their stain varies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Limits for one pack.

    Attributes:
        min_scale: Smallest share of the side that stays in the crop.
        max_scale: Largest; above one the picture shrinks inside a border.
        stretch: Largest log2 of the change of aspect ratio.
        rotation_deg: Largest rotation.
        mirror: Probability of a left-right flip.
        is_dihedral: Whether quarter turns and up-down flips are harmless.
        brightness: Largest shift, in units of the full range.
        contrast: Largest log2 of the contrast factor, and of gamma.
        colour: Largest shift per channel, for stains.
        blur: Probability of a loss of resolution.
        cutout: Probability of one erased rectangle.
    """

    min_scale: float = 0.7
    max_scale: float = 1.05
    stretch: float = 0.2
    rotation_deg: float = 8.0
    mirror: float = 0.0
    is_dihedral: bool = False
    brightness: float = 0.1
    contrast: float = 0.3
    colour: float = 0.0
    blur: float = 0.25
    cutout: float = 0.25


FILM = AugmentConfig(min_scale=0.8, rotation_deg=6, brightness=0.06, contrast=0.2)
TISSUE = AugmentConfig(
    min_scale=0.6,
    rotation_deg=45,
    mirror=0.5,
    is_dihedral=True,
    brightness=0.1,
    contrast=0.3,
    colour=0.08,
    max_scale=1.0,
)
PACK_AUGMENT = {
    "roco_open": AugmentConfig(min_scale=0.55, mirror=0.3, contrast=0.4, stretch=0.3),
    "cxr_nih14": FILM,
    "cxr_pediatric": FILM,
    "cxr_notes": FILM,
    "medical_mnist": AugmentConfig(min_scale=0.6, mirror=0.5, rotation_deg=15, contrast=0.5),
    "path_lc25000": TISSUE,
    "blood_bccd": TISSUE,
    "us_breast_busi": AugmentConfig(min_scale=0.6, mirror=0.5, contrast=0.4, brightness=0.08),
    "us_lung_pocus": AugmentConfig(min_scale=0.7, mirror=0.5, contrast=0.4),
}


def augment(
    pixels: UInt8[Tensor, "B H W 3"], configs: list[AugmentConfig], *, size_px: int, generator: torch.Generator
) -> Float[Tensor, "B 3 S S"]:
    """Augment each picture within its own limits; the result is in 0..1."""
    B = len(pixels)

    def limit(name: str) -> Tensor:
        return torch.tensor([float(getattr(c, name)) for c in configs])

    def uniform(low: float = -1.0, high: float = 1.0) -> Tensor:
        return torch.rand(B, generator=generator) * (high - low) + low

    x = pixels.permute(0, 3, 1, 2).float() / 255.0
    grid = functional.affine_grid(_affine(limit, uniform), [B, 3, size_px, size_px], align_corners=False)
    x = functional.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    x = _tone(x, limit, uniform, generator=generator)
    x = _soften(x, uniform(0, 1) < limit("blur"), uniform(0.35, 0.9))
    noisy = (uniform() > 0.5).nonzero().flatten()
    noise = torch.randn(len(noisy), 1, *x.shape[2:], generator=generator) * uniform(0, 0.04)[noisy, None, None, None]
    x = x.index_add(0, noisy, noise.expand(-1, 3, -1, -1)).clamp(0.0, 1.0)
    return _cutout(x, uniform(0, 1) < limit("cutout"), uniform)


def _affine(limit, uniform) -> Float[Tensor, "B 2 3"]:  # type: ignore[no-untyped-def]
    """Output-to-input matrices: rotation, scale, stretch, mirror, quarter turns, and a shift inside the picture."""
    scale = limit("min_scale") + (limit("max_scale") - limit("min_scale")) * uniform(0, 1)
    stretch = 2 ** (limit("stretch") * uniform() / 2)
    scale_x, scale_y = scale * stretch, scale / stretch
    mirror = torch.where(uniform(0, 1) < limit("mirror"), -1.0, 1.0)
    turns = torch.floor(uniform(0, 4)) * limit("is_dihedral")
    angle = limit("rotation_deg") * uniform() * math.pi / 180 + turns * math.pi / 2
    cos, sin = torch.cos(angle), torch.sin(angle)
    shift_x = uniform() * (1 - scale_x).abs()
    shift_y = uniform() * (1 - scale_y).abs()
    row_x = torch.stack([cos * scale_x * mirror, -sin * scale_y, shift_x], dim=1)
    row_y = torch.stack([sin * scale_x * mirror, cos * scale_y, shift_y], dim=1)
    return torch.stack([row_x, row_y], dim=1)


def _tone(x: Tensor, limit, uniform, *, generator: torch.Generator) -> Tensor:  # type: ignore[no-untyped-def]
    """Gamma, contrast, brightness and a shift per channel."""
    gamma = 2 ** (limit("contrast") * uniform())
    gain = 2 ** (limit("contrast") * uniform())
    shift_B3 = (limit("brightness") * uniform())[:, None]
    channel_B3 = (torch.rand(len(x), 3, generator=generator) * 2 - 1) * limit("colour")[:, None]
    x = x.clamp_min(1e-4) ** gamma[:, None, None, None]
    centre = x.mean(dim=(1, 2, 3), keepdim=True)
    x = (x - centre) * gain[:, None, None, None] + centre + (shift_B3 + channel_B3)[:, :, None, None]
    return x.clamp(0.0, 1.0)


def _soften(x: Tensor, chosen_B: Tensor, factor_B: Tensor) -> Tensor:
    """Reduce some pictures and enlarge them again."""
    rows = chosen_B.nonzero().flatten()
    if len(rows):
        side = max(16, int(x.shape[-1] * float(factor_B[rows[0]])))
        small = functional.interpolate(x[rows], size=side, mode="bilinear", antialias=True)
        x = x.index_copy(0, rows, functional.interpolate(small, size=x.shape[-1], mode="bilinear"))
    return x


def _cutout(x: Tensor, chosen_B: Tensor, uniform) -> Tensor:  # type: ignore[no-untyped-def]
    """Erase one rectangle of some pictures (DeVries and Taylor 2017)."""
    S = x.shape[-1]
    place = torch.arange(S) / S
    inside = []
    for _ in range(2):
        centre, half = uniform(0, 1), uniform(0.06, 0.16)
        inside.append((place[None] - centre[:, None]).abs() < half[:, None])
    hole = inside[0][:, None, :, None] & inside[1][:, None, None, :] & chosen_B[:, None, None, None]
    return x.masked_fill(hole, 0.0)
