"""Image: typed pixels with what is known about them. Immutable; identifiers sit in one field.

`Answer` is what every input ends in; `Flag` says what is doubtful about an image that was taken all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import numpy as np

from callosum.core.display import Window, describe_window, to_display

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
        window: The window to show it with; None for percentiles.
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
    window: Window | None = None
    inverted: bool = False
    attributes: Mapping[str, Attribute] = field(default_factory=lambda: MappingProxyType({}))
    identifiers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    flags: tuple[Flag, ...] = ()
    source_digest: str = ""
    decoder: str = ""
    text: str = ""

    def display(self) -> np.ndarray:
        """The rendered picture: uint8 `[H, W]` or `[H, W, 3]`."""
        return to_display(self.pixels, window=self.window, inverted=self.inverted)

    @property
    def render_recipe(self) -> dict[str, Any]:
        """Everything that decides how `display` looks, as a JSON value."""
        window = None if self.unit is PixelUnit.DISPLAY else describe_window(self.window)
        return {"decoder": self.decoder, "unit": str(self.unit), "window": window, "inverted": self.inverted}


Record = Image
"""What `callosum.read` returns; reports and studies join it when their readers exist."""
