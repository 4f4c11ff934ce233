"""Pictures of a run in memory: one square for training, one exactly as the encoder will see it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from callosum.models.preprocess import Preprocess
from callosum.train.packs import Row, iter_images


def load_pixels(rows: Sequence[Row], preprocess: Preprocess) -> UInt8[np.ndarray, "N S S 3"]:
    """Decode every row and apply `preprocess`."""
    out = np.zeros((len(rows), preprocess.size_px, preprocess.size_px, 3), np.uint8)
    for n, picture in iter_images(rows):
        grey = picture.mode in ("L", "1", "I", "F")
        out[n] = preprocess(np.asarray(picture.convert("L" if grey else "RGB")))
    return out
