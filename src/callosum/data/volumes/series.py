"""DICOM files of one series to a `Volume`: headers first, then the arithmetic, then the pixels.

Pixels are rendered by the reader of DICOM files, each slice with its own slope and intercept. A slice whose pixels
cannot be read is left out and leaves a gap; half of them at least must be readable.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from callosum.core.display import Window
from callosum.core.errors import Refused
from callosum.core.record import Flag, Image, PixelUnit
from callosum.data.readers import dicom, read_file
from callosum.data.readers.dicom_frames import Frame, frames_of
from callosum.data.readers.refusal import Reason, metadata_only, quarantine, reject
from callosum.data.volumes.choice import choose
from callosum.data.volumes.geometry import Stack, stack_up
from callosum.data.volumes.volume import Volume, check_volume

_BYTES_PER_SAMPLE = 4
"""Rescaled samples are float32 at the widest."""

_MAX_FRAMES = 1 << 16
_OF_ONE_FRAME = frozenset({"frame", "num_frames"})
_OF_ONE_SLICE = frozenset({"CONSTANT", "MULTI_FRAME", "TINY", "ASPECT_EXTREME"})
"""Flags of a picture that say nothing about a volume; they are found again for each slice."""


def read_series(files: Sequence[Path | bytes]) -> Volume:
    """Read the DICOM files of a series, in any order, as one volume.

    Files that are no DICOM images, or that do not say where they lie, are left out and counted (`LEFT_OUT`); `choice`
    says which of the others make the volume, `geometry.stack_up` how they lie. The window is the one that more than
    half of the slices have; otherwise percentiles of the volume.

    Raises:
        Refused: no file can be used, with the answer of the first; `MIXED_GEOMETRY`, `DIM_ZERO`, `TOO_MANY_PIXELS`;
            or `CODESTREAM_INVALID` when half of the slices or more cannot be decoded, and the answer of the first
            when none can.
    """
    frames, refusals = _headers(files)
    if not frames:
        raise refusals[0] if refusals else metadata_only(Reason.NO_GEOMETRY, "There are no files to make a volume of.")
    chosen, flags = choose(frames)
    rows, columns = chosen[0].shape
    if min(rows, columns) < 1:
        raise reject(Reason.DIM_ZERO, "Rows or Columns is zero or missing.")
    check_volume(len(chosen) * rows * columns, _BYTES_PER_SAMPLE)
    if refusals:
        sentence = f"{len(refusals)} files were left out: they are no images that say where they lie."
        flags.append(Flag(code="LEFT_OUT", sentence=sentence))
    slices = _Slices(num_slices=len(chosen))
    damages: list[Refused] = []
    for z, image in _pictures(files, chosen, damages):
        slices.put(z, image)
    kept = [chosen[z] for z in slices.places]
    if 2 * len(kept) <= len(chosen):
        sentence = f"{len(chosen) - len(kept)} of its {len(chosen)} slices cannot be decoded."
        raise damages[0] if damages and not kept else quarantine(Reason.CODESTREAM_INVALID, sentence)
    if len(kept) < len(chosen):
        sentence = f"{len(chosen) - len(kept)} slices cannot be decoded and were left out."
        flags.append(Flag(code="SLICES_UNREADABLE", sentence=sentence))
    positions_Z3 = np.stack([frame.position_3 for frame in kept])
    return slices.volume(stack_up(positions_Z3, kept[0].orientation_6, kept[0].spacing, kept[0].thickness_mm), flags)


def _headers(files: Sequence[Path | bytes]) -> tuple[list[Frame], list[Refused]]:
    frames: list[Frame] = []
    refusals: list[Refused] = []
    for source, file in enumerate(files):
        try:
            frames += frames_of(_bytes(file), source)
        except Refused as refused:
            refusals.append(refused)
    return frames, refusals


def _bytes(file: Path | bytes) -> bytes:
    return file if isinstance(file, bytes) else read_file(file)


def _pictures(
    files: Sequence[Path | bytes], chosen: list[Frame], damages: list[Refused]
) -> Iterator[tuple[int, Image]]:
    """Each slice's place and picture, those that can be decoded; each file is read once."""
    by_source: dict[int, dict[int, int]] = defaultdict(dict)
    for z, frame in enumerate(chosen):
        by_source[frame.source][frame.index] = z
    for source, places in by_source.items():
        try:
            for image in dicom.read_images(_bytes(files[source]), limit=_MAX_FRAMES):
                index = int(image.attributes["frame"])
                if index in places:
                    yield places[index], image
        except Refused as refused:
            damages.append(refused)


class _Slices:
    """Samples of slices as they come, in one array, and what their pictures say of the volume."""

    def __init__(self, *, num_slices: int) -> None:
        self._num_slices = num_slices
        self._samples: np.ndarray | None = None
        self._pictures: dict[int, Image] = {}  # without their pixels

    @property
    def places(self) -> list[int]:
        """The slices that came, in order."""
        return sorted(self._pictures)

    def put(self, z: int, image: Image) -> None:
        """Take a slice; one of another shape than the first is not taken."""
        if self._samples is None:
            self._samples = np.zeros((self._num_slices, *image.pixels.shape), image.pixels.dtype)
        if image.pixels.shape != self._samples.shape[1:]:
            return
        dtype = _common(self._samples.dtype, image.pixels.dtype)
        self._samples = self._samples.astype(dtype, copy=False)
        self._samples[z] = image.pixels
        self._pictures[z] = replace(image, pixels=np.empty((0, 0), image.pixels.dtype))

    def volume(self, stack: Stack, flags: list[Flag]) -> Volume:
        """All that came."""
        assert self._samples is not None
        places = self.places
        pictures = [self._pictures[z] for z in places]
        middle = pictures[len(pictures) // 2]
        units = {picture.unit for picture in pictures}
        doubts = _merged(pictures)
        if len(units) > 1:
            doubts.append(Flag(code="MIXED_UNITS", sentence="Its slices are not all in the same unit."))
        attributes = {name: value for name, value in middle.attributes.items() if name not in _OF_ONE_FRAME}
        return Volume(
            samples=self._samples if len(places) == self._num_slices else self._samples[places],
            affine=stack.affine,
            unit=units.pop() if len(units) == 1 else PixelUnit.RAW,
            window=_window(pictures),
            inverted=middle.inverted,
            is_even=stack.is_even,
            attributes=attributes,
            identifiers={name: text for name, text in middle.identifiers.items() if name != "instance_uid"},
            flags=(*flags, *stack.flags, *doubts),
            decoder=middle.decoder,
        )


def _common(one: np.dtype, other: np.dtype) -> np.dtype:
    """A type for both, float32 when either is a float."""
    if one == other:
        return one
    return np.dtype(np.float32) if "f" in (one.kind, other.kind) else np.result_type(one, other)


def _window(pictures: list[Image]) -> Window | tuple[Window, ...] | None:
    """The window that more than half of the slices have."""
    window, count = Counter(picture.window for picture in pictures).most_common(1)[0]
    return window if 2 * count > len(pictures) else None


def _merged(pictures: list[Image]) -> list[Flag]:
    """One flag for each doubt about slices, saying how many have it."""
    found: dict[str, list[Flag]] = defaultdict(list)
    for picture in pictures:
        for flag in {flag.code: flag for flag in picture.flags if flag.code not in _OF_ONE_SLICE}.values():
            found[flag.code].append(flag)
    return [
        Flag(code=code, sentence=f"{flags[0].sentence} (So in {len(flags)} of {len(pictures)} slices.)")
        for code, flags in found.items()
    ]
