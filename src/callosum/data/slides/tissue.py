"""The overview of a slide, and where tissue is on it.

Stated rules, so that a reader of a result can tell why a place was taken or left out:

- The overview is the smallest level with a side of 1,024 pixels or more, reduced by averaging whole blocks, never by
  picking pixels, until no side has more than 2,048.
- Colours are balanced by the glass (the 90th percentile of what is brighter than 200 in all channels). Tissue is what
  is more coloured than Otsu's threshold (1979) of the chroma, max - min of RGB, held between 12 and 30 of 255: thus
  a slide full of tissue and one of bare glass get sensible answers too.
- Not tissue: black (no channel above 47: borders and gaps of scanners), and ink of pens: blue and green ink, where
  green exceeds red by more than 25 (no absorption of haematoxylin, eosin or DAB makes that); red ink, where red exceeds
  both others by more than 100. If that would take more than a third of what is coloured, it is the stain (Alcian
  blue, trichrome) and stays.
- Each point then becomes what most of the 7 x 7 points around it are: specks go and pinholes close.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image as Pil
from PIL import ImageFilter

from callosum.data.readers.refusal import Reason, quarantine, reject
from callosum.data.slides.slide import WHITE, Pixels, RegionLost, Slide

OVERVIEW_SIDE_PX = 2048
_MIN_SIDE_PX = 1024
MAX_OVERVIEW_READ = 1 << 29
"""Pixels of the smallest suitable level: more take minutes, and a slide of that size has a pyramid."""

_BLOCK_PX = 1024
_SMALL_BLOCK_PX = 256
_GIVE_UP_PX = 1 << 26
"""So many pixels lost from the first on, without one that can be decoded, are a slide that is lost."""
_CHROMA = (12, 30)
_BLACK_BELOW = 48
_GLASS_ABOVE = 200
_BLUE_INK, _RED_INK = 25, 100
_MAX_INK_SHARE = 1 / 3
_MAJORITY_PX = 7


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Overview:
    """The whole slide, small.

    Attributes:
        pixels: uint8 `[H, W, 3]`; white where it could not be read.
        scale: Level-0 pixels per pixel of the overview, across and down.
        lost: Share of the slide that could not be read, 0 to 1, counted in blocks of 256 pixels of the level.
    """

    pixels: Pixels
    scale: tuple[float, float]
    lost: float


def read_overview(slide: Slide) -> Overview:
    """Read the slide block by block; where a block is damaged, its parts are read one by one.

    Raises:
        Refused: `NO_PYRAMID` when the smallest level is too large to be read whole; `CODESTREAM_INVALID` when no
            block can be decoded.
    """
    first = slide.facts.levels[0]
    large_enough = [
        n for n, one in enumerate(slide.facts.levels) if n == 0 or max(one.width, one.height) >= _MIN_SIDE_PX
    ]
    index = max(large_enough, key=lambda n: slide.facts.levels[n].downsample)
    level = slide.facts.levels[index]
    if level.width * level.height > MAX_OVERVIEW_READ:
        sentence = "The slide has no small level on which tissue could be looked for."
        raise reject(Reason.NO_PYRAMID, sentence)
    factor = 1
    while max(level.width, level.height) > factor * OVERVIEW_SIDE_PX:  # a power of two: blocks fit to stored tiles
        factor *= 2
    out = np.full((-(-level.height // factor), -(-level.width // factor), 3), WHITE, np.uint8)
    num_read = num_lost = 0
    for x, y, width, height, block in _blocks(slide, index, factor):
        if block is None:
            num_lost += width * height
            if not num_read and num_lost > _GIVE_UP_PX:
                break
            continue
        num_read += width * height
        small = np.asarray(Pil.fromarray(block).reduce(factor))
        out[y // factor :, x // factor :][: small.shape[0], : small.shape[1]] = small
    if not num_read:
        raise quarantine(Reason.CODESTREAM_INVALID, "No part of the slide can be decoded.")
    return Overview(
        pixels=out,
        scale=(factor * first.width / level.width, factor * first.height / level.height),
        lost=num_lost / (num_lost + num_read),
    )


def _blocks(slide: Slide, index: int, factor: int) -> Iterator[tuple[int, int, int, int, Pixels | None]]:
    """x, y, width, height and pixels of each block; None where it cannot be decoded."""
    level = slide.facts.levels[index]
    large, small = (max(1, side // factor) * factor for side in (_BLOCK_PX, _SMALL_BLOCK_PX))
    for x, y, width, height in _cells(0, 0, level.width, level.height, large):
        try:
            yield x, y, width, height, slide.region(index, x, y, width, height)
            continue
        except RegionLost:
            pass
        for part in _cells(x, y, width, height, small):
            try:
                yield *part, slide.region(index, *part)
            except RegionLost:
                yield *part, None


def _cells(x: int, y: int, width: int, height: int, side: int) -> Iterator[tuple[int, int, int, int]]:
    for top in range(y, y + height, side):
        for left in range(x, x + width, side):
            yield left, top, min(side, x + width - left), min(side, y + height - top)


def tissue_mask(pixels: UInt8[np.ndarray, "H W 3"]) -> Bool[np.ndarray, "H W"]:
    """Where tissue is on an overview; the rules are those at the top of this module."""
    balanced = _balanced(pixels)
    chroma = (_channelwise(np.maximum, balanced) - _channelwise(np.minimum, balanced)).astype(np.uint8)
    seen = _channelwise(np.maximum, pixels) >= _BLACK_BELOW
    threshold = float(np.clip(otsu(chroma[seen]), *_CHROMA))
    coloured = seen & (chroma > threshold)
    ink = coloured & _is_ink(balanced)
    if np.count_nonzero(ink) <= _MAX_INK_SHARE * np.count_nonzero(coloured):
        coloured &= ~ink
    picture = Pil.fromarray(coloured.astype(np.uint8) * np.uint8(255))
    return np.asarray(picture.filter(ImageFilter.BoxBlur(_MAJORITY_PX // 2))) > 127


def _channelwise(ufunc: np.ufunc, pixels: np.ndarray) -> np.ndarray:
    """Reduce over the three channels; some five times faster than numpy's reduction over so short an axis."""
    out: np.ndarray = ufunc(ufunc(pixels[..., 0], pixels[..., 1]), pixels[..., 2])
    return out


