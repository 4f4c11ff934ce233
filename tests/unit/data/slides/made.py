"""Pixels of made-up slides, and damage done to files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile

GLASS = (242, 240, 243)
LABEL = (255, 255, 0)
"""A colour that nothing but the label has."""

MakeSlide = Callable[..., Path]


def paint(width: int, height: int, *, tissue: tuple[int, int, int, int], seed: int = 0) -> np.ndarray:
    """Glass with a block of tissue (left, top, right, bottom) of two stains in patches."""
    rng = np.random.default_rng(seed)
    pixels = np.full((height, width, 3), GLASS, np.uint8)
    left, top, right, bottom = tissue
    patches = rng.integers(0, 2, ((bottom - top + 15) // 16, (right - left + 15) // 16))
    nuclei = np.kron(patches, np.ones((16, 16), int))[: bottom - top, : right - left, None]
    colours = np.where(nuclei, (110, 60, 140), (215, 130, 175)).astype(np.int16)
    noise = rng.integers(-12, 13, (bottom - top, right - left, 1))
    pixels[top:bottom, left:right] = np.clip(colours + noise, 0, 255)
    return pixels


def reduced(pixels: np.ndarray, factor: int) -> np.ndarray:
    height, width = pixels.shape[0] // factor * factor, pixels.shape[1] // factor * factor
    blocks = pixels[:height, :width].reshape(height // factor, factor, width // factor, factor, 3)
    return blocks.mean(axis=(1, 3)).round().astype(np.uint8)


def damage(path: Path, *tiles: int, level: int = 0) -> None:
    """Overwrite tiles of a level with rubbish."""
    with tifffile.TiffFile(path) as opened:
        page = opened.pages[level]
        places = [(page.dataoffsets[tile], page.databytecounts[tile]) for tile in tiles]
    with path.open("r+b") as stream:
        for offset, size in places:
            stream.seek(offset)
            stream.write(b"\xff\xd8" + b"\x13\x37" * (size // 2 - 1))
