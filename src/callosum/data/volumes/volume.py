"""Volume: samples `[Z, Y, X]` in physical meaning, where they lie in the patient, and slices of them as `Image`.

Slices are shown as radiologists look at them: axial with the front up and the patient's right on the left, coronal
with the head up and the right on the left, sagittal with the head up and the front on the left. All slices of a
volume share one window. Pixels that are not square are made so by linear interpolation along the coarser side.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType

import numpy as np
from jaxtyping import Float, Shaped

from callosum.core.display import Window, percentile_window
from callosum.core.errors import InputError, UsageError
from callosum.core.record import Attribute, Flag, Image, PixelUnit
from callosum.data.readers.picture import picture_flags, sample_indices
from callosum.data.readers.refusal import Reason, reject
from callosum.data.volumes.geometry import is_orthogonal, is_usable, orientation_of, turned_affine, turns

MAX_VOLUME_BYTES = 1 << 30
"""Larger volumes are refused by the arithmetic of their header, before they are allocated."""

_WINDOW_SAMPLES = 1 << 22
"""How many samples of a volume its percentiles are taken from, evenly thinned along each axis."""

_SQUARE_TOLERANCE = 0.01
_MAX_STRETCH = 64


class Plane(StrEnum):
    """Which way a volume is cut; `acquired` is the anatomical plane nearest to its own slices."""

    AXIAL = "axial"
    CORONAL = "coronal"
    SAGITTAL = "sagittal"
    ACQUIRED = "acquired"


_SHOWN = {Plane.AXIAL: "SPL", Plane.CORONAL: "PIL", Plane.SAGITTAL: "LIP"}
"""Orientation of the stack of slices of each plane: from slice to slice, down a slice, along its rows."""


def check_volume(num_samples: int, itemsize: int) -> None:
    """Refuse a volume that is too large to hold.

    Raises:
        Refused: `TOO_MANY_PIXELS`.
    """
    if num_samples * itemsize > MAX_VOLUME_BYTES:
        sentence = f"The volume needs {num_samples * itemsize} bytes; the limit is {MAX_VOLUME_BYTES}."
        raise reject(Reason.TOO_MANY_PIXELS, sentence)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Volume:
    """A regular grid of samples in the patient.

    Attributes:
        samples: In physical meaning, `[Z, Y, X]` or `[Z, Y, X, 3]`; Z counts slices as they were acquired or stored.
        affine: `[4, 4]`, array indices (z, y, x, 1) to patient coordinates in mm: +x left, +y back, +z head (the LPS
            of DICOM), at the centres of voxels.
        unit: HU, raw values, or finished pictures.
        window: The window to show it with, or three for red, green and blue; None for percentiles of the volume.
        inverted: True when the smallest value is shown white.
        is_even: False when slices are missing or unevenly spaced: only the acquired plane can then be cut.
        attributes: What is known about it, free of identifiers.
        identifiers: The one place where identifiers may be.
        flags: Doubts.
        decoder: Name and version of the decoder.
    """

    samples: Shaped[np.ndarray, "Z Y X *C"]
    affine: Float[np.ndarray, "4 4"]
    unit: PixelUnit
    window: Window | tuple[Window, ...] | None = None
    inverted: bool = False
    is_even: bool = True
    attributes: Mapping[str, Attribute] = field(default_factory=lambda: MappingProxyType({}))
    identifiers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    flags: tuple[Flag, ...] = ()
    decoder: str = ""

    def __post_init__(self) -> None:
        """Check shapes.

        Raises:
            InputError: the samples are not `[Z, Y, X]` or `[Z, Y, X, 3]`, or the affine does not span space.
        """
        if self.samples.ndim not in (3, 4) or not self.samples.size or self.samples.shape[3:] not in ((), (3,)):
            message = f"A volume is [Z, Y, X] or [Z, Y, X, 3]; found {list(self.samples.shape)}."
            raise InputError(message)
        if self.affine.shape != (4, 4) or not is_usable(self.affine):
            message = "The affine of a volume is [4, 4], finite, and spans space."
            raise InputError(message)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Between neighbours along z, y and x."""
        z, y, x = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(z), float(y), float(x)

    @property
    def orientation(self) -> str:
        """Where the axes z, y and x point: letters of L R (left, right), P A (back, front), S I (head, foot)."""
        return orientation_of(self.affine)

    @property
    def plane(self) -> Plane:
        """The anatomical plane nearest to its own slices."""
        across = self.orientation[0]
        return Plane.AXIAL if across in "SI" else Plane.CORONAL if across in "PA" else Plane.SAGITTAL

    def oriented(self, target: str) -> Volume:
        """The same samples with axes turned and reversed to a target such as `SPL`; nothing is interpolated."""
        axes = turns(self.orientation, target)
        samples = self.samples.transpose(*(old for old, _ in axes), *range(3, self.samples.ndim))
        samples = samples[tuple(slice(None, None, -1 if is_reversed else 1) for _, is_reversed in axes)]
        affine = turned_affine(self.affine, self.samples.shape, axes)
        return replace(self, samples=samples, affine=affine)

    def shown_window(self) -> Window | tuple[Window, ...] | None:
        """The window that every slice is shown with: its own, or percentiles over all; None for finished pictures."""
        if self.window is not None or self.unit is PixelUnit.DISPLAY:
            return self.window
        step = max(1, math.ceil((self.samples.size / _WINDOW_SAMPLES) ** (1 / 3)))
        return percentile_window(self.samples[::step, ::step, ::step])

    def num_slices(self, plane: Plane | str = Plane.ACQUIRED) -> int:
        """How many slices there are along a plane."""
        shown = self._shown(plane)
        return int(self.samples.shape[turns(self.orientation, _SHOWN[shown])[0][0]])

    def can_cut(self, plane: Plane | str) -> bool:
        """False where a slice would be distorted: across slices that are uneven or not at right angles."""
        return self._shown(plane) is self.plane or (self.is_even and is_orthogonal(self.affine))

    def slices(self, k: int, *, plane: Plane | str = Plane.AXIAL) -> list[Image]:
        """At most k slices, the centres of k equal parts; the middle one for k = 1.

        Each says in its attributes which it is: `slice` (counted from 0 from the foot, the front or the right),
        `num_slices` and `plane`.

        Raises:
            UsageError: k is not positive; or the plane is not the acquired one and the slices are unevenly spaced or
                not at right angles, so that the picture would be distorted.
        """
        return self.pictures(sample_indices(self.num_slices(plane), k), plane=plane)

    def pictures(self, indices: Iterable[int], *, plane: Plane | str = Plane.AXIAL) -> list[Image]:
        """The slices of these indices; see `slices`.

        Raises:
            UsageError: there is no such slice, or the plane cannot be cut.
        """
        shown = self._shown(plane)
        if not self.can_cut(plane):
            message = f"Slices that are uneven or tilted can be shown in the {self.plane} plane only."
            raise UsageError(message)
        turned = self.oriented(_SHOWN[shown])
        window = self.shown_window()
        return [turned._picture(index, shown, window) for index in indices]

    def _shown(self, plane: Plane | str) -> Plane:
        """The anatomical plane that is meant."""
        if plane not in list(Plane):
            message = f"A plane is one of {', '.join(Plane)}."
            raise UsageError(message)
        return self.plane if plane == Plane.ACQUIRED else Plane(plane)

    def _picture(self, index: int, shown: Plane, window: Window | tuple[Window, ...] | None) -> Image:
        """One picture of a volume that is turned the way it is shown."""
        if not 0 <= index < len(self.samples):
            message = f"Slice {index} was asked for; the plane has {len(self.samples)}, counted from 0."
            raise UsageError(message)
        pixels, spacing, flags = _square(np.ascontiguousarray(self.samples[index]), list(self.spacing_mm[1:]))
        place: dict[str, Attribute] = {
            "plane": str(shown),
            "slice": index,
            "num_slices": len(self.samples),
            "rows": pixels.shape[0],
            "columns": pixels.shape[1],
            "spacing_row_mm": spacing[0],
            "spacing_column_mm": spacing[1],
        }
        return Image(
            pixels=pixels,
            unit=self.unit,
            window=window,
            inverted=self.inverted,
            attributes={**self.attributes, **place},
            identifiers=self.identifiers,
            flags=(*self.flags, *flags, *picture_flags(pixels)),
            decoder=self.decoder,
        )


