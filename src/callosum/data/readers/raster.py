"""PNG, JPEG, BMP, GIF and WebP through Pillow; 16-bit colour PNG through imagecodecs, as Pillow drops its low bits.

Nothing is clipped by a type: 16-bit grey stays raw and is shown between percentiles. 16-bit colours are a finished
picture and are scaled to 8 bits (`finished_colours`). Transparency is composited on black, so that what alpha hides
stays hidden.

Pillow's plugins are opened directly: `PIL.Image.open` would apply the limit of the program around us, which is
smaller than ours and not ours to change. `MAX_SAMPLES` alone rules, before anything is allocated.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import PIL
from PIL import BmpImagePlugin, GifImagePlugin, ImageOps, JpegImagePlugin, PngImagePlugin, WebPImagePlugin
from PIL import Image as Pil

from callosum.core.errors import Refused
from callosum.core.record import Attribute, Flag, Image, PixelUnit
from callosum.data.readers.picture import choose_frames, finished_colours, picture_flags, readable, upright
from callosum.data.readers.refusal import Reason, check_samples, guard, reject
from callosum.data.readers.sniff import sniff

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL.ImageFile import ImageFile

_PLUGINS: dict[str, type[ImageFile]] = {
    "png": PngImagePlugin.PngImageFile,
    "jpeg": JpegImagePlugin.JpegImageFile,
    "bmp": BmpImagePlugin.BmpImageFile,
    "gif": GifImagePlugin.GifImageFile,
    "webp": WebPImagePlugin.WebPImageFile,
}
_ORIENTATION = 274
_ANIMATED = ("GIF", "WEBP", "PNG")
_PNG_COLOUR_16 = {2, 4, 6}
"""Colour types of PNG, byte 25, that Pillow reduces to 8 bits: RGB, grey with alpha, RGB with alpha."""

_TO_GREY = ("1", "L")
_TO_ALPHA = {"LA": "LA", "La": "LA", "PA": "RGBA", "RGBA": "RGBA", "RGBa": "RGBA"}


def read_image(data: bytes, *, frame: int | None = None) -> Image:
    """Read one picture.

    Raises:
        Refused: `TRUNCATED`, `CORRUPT` or `TOO_MANY_PIXELS`.
        UsageError: `frame` is not in the file.
    """
    return next(_images(data, frame=frame, limit=1))


def read_images(data: bytes, *, limit: int) -> Iterator[Image]:
    """Read at most `limit` frames of an animation, evenly spaced; see `read_image`."""
    return _images(data, frame=None, limit=limit)


def _images(data: bytes, *, frame: int | None, limit: int) -> Iterator[Image]:
    with _answered():
        opened = _PLUGINS[sniff(data)](io.BytesIO(data))
        check_samples(opened.width * opened.height * len(opened.getbands()))
        num_frames = getattr(opened, "n_frames", 1) if opened.format in _ANIMATED else 1
        indices, flags = choose_frames(num_frames, frame=frame, limit=limit)

    def read_frame(index: int) -> Image:
        with _answered():
            return _read(opened, data, index, num_frames, list(flags))

    with opened:
        yield from readable(indices, read_frame)


@contextmanager
def _answered() -> Iterator[None]:
    """Turn what Pillow raises into an answer, and keep its warnings to ourselves."""
    with guard(reject(Reason.CORRUPT, "The picture is damaged.")), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except Pil.DecompressionBombError as error:  # WebP and frames of GIF, beyond our limit as well
            raise reject(Reason.TOO_MANY_PIXELS, "The picture announces more pixels than are read.") from error
        except (OSError, SyntaxError, EOFError) as error:
            raise _broken(error) from error


def _broken(error: BaseException) -> Refused:
    """Pillow says in words whether the end is missing or the middle is damaged."""
    words = str(error).lower()
    if "truncated" in words or isinstance(error, EOFError):
        return reject(Reason.TRUNCATED, "The picture ends early.")
    return reject(Reason.CORRUPT, "The picture is damaged.")


def _read(opened: ImageFile, data: bytes, index: int, num_frames: int, flags: list[Flag]) -> Image:
    if num_frames > 1:
        opened.seek(index)  # a frame of a GIF may be larger than its screen
        check_samples(opened.width * opened.height * len(opened.getbands()))
    attributes: dict[str, Attribute] = {"format": (opened.format or "").lower(), "num_frames": num_frames}
    decoder = f"pillow {PIL.__version__}"
    if opened.format == "PNG" and data[24] == 16 and data[25] in _PNG_COLOUR_16 and num_frames == 1:
        pixels, decoder = _png_16(data, opened.getexif().get(_ORIENTATION, 1))
        attributes["bits"] = 16
    else:
        opened.load()
        pixels = to_samples(ImageOps.exif_transpose(opened))
        attributes["bits"] = pixels.dtype.itemsize * 8
    if opened.mode == "CMYK":
        flags.append(Flag(code="CMYK", sentence="Printing colours were converted to RGB without a profile."))
    rows, columns = pixels.shape[:2]
    return Image(
        pixels=pixels,
        unit=PixelUnit.DISPLAY if pixels.dtype == np.uint8 else PixelUnit.RAW,
        attributes=attributes | {"frame": index, "rows": rows, "columns": columns},
        flags=(*flags, *picture_flags(pixels)),
        decoder=decoder,
    )


def to_samples(opened: Pil.Image) -> np.ndarray:
    """Samples of a Pillow picture: uint8 `[H, W]` or `[H, W, 3]`, or wider grey as it is."""
    if opened.mode.startswith("I;16") or opened.mode in ("I", "F"):
        wide = np.asarray(opened)
        return wide.astype(wide.dtype.newbyteorder("="), copy=False)
    if opened.mode in _TO_GREY and "transparency" not in opened.info:
        return np.asarray(opened.convert("L"))
    if "transparency" in opened.info:
        return on_black(np.asarray(opened.convert("RGBA")))
    if alpha := _TO_ALPHA.get(opened.mode):
        return on_black(np.asarray(opened.convert(alpha)))
    return np.asarray(opened if opened.mode == "RGB" else opened.convert("RGB"))


def on_black(samples: np.ndarray) -> np.ndarray:
    """Composite `[H, W, 2]` or `[H, W, 4]` unsigned samples, alpha last, on black: `[H, W]` or `[H, W, 3]`."""
    colours, alpha = samples[..., :-1], samples[..., -1:]
    full = np.iinfo(samples.dtype).max
    if not (alpha == full).all():
        colours = np.round(colours * (alpha / np.float64(full))).astype(samples.dtype)
    return np.ascontiguousarray(colours[..., 0] if colours.shape[-1] == 1 else colours)


def _png_16(data: bytes, orientation: int) -> tuple[np.ndarray, str]:
    """A PNG of 16-bit colour, or of 16-bit grey with alpha, turned upright, and its decoder."""
    import imagecodecs

    decode: Callable[[bytes], np.ndarray] = imagecodecs.png_decode
    samples = decode(data)
    if samples.shape[-1] in (2, 4):
        samples = on_black(samples)
    if samples.ndim == 3:
        samples = finished_colours(samples, 16)
    return upright(samples, orientation), f"imagecodecs {imagecodecs.__version__}"
