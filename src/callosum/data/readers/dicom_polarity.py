"""Is a frontal chest film shown as its own negative, although its header says nothing of it?

Some archives hold films that were inverted and saved as such. In a film of the right polarity the spine is brighter
than the lungs beside it, and the air above the shoulders is darker than the picture; both differences, in standard
deviations of the picture, are added. Either alone is weak: collimation makes corners white in good films.

Measured on public frontal films, as they are and inverted: of 1,433 of adults (NIH ChestX-ray14) 0.1 % are flagged
as they are and 98 % inverted; of 674 of children, none and 99 %. Lateral views and other body parts were not
measured and are never judged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from callosum.core.display import to_display
from callosum.core.record import Flag

if TYPE_CHECKING:
    from callosum.core.record import Image

THRESHOLD = -0.67
"""Sum of the two differences below which a film is taken for a negative."""

_FILMS = frozenset({"CR", "DX", "RG"})
_CHEST = frozenset({"chest", "thorax", "lung"})
_FRONTAL = frozenset({"AP", "PA"})
_SIDE_PX = 128
_LUNGS_TOP, _LUNGS_BOTTOM, _SPINE_BOTTOM = 0.25, 0.56, 0.69
_RIGHT, _LEFT, _SPINE = (0.2, 0.36), (0.64, 0.8), (0.44, 0.56)
_CORNER = 0.094


def polarity_flags(image: Image) -> list[Flag]:
    """`POLARITY_SUSPECT` for a frontal chest film that is shown as a negative."""
    known = image.attributes
    is_frontal = known.get("modality") in _FILMS and known.get("view_position") in _FRONTAL
    if not is_frontal or known.get("body_part") not in _CHEST or image.pixels.ndim != 2:
        return []
    step = max(1, min(image.pixels.shape) // _SIDE_PX)
    shown = to_display(image.pixels[::step, ::step], window=image.window, inverted=image.inverted)
    if polarity(shown) >= THRESHOLD:
        return []
    return [Flag(code="POLARITY_SUSPECT", sentence="A chest film that looks like a negative; it is shown as it is.")]


def polarity(shown: np.ndarray) -> float:
    """How much a frontal chest film, uint8 `[H, W]`, looks as it should; negative for a negative."""
    H, W = shown.shape

    def mean(top: float, bottom: float, left: float, right: float) -> float:
        part = shown[int(top * H) : int(bottom * H) + 1, int(left * W) : int(right * W) + 1]
        return float(part.mean())

    lungs = (mean(_LUNGS_TOP, _LUNGS_BOTTOM, *_RIGHT) + mean(_LUNGS_TOP, _LUNGS_BOTTOM, *_LEFT)) / 2
    spine = mean(_LUNGS_TOP, _SPINE_BOTTOM, *_SPINE)
    corners = (mean(0, _CORNER, 0, _CORNER) + mean(0, _CORNER, 1 - _CORNER, 1)) / 2
    return (spine - lungs + float(shown.mean()) - corners) / max(float(shown.std()), 1.0)
