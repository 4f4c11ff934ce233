"""NIfTI-1 and NIfTI-2 volumes, plain or gzip-compressed: slices of them as pictures.

nibabel understands the header; samples are taken from the bytes here, after the arithmetic of the header, because a
header can announce anything and half a megabyte can inflate to half a gigabyte. Of several volumes (time points,
components) the first is read. The header's free text and its extensions, which may hold a whole DICOM header, are
never kept. Samples have no modality: they are RAW, and all slices share one window of percentiles of the volume.

Standard: NIfTI-1.1 and NIfTI-2 (https://nifti.nimh.nih.gov); coordinates are turned from its RAS to the LPS of DICOM.
"""

from __future__ import annotations

import dataclasses
import gzip
import io
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from callosum.core.errors import Refused
from callosum.core.record import Attribute, Flag, Image, PixelUnit
from callosum.data.readers.dicom_render import rescale
from callosum.data.readers.nifti_affine import patient_affine
from callosum.data.readers.picture import choose_frames
from callosum.data.readers.raster import on_black
from callosum.data.readers.refusal import (
    MAX_FILE_BYTES,
    Reason,
    guard,
    metadata_only,
    quarantine,
    reject,
)
from callosum.data.volumes.volume import Plane, Volume, check_volume

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header

_GZIP = b"\x1f\x8b"
_DEFLATE_MAX_RATIO = 1032
"""No deflate stream grows more."""

_ANY_RATIO_BYTES = 256 << 20
"""A volume up to this size may be packed as tightly as it likes: a mask is nearly all zeros."""

_MAX_RATIO = 100
"""How many times the size of the file a larger one may inflate to; samples of a scanner give two to ten."""

_MAX_TRAILING_BYTES = 1 << 20
_LIE = 10
"""A file with less than this part of what its header announces is not one whose end was lost."""

MAX_NON_FINITE = 0.05

_HEADER_BYTES = {1: 348, 2: 540}
_GREYS = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
_COLOURS = {128: 3, 2304: 4}
_WITHOUT_PICTURE = {1: "binary", 32: "complex", 1536: "128-bit", 1792: "complex", 2048: "complex"}
"""Data types (nifti1.h, DT_*)."""

_CIFTI_INTENTS = range(3000, 3100)


def is_nifti(data: bytes) -> bool:
    """True for the magic of NIfTI, plain or gzip-compressed, and for the header of a pair."""
    return _version(_head(data)) != 0


def read_image(data: bytes, *, frame: int | None = None) -> Image:
    """Read one axial slice: the middle one, or the one asked for, counted from 0 from the foot.

    Raises:
        Refused: see `read_volume`.
        UsageError: `frame` is not in the volume.
    """
    return next(_pictures(data, frame=frame, limit=1))


def read_images(data: bytes, *, limit: int) -> Iterator[Image]:
    """Read at most `limit` axial slices, evenly spaced.

    Raises:
        Refused: see `read_volume`.
    """
    return _pictures(data, frame=None, limit=limit)


def _pictures(data: bytes, *, frame: int | None, limit: int) -> Iterator[Image]:
    volume = read_volume(data)
    plane = Plane.AXIAL if volume.can_cut(Plane.AXIAL) else Plane.ACQUIRED
    indices, flags = choose_frames(volume.num_slices(plane), frame=frame, limit=limit)
    for image in volume.pictures(indices, plane=plane):
        yield dataclasses.replace(image, flags=(*flags, *image.flags))


def read_volume(data: bytes) -> Volume:
    """Read the first volume of a NIfTI file.

    Raises:
        Refused: `READER_MISSING` without nibabel; `NO_PIXELS` for the header of a pair; `DIM_ZERO`, `DIM_MISMATCH`,
            `TRUNCATED`, `DECOMPRESSION_LIMIT`, `TOO_MANY_PIXELS`, `BITS_UNSUPPORTED`, `NON_FINITE`,
            `NOT_AN_IMAGE_OBJECT`, `CORRUPT`, `TRUNCATED_HEADER` or `HEADER_INVALID`.
    """
    with guard(quarantine(Reason.HEADER_INVALID, "Its header cannot be read.")), np.errstate(all="ignore"):
        return _read(data)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Plan:
    """What the header announces, checked: shapes are in the order of the file, x first."""

    shape: tuple[int, int, int]
    num_volumes: int
    dtype: np.dtype
    num_colours: int
    offset: int

    @property
    def volume_bytes(self) -> int:
        return math.prod(self.shape) * self.num_colours * self.dtype.itemsize

    @property
    def total_bytes(self) -> int:
        return self.offset + self.volume_bytes * self.num_volumes


