"""DICOM whole slide microscopy: what an instance is, and its tiles where openslide does not read it.

An instance holds one picture (PS3.3 A.32.8): a level of the slide, a thumbnail, the label or an overview of the glass.
Which of them, Image Type value 3 says (C.8.12.4.1.1). Labels and overviews show what is written on the glass.
"""

from __future__ import annotations

import math
import warnings
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydicom import dcmread

from callosum.core.errors import Refused
from callosum.data.readers import dicom_pixels
from callosum.data.readers.dicom_header import (
    PIXEL_NUMBERS,
    as_floats,
    as_int,
    as_text,
    identifiers_of,
    items,
    raw_value,
)
from callosum.data.readers.refusal import Reason, check_samples, guard, metadata_only, quarantine
from callosum.data.slides.slide import Level, Pixels, RegionLost, SlideFacts, mosaic, plausible_mpp

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SOP_CLASS = b"1.2.840.10008.5.1.4.1.1.77.1.6"
"""VL Whole Slide Microscopy Image Storage."""

MAX_BYTES = 512 << 20
"""A larger instance is read with openslide only, as the file is held in memory here."""

_WRITTEN_ON = frozenset({"LABEL", "OVERVIEW"})
_DAMAGED = "Its header cannot be read."


class DicomInstance:
    """The header of one instance of a slide."""

    def __init__(self, path: Path) -> None:
        """Read the header.

        Raises:
            Refused: `HEADER_INVALID`.
        """
        with warnings.catch_warnings(), guard(quarantine(Reason.HEADER_INVALID, _DAMAGED)):
            warnings.simplefilter("ignore")
            self.header: Dataset = dcmread(path, stop_before_pixels=True)
            self.flavour = str((list(raw_value(self.header, "ImageType") or []) + [""] * 3)[2]).upper()

    @property
    def is_level(self) -> bool:
        """True for a level of a slide in colour; a thumbnail, or a slide in fluorescence, is an ordinary picture."""
        return self.flavour == "VOLUME" and (as_int(self.header, "SamplesPerPixel"), self._bits) == (3, 8)

    @property
    def is_written_on(self) -> bool:
        """True for a picture of the label, or of the glass with the label."""
        return self.flavour in _WRITTEN_ON

    @property
    def _bits(self) -> int | None:
        return as_int(self.header, "BitsAllocated")

    @cached_property
    def identifiers(self) -> dict[str, str]:
        """As in `Image.identifiers`."""
        return identifiers_of(self.header)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the picture that the tiles make."""
        size = (as_int(self.header, f"TotalPixelMatrix{side}") or 0 for side in ("Columns", "Rows"))
        width, height = size
        return width, height

    def check_is_level(self) -> None:
        """Let only a level of the slide pass.

        Raises:
            Refused: `LABEL_IMAGE`.
        """
        if self.is_written_on:
            sentence = "It shows the label of a glass slide, where names are written; it is never shown or indexed."
            raise self.refused(metadata_only(Reason.LABEL_IMAGE, sentence))

    def refused(self, refused: Refused) -> Refused:
        """The same answer, with the identifiers by which the study is found."""
        return Refused(
            refused.answer,
            refused.reason,
            refused.sentence,
            attributes={"modality": "SM"},
            identifiers=self.identifiers,
        )


class DicomSlide:
    """One instance, decoded frame by frame with the plugins that every DICOM file is decoded with."""

    def __init__(self, path: Path, instance: DicomInstance) -> None:
        """Open a slide.

        Raises:
            Refused: the header contradicts itself or is of a kind that is not read.
        """
        with warnings.catch_warnings(), guard(quarantine(Reason.HEADER_INVALID, _DAMAGED)):
            warnings.simplefilter("ignore")
            self._dataset: Dataset = dcmread(path)
            numbers = {keyword: as_int(self._dataset, keyword) for keyword in PIXEL_NUMBERS}
            photometric = as_text(self._dataset, "PhotometricInterpretation")
            self._layout = dicom_pixels.pixel_layout(self._dataset, numbers, photometric)
            self._frames = self._frame_of_tile(instance.size)
            plugin = dicom_pixels.decoder_plugin(self._layout.transfer_syntax)[1]
            spacing = _spacing_mm(self._dataset)
        width, height = instance.size
        self.facts = SlideFacts(
            reader=f"{dicom_pixels.decoder_name(plugin)} (dicom)",
            vendor="dicom",
            levels=(Level(width=width, height=height, downsample=1.0),),
            mpp=plausible_mpp(1000 * spacing[1], 1000 * spacing[0]) if len(spacing) == 2 else None,
            identifiers=instance.identifiers,
        )
        self._tile = lru_cache(max(4, (32 << 20) // (self._layout.rows * self._layout.columns * 3)))(self._decode)

    def _frame_of_tile(self, size: tuple[int, int]) -> dict[tuple[int, int], int]:
        """Frame number of each row and column of tiles (PS3.3 C.7.6.17.3); of several focal planes, the first."""
        rows, columns = self._layout.rows, self._layout.columns
        across, down = -(-size[0] // columns), -(-size[1] // rows)
        if not across or not down:
            raise quarantine(Reason.DIM_ZERO, "The size of the whole slide is missing.")
        if as_text(self._dataset, "DimensionOrganizationType") == "TILED_FULL":
            if across * down > self._layout.num_frames:
                raise quarantine(Reason.DIM_MISMATCH, "There are fewer frames than tiles.")
            return {divmod(index, across): index for index in range(across * down)}
        found: dict[tuple[int, int], int] = {}
        for index, frame in enumerate(items(self._dataset, "PerFrameFunctionalGroupsSequence")):
            for place in items(frame, "PlanePositionSlideSequence"):
                x = as_int(place, "ColumnPositionInTotalImagePixelMatrix")
                y = as_int(place, "RowPositionInTotalImagePixelMatrix")
                if x is None or y is None or (x - 1) % columns or (y - 1) % rows:
                    raise metadata_only(Reason.FORMAT_UNSUPPORTED, "Tiles that are not on a grid are not read.")
                found.setdefault(((y - 1) // rows, (x - 1) // columns), index)
        return found

    def region(self, level: int, x: int, y: int, width: int, height: int) -> Pixels:
        """Read a region; see `Slide.region`."""
        assert level == 0, "an instance is one level"
        check_samples(width * height * 3)
        first = self.facts.levels[0]
        tile_size = (self._layout.columns, self._layout.rows)
        return mosaic((x, y, width, height), (first.width, first.height), tile_size, self._tile)

    def _decode(self, row: int, column: int) -> Pixels | None:
        index = self._frames.get((row, column))
        if index is None or index >= self._layout.num_frames:
            return None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                stored = dicom_pixels.decode_frame(self._dataset, self._layout, index)[0]
        except Refused as refused:
            raise RegionLost from refused
        return stored.astype(np.uint8, copy=False)

    def close(self) -> None:
        """Nothing is open: the file is in memory."""


def _spacing_mm(dataset: Dataset) -> list[float]:
    """Pixel Spacing, down and across; empty when it is not said."""
    for shared in items(dataset, "SharedFunctionalGroupsSequence"):
        for measures in items(shared, "PixelMeasuresSequence"):
            spacing = as_floats(measures, "PixelSpacing")
            if len(spacing) == 2 and all(math.isfinite(one) for one in spacing):
                return spacing
    return []
