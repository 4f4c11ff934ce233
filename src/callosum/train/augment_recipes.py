"""Augmentations of published methods by name, for a batch of squares at once, on whatever device they lie.

What changes a picture is a function of its key alone, so an interrupted run goes on with the same crops. A left-right
flip is part of none of them: it turns a heart to the right and a chest film into another diagnosis. Where its authors
flip, as ConVIRT and MedCLIP do with probability 0.5, that must be asked for (`mirror`).

Crop, rotation, shift, scale and flip are one bilinear resampling, black outside; then brightness, contrast and blur.
Published code resizes in steps and draws the order of brightness and contrast; the distributions of the limits are
the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import torch
from jaxtyping import Float, UInt8, UInt64
from torch import Tensor
from torch.nn import functional

from callosum.core.errors import UsageError
from callosum.train.chance import uniforms

Range = tuple[float, float]
ONE: Range = (1.0, 1.0)
_DRAWS = ("crop", "aspect", "x", "y", "angle", "dx", "dy", "scale", "mirror", "brightness", "contrast", "sigma")


class Recipe(StrEnum):
    """Augmentation of a published method."""

    NONE = "none"
    """The whole square."""
    CLIP = "clip"
    """Radford et al. 2021 as open_clip trains: 0.9 to 1 of the area, sides 3:4 to 4:3."""
    CONVIRT = "convirt"
    """Zhang et al. 2020, arXiv:2010.00747: crops of 0.6 to 1 of the side, 20 degrees, shift 0.1, scale 0.95 to 1.05,
    brightness and contrast 0.6 to 1.4, blur of 0.1 to 3 pixels."""
    GLORIA = "gloria"
    """Huang et al. 2021, ICCV: crops of 7/8 of the side, without resampling where sizes allow."""
    MEDCLIP = "medclip"
    """Wang et al. 2022, arXiv:2210.10163, as its code trains: 10 degrees, scale 0.8 to 1.1, shift 1/16, crops of 7/8
    of the side, brightness and contrast 0.8 to 1.2."""


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Limits, each drawn from uniformly.

    Attributes:
        crop: Share that stays, of the side or of the area.
        is_area: Which of the two.
        aspect: Largest ratio of the sides of a crop; drawn in its logarithm.
        rotation_deg: Largest rotation, both ways.
        shift: Largest shift, as a share of the side, both ways.
        scale: Magnification.
        mirror: Probability of a left-right flip.
        brightness: Factor.
        contrast: Factor of the difference from the mean of the picture.
        blur_px: Standard deviation of a Gaussian blur, in pixels of the result.
    """

    crop: Range = ONE
    is_area: bool = False
    aspect: float = 1.0
    rotation_deg: float = 0.0
    shift: float = 0.0
    scale: Range = ONE
    mirror: float = 0.0
    brightness: Range = ONE
    contrast: Range = ONE
    blur_px: Range = (0.0, 0.0)

    @property
    def is_crop(self) -> bool:
        """Whether geometry is a crop of one size and nothing else."""
        still = self.aspect == 1 and not (self.rotation_deg or self.shift or self.mirror or self.is_area)
        return still and self.scale == ONE and self.crop[0] == self.crop[1]


RECIPES = {
    Recipe.NONE: Augmentation(),
    Recipe.CLIP: Augmentation(crop=(0.9, 1.0), is_area=True, aspect=4 / 3),
    Recipe.CONVIRT: Augmentation(
        crop=(0.6, 1.0),
        rotation_deg=20.0,
        shift=0.1,
        scale=(0.95, 1.05),
        brightness=(0.6, 1.4),
        contrast=(0.6, 1.4),
        blur_px=(0.1, 3.0),
    ),
    Recipe.GLORIA: Augmentation(crop=(7 / 8, 7 / 8)),
    Recipe.MEDCLIP: Augmentation(
        crop=(7 / 8, 7 / 8),
        rotation_deg=10.0,
        shift=1 / 16,
        scale=(0.8, 1.1),
        brightness=(0.8, 1.2),
        contrast=(0.8, 1.2),
    ),
}


def augmentation_of(recipe: Recipe | str, *, mirror: float = 0.0) -> Augmentation:
    """The limits of a recipe, with a flip when asked for.

    Raises:
        UsageError: there is no such recipe, or `mirror` is no probability.
    """
    if recipe not in list(Recipe):
        message = f"An augmentation is one of {', '.join(Recipe)}; found '{recipe}'."
        raise UsageError(message)
    if not 0 <= mirror <= 1:
        message = f"mirror is a probability; found {mirror}."
        raise UsageError(message)
    return replace(RECIPES[Recipe(recipe)], mirror=mirror)


