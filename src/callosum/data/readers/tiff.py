"""TIFF of any sample type through tifffile: integers and floats wider than 8 bits stay raw, never clipped.

Whole slides are recognised and left to a reader of their own. Pages of the size of the first are frames.
"""

from __future__ import annotations

import io
import logging
import warnings
from typing import TYPE_CHECKING

import numpy as np
import tifffile

from callosum.core.record import Attribute, Flag, Image, PixelUnit
from callosum.data.readers.picture import choose_frame, picture_flags
from callosum.data.readers.raster import on_black
from callosum.data.readers.refusal import Reason, check_samples, guard, reject

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

_SLIDES = ("is_svs", "is_ndpi", "is_scn", "is_bif", "is_philips")
_MAX_PAGES = 1 << 16
_TRANSPOSED = 5
"""Orientations from here on exchange rows and columns (TIFF 6.0, tag 274)."""


def read_image(data: bytes, *, frame: int | None = None) -> Image:
    """Read one page.

    Raises:
        Refused: `TRUNCATED`, `CORRUPT`, `TOO_MANY_PIXELS`, `CHANNELS_UNSUPPORTED`, or `FORMAT_UNSUPPORTED` for a
            whole slide.
        UsageError: `frame` is not in the file.
    """
    logger = logging.getLogger("tifffile")
    is_disabled, logger.disabled = logger.disabled, True  # its messages quote the file
    try:
        with guard(reject(Reason.CORRUPT, "The picture is damaged.")), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with tifffile.TiffFile(io.BytesIO(data)) as opened:
                return _read(opened, len(data), frame)
    finally:
        logger.disabled = is_disabled


def _read(opened: TiffFile, num_bytes: int, frame: int | None) -> Image:
    if any(getattr(opened, name) for name in _SLIDES):
        raise reject(Reason.FORMAT_UNSUPPORTED, "It is a whole slide; there is no reader for it.")
    pages = _frames(opened)
    index, flags = choose_frame(frame, len(pages))
    page = pages[index]
    check_samples(int(np.prod(page.shape, dtype=np.int64)))
    if any(at + size > num_bytes for at, size in zip(page.dataoffsets, page.databytecounts, strict=False)):
        raise reject(Reason.TRUNCATED, "The picture ends early.")
    samples = _oriented(_channels_last(page.asarray(), page), page)
    pixels, more = _meaning(samples, page)
    rows, columns = pixels.shape[:2]
    attributes: dict[str, Attribute] = {
        "format": "tiff",
        "num_frames": len(pages),
        "frame": index,
        "rows": rows,
        "columns": columns,
        "bits": int(page.bitspersample),
    }
    return Image(
        pixels=pixels,
        unit=PixelUnit.DISPLAY if pixels.dtype == np.uint8 else PixelUnit.RAW,
        inverted=page.photometric == tifffile.PHOTOMETRIC.MINISWHITE,
        attributes=attributes,
        flags=(*flags, *more, *picture_flags(pixels)),
        decoder=f"tifffile {tifffile.__version__}",
    )


def _frames(opened: TiffFile) -> list[TiffPage]:
    """Pages like the first one; thumbnails and lower resolutions are of another size."""
    if len(opened.pages) > _MAX_PAGES:
        raise reject(Reason.CORRUPT, f"The file announces more than {_MAX_PAGES} pages.")
    pages = [page for page in opened.pages if isinstance(page, tifffile.TiffPage)]
    if not pages or 0 in pages[0].shape:
        raise reject(Reason.CORRUPT, "The file has no page with pixels.")
    return [page for page in pages if page.shape == pages[0].shape and page.dtype == pages[0].dtype]


def _channels_last(samples: np.ndarray, page: TiffPage) -> np.ndarray:
    """`[H, W]` or `[H, W, C]`; planes are interleaved."""
    if samples.ndim == 3 and page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and page.samplesperpixel > 1:
        samples = np.moveaxis(samples, 0, -1)
    if samples.ndim not in (2, 3):
        raise reject(Reason.FORMAT_UNSUPPORTED, "A page with depth is a volume, not a picture.")
    return samples


def _oriented(samples: np.ndarray, page: TiffPage) -> np.ndarray:
    """Turn upright (TIFF 6.0, tag 274)."""
    tag = page.tags.get(274)
    orientation = int(tag.value) if tag is not None else 1
    if orientation >= _TRANSPOSED:
        samples = samples.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    return np.ascontiguousarray(samples)


def _meaning(samples: np.ndarray, page: TiffPage) -> tuple[np.ndarray, list[Flag]]:
    """Palette, printing colours, alpha and bilevel to grey or RGB; wider samples as they are."""
    if samples.dtype.kind == "c":
        raise reject(Reason.FORMAT_UNSUPPORTED, "Complex samples are not a picture.")
    samples = samples.astype(samples.dtype.newbyteorder("="), copy=False)
    if samples.dtype == np.bool_:
        return samples.astype(np.uint8) * np.uint8(255), []
    if page.photometric == tifffile.PHOTOMETRIC.PALETTE and page.colormap is not None:
        return np.ascontiguousarray((page.colormap >> 8).astype(np.uint8)[:, samples].transpose(1, 2, 0)), []
    num_channels = samples.shape[2] if samples.ndim == 3 else 1
    if page.photometric == tifffile.PHOTOMETRIC.SEPARATED and num_channels == 4 and samples.dtype == np.uint8:
        ink = 255 - samples.astype(np.uint16)
        sentence = "Printing colours were converted to RGB without a profile."
        return (ink[..., :3] * ink[..., 3:] // 255).astype(np.uint8), [Flag(code="CMYK", sentence=sentence)]
    if num_channels in (2, 4) and page.extrasamples and samples.dtype.kind == "u":
        return on_black(samples), []
    if num_channels == 1:
        samples = samples.reshape(samples.shape[:2])
    elif num_channels != 3:
        raise reject(Reason.CHANNELS_UNSUPPORTED, f"A picture of {num_channels} channels has no one rendering.")
    if samples.dtype == np.uint8 and page.bitspersample < 8:
        full = (1 << page.bitspersample) - 1
        return np.round(samples * (255.0 / full)).astype(np.uint8), []
    return samples, []