def _read(data: bytes) -> Volume:
    header, version = _header(_head(data))
    plan, doubts = _plan(header, version)
    _check_bytes(data, plan)
    check_volume(math.prod(plan.shape) * plan.num_colours, max(plan.dtype.itemsize, 4))
    if data.startswith(_GZIP):
        raw = _inflated(data, plan)
    else:
        raw = np.frombuffer(data, np.uint8, plan.volume_bytes, plan.offset)
    stored = raw.view(plan.dtype).reshape(*plan.shape[::-1], *([plan.num_colours] if plan.num_colours > 1 else []))
    stored = stored.astype(plan.dtype.newbyteorder("="), copy=False)
    if plan.num_colours > 1:
        samples = on_black(stored) if plan.num_colours == 4 else stored
    else:
        samples, scaling = _scaled(stored, header)
        samples, missing = _finite(samples)
        doubts += [*scaling, *missing]
    affine, placing = patient_affine(header, plan.shape)
    if plan.num_volumes > 1:
        sentence = f"It has {plan.num_volumes} volumes; the first was read."
        doubts.append(Flag(code="MULTI_VOLUME", sentence=sentence))
    attributes: dict[str, Attribute] = {"format": "nifti", "num_volumes": plan.num_volumes}
    attributes["bits"] = plan.dtype.itemsize * 8
    return Volume(
        samples=samples,
        affine=affine,
        unit=PixelUnit.DISPLAY if plan.num_colours > 1 else PixelUnit.RAW,
        attributes=attributes,
        flags=(*doubts, *placing),
        decoder=f"nibabel {_nibabel().__version__}",
    )


def _nibabel() -> Any:
    try:
        import nibabel
    except ImportError as error:
        sentence = "It is a NIfTI volume, and its reader is not installed: pip install 'callosum[nifti]'."
        raise quarantine(Reason.READER_MISSING, sentence) from error
    return nibabel


def _head(data: bytes) -> bytes:
    """The first bytes, inflated: enough for a header."""
    if not data.startswith(_GZIP):
        return data[: _HEADER_BYTES[2]]
    try:
        return zlib.decompressobj(31).decompress(data[: 1 << 16], _HEADER_BYTES[2])
    except zlib.error:
        return b""


def _version(head: bytes) -> int:
    """1 or 2; 0 when it is not NIfTI."""
    if head[344:348] in (b"n+1\0", b"ni1\0"):
        return 1
    return 2 if head[4:12] in (b"n+2\0\r\n\x1a\n", b"ni2\0\r\n\x1a\n") else 0


def _header(head: bytes) -> tuple[Nifti1Header, int]:
    version = _version(head)
    if not version:
        raise reject(Reason.NOT_AN_IMAGE, "The bytes are not a NIfTI volume.")
    if len(head) < _HEADER_BYTES[version]:
        raise reject(Reason.TRUNCATED, "The file ends inside its header.")
    if (head[344:346] if version == 1 else head[4:6]) == b"ni":
        sentence = "It is the header of a NIfTI pair; its samples are in another file, and pairs are not read."
        raise metadata_only(Reason.NO_PIXELS, sentence)
    nibabel = _nibabel()
    kind = nibabel.Nifti1Header if version == 1 else nibabel.Nifti2Header
    return kind(head[: _HEADER_BYTES[version]], check=False), version


def _plan(header: Nifti1Header, version: int) -> tuple[_Plan, list[Flag]]:
    """Check dimensions and data type; nothing is allocated.

    Raises:
        Refused: `HEADER_INVALID`, `DIM_ZERO`, `NOT_AN_IMAGE_OBJECT`, `BITS_UNSUPPORTED` or `BITS_INVALID`.
    """
    num_dims, *dims = (int(number) for number in header["dim"])
    if not 1 <= num_dims <= 7:
        raise quarantine(Reason.HEADER_INVALID, "Its number of dimensions is not between 1 and 7.")
    if min(dims[:num_dims]) < 1:
        raise reject(Reason.DIM_ZERO, "One of its dimensions is zero or negative.")
    x, y, z, *others = [*dims[:num_dims], 1, 1][: max(num_dims, 3)]
    if int(header["intent_code"]) in _CIFTI_INTENTS or sorted((x, y, z))[1] == 1:
        sentence = "Its samples do not lie on a grid in space: a list, a surface or a matrix, not a picture."
        raise metadata_only(Reason.NOT_AN_IMAGE_OBJECT, sentence)
    code = int(header["datatype"])
    if code in _WITHOUT_PICTURE:
        raise metadata_only(Reason.BITS_UNSUPPORTED, f"Samples of type {_WITHOUT_PICTURE[code]} are not read.")
    if code not in _GREYS and code not in _COLOURS:
        raise reject(Reason.BITS_INVALID, "Its data type is not one of NIfTI.")
    dtype = np.dtype(_GREYS.get(code, "u1")).newbyteorder(header.endianness)
    smallest = _HEADER_BYTES[version] + 4
    offset = int(header["vox_offset"]) or smallest
    if offset < smallest:
        raise quarantine(Reason.HEADER_INVALID, "Its samples would begin inside the header.")
    colours = _COLOURS.get(code, 1)
    plan = _Plan(shape=(x, y, z), num_volumes=math.prod(others), dtype=dtype, num_colours=colours, offset=offset)
    if int(header["bitpix"]) == 8 * colours * dtype.itemsize:
        return plan, []
    sentence = "Its stated bits do not fit its data type, which was followed."
    return plan, [Flag(code="BITS_INCONSISTENT", sentence=sentence)]


