"""Image: typed pixels with what is known about them. Immutable; identifiers sit in one field.

`Answer` is what every input ends in; `Flag` says what is doubtful about an image that was taken all the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import numpy as np

from callosum.core.display import Window, describe_window, percentile_window, reduction, to_display
from callosum.core.errors import UsageError
from callosum.core.windowing import Windowing, resolve_windowing

Attribute = str | int | float | bool


class Answer(StrEnum):
    """What every input ends in."""

    ACCEPT = "ACCEPT"
    FLAG = "ACCEPT+FLAG"
    METADATA_ONLY = "METADATA_ONLY"
    QUARANTINE = "QUARANTINE"
    REJECT = "REJECT"


class PixelUnit(StrEnum):
    """What a sample means."""

    HU = "HU"
    RAW = "RAW"
    DISPLAY = "DISPLAY"


@dataclass(frozen=True, kw_only=True, slots=True)
class Flag:
    """A doubt about an accepted image: a machine code and one sentence, without identifier."""

    code: str
    sentence: str


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Image:
    """One picture: a file, or one frame of it.

    Attributes:
        pixels: Samples in physical meaning, `[H, W]` or `[H, W, 3]`.
        unit: HU, raw stored values, or a finished picture.
        window: The window to show it with, three for red, green and blue; None for percentiles.
        other_windows: Further windows of the file.
        inverted: True when the smallest value is shown white.
        attributes: What is known about it, free of identifiers.
        identifiers: patient_id, study_uid, series_uid, instance_uid: the one place where identifiers may be.
        flags: Doubts.
        source_digest: SHA-256 of the file.
        decoder: Name and version of the decoder.
        text: Caption or report that came with the image.
    """

    pixels: np.ndarray
    unit: PixelUnit
    window: Window | tuple[Window, ...] | None = None
    other_windows: tuple[Window, ...] = ()
    inverted: bool = False
    attributes: Mapping[str, Attribute] = field(default_factory=lambda: MappingProxyType({}))
    identifiers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    flags: tuple[Flag, ...] = ()
    source_digest: str = ""
    decoder: str = ""
    text: str = ""

    def display(self, *, window: str | Sequence[str] | None = None, min_px: int | None = None) -> np.ndarray:
        """The rendered picture: uint8 `[H, W]` or `[H, W, 3]`.

        Args:
            window: What to show it with instead of its own window; see `resolve_windowing`.
            min_px: The rendered picture may be averaged down by a whole factor as long as both sides keep so many
                pixels; with four times the size that it will be resized to, no pixel of that differs by more than a
                grey level or two.

        Raises:
            UsageError: the window is none, or cannot be applied to this picture.
        """
        if window is not None:
            image = self.windowed(resolve_windowing(window))
            if doubts := image.flags[len(self.flags) :]:
                raise UsageError(doubts[0].sentence)
            return image.display(min_px=min_px)
        factor = 1 if min_px is None else reduction(self.pixels.shape, min_px=min_px)
        return to_display(self.pixels, window=self.window, inverted=self.inverted, factor=factor)

    def windowed(self, asked: Windowing) -> Image:
        """The picture with the window that was asked for, or with its own and a flag where that has no meaning."""
        if asked.windows_hu and self.unit is PixelUnit.HU:
            return replace(self, window=asked.windows_hu if len(asked.windows_hu) > 1 else asked.windows_hu[0])
        if asked.windows_hu:
            return self._doubted("WINDOW_NOT_HU", "A window in HU was asked for, and its samples are not in HU.")
        if asked.is_percentile:
            is_settled = self.window is None or self.unit is PixelUnit.DISPLAY
            return self if is_settled else replace(self, window=percentile_window(self.pixels))
        if asked.file_index > len(self.other_windows):
            return self._doubted("WINDOW_MISSING", "A window of the file was asked for that the file does not have.")
        return replace(self, window=self.other_windows[asked.file_index - 1]) if asked.file_index else self

    def _doubted(self, code: str, sentence: str) -> Image:
        return replace(self, flags=(*self.flags, Flag(code=code, sentence=sentence)))

    @property
    def render_recipe(self) -> dict[str, Any]:
        """Everything that decides how `display` looks, as a JSON value."""
        window = None if self.unit is PixelUnit.DISPLAY else describe_window(self.window)
        return {"decoder": self.decoder, "unit": str(self.unit), "window": window, "inverted": self.inverted}


Record = Image
"""What `callosum.read` returns; reports and studies join it when their readers exist."""
