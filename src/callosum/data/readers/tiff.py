"""TIFF of any sample type through tifffile: integers and floats wider than 8 bits stay raw, never clipped.

16-bit colours are finished pictures, as in PNG. YCbCr becomes RGB; CIELAB and other colour models that have no one
rendering are refused. Whole slides are recognised and left to a reader of their own. Pages of the size of the first
are frames.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import tifffile

from callosum.core.record import Flag, Image, PixelUnit
from callosum.data.readers.picture import choose_frames, finished_colours, picture_flags, readable, upright
from callosum.data.readers.raster import on_black
from callosum.data.readers.refusal import Reason, check_samples, guard, reject

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

_SLIDES = ("is_svs", "is_ndpi", "is_scn", "is_bif", "is_philips")
_MAX_PAGES = 1 << 16
_MODELS = frozenset({0, 1, 2, 3, 4, 5, 6})
"""WhiteIsZero, BlackIsZero, RGB, palette, mask, separated and YCbCr (TIFF 6.0, tag 262)."""

_UNSPECIFIED, _ASSOCIATED, _UNASSOCIATED = 0, 1, 2
"""What an extra sample is (TIFF 6.0, tag 338)."""

_JPEG = frozenset({6, 7, 33007, 34892})
_CONVERTED_BY_CODEC = frozenset({33003, 33004, 33005, 34712, 22610, 34934, 50001, 34927, 50002, 52546})
"""JPEG 2000, JPEG XR, WebP and JPEG XL carry their own colour transform."""

_LUMA = (0.299, 0.587, 0.114)
_REFERENCE = (0.0, 255.0, 128.0, 255.0, 128.0, 255.0)


def read_image(data: bytes, *, frame: int | None = None) -> Image:
    """Read one page.

    Raises:
        Refused: `TRUNCATED`, `CORRUPT`, `TOO_MANY_PIXELS`, `CHANNELS_UNSUPPORTED`, or `FORMAT_UNSUPPORTED` for a
            whole slide.
        UsageError: `frame` is not in the file.
    """
    return next(_images(data, frame=frame, limit=1))


def read_images(data: bytes, *, limit: int) -> Iterator[Image]:
    """Read at most `limit` pages, evenly spaced; see `read_image`."""
    return _images(data, frame=None, limit=limit)


def _images(data: bytes, *, frame: int | None, limit: int) -> Iterator[Image]:
    with _answered():
        opened = tifffile.TiffFile(io.BytesIO(data))
        if any(getattr(opened, name) for name in _SLIDES):
            raise reject(Reason.FORMAT_UNSUPPORTED, "It is a whole slide; there is no reader for it.")
        pages = _frames(opened)
        indices, flags = choose_frames(len(pages), frame=frame, limit=limit)

    def read_frame(index: int) -> Image:
        with _answered():
            image = _read(pages[index], len(data), flags)
            return replace(image, attributes={**image.attributes, "num_frames": len(pages), "frame": index})

    with opened:
        yield from readable(indices, read_frame)


@contextmanager
def _answered() -> Iterator[None]:
    """Turn what tifffile raises into an answer, and silence it: its messages quote the file."""
    logger = logging.getLogger("tifffile")
    is_disabled, logger.disabled = logger.disabled, True
    try:
        with guard(reject(Reason.CORRUPT, "The picture is damaged.")), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = is_disabled


def _read(page: TiffPage, num_bytes: int, flags: list[Flag]) -> Image:
    check_samples(int(np.prod(page.shape, dtype=np.int64)))
    if any(at + size > num_bytes for at, size in zip(page.dataoffsets, page.databytecounts, strict=False)):
        raise reject(Reason.TRUNCATED, "The picture ends early.")
    _check_model(page)
    samples = upright(_channels_last(page.asarray(), page), _orientation(page))
    pixels, more = _meaning(samples, page)
    rows, columns = pixels.shape[:2]
    return Image(
        pixels=pixels,
        unit=PixelUnit.DISPLAY if pixels.dtype == np.uint8 else PixelUnit.RAW,
        inverted=page.photometric == tifffile.PHOTOMETRIC.MINISWHITE,
        attributes={"format": "tiff", "rows": rows, "columns": columns, "bits": int(page.bitspersample)},
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


def _orientation(page: TiffPage) -> int:
    tag = page.tags.get(274)
    return int(tag.value) if tag is not None else 1


def _meaning(samples: np.ndarray, page: TiffPage) -> tuple[np.ndarray, list[Flag]]:
    """Palette, printing colours, alpha and bilevel to grey or RGB; wider samples as they are."""
    if samples.dtype.kind == "c":
        raise reject(Reason.FORMAT_UNSUPPORTED, "Complex samples are not a picture.")
    samples = samples.astype(samples.dtype.newbyteorder("="), copy=False)
    if samples.dtype == np.bool_:
        return samples.astype(np.uint8) * np.uint8(255), []
    if page.photometric == tifffile.PHOTOMETRIC.PALETTE and page.colormap is not None:
        return np.ascontiguousarray((page.colormap >> 8).astype(np.uint8)[:, samples].transpose(1, 2, 0)), []
    if page.photometric == tifffile.PHOTOMETRIC.SEPARATED and samples.shape[2:] == (4,) and samples.dtype == np.uint8:
        ink = 255 - samples.astype(np.uint16)
        sentence = "Printing colours were converted to RGB without a profile."
        return (ink[..., :3] * ink[..., 3:] // 255).astype(np.uint8), [Flag(code="CMYK", sentence=sentence)]
    samples = _without_alpha(samples, page)
    num_channels = samples.shape[2] if samples.ndim == 3 else 1
    if num_channels == 1:
        samples = samples.reshape(samples.shape[:2])
    elif num_channels != 3:
        raise reject(Reason.CHANNELS_UNSUPPORTED, f"A picture of {num_channels} channels has no one rendering.")
    if page.photometric == tifffile.PHOTOMETRIC.YCBCR and not _is_converted(page):
        return _from_ycbcr(samples, page), []
    if num_channels == 3 and samples.dtype == np.uint16:
        return finished_colours(samples, int(page.bitspersample)), []
    if samples.dtype == np.uint8 and page.bitspersample < 8:
        full = (1 << page.bitspersample) - 1
        return np.round(samples * (255.0 / full)).astype(np.uint8), []
    return samples, []


def _check_model(page: TiffPage) -> None:
    """Refuse a colour model that has no one rendering, before it is decoded as if it were RGB.

    Raises:
        Refused: `FORMAT_UNSUPPORTED`.
    """
    if int(page.photometric) not in _MODELS:
        raise reject(Reason.FORMAT_UNSUPPORTED, "Its colour model (CIELAB, for example) has no one rendering.")
    if page.photometric == tifffile.PHOTOMETRIC.YCBCR and not _is_converted(page):
        if page.subsampling not in (None, (1, 1)):
            raise reject(Reason.FORMAT_UNSUPPORTED, "Subsampled YCbCr is read only when it is compressed as JPEG.")
        if page.dtype != np.uint8 or page.samplesperpixel != 3:
            raise reject(Reason.FORMAT_UNSUPPORTED, "YCbCr is read as three samples of 8 bits only.")


def _is_converted(page: TiffPage) -> bool:
    """True when the decoder has already made RGB of YCbCr; it leaves planes that are compressed apart alone."""
    if page.compression in _JPEG:
        return bool(page.planarconfig == tifffile.PLANARCONFIG.CONTIG)
    return page.compression in _CONVERTED_BY_CODEC


def _from_ycbcr(samples: np.ndarray, page: TiffPage) -> np.ndarray:
    """YCbCr uint8 `[H, W, 3]` to RGB (TIFF 6.0 section 21, tags 529 and 532)."""
    red, green, blue = _numbers(page, 529, _LUMA)
    reference = _numbers(page, 532, _REFERENCE)
    spans = [white - black for black, white in zip(reference[::2], reference[1::2], strict=True)]
    if 0.0 in (*spans, green):
        raise reject(Reason.CORRUPT, "The picture is damaged.")
    values = samples.astype(np.float32)
    luma = (values[..., 0] - reference[0]) * (255 / spans[0])
    to_blue = (values[..., 1] - reference[2]) * (127 / spans[1])
    to_red = (values[..., 2] - reference[4]) * (127 / spans[2])
    out = np.empty_like(values)
    out[..., 0] = luma + to_red * (2 - 2 * red)
    out[..., 2] = luma + to_blue * (2 - 2 * blue)
    out[..., 1] = (luma - blue * out[..., 2] - red * out[..., 0]) / green
    return np.round(np.clip(out, 0, 255)).astype(np.uint8)


def _numbers(page: TiffPage, code: int, otherwise: tuple[float, ...]) -> tuple[float, ...]:
    """The rational numbers of a tag; the standard's when it is missing or of another length."""
    tag = page.tags.get(code)
    flat = np.ravel(tag.value).tolist() if tag is not None else []
    if len(flat) == len(otherwise):  # tag 532 may be whole numbers
        return tuple(float(number) for number in flat)
    if len(flat) != 2 * len(otherwise) or 0 in flat[1::2]:
        return otherwise
    return tuple(top / bottom for top, bottom in zip(flat[::2], flat[1::2], strict=True))


def _without_alpha(samples: np.ndarray, page: TiffPage) -> np.ndarray:
    """One extra sample gone: colours on black, where they already are when their alpha is associated.

    An extra sample of unspecified meaning beside RGB is ignored, as the standard says; beside grey it is a channel.
    """
    is_colour = page.photometric in (tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.YCBCR)
    num_colours = 3 if is_colour else 1
    extra = [int(kind) for kind in page.extrasamples]
    if samples.ndim != 3 or samples.shape[2] != num_colours + 1 or len(extra) != 1:
        return samples
    if extra[0] == _ASSOCIATED or (extra[0] == _UNSPECIFIED and is_colour):
        return np.ascontiguousarray(samples[..., :num_colours])
    return on_black(samples) if extra[0] == _UNASSOCIATED and samples.dtype.kind == "u" else samples
