"""Stain normalisation: every slide as if its stains were those of one published reference.

Macenko finds the two stains of the slide as the extreme directions of its optical density and maps them, and how
strong they are, to the reference (Macenko et al., ISBI 2009; reference vectors and maximum concentrations of the
authors' published code). In optical density that is one 3 x 3 matrix. White has no density and stays white.

Reinhard gives the tissue the mean and spread of a reference in the decorrelated space of Ruderman (Reinhard et al.,
IEEE CG&A 2001; reference: the region of TCGA-A2-A3XS-DX1 of Amgad et al., Bioinformatics 2019, as HistomicsTK
states it). It would tint glass, so it fades in with optical density: white stays white.

Both are fitted once per slide, on its tissue, never per tile: a tile of stroma alone would get invented nuclei.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Float, UInt8

from callosum.core.digest import digest_bytes

MIN_PIXELS = 1000
"""Fewer pixels with stain cannot be fitted."""

MIN_ANGLE_DEG = 3.0
"""Stain vectors that are closer are one stain."""

_MIN_DENSITY = 0.15
"""beta of Macenko: a pixel that is thinner in any channel is glass."""

_GLASS_DENSITY = 0.05
"""To Reinhard, a pixel that is thinner on average is glass; the reference holds thin tissue too."""

_FULL_DENSITY = 0.15
"""From this average density on, Reinhard's colours are taken whole."""

_EXTREME_PERCENT = 1.0
"""alpha of Macenko: the extreme directions are robust percentiles."""

_REFERENCE_STAINS = np.array([[0.5626, 0.2159], [0.7201, 0.8012], [0.4062, 0.5581]])
_REFERENCE_MAXIMUM = np.array([1.9705, 1.0308])
_REFERENCE_MEAN = np.array([8.74108109, -0.12440419, 0.0444982])
_REFERENCE_SPREAD = np.array([0.6135447, 0.10989545, 0.0286032])

_RGB_TO_LMS = np.array([[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]])
_LMS_TO_LAB = np.diag([3**-0.5, 6**-0.5, 2**-0.5]) @ np.array([[1, 1, 1], [1, 1, -2], [1, -1, 0]])

_DENSITY = -np.log((np.arange(256) + 1) / 256).astype(np.float32)
"""Optical density of each sample, natural logarithm; one is added so that black is finite, and white is 0."""


class Stain(StrEnum):
    """Which stain normalisation tiles get."""

    NONE = "none"
    MACENKO = "macenko"
    REINHARD = "reinhard"


@dataclass(frozen=True, kw_only=True, slots=True)
class StainFit:
    """A normalisation fitted to one slide, as a JSON value.

    Attributes:
        method: Macenko or Reinhard.
        numbers: Macenko: the matrix from densities to densities, row by row. Reinhard: mean, then spread.
    """

    method: Stain
    numbers: tuple[float, ...]

    @property
    def name(self) -> str:
        """Method and digest of the numbers, for the render recipe."""
        return f"{self.method} {digest_bytes(np.array(self.numbers).tobytes())[:12]}"

    def apply(self, pixels: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H W 3"]:
        """Normalise a picture."""
        flat = pixels.reshape(-1, 3)
        out = self._macenko(flat) if self.method is Stain.MACENKO else self._reinhard(flat)
        return np.rint(np.clip(out, 0, 255)).astype(np.uint8).reshape(pixels.shape)

    def _macenko(self, flat: np.ndarray) -> np.ndarray:
        matrix = np.array(self.numbers, np.float32).reshape(3, 3)
        out: np.ndarray = 256 * np.exp(-(_DENSITY[flat] @ matrix.T)) - 1
        return out

    def _reinhard(self, flat: np.ndarray) -> np.ndarray:
        mean, spread = np.array(self.numbers).reshape(2, 3)
        lab = (_lab(flat) - mean) * (_REFERENCE_SPREAD / spread) + _REFERENCE_MEAN
        normal = np.exp(lab @ np.linalg.inv(_LMS_TO_LAB).T) @ np.linalg.inv(_RGB_TO_LMS).T
        weight = np.minimum(1, _DENSITY[flat].mean(axis=-1, keepdims=True) / _FULL_DENSITY)
        out: np.ndarray = flat + weight * (normal - flat)
        return out


def fit_stain(method: Stain, tiles: Sequence[UInt8[np.ndarray, "H W 3"]]) -> StainFit | None:
    """Fit a normalisation to tiles of one slide; None when they hold too little stain, or one stain only.

    Args:
        method: Macenko or Reinhard.
        tiles: Tiles of tissue, at the resolution that will be normalised.
    """
    flat = np.concatenate([tile.reshape(-1, 3) for tile in tiles]) if tiles else np.empty((0, 3), np.uint8)
    density = _DENSITY[flat]
    if method is Stain.MACENKO:
        is_stained = density.min(axis=-1) >= _MIN_DENSITY
    else:
        is_stained = density.mean(axis=-1) >= _GLASS_DENSITY
    if np.count_nonzero(is_stained) < MIN_PIXELS:
        return None
    if method is Stain.REINHARD:
        lab = _lab(flat[is_stained])
        mean, spread = lab.mean(axis=0), lab.std(axis=0)
        if (spread < 1e-3).any():
            return None
        return StainFit(method=method, numbers=(*map(float, mean), *map(float, spread)))
    density = density[is_stained].astype(np.float64)
    stains = stain_vectors(density)
    if stains is None:
        return None
    to_strength = np.linalg.pinv(stains)
    maximum = np.percentile(density @ to_strength.T, 99, axis=0)
    if (maximum <= 1e-3).any():
        return None
    matrix = _REFERENCE_STAINS @ np.diag(_REFERENCE_MAXIMUM / maximum) @ to_strength
    return StainFit(method=method, numbers=tuple(map(float, matrix.ravel())))


def stain_vectors(density: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "3 2"] | None:
    """Unit vectors of haematoxylin and eosin, in this order; None when there is one stain only.

    The plane of the two largest principal directions, and in it the robust extreme angles (Macenko 2009). The stain
    that absorbs more red is haematoxylin.
    """
    plane = np.linalg.eigh(np.cov(density.T))[1][:, :0:-1]
    plane = plane * np.where(density.mean(axis=0) @ plane < 0, -1.0, 1.0)
    shadow = density @ plane
    angles = np.percentile(np.arctan2(shadow[:, 1], shadow[:, 0]), [_EXTREME_PERCENT, 100 - _EXTREME_PERCENT])
    if np.degrees(angles[1] - angles[0]) < MIN_ANGLE_DEG:
        return None
    vectors: np.ndarray = plane @ np.array([np.cos(angles), np.sin(angles)])
    return vectors if vectors[0, 0] > vectors[0, 1] else vectors[:, ::-1]


def _lab(flat: np.ndarray) -> np.ndarray:
    """Samples 0 to 255 `[N, 3]` in the space of Ruderman, natural logarithm."""
    return np.log(np.maximum(flat @ _RGB_TO_LMS.T, 1e-3)) @ _LMS_TO_LAB.T
