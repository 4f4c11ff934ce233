"""Tiles as pictures: a region of one level, reduced with antialiasing where it is finer than wanted."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image as Pil

from callosum.core.digest import digest_json
from callosum.core.record import Attribute, Image, PixelUnit
from callosum.data.readers.picture import picture_flags
from callosum.data.slides.opening import opened
from callosum.data.slides.slide import Pixels, RegionLost, Slide
from callosum.data.slides.stain import StainFit


@dataclass(frozen=True, kw_only=True, slots=True)
class Tiling:
    """Everything that decides how a tile of a slide looks, as a JSON value.

    Attributes:
        reader: What decodes the slide.
        level: Level that is read.
        downsample: Level-0 pixels per pixel of that level.
        read_px: Width and height that is read of that level.
        tile_px: Side of the tile that is made of it.
        step: Width and height of a tile in level-0 pixels.
        mpp: Micrometres per pixel of the tile; 0 when the slide does not say.
        stain: Fitted stain normalisation.
    """

    reader: str
    level: int
    downsample: float
    read_px: tuple[int, int]
    tile_px: int
    step: tuple[float, float]
    mpp: float
    stain: StainFit | None = None

    def with_stain(self, stain: StainFit | None) -> Tiling:
        """The same with a stain normalisation."""
        return replace(self, stain=stain)

    def tile_id(self, source_digest: str, x: int, y: int) -> str:
        """SHA-256 that names one tile as it looks."""
        return digest_json({"slide": source_digest, "x": x, "y": y, **asdict(self)})

    @property
    def recipe(self) -> str:
        """Decoder and normalisation, for the render recipe."""
        return f"{self.reader} + {self.stain.name}" if self.stain else self.reader


@dataclass(frozen=True, kw_only=True, slots=True)
class TileBatch:
    """Some tiles of a slide, to be read in one go by `read_tiles`; a small picklable value.

    Attributes:
        source_digest: SHA-256 of the slide.
        index: Number of the batch within its plan.
        positions: Upper left corners in level-0 pixels, x and y.
        tiling: How a tile is read.
    """

    source_digest: str
    index: int
    positions: tuple[tuple[int, int], ...]
    tiling: Tiling

    @property
    def batch_id(self) -> str:
        """SHA-256 over slide, positions and everything that decides how a tile looks."""
        told = hashlib.sha256()
        for x, y in self.positions:
            told.update(self.tiling.tile_id(self.source_digest, x, y).encode())
        return told.hexdigest()


def read_tiles(path: Path | str, batch: TileBatch) -> Iterator[Image]:
    """Read the tiles of a batch; one that cannot be decoded is left out.

    What is lost is what does not come: a batch of n positions yields at most n pictures, each of which says where it
    is from (`tile_x`, `tile_y`).

    Raises:
        Refused: the slide is gone or can no longer be opened.
    """
    slide = opened(Path(path))
    for position in batch.positions:
        try:
            pixels = read_pixels(slide, position, batch.tiling)
        except RegionLost:
            continue
        yield _image(pixels, position, batch, slide)


def read_pixels(slide: Slide, position: tuple[int, int], tiling: Tiling) -> Pixels:
    """One tile, uint8 `[tile_px, tile_px, 3]`.

    Raises:
        RegionLost: it cannot be decoded.
    """
    x, y = (round(one / tiling.downsample) for one in position)
    pixels = slide.region(tiling.level, x, y, *tiling.read_px)
    side = (tiling.tile_px, tiling.tile_px)
    if tiling.read_px != side:
        pixels = np.asarray(Pil.fromarray(pixels).resize(side, Pil.Resampling.BICUBIC))
    return pixels if tiling.stain is None else tiling.stain.apply(pixels)


def _image(pixels: Pixels, position: tuple[int, int], batch: TileBatch, slide: Slide) -> Image:
    tiling = batch.tiling
    attributes: dict[str, Attribute] = {
        "format": "slide",
        "modality": "SM",
        "vendor": slide.facts.vendor,
        "rows": tiling.tile_px,
        "columns": tiling.tile_px,
        "tile_x": position[0],
        "tile_y": position[1],
        "tile_level": tiling.level,
    }
    if tiling.mpp:
        attributes |= {"mpp": round(tiling.mpp, 4), "tile_um": round(tiling.mpp * tiling.tile_px, 2)}
    return Image(
        pixels=pixels,
        unit=PixelUnit.DISPLAY,
        attributes=attributes,
        identifiers=slide.facts.identifiers,
        flags=tuple(picture_flags(pixels)),
        source_digest=batch.source_digest,
        decoder=tiling.recipe,
    )