def _balanced(pixels: np.ndarray) -> np.ndarray:
    """Colours over the colour of the glass, int16 `[H, W, 3]`; unchanged when under a hundredth is bright."""
    bright = pixels[_channelwise(np.minimum, pixels) >= _GLASS_ABOVE]
    if len(bright) * 100 < pixels.shape[0] * pixels.shape[1]:
        return pixels.astype(np.int16)
    glass = [np.searchsorted(np.cumsum(np.bincount(channel)), 0.9 * len(bright)) for channel in bright.T]
    table = np.minimum(np.arange(256)[:, None] * (255 / np.array(glass)), 255).astype(np.int16)
    return np.stack([table[:, n][pixels[..., n]] for n in range(3)], axis=-1)


def _is_ink(balanced: np.ndarray) -> np.ndarray:
    red, green, blue = np.moveaxis(balanced, -1, 0)
    return (green - red > _BLUE_INK) | (red - np.maximum(green, blue) > _RED_INK)


def otsu(values: UInt8[np.ndarray, " N"]) -> int:
    """Otsu's threshold (1979): the largest value of the lower class when the variance between two is largest."""
    counts = np.bincount(values, minlength=256).astype(np.float64)
    below = np.cumsum(counts)
    above = below[-1] - below
    sums = np.cumsum(counts * np.arange(256))
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return int(np.argmax(np.nan_to_num(apart)))
