"""Bytes to `Image`: the reader is chosen by magic bytes, never by file name, and imported when it is needed.

sniff          magic bytes to a format name, and the answer for formats that are not read
codes          what each machine code means
failures       every input and its answer, as a table
inputs         the page of inputs, made of both
refusal        the three ways to refuse, the size limits, and the guard around foreign decoders
picture        doubts that any picture can raise, whatever file it came in
prescan        DICOM before pydicom: where it begins, how it is encoded, bounded inflation, arithmetic of the header
prescan_walk   one bounded walk over the elements of a data set, without recursion
codestream     size and precision that a JPEG or JPEG 2000 codestream announces
dicom          DICOM header to attributes, identifiers and early answers
dicom_directory  DICOMDIR: what it lists, never followed
dicom_identity  UIDs that are none, and unknown character sets
dicom_header   one way to ask a header, that answers None where pydicom raises
dicom_pixels   one frame of a DICOM file as stored, decoded by pinned plugins
dicom_terms    the defined terms of coded elements, and nothing else
dicom_render   stored samples to physical meaning, window and polarity
dicom_polarity is a chest film shown as its own negative
dicom_jpeg     12-bit and lossless JPEG for pydicom, through imagecodecs
dicom_frames   where each frame of a DICOM file lies in the patient
nifti          NIfTI-1 and -2, plain or gzipped
nifti_affine   which way a NIfTI volume lies
raster         PNG, JPEG, BMP, GIF and WebP
tiff           TIFF of any sample type
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from callosum.core.digest import digest_bytes
from callosum.data.readers.refusal import MAX_FILE_BYTES, Reason, reject, unreadable
from callosum.data.readers.sniff import HEAD_BYTES, sniff

if TYPE_CHECKING:
    from callosum.core.record import Image

READERS = {
    "dicom": "callosum.data.readers.dicom",
    "png": "callosum.data.readers.raster",
    "jpeg": "callosum.data.readers.raster",
    "bmp": "callosum.data.readers.raster",
    "gif": "callosum.data.readers.raster",
    "webp": "callosum.data.readers.raster",
    "tiff": "callosum.data.readers.tiff",
    "nifti": "callosum.data.readers.nifti",
}
"""Format name to the module whose `read_image(data, frame=...)` reads it."""


def read(path: Path | str, *, frame: int | None = None) -> Image:
    """Read one picture from a file.

    Args:
        path: A regular file.
        frame: Frame of a multi-frame file, counted from 0; the middle one when not given.

    Raises:
        Refused: the file cannot be indexed; answer, code and sentence say why.
        UsageError: `frame` is not in the file.
    """
    return read_bytes(read_file(Path(path)), frame=frame)


def read_bytes(data: bytes, *, frame: int | None = None, digest: str = "") -> Image:
    """Read one picture from the bytes of a file; see `read`.

    Args:
        data: All bytes of the file.
        frame: Frame of a multi-frame file.
        digest: SHA-256 of `data` when the caller has it already, so that a file is hashed once.

    Raises:
        Refused: the bytes cannot be indexed.
        UsageError: `frame` is not in the file.
    """
    if len(data) > MAX_FILE_BYTES:
        raise reject(Reason.FILE_TOO_LARGE, f"The file is larger than {MAX_FILE_BYTES >> 30} GiB.")
    reader = importlib.import_module(READERS[sniff(data)])
    image: Image = reader.read_image(data, frame=frame)
    return dataclasses.replace(image, source_digest=digest or digest_bytes(data))


def read_pictures(data: bytes, *, limit: int, digest: str = "") -> Iterator[Image]:
    """Read the pictures of a file of one or many: its frames or slices, at most `limit`, evenly spaced.

    Raises:
        Refused: the bytes cannot be indexed.
    """
    if len(data) > MAX_FILE_BYTES:
        raise reject(Reason.FILE_TOO_LARGE, f"The file is larger than {MAX_FILE_BYTES >> 30} GiB.")
    reader = importlib.import_module(READERS[sniff(data)])
    several = getattr(reader, "read_images", None)
    for image in several(data, limit=limit) if several else [reader.read_image(data)]:
        yield dataclasses.replace(image, source_digest=digest or digest_bytes(data))


def read_file(path: Path) -> bytes:
    """The bytes of a regular file, whatever is in it; `read_bytes` finds the format out.

    Raises:
        Refused: `UNREADABLE`; or it is too large to be read: `FILE_TOO_LARGE`, or the answer that its first bytes
            deserve when they are of a format without a reader.
    """
    try:
        if not path.is_file():  # a pipe or a device would block the run
            raise unreadable()
        if path.stat().st_size > MAX_FILE_BYTES:
            with path.open("rb") as stream:
                sniff(stream.read(HEAD_BYTES))
            raise reject(Reason.FILE_TOO_LARGE, f"The file is larger than {MAX_FILE_BYTES >> 30} GiB.")
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte, from a manifest
        raise unreadable() from error
