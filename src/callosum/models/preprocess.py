"""From a display picture to the square the image tower takes; part of a checkpoint's fingerprint.

The picture is squeezed to a square, without cropping: the edges of a film and the whole of a figure stay visible.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import UInt8
from PIL import Image


class Resample(StrEnum):
    """Filter used to resize."""

    BILINEAR = "bilinear"
    BICUBIC = "bicubic"


_FILTERS = {Resample.BILINEAR: Image.Resampling.BILINEAR, Resample.BICUBIC: Image.Resampling.BICUBIC}


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """Grey or colour display values to `[S, S, 3]` uint8. Picklable; needs neither torch nor weights.

    Attributes:
        size_px: Side of the result.
        resample: Filter; Pillow's filters widen with the reduction, so nothing aliases.
        reducing_gap: Pictures that are many times larger are first averaged down to at least this many times the
            size, which is faster; None resizes in one step.
    """

    size_px: int = 112
    resample: Resample = Resample.BILINEAR
    reducing_gap: float | None = None

    def __call__(self, display: UInt8[np.ndarray, "H W *C"]) -> UInt8[np.ndarray, "S S 3"]:
        """Resize to the square and repeat a grey channel three times."""
        if display.ndim == 3 and display.shape[2] == 1:
            display = display[:, :, 0]
        size = (self.size_px, self.size_px)
        filter_ = _FILTERS[Resample(self.resample)]
        small = np.asarray(Image.fromarray(display).resize(size, filter_, reducing_gap=self.reducing_gap))
        if small.ndim == 2:
            small = np.repeat(small[:, :, None], 3, axis=2)
        return np.ascontiguousarray(small[:, :, :3])
