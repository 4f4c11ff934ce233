"""A picture of what was chosen: the overview, the tissue that was found, and the tiles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image as Pil
from PIL import ImageDraw

from callosum.core.record import Image, PixelUnit
from callosum.data.slides.opening import opened
from callosum.data.slides.plan import SlidePlan, slide_digest
from callosum.data.slides.tissue import read_overview, tissue_mask

_FADE = 0.45
_FRAME = (0, 96, 160)


def slide_overview(path: Path | str, plan: SlidePlan) -> Pil.Image:
    """Draw the overview with what is no tissue faded, and a frame around each chosen tile.

    Raises:
        Refused: the slide cannot be read.
    """
    overview = read_overview(opened(Path(path)))
    pixels = overview.pixels.astype(np.float32)
    faded = pixels + (255 - pixels) * _FADE
    picture = Pil.fromarray(np.where(tissue_mask(overview.pixels)[..., None], pixels, faded).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    across, down = overview.scale
    width, height = plan.tiling.step
    for x, y in plan.positions:
        corner = ((x + width) / across - 1, (y + height) / down - 1)
        draw.rectangle((x / across, y / down, max(x / across, corner[0]), max(y / down, corner[1])), outline=_FRAME)
    return picture


def read_overview_image(path: Path | str) -> Image:
    """The whole slide as one picture of at most 2,048 pixels a side, for a search by example.

    Raises:
        Refused: the slide cannot be read.
    """
    path = Path(path)
    slide = opened(path)
    overview = read_overview(slide)
    rows, columns = overview.pixels.shape[:2]
    return Image(
        pixels=overview.pixels,
        unit=PixelUnit.DISPLAY,
        attributes={
            "format": "slide",
            "modality": "SM",
            "vendor": slide.facts.vendor,
            "rows": rows,
            "columns": columns,
        },
        identifiers=slide.facts.identifiers,
        source_digest=slide_digest(path),
        decoder=slide.facts.reader,
    )