def _check_bytes(data: bytes, plan: _Plan) -> None:
    """Compare what is announced with what is there, or can be; nothing is inflated.

    Raises:
        Refused: `DIM_MISMATCH`, `TRUNCATED` or `DECOMPRESSION_LIMIT`.
    """
    total = plan.total_bytes
    if not data.startswith(_GZIP):
        if len(data) * _LIE < total:
            raise _mismatch(plan, len(data))
        if len(data) < total:
            raise reject(Reason.TRUNCATED, "The samples end early.")
    elif total > _DEFLATE_MAX_RATIO * len(data):
        raise _mismatch(plan, _DEFLATE_MAX_RATIO * len(data))
    elif total > MAX_FILE_BYTES or (total > _ANY_RATIO_BYTES and total > _MAX_RATIO * len(data)):
        raise reject(Reason.DECOMPRESSION_LIMIT, f"The file would inflate to {total} bytes.")


def _mismatch(plan: _Plan, num_bytes: int) -> Refused:
    sentence = f"The header announces {plan.total_bytes} bytes; there are {num_bytes} at most."
    return reject(Reason.DIM_MISMATCH, sentence)


def _inflated(data: bytes, plan: _Plan) -> np.ndarray:
    """The bytes of the first volume; those of the others are inflated in passing, to see that they are there.

    Raises:
        Refused: `DIM_MISMATCH`, `DECOMPRESSION_LIMIT`, `TRUNCATED` or `CORRUPT`.
    """
    total = plan.total_bytes
    kept = np.empty(plan.volume_bytes, np.uint8)
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
            found = sum(map(len, _chunks(stream, plan.offset)))
            for chunk in _chunks(stream, plan.volume_bytes):
                at = found - plan.offset
                kept[at : at + len(chunk)] = np.frombuffer(chunk, np.uint8)
                found += len(chunk)
            found += sum(map(len, _chunks(stream, total - plan.offset - plan.volume_bytes)))
            trailing = sum(map(len, _chunks(stream, _MAX_TRAILING_BYTES + 1)))
    except EOFError as error:
        raise reject(Reason.TRUNCATED, "The compressed file ends early.") from error
    except (OSError, zlib.error) as error:
        raise reject(Reason.CORRUPT, "The compressed file is damaged.") from error
    if found < total:
        raise _mismatch(plan, found)
    if trailing > _MAX_TRAILING_BYTES:
        raise reject(Reason.DECOMPRESSION_LIMIT, "The file inflates to far more than its header announces.")
    return kept


def _chunks(stream: gzip.GzipFile, num_bytes: int) -> Iterator[bytes]:
    """At most `num_bytes` of a stream, a piece at a time."""
    while num_bytes and (chunk := stream.read(min(num_bytes, 1 << 20))):
        num_bytes -= len(chunk)
        yield chunk


def _scaled(stored: np.ndarray, header: Nifti1Header) -> tuple[np.ndarray, list[Flag]]:
    """Slope and intercept (nifti1.h, scl_slope); a slope of zero, or none, means that samples are as stored."""
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or math.isnan(slope):
        return stored, []
    if math.isfinite(slope) and math.isfinite(intercept):
        return rescale(stored, slope, intercept), []
    sentence = "Its slope and intercept cannot be used; stored values were kept."
    return stored, [Flag(code="SLOPE_INVALID", sentence=sentence)]


def _finite(samples: np.ndarray) -> tuple[np.ndarray, list[Flag]]:
    """Show samples that are no finite number as the smallest that is.

    Raises:
        Refused: `NON_FINITE` when they are more than a twentieth.
    """
    if samples.dtype.kind != "f":
        return samples, []
    finite = np.isfinite(samples)
    num_bad = int(samples.size - np.count_nonzero(finite))
    if num_bad == 0:
        return samples, []
    if num_bad > MAX_NON_FINITE * samples.size:
        sentence = f"{num_bad} of its {samples.size} samples are not finite numbers."
        raise quarantine(Reason.NON_FINITE, sentence)
    smallest = samples.min(where=finite, initial=np.inf)
    sentence = f"{num_bad} samples are not finite numbers; they are shown as the smallest that is."
    return np.where(finite, samples, smallest), [Flag(code="NON_FINITE", sentence=sentence)]
