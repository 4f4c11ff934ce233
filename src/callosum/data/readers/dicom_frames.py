"""Where each frame of a DICOM file lies in the patient, from its header alone.

A single-frame object says it itself (PS3.3 C.7.6.2), an enhanced one in its functional groups (C.7.6.16.2.3-4), an
RT dose in its Grid Frame Offset Vector (C.8.8.3).
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pydicom import dcmread

from callosum.core.errors import Refused
from callosum.data.readers.dicom_header import as_float, as_floats, as_int, as_text, items, quiet, raw_value
from callosum.data.readers.prescan import lay_out
from callosum.data.readers.refusal import Reason, guard, metadata_only, quarantine
from callosum.data.volumes.geometry import ORTHOGONAL_COSINE, normal_of

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_MAX_FRAMES = 1 << 16
_ORDER_NUMBERS = (
    ("FrameContentSequence", "TemporalPositionIndex"),
    ("", "TemporalPositionIdentifier"),
    ("", "AcquisitionNumber"),
    ("", "EchoTime"),
    ("MREchoSequence", "EffectiveEchoTime"),
    ("", "DiffusionBValue"),
    ("MRDiffusionSequence", "DiffusionBValue"),
    ("", "TriggerTime"),
    ("", "AcquisitionTime"),
    ("", "InstanceNumber"),
)
"""What tells several volumes of one series apart, in the order in which it is asked."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Frame:
    """One frame: where it is in the files, where it lies, and what tells it from others.

    Attributes:
        source: Number of its file.
        index: Number of the frame in it, from 0.
        position_3: Image Position (Patient): centre of the first pixel, mm.
        orientation_6: Image Orientation (Patient): unit row direction, unit column direction.
        spacing: Between rows and between columns, mm.
        thickness_mm: Spacing Between Slices, else Slice Thickness, else 1.
        shape: Rows and columns.
        photometric: Photometric Interpretation.
        series_uid: Series Instance UID; never part of a message.
        instance_uid: SOP Instance UID; never part of a message.
        is_localiser: The file calls it a localiser (scout).
        order: Sorts frames of one position by time, acquisition, echo and instance.
    """

    source: int
    index: int
    position_3: np.ndarray
    orientation_6: np.ndarray
    spacing: tuple[float, float]
    thickness_mm: float
    shape: tuple[int, int]
    photometric: str
    series_uid: str
    instance_uid: str
    is_localiser: bool
    order: tuple[float, ...]


def frames_of(data: bytes, source: int) -> list[Frame]:
    """All frames of a DICOM file.

    Raises:
        Refused: `NO_GEOMETRY` when a frame does not say where it lies; or the header cannot be used.
    """
    with quiet(), guard(quarantine(Reason.HEADER_INVALID, "Its header cannot be read.")):
        layout = lay_out(data)
        dataset = dcmread(io.BytesIO(layout.data), force=not layout.has_meta, stop_before_pixels=True)
        num_frames = as_int(dataset, "NumberOfFrames") or 1
        if not 1 <= num_frames <= _MAX_FRAMES:
            raise quarantine(Reason.DIM_MISMATCH, f"It announces {num_frames} frames.")
        offsets = as_floats(dataset, "GridFrameOffsetVector") if "GridFrameOffsetVector" in dataset else []
        groups = items(dataset, "PerFrameFunctionalGroupsSequence")
        if len(offsets) != num_frames:
            offsets = []
        if num_frames > 1 and len(groups) != num_frames and not offsets:
            raise _no_geometry()
        shared = items(dataset, "SharedFunctionalGroupsSequence")[:1]
        frames = []
        for index in range(num_frames):
            found = _Groups(places=(*groups[index : index + 1], *shared), dataset=dataset)
            frames.append(_frame(found, source, index, offsets[index] - offsets[0] if offsets else 0.0))
        return frames


@dataclass(frozen=True, kw_only=True, slots=True)
class _Groups:
    """What is said of one frame: in its own groups, in those that all frames share, or in the data set."""

    places: tuple[Dataset, ...]
    dataset: Dataset

    def holding(self, sequence: str, keyword: str) -> Dataset:
        """The item that holds a keyword."""
        for place in self.places if sequence else ():
            for item in items(place, sequence)[:1]:
                if raw_value(item, keyword) is not None:
                    return item
        return self.dataset

    def numbers(self, sequence: str, keyword: str, count: int) -> np.ndarray:
        """So many numbers.

        Raises:
            Refused: `NO_GEOMETRY`.
        """
        found = as_floats(self.holding(sequence, keyword), keyword)
        if len(found) != count:
            raise _no_geometry()
        return np.array(found)


def _frame(found: _Groups, source: int, index: int, offset_mm: float) -> Frame:
    dataset = found.dataset
    orientation = _directions(found.numbers("PlaneOrientationSequence", "ImageOrientationPatient", 6))
    position = found.numbers("PlanePositionSequence", "ImagePositionPatient", 3)
    spacing = found.numbers("PixelMeasuresSequence", "PixelSpacing", 2)
    if not (spacing > 0).all():
        raise _no_geometry()
    thickness = (
        as_float(found.holding("PixelMeasuresSequence", keyword), keyword)
        for keyword in ("SpacingBetweenSlices", "SliceThickness")
    )
    kind = found.holding("CTImageFrameTypeSequence", "FrameType")
    types = raw_value(dataset, "ImageType"), raw_value(kind, "FrameType")
    order = (as_float(found.holding(sequence, keyword), keyword) for sequence, keyword in _ORDER_NUMBERS)
    return Frame(
        source=source,
        index=index,
        position_3=position + offset_mm * normal_of(orientation),
        orientation_6=orientation,
        spacing=(float(spacing[0]), float(spacing[1])),
        thickness_mm=next((abs(number) for number in thickness if number), 1.0),
        shape=(as_int(dataset, "Rows") or 0, as_int(dataset, "Columns") or 0),
        photometric=as_text(dataset, "PhotometricInterpretation"),
        series_uid=as_text(dataset, "SeriesInstanceUID"),
        instance_uid=as_text(dataset, "SOPInstanceUID"),
        is_localiser="LOCALIZER" in str(types).upper(),
        order=(*(0.0 if number is None else number for number in order), float(index)),
    )


def _directions(orientation_6: np.ndarray) -> np.ndarray:
    """Row and column direction of norm one.

    Raises:
        Refused: `NO_GEOMETRY` when they are not at right angles.
    """
    directions = orientation_6.reshape(2, 3)
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    if np.abs(lengths - 1).max() > 0.1:
        raise _no_geometry()
    row, column = directions / lengths
    if abs(float(row @ column)) > ORTHOGONAL_COSINE:
        raise _no_geometry()
    return np.concatenate([row, column])


def _no_geometry() -> Refused:
    sentence = "It does not say where its frames lie in the patient, so they make no volume."
    return metadata_only(Reason.NO_GEOMETRY, sentence)
