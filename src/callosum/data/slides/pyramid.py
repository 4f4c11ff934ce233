"""Tiled TIFF through tifffile: for plain pyramids, and where openslide is not installed.

Of a vendor's file, only the levels that tifffile names as those of the scanned area are used: pages with the label or
the overview of the glass are never decoded.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from callosum.data.readers.refusal import Reason, check_samples, guard, quarantine
from callosum.data.slides.slide import Level, Pixels, RegionLost, SlideFacts, mosaic, plausible_mpp

VENDORS = {
    "aperio": "is_svs",
    "hamamatsu": "is_ndpi",
    "leica": "is_scn",
    "ventana": "is_bif",
    "philips": "is_philips",
}
"""Vendor to tifffile's name for the test on its first page."""

_JPEG = frozenset({6, 7, 34892, 33007})
_COMPRESSIONS = _JPEG | {1, 5, 8, 32946, 33005, 34712, 50000}
"""None, JPEG, LZW, Deflate, JPEG 2000 (Aperio's RGB kind and the standard's) and Zstandard."""

_UM_PER_UNIT = {2: 25400.0, 3: 10000.0}
"""Resolution Unit (TIFF 6.0, tag 296): inch, centimetre."""

_CACHE_BYTES = 32 << 20


def num_levels(path: Path) -> int:
    """How many levels are read here: tiles of three 8-bit samples in a compression that needs no guess; else 0."""
    try:
        with quiet(), tifffile.TiffFile(path) as opened:
            return len(_pages(opened))
    except Exception:  # whatever tifffile stumbles over, it is not read here
        return 0


class TiffSlide:
    """A tiled TIFF that tifffile has open."""

    def __init__(self, path: Path) -> None:
        """Open a slide.

        Raises:
            Refused: `CORRUPT` when it has no level that can be read; `TOO_MANY_PIXELS` for monstrous tiles.
        """
        damaged = quarantine(Reason.CORRUPT, "The slide is damaged or of a variant that is not read.")
        with quiet(), guard(damaged):
            self._file = tifffile.TiffFile(path)
            try:
                self._pages = _pages(self._file)
                if not self._pages:
                    raise damaged
                for page in self._pages:
                    check_samples(page.tilewidth * page.tilelength * 3)
                self.facts = self._facts()
            except BaseException:
                self._file.close()
                raise
        first = self._pages[0]
        self._tile = lru_cache(max(4, _CACHE_BYTES // (first.tilewidth * first.tilelength * 3)))(self._decode)

    def _facts(self) -> SlideFacts:
        first = self._pages[0]
        vendor = vendor_of(self._file) or "generic-tiff"
        return SlideFacts(
            reader=f"tifffile {tifffile.__version__} ({vendor})",
            vendor=vendor,
            levels=tuple(
                Level(
                    width=page.imagewidth,
                    height=page.imagelength,
                    downsample=(first.imagewidth / page.imagewidth + first.imagelength / page.imagelength) / 2,
                )
                for page in self._pages
            ),
            mpp=_mpp(self._file, first),
        )

    def region(self, level: int, x: int, y: int, width: int, height: int) -> Pixels:
        """Read a region; see `Slide.region`."""
        check_samples(width * height * 3)
        page = self._pages[level]
        size, tile_size = (page.imagewidth, page.imagelength), (page.tilewidth, page.tilelength)
        return mosaic((x, y, width, height), size, tile_size, lambda row, column: self._tile(level, row, column))

    def _decode(self, level: int, row: int, column: int) -> Pixels | None:
        """One tile; None where the file leaves it out, as it may."""
        page = self._pages[level]
        index = row * -(-page.imagewidth // page.tilewidth) + column
        try:
            num_bytes = page.databytecounts[index]
            if num_bytes == 0:
                return None
            self._file.filehandle.seek(page.dataoffsets[index])
            data = self._file.filehandle.read(num_bytes)
            options = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader} if _is_jpeg(page) else {}
            if len(data) < num_bytes:
                raise RegionLost
            with quiet():
                decoded = page.decode(data, index, _fullsize=True, **options)[0]
            return np.ascontiguousarray(decoded[0, :, :, :3])
        except (MemoryError, RegionLost):
            raise
        except Exception as error:  # a damaged tile raises as many kinds of error as there are codecs
            raise RegionLost from error

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def vendor_of(opened: tifffile.TiffFile) -> str:
    """The scanner's format; empty for a plain TIFF."""
    return next((vendor for vendor, test in VENDORS.items() if getattr(opened, test)), "")


def is_colour(page: Any) -> bool:
    """True for interleaved RGB of 8 bits, or what JPEG makes of YCbCr; a fourth sample may follow."""
    is_rgb = page.photometric == tifffile.PHOTOMETRIC.RGB
    is_ycbcr = page.photometric == tifffile.PHOTOMETRIC.YCBCR and _is_jpeg(page)
    is_interleaved = page.planarconfig == tifffile.PLANARCONFIG.CONTIG and page.samplesperpixel in (3, 4)
    return (is_rgb or is_ycbcr) and is_interleaved and page.dtype == np.uint8 and page.bitspersample == 8


def _is_jpeg(page: Any) -> bool:
    return page.compression in _JPEG


def _pages(opened: tifffile.TiffFile) -> list[Any]:
    """Pages of the levels, the largest first; empty when the largest cannot be read tile by tile."""
    if not opened.series:
        return []
    pages = [level.keyframe for level in opened.series[0].levels]
    readable = [
        page
        for page in pages
        if page.is_tiled
        and page.imagedepth == 1
        and min(page.tilewidth, page.tilelength, page.imagewidth, page.imagelength) > 0
        and is_colour(page)
        and page.compression in _COMPRESSIONS
    ]
    return readable if readable and readable[0] is pages[0] else []


def _mpp(opened: tifffile.TiffFile, page: Any) -> tuple[float, float] | None:
    if opened.is_svs:
        said = tifffile.tifffile.svs_description_metadata(page.description).get("MPP", 0.0)
        return plausible_mpp(float(said), float(said)) if isinstance(said, (int, float)) else None
    um = _UM_PER_UNIT.get(int(page.resolutionunit or 0), 0.0)
    across, down = (_ratio(page, code) for code in (282, 283))
    return plausible_mpp(um / across, um / down) if across and down else None


def _ratio(page: Any, code: int) -> float:
    """A resolution tag in pixels per unit; 0 when missing."""
    value = page.tags[code].value if code in page.tags else (0, 1)
    return value[0] / value[1] if isinstance(value, tuple) and len(value) == 2 and value[1] else 0.0


@contextmanager
def quiet() -> Iterator[None]:
    """Silence tifffile, whose messages quote the file."""
    logger = logging.getLogger("tifffile")
    is_disabled, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = is_disabled
