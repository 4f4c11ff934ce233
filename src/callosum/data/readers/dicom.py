"""DICOM files: the header becomes attributes and identifiers, and what cannot be a picture is answered early.

Attributes come from a fixed list of coded elements, of which defined terms alone are kept (`dicom_terms`): free text,
dates and names are never among them, not even where someone typed them into a coded element. The
identifiers go to `Image.identifiers` and nowhere else.

Objects that carry pixels are pictures, RT dose, parametric maps and segmentations included. The last are flagged
`MASK`, because they show what someone drew and not what was seen.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from callosum.core.errors import Refused
from callosum.core.record import Attribute, Flag, Image
from callosum.data.readers.dicom_directory import DIRECTORY_CLASS, describe
from callosum.data.readers.dicom_header import (
    PIXEL_NUMBERS,
    as_float,
    as_floats,
    as_int,
    as_text,
    identifiers_of,
    items,
    quiet,
)
from callosum.data.readers.dicom_identity import check_identity
from callosum.data.readers.dicom_pixels import (
    NATIVE,
    PHOTOMETRICS,
    PixelLayout,
    decode_frame,
    decoder_name,
    decoder_plugin,
    pixel_keyword,
    pixel_layout,
)
from callosum.data.readers.dicom_polarity import polarity_flags
from callosum.data.readers.dicom_render import render
from callosum.data.readers.dicom_terms import LATERALITIES, MODALITIES, SEXES, VIEWS, YES_NO, as_term, body_part
from callosum.data.readers.picture import choose_frames, picture_flags, readable
from callosum.data.readers.prescan import Layout, lay_out
from callosum.data.readers.refusal import Reason, guard, metadata_only, quarantine, reject

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_UNDEFINED = 0xFFFFFFFF
_LARGE_BYTES = 1 << 20

_TERMS = {
    "modality": ("Modality", MODALITIES),
    "view_position": ("ViewPosition", VIEWS),
    "burned_in_annotation": ("BurnedInAnnotation", YES_NO),
    "patient_sex": ("PatientSex", SEXES),
}
_IMAGES_BY_ANOTHER_NAME = ("RT Dose Storage", "Parametric Map Storage", "Enhanced US Volume Storage")
_FIRST_PIXEL_TAG = 0x7FE00000
_NO_PREAMBLE = Flag(code="NO_PREAMBLE", sentence="The preamble is missing; the data set was found all the same.")
_MASKS = frozenset({"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"})
"""Segmentation Storage and Label Map Segmentation Storage."""


def read_image(data: bytes, *, frame: int | None = None) -> Image:
    """Read one frame of a DICOM file.

    Raises:
        Refused: the header or the pixels cannot be used; the refusal carries what the header still told.
        UsageError: `frame` is not in the file.
    """
    return next(_images(data, frame=frame, limit=1))


def read_images(data: bytes, *, limit: int) -> Iterator[Image]:
    """Read at most `limit` frames, evenly spaced; the header is read once, and other frames are not decoded.

    Raises:
        Refused: as `read_image`; a damaged frame among good ones is left out, and flagged.
    """
    return _images(data, frame=None, limit=limit)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Header:
    """A header that promises a picture, and what it tells."""

    dataset: Dataset
    layout: PixelLayout
    attributes: dict[str, Attribute]
    identifiers: dict[str, str]
    flags: list[Flag]


def _images(data: bytes, *, frame: int | None, limit: int) -> Iterator[Image]:
    with _answered():
        header = _open(data)
        indices, chosen = choose_frames(header.layout.num_frames, frame=frame, limit=limit)

    def read_frame(index: int) -> Image:
        with _answered(), _telling(header.attributes, header.identifiers):
            return _read_frame(header, index, chosen)

    yield from readable(indices, read_frame)


def _open(data: bytes) -> _Header:
    layout = lay_out(data)
    stream = _Views(layout.data) if layout.transfer_syntax in ("", *NATIVE) else io.BytesIO(layout.data)
    dataset = dcmread(stream, force=not layout.has_meta)
    flags = [] if layout.has_preamble else [_NO_PREAMBLE]
    flags += _settle_transfer_syntax(dataset, layout)
    attributes = _attributes(dataset)
    identifiers = identifiers_of(dataset)
    identifiers, doubts = check_identity(dataset, identifiers)
    flags += doubts
    if _sop_uid(dataset) in _MASKS:
        flags.append(Flag(code="MASK", sentence="A segmentation: what was drawn on another picture."))
    if attributes.get("burned_in_annotation") == "YES":
        flags.append(Flag(code="BURNED_IN_ANNOTATION", sentence="The file says that text is burned into the picture."))
    with _telling(attributes, identifiers):
        _check_object(dataset, len(layout.data))
        pixels = pixel_layout(dataset, {key: as_int(dataset, key) for key in PIXEL_NUMBERS}, _photometric(dataset))
    return _Header(dataset=dataset, layout=pixels, attributes=attributes, identifiers=identifiers, flags=flags)


def _read_frame(header: _Header, index: int, chosen: list[Flag]) -> Image:
    layout = header.layout
    stored, decoded = decode_frame(header.dataset, layout, index)
    rendered = render(stored, header.dataset, layout, index)
    image = Image(
        pixels=rendered.pixels,
        unit=rendered.unit,
        window=rendered.window,
        other_windows=tuple(rendered.other_windows),
        inverted=rendered.inverted,
        attributes=header.attributes | {"num_frames": layout.num_frames, "frame": index},
        identifiers=header.identifiers,
        flags=(*header.flags, *chosen, *decoded, *rendered.flags, *picture_flags(rendered.pixels)),
        decoder=decoder_name(decoder_plugin(layout.transfer_syntax)[1]),
    )
    return replace(image, flags=(*image.flags, *polarity_flags(image)))


class _Views(io.BytesIO):
    """Bytes as a file whose large reads are views of them: pixels are not copied before they are looked at."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._data = memoryview(data)

    def read(self, size: int | None = -1, /) -> bytes:
        """As `io.BytesIO.read`; of many bytes, a view."""
        if size is None or size < _LARGE_BYTES:
            return super().read(size)
        at = self.tell()
        found = self._data[at : at + size]
        self.seek(at + len(found))
        return cast("bytes", found)