def _square(pixels: np.ndarray, spacing: list[float]) -> tuple[np.ndarray, list[float], list[Flag]]:
    """Make the pixels of `[H, W, ...]` square, by linear interpolation along the side whose spacing is coarser."""
    fine, coarse = min(spacing), max(spacing)
    axis = spacing.index(coarse)
    if coarse <= fine * (1 + _SQUARE_TOLERANCE):
        return pixels, spacing, []
    if coarse > fine * _MAX_STRETCH:
        sentence = f"Its pixels are more than {_MAX_STRETCH} times longer than wide; they were left so."
        return pixels, spacing, [Flag(code="SPACING_EXTREME", sentence=sentence)]
    size = max(1, round(pixels.shape[axis] * coarse / fine))
    return _stretched(pixels, axis, size), [fine, fine], []


def _stretched(pixels: np.ndarray, axis: int, size: int) -> np.ndarray:
    """Linear interpolation along one axis to `size` samples; edges are held. The sample type stays."""
    num = pixels.shape[axis]
    at = np.clip((np.arange(size) + 0.5) * num / size - 0.5, 0, num - 1)
    low = np.minimum(at.astype(np.int64), max(num - 2, 0))
    high = np.minimum(low + 1, num - 1)
    wide = np.float32 if pixels.dtype.itemsize <= 2 or pixels.dtype == np.float32 else np.float64
    shape = [1] * pixels.ndim
    shape[axis] = size
    part = (at - low).astype(wide).reshape(shape)
    below, above = (np.take(pixels, which, axis).astype(wide) for which in (low, high))
    values = below * (1 - part) + above * part  # not below + part * (above - below): that difference can overflow
    return (np.rint(values) if pixels.dtype.kind in "iu" else values).astype(pixels.dtype)