def augment_pixels(
    pixels: UInt8[Tensor, "N H W C"],
    keys_N: UInt64[np.ndarray, " N"],
    *,
    augmentation: Augmentation,
    size_px: int,
) -> Float[Tensor, "N 3 S S"]:
    """Augment each picture by its own key; the result is in 0..1, on the device of the pixels.

    A grey batch stays one channel until the end; its three are one in memory.
    """
    draws = _Draws(keys_N, pixels.device)
    side = pixels.shape[1]
    x = pixels.permute(0, 3, 1, 2).contiguous()  # resampling is half as slow again on channels that lie together
    if augmentation == Augmentation():
        x = resized(x, size_px)
    elif augmentation.is_crop and round(side * augmentation.crop[0]) == size_px:
        x = _cropped(x, draws, size_px).float() / 255.0
    else:
        grid = functional.affine_grid(_affine(augmentation, draws), [len(x), 1, size_px, size_px], align_corners=False)
        x = functional.grid_sample(x.float() / 255.0, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    x = _tone(x, augmentation, draws)
    if augmentation.blur_px[1] > 0:
        x = _blurred(x, draws.within("sigma", augmentation.blur_px), reach=math.ceil(3 * augmentation.blur_px[1]))
    return x.expand(-1, 3, -1, -1)


def resized(x: UInt8[Tensor, "N C H W"], size_px: int) -> Float[Tensor, "N C S S"]:
    """The whole square at another size, antialiased, in 0..1."""
    y = x.float() / 255.0
    if y.shape[-1] == size_px:
        return y
    return functional.interpolate(y, size=size_px, mode="bilinear", antialias=True).clamp(0.0, 1.0)


class _Draws:
    """Uniform numbers of each picture, by name."""

    def __init__(self, keys_N: np.ndarray, device: torch.device) -> None:
        self._values_ND = torch.from_numpy(uniforms(keys_N, len(_DRAWS)).astype(np.float32)).to(device)

    def unit(self, name: str) -> Tensor:
        """In [0, 1)."""
        return self._values_ND[:, _DRAWS.index(name)]

    def within(self, name: str, limits: Range) -> Tensor:
        """Between two limits."""
        return limits[0] + (limits[1] - limits[0]) * self.unit(name)


def _affine(limits: Augmentation, draws: _Draws) -> Float[Tensor, "N 2 3"]:
    """Result to square, both in -1..1: the crop, then what undoes the rotation, magnification and shift."""
    crop = draws.within("crop", limits.crop)
    if limits.is_area:
        crop = crop.sqrt()
    stretch = torch.exp(0.5 * math.log(limits.aspect) * draws.within("aspect", (-1.0, 1.0)))
    width, height = (crop * stretch).clamp_max(1.0), (crop / stretch).clamp_max(1.0)
    x = (1 - width) * draws.within("x", (-1.0, 1.0))
    y = (1 - height) * draws.within("y", (-1.0, 1.0))
    angle = draws.within("angle", (-1.0, 1.0)) * math.radians(limits.rotation_deg)
    shrink = 1.0 / draws.within("scale", limits.scale)
    cos, sin = torch.cos(angle) * shrink, torch.sin(angle) * shrink
    dx, dy = (2 * limits.shift * draws.within(name, (-1.0, 1.0)) for name in ("dx", "dy"))
    flip = torch.where(draws.unit("mirror") < limits.mirror, -1.0, 1.0)
    x, y = x - dx, y - dy
    row_x = torch.stack([cos * width * flip, -sin * height, cos * x - sin * y], dim=1)
    row_y = torch.stack([sin * width * flip, cos * height, sin * x + cos * y], dim=1)
    return torch.stack([row_x, row_y], dim=1)


def _cropped(x: Tensor, draws: _Draws, size_px: int) -> Tensor:
    """Crops at whole pixels."""
    room = x.shape[-1] - size_px + 1
    left, top = ((draws.unit(name) * room).long().tolist() for name in ("x", "y"))
    return torch.stack(
        [x[n, :, b : b + size_px, a : a + size_px] for n, (a, b) in enumerate(zip(left, top, strict=True))]
    )


def _tone(x: Tensor, limits: Augmentation, draws: _Draws) -> Tensor:
    """Brightness, then contrast about the mean of the picture."""
    if limits.brightness != ONE:
        x = (x * draws.within("brightness", limits.brightness)[:, None, None, None]).clamp_(0.0, 1.0)
    if limits.contrast != ONE:
        centre = x.mean(dim=(1, 2, 3), keepdim=True)
        gain = draws.within("contrast", limits.contrast)[:, None, None, None]
        x = ((x - centre) * gain + centre).clamp_(0.0, 1.0)
    return x


def _blurred(x: Float[Tensor, "N C S S"], sigma_N: Float[Tensor, " N"], *, reach: int) -> Float[Tensor, "N C S S"]:
    """Gaussian blur, each picture with its own width; edges are repeated."""
    N, C, S, _ = x.shape
    place = torch.arange(-reach, reach + 1, device=x.device)
    kernel = torch.exp(-0.5 * (place / sigma_N[:, None]) ** 2)
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).repeat_interleave(C, dim=0)
    y = functional.pad(x.reshape(1, N * C, S, S), (reach, reach, reach, reach), mode="replicate")
    y = functional.conv2d(y, kernel[:, None, None, :], groups=N * C)
    return functional.conv2d(y, kernel[:, None, :, None], groups=N * C).reshape(N, C, S, S)