@contextmanager
def _telling(attributes: dict[str, Attribute], identifiers: dict[str, str]) -> Iterator[None]:
    """Have a refusal carry what the header told."""
    try:
        yield
    except Refused as refused:
        raise Refused(
            refused.answer, refused.reason, refused.sentence, attributes=attributes, identifiers=identifiers
        ) from refused


@contextmanager
def _answered() -> Iterator[None]:
    """Turn what pydicom raises into an answer, and silence it."""
    with quiet(), guard(quarantine(Reason.HEADER_INVALID, "Its header cannot be read.")):
        yield


def _settle_transfer_syntax(dataset: Dataset, layout: Layout) -> list[Flag]:
    """Fill in a missing Transfer Syntax UID from how pydicom found the data set encoded.

    Only native pixels can be read on such a guess, and only when their length then fits (`pixel_layout`).
    """
    if layout.transfer_syntax:
        return []
    if not hasattr(dataset, "file_meta"):
        dataset.file_meta = FileMetaDataset()
    is_implicit, is_little = dataset.original_encoding
    native = ExplicitVRLittleEndian if is_little else ExplicitVRBigEndian
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if is_implicit else native
    return [Flag(code="NO_META", sentence="The file does not state its transfer syntax; it was found by trial.")]


def _check_object(dataset: Dataset, num_bytes: int) -> None:
    """Answer for everything that is not a complete object with pixels of a syntax that is decoded.

    Raises:
        Refused: `LENGTH_OVERRUN`, `TRUNCATED`, `TRUNCATED_HEADER`, `NOT_AN_IMAGE_OBJECT`, `NO_PIXELS`, `NO_META`
            or `TS_UNSUPPORTED`.
    """
    keyword = pixel_keyword(dataset)
    name = _sop_name(dataset)
    is_image = "Image" in name or name in _IMAGES_BY_ANOTHER_NAME or (not name and "Rows" in dataset)
    _check_end(dataset, num_bytes, must_be_complete=bool(keyword) or is_image or not name)
    if not keyword and is_image:
        raise metadata_only(Reason.NO_PIXELS, "An image object without pixels.")
    if _sop_uid(dataset) == DIRECTORY_CLASS:
        raise metadata_only(Reason.DICOM_DIRECTORY, describe(dataset))
    if not keyword:
        raise metadata_only(
            Reason.NOT_AN_IMAGE_OBJECT, f"A DICOM object without a picture: {name or 'class not stated'}."
        )
    syntax = UID(dataset.file_meta.TransferSyntaxUID)
    decoder_plugin(syntax)
    if dataset[keyword].is_undefined_length and syntax in NATIVE:
        raise quarantine(Reason.NO_META, "Compressed pixels, and no statement of how they are compressed.")


