"""Slides through openslide: the formats of scanners, plain tiled TIFF and DICOM.

Only the levels are read. Label and macro images, which openslide keeps apart as associated images, show what is
written on the glass and are never touched.

After one tile that cannot be decoded, an openslide handle refuses everything (its error state is sticky by design),
so the handle is opened anew and only the region is lost.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
from PIL import Image as Pil

from callosum.data.readers.refusal import Reason, check_samples, guard, quarantine
from callosum.data.slides.slide import WHITE, Level, Pixels, RegionLost, SlideFacts, plausible_mpp

_DAMAGED = "The slide is damaged or of a variant that is not read."


def openslide_module() -> ModuleType | None:
    """The openslide module; None when it is not installed."""
    try:
        import openslide
    except (ImportError, OSError):  # OSError: the Python half is here, its library is not
        return None
    return openslide


class OpenslideSlide:
    """A slide that openslide has open."""

    def __init__(self, path: Path, identifiers: Mapping[str, str] | None = None) -> None:
        """Open a slide.

        Raises:
            Refused: `CORRUPT` when openslide cannot open it.
        """
        found = openslide_module()
        assert found is not None, "ask openslide_module() first"
        self._library = found
        self._path = path
        with guard(quarantine(Reason.CORRUPT, _DAMAGED)):
            self._open()
            self.facts = self._facts(identifiers or {})

    def _open(self) -> None:
        self._slide = self._library.OpenSlide(self._path)

    def _facts(self, identifiers: Mapping[str, str]) -> SlideFacts:
        said = self._slide.properties
        vendor = said.get("openslide.vendor", "")
        return SlideFacts(
            reader=f"openslide {self._library.__library_version__} ({vendor})",
            vendor=vendor,
            levels=tuple(
                Level(width=width, height=height, downsample=downsample)
                for (width, height), downsample in zip(
                    self._slide.level_dimensions, self._slide.level_downsamples, strict=True
                )
            ),
            mpp=plausible_mpp(_number(said.get("openslide.mpp-x")), _number(said.get("openslide.mpp-y"))),
            objective=_number(said.get("openslide.objective-power")),
            identifiers=identifiers,
        )

    def region(self, level: int, x: int, y: int, width: int, height: int) -> Pixels:
        """Read a region; see `Slide.region`."""
        check_samples(width * height * 4)
        downsample = self.facts.levels[level].downsample
        corner = (round(x * downsample), round(y * downsample))
        with guard(quarantine(Reason.CORRUPT, _DAMAGED)):
            try:
                return _on_white(self._slide.read_region(corner, level, (width, height)))
            except self._library.OpenSlideError as error:
                self._slide.close()
                self._open()
                lost = error
        raise RegionLost from lost

    def close(self) -> None:
        """Let go of the file."""
        self._slide.close()


def _on_white(region: Pil.Image) -> Pixels:
    """RGBA as openslide gives it, not premultiplied, on white."""
    if region.getchannel("A").getextrema() != (WHITE, WHITE):
        region = Pil.alpha_composite(Pil.new("RGBA", region.size, (WHITE,) * 4), region)
    packed = region.tobytes("raw", "RGB")  # four times faster than a copy of three channels of four, or `convert`
    return np.frombuffer(packed, np.uint8).reshape(region.height, region.width, 3)


def _number(text: str | None) -> float:
    """A finite number; 0 when there is none."""
    try:
        number = float(text or 0)
    except ValueError:
        return 0.0
    return number if math.isfinite(number) else 0.0
