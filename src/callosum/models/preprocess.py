"""From a picture to the square the image tower takes; part of a checkpoint's fingerprint.

The starter squeezes a picture to a square, so that the edges of a film and the whole of a figure stay visible.
Published models do what they were trained with, to the last bit, except that 16-bit pictures are windowed first:
their own code turns them white (open_clip) or clips them (MedCLIP).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from callosum.models.area import resize_area


class Resample(StrEnum):
    """Filter used to resize. They widen with the reduction, so nothing aliases; all but the last are Pillow's."""

    BOX = "box"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    LANCZOS = "lanczos"
    AREA = "area"
    """OpenCV's `INTER_AREA`: means over areas, and a bilinear filter of its own for what grows (GLoRIA)."""


class Fit(StrEnum):
    """How a picture becomes a square."""

    SQUEEZE = "squeeze"
    """Both sides to `size_px` (the starter)."""
    CROP = "crop"
    """The shorter side to `size_px`, then the centre (CLIP, BiomedCLIP)."""
    PAD = "pad"
    """Black around it to a square of at least `size_px`, then to `size_px` (MedCLIP)."""
    PAD_LONGEST = "pad_longest"
    """The longer side to `size_px`, then black around it (CheXzero)."""
    PAD_CROP = "pad_crop"
    """The longer side to `longest_px`, black around it, then the centre (GLoRIA)."""


class TowerResample(StrEnum):
    """How a tower resizes its normalised input, where its authors' code does."""

    BICUBIC = "bicubic"
    """Without antialiasing, as CheXzero's torchvision did for tensors."""
    BILINEAR_CORNERS = "bilinear_corners"
    """Corners aligned (GLoRIA)."""


_FILTERS = {
    Resample.BOX: Image.Resampling.BOX,
    Resample.BILINEAR: Image.Resampling.BILINEAR,
    Resample.BICUBIC: Image.Resampling.BICUBIC,
    Resample.LANCZOS: Image.Resampling.LANCZOS,
}


SPARE = 4
"""Times the size of the input that a picture keeps when it is averaged before it is resized."""


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """A picture to `[S, S, 3]` uint8. Picklable; needs neither torch nor weights.

    Attributes:
        size_px: Side of the result.
        fit: How a picture becomes a square.
        resample: Filter.
        is_grey: Colour pictures become grey before anything else.
        keeps_mode: A PIL image is resized in the mode of its file, palette and all, as the code of published models
            does; without it pictures are turned to grey or RGB first.
        min_px: Smallest side of the square that is padded, for `pad`.
        longest_px: Longer side before the centre is cut out, for `pad_crop`.
        reducing_gap: Pictures that are many times larger are first averaged down to at least this many times the
            size, which is faster; None resizes in one step.
        mean: Subtracted from each channel by the tower, in units of the full range.
        std: Divides each channel in the tower.
        tower_px: Side to which the tower resizes its normalised input; None for no such step.
        tower_resample: How it does.
    """

    size_px: int = 112
    fit: Fit = Fit.SQUEEZE
    resample: Resample = Resample.BILINEAR
    is_grey: bool = False
    keeps_mode: bool = False
    min_px: int = 1
    longest_px: int | None = None
    reducing_gap: float | None = None
    mean: tuple[float, ...] = (0.40, 0.37, 0.39)
    std: tuple[float, ...] = (0.28, 0.27, 0.28)
    tower_px: int | None = None
    tower_resample: TowerResample = TowerResample.BICUBIC

    @property
    def spare_px(self) -> int | None:
        """So many pixels are enough for either side of a picture; None where every pixel counts.

        The starter takes large films averaged, which moves no input pixel by more than a grey level or two; published
        models get what they were trained with.
        """
        return SPARE * self.size_px if self.fit is Fit.SQUEEZE and not self.keeps_mode else None

    def __call__(self, display: UInt8[np.ndarray, "H W *C"] | Image.Image) -> UInt8[np.ndarray, "S S 3"]:
        """Make the square; a PIL image is resized in its own mode and only then turned to RGB."""
        if isinstance(display, np.ndarray):
            display = Image.fromarray(display[:, :, 0] if display.ndim == 3 and display.shape[2] == 1 else display)
        if self.is_grey:
            display = display.convert("L")
        return np.ascontiguousarray(np.asarray(_rgb(self._square(display))))

    def _square(self, picture: Image.Image) -> Image.Image:
        S = self.size_px
        match self.fit:
            case Fit.SQUEEZE:
                return self._resized(picture, S, S)
            case Fit.CROP:
                width, height = picture.size
                short = min(width, height)
                return _centre(self._resized(picture, int(S * width / short), int(S * height / short)), S)
            case Fit.PAD:
                return self._resized(_padded(picture, max(self.min_px, *picture.size)), S, S)
            case Fit.PAD_LONGEST:
                return _padded(self._longest(picture, S), S)
            case Fit.PAD_CROP:
                side = self.longest_px or S
                return _centre(_padded(self._longest(picture, side), side), S)

    def _longest(self, picture: Image.Image, side: int) -> Image.Image:
        ratio = side / max(picture.size)
        width, height = (max(1, int(round(length * ratio, 6))) for length in picture.size)
        return self._resized(picture, width, height)

    def _resized(self, picture: Image.Image, width: int, height: int) -> Image.Image:
        if picture.size == (width, height):
            return picture
        if self.resample is Resample.AREA:
            return Image.fromarray(resize_area(np.asarray(_even(picture)), height, width))
        return picture.resize((width, height), _FILTERS[self.resample], reducing_gap=self.reducing_gap)


def _even(picture: Image.Image) -> Image.Image:
    """The picture in a mode whose samples can be averaged."""
    return picture if picture.mode == "L" else picture.convert("RGB")


def _rgb(picture: Image.Image) -> Image.Image:
    if picture.mode == "L":
        return Image.merge("RGB", (picture, picture, picture))
    return picture.convert("RGB")


def _centre(picture: Image.Image, side: int) -> Image.Image:
    """The central square, rounded as torchvision rounds it."""
    left, top = (round((length - side) / 2.0) for length in picture.size)
    return picture.crop((left, top, left + side, top + side))


def _padded(picture: Image.Image, side: int) -> Image.Image:
    """The picture in the middle of a black square."""
    width, height = picture.size
    square = Image.new("L" if picture.mode == "L" else "RGB", (side, side), 0)
    square.paste(picture, ((side - width) // 2, (side - height) // 2))
    return square
