"""Which frames make one volume, by stated rules; every frame that is left out is said so in a flag.

1. Of several series, the one with the most frames (`SEVERAL_SERIES`).
2. Localisers are left out, unless there is nothing else (`LOCALISER_LEFT_OUT`).
3. Of frames of different size, spacing, direction or polarity, those that are more than half (`MIXED_GEOMETRY`);
   without such a majority there is no volume.
4. A file that comes twice counts once (`DUPLICATE_SLICE`).
5. Of several frames at one position, the first by time, acquisition, echo and instance: when all positions have
   equally many they are several volumes (`MULTI_VOLUME`), otherwise `DUPLICATE_POSITION`.

What is left is sorted along the normal of the slices: never by file name, and by Instance Number only within one
position.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from callosum.core.errors import Refused
from callosum.core.record import Flag
from callosum.data.readers.dicom_frames import Frame
from callosum.data.readers.refusal import Reason, metadata_only
from callosum.data.volumes.geometry import normal_of

SAME_POSITION_MM = 0.01
_SAME_DIRECTION = 1e-3
_SAME_SPACING = 1e-3
_MAX_KINDS = 64
"""Frames of more kinds than this turn around the patient, or were made to be slow; they are not compared further."""


def choose(frames: list[Frame]) -> tuple[list[Frame], list[Flag]]:
    """The frames of one volume, sorted, and what was left out.

    Args:
        frames: At least one.

    Raises:
        Refused: `MIXED_GEOMETRY`.
    """
    flags: list[Flag] = []
    by_series = defaultdict(list)
    for frame in frames:
        by_series[frame.series_uid].append(frame)
    chosen = max(by_series.values(), key=len)
    if len(by_series) > 1:
        sentence = f"The files are of {len(by_series)} series; the one with the most frames was read."
        flags.append(Flag(code="SEVERAL_SERIES", sentence=sentence))
    others = [frame for frame in chosen if not frame.is_localiser]
    if others and len(others) < len(chosen):
        sentence = f"{len(chosen) - len(others)} localisers were left out."
        flags.append(Flag(code="LOCALISER_LEFT_OUT", sentence=sentence))
        chosen = others
    alike = _most_alike(chosen)
    if len(alike) < len(chosen):
        if 2 * len(alike) <= len(chosen):
            raise _mixed()
        sentence = f"{len(chosen) - len(alike)} frames of another size, spacing or direction were left out."
        flags.append(Flag(code="MIXED_GEOMETRY", sentence=sentence))
    once = list({_identity(frame): frame for frame in reversed(alike)}.values())
    if len(once) < len(alike):
        sentence = f"{len(alike) - len(once)} frames came more than once."
        flags.append(Flag(code="DUPLICATE_SLICE", sentence=sentence))
    return _one_per_position(once, flags)


def _identity(frame: Frame) -> tuple[object, ...]:
    """Alike for a file and its copy; two slices that share a UID by mistake lie in different places."""
    return frame.instance_uid or frame.source, frame.index, *frame.position_3.tolist()


def _most_alike(frames: Iterable[Frame]) -> list[Frame]:
    kinds: list[list[Frame]] = []
    for frame in frames:
        kind = next((kind for kind in kinds if _are_alike(kind[0], frame)), None)
        if kind is None:
            if len(kinds) == _MAX_KINDS:
                raise _mixed()
            kinds.append(kind := [])
        kind.append(frame)
    return max(kinds, key=len)


def _mixed() -> Refused:
    sentence = "Its frames differ in size, spacing or direction, and no kind is more than half of them."
    return metadata_only(Reason.MIXED_GEOMETRY, sentence)


def _are_alike(one: Frame, other: Frame) -> bool:
    return (
        one.shape == other.shape
        and one.photometric == other.photometric
        and bool(np.allclose(one.spacing, other.spacing, rtol=_SAME_SPACING, atol=0))
        and bool(np.abs(one.orientation_6 - other.orientation_6).max() <= _SAME_DIRECTION)
    )


def _one_per_position(frames: list[Frame], flags: list[Flag]) -> tuple[list[Frame], list[Flag]]:
    normal = normal_of(frames[0].orientation_6)
    along = {id(frame): float(frame.position_3 @ normal) for frame in frames}
    places: list[list[Frame]] = []
    for frame in sorted(frames, key=lambda frame: along[id(frame)]):
        if not places or along[id(frame)] - along[id(places[-1][0])] > SAME_POSITION_MM:
            places.append([])
        places[-1].append(frame)
    sizes = {len(place) for place in places}
    if sizes != {1} and len(sizes) == 1:
        sentence = f"It has {sizes.pop()} volumes; the first was read."
        flags.append(Flag(code="MULTI_VOLUME", sentence=sentence))
    elif sizes != {1}:
        sentence = f"{len(frames) - len(places)} frames lie where another one does; the first of each place was read."
        flags.append(Flag(code="DUPLICATE_POSITION", sentence=sentence))
    return [min(place, key=lambda frame: frame.order) for place in places], flags
