"""What an open slide is, whoever reads it: levels, resolution, and regions of one level as RGB.

Coordinates are pixels of the level that is read, x to the right and y down from its upper left corner. Outside of the
slide, and where the scanner took no picture, everything is white, as glass is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

import numpy as np
from jaxtyping import UInt8

WHITE = 255

Pixels = UInt8[np.ndarray, "H W 3"]


class RegionLost(Exception):
    """A region that holds a tile which cannot be decoded; the slide can still be read elsewhere."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Level:
    """One level of the pyramid; `downsample` says how many pixels of level 0 one of its pixels is wide."""

    width: int
    height: int
    downsample: float


@dataclass(frozen=True, kw_only=True, slots=True)
class SlideFacts:
    """What is known about an open slide.

    Attributes:
        reader: Name and version of the library that decodes it, with the vendor's name for the format.
        vendor: Name of the format: aperio, hamamatsu, mirax, generic-tiff, dicom and so on.
        levels: The largest first.
        mpp: Micrometres per pixel of level 0, across and down; None when the file does not say or says nonsense.
        objective: Magnification of the objective; 0 when not known.
        identifiers: As in `Image.identifiers`; only DICOM has them.
    """

    reader: str
    vendor: str
    levels: tuple[Level, ...]
    mpp: tuple[float, float] | None = None
    objective: float = 0.0
    identifiers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)


class Slide(Protocol):
    """An open slide."""

    @property
    def facts(self) -> SlideFacts:
        """What is known about it."""
        ...

    def region(self, level: int, x: int, y: int, width: int, height: int) -> Pixels:
        """Read a region of one level.

        Raises:
            RegionLost: a tile in it cannot be decoded; other regions still can.
        """
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


def plausible_mpp(x: float, y: float) -> tuple[float, float] | None:
    """The resolution, when light microscopy can have it: 0.02 to 20 micrometres per pixel, both ways alike.

    A TIFF writer that says 72 dots per inch means a page, not a slide.
    """
    both = (x, y)
    if not all(0.02 <= one <= 20 for one in both) or max(both) > 2 * min(both):
        return None
    return both


def mosaic(
    region: tuple[int, int, int, int],
    size: tuple[int, int],
    tile_size: tuple[int, int],
    tile: Callable[[int, int], Pixels | None],
) -> Pixels:
    """Put a region together from the tiles of a level.

    Args:
        region: x, y, width and height.
        size: Width and height of the level.
        tile_size: Width and height of its tiles.
        tile: The tile of a row and a column; None where the slide has none.
    """
    x, y, width, height = region
    out = np.full((height, width, 3), WHITE, np.uint8)
    left, top = max(0, x), max(0, y)
    right, bottom = min(size[0], x + width), min(size[1], y + height)
    if left >= right or top >= bottom:
        return out
    for row in range(top // tile_size[1], (bottom - 1) // tile_size[1] + 1):
        for column in range(left // tile_size[0], (right - 1) // tile_size[0] + 1):
            pixels = tile(row, column)
            if pixels is None:
                continue
            x0, y0 = column * tile_size[0], row * tile_size[1]
            x1, y1 = min(right, x0 + pixels.shape[1]), min(bottom, y0 + pixels.shape[0])
            from_x, from_y = max(left, x0), max(top, y0)
            out[from_y - y : y1 - y, from_x - x : x1 - x] = pixels[from_y - y0 : y1 - y0, from_x - x0 : x1 - x0]
    return out