def _check_end(dataset: Dataset, num_bytes: int, *, must_be_complete: bool) -> None:
    """Only the last element can be cut, and pydicom does not say so; it also drops a last one it cannot finish."""
    tag = next(reversed(list(dataset.keys())), None)
    if tag is None:
        raise quarantine(Reason.TRUNCATED_HEADER, "The file ends before its data set begins.")
    last = dataset.get_item(tag)
    if not isinstance(last, RawDataElement) or last.length == _UNDEFINED or last.value is None:
        return
    if len(last.value) < last.length and tag >= _FIRST_PIXEL_TAG:
        raise quarantine(Reason.TRUNCATED, "The pixels end early.")
    if last.length > num_bytes:
        raise reject(Reason.LENGTH_OVERRUN, "An element is longer than the file.")
    end = last.value_tell + last.length
    if end != num_bytes and not pixel_keyword(dataset) and must_be_complete:
        raise quarantine(Reason.TRUNCATED_HEADER, "The file ends inside an element.")


def _attributes(dataset: Dataset) -> dict[str, Attribute]:
    """What is known about the image, from the defined terms of coded elements only."""
    found: dict[str, Attribute] = {
        name: as_term(as_text(dataset, keyword), terms) for name, (keyword, terms) in _TERMS.items()
    }
    found["body_part"] = body_part(as_text(dataset, "BodyPartExamined"))
    sides = (as_term(as_text(dataset, keyword), LATERALITIES) for keyword in ("ImageLaterality", "Laterality"))
    found["laterality"] = next(filter(None, sides), "")
    found["sop_class"] = _sop_name(dataset)
    found["photometric"] = _photometric(dataset)
    syntax = UID(str(dataset.file_meta.get("TransferSyntaxUID", "")))
    found["transfer_syntax"] = syntax.name if syntax.is_transfer_syntax else ""
    numbers = {
        "rows": as_int(dataset, "Rows"),
        "columns": as_int(dataset, "Columns"),
        "bits_stored": as_int(dataset, "BitsStored"),
        "slice_thickness_mm": as_float(_measures(dataset), "SliceThickness"),
    }
    spacing = as_floats(_measures(dataset), "PixelSpacing") or as_floats(dataset, "ImagerPixelSpacing")
    if len(spacing) == 2:
        numbers["spacing_row_mm"], numbers["spacing_column_mm"] = spacing
    return {name: value for name, value in (found | numbers).items() if value not in (None, "")}


def _measures(dataset: Dataset) -> Dataset:
    """Where Pixel Spacing is: the data set, or the shared functional groups of an enhanced object."""
    if "PixelSpacing" not in dataset:
        for group in items(dataset, "SharedFunctionalGroupsSequence")[:1]:
            return next(iter(items(group, "PixelMeasuresSequence")), dataset)
    return dataset


def _photometric(dataset: Dataset) -> str:
    text = as_text(dataset, "PhotometricInterpretation")
    return text if text in PHOTOMETRICS else ""


def _sop_uid(dataset: Dataset) -> str:
    return as_text(dataset, "SOPClassUID") or str(dataset.file_meta.get("MediaStorageSOPClassUID", ""))


def _sop_name(dataset: Dataset) -> str:
    """Name of the SOP class; empty when missing or private."""
    uid = UID(_sop_uid(dataset))
    return uid.name if uid.name != uid else ""
