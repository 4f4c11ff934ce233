"""Magic bytes to a format name, and the answer for everything that is not read.

File names say nothing here: a PNG named .dcm is a PNG.
"""

from __future__ import annotations

import zlib

from callosum.core.errors import Refused
from callosum.data.readers.prescan import has_dicom
from callosum.data.readers.refusal import Reason, reject

HEAD_BYTES = 4096
_GZIP = b"\x1f\x8b"

_NIFTI = (
    (344, b"n+1\0", "nifti"),
    (344, b"ni1\0", "nifti"),
    (4, b"n+2\0\r\n\x1a\n", "nifti"),
    (4, b"ni2\0\r\n\x1a\n", "nifti"),
)
_READ = (
    (0, b"\x89PNG\r\n\x1a\n", "png"),
    (0, b"\xff\xd8\xff", "jpeg"),
    (0, b"II*\0", "tiff"),
    (0, b"MM\0*", "tiff"),
    (0, b"II+\0", "tiff"),
    (0, b"MM\0+", "tiff"),
    (0, b"GIF87a", "gif"),
    (0, b"GIF89a", "gif"),
    (8, b"WEBPVP8", "webp"),
    *_NIFTI,
)
_ARCHIVES = (
    (0, b"PK\x03\x04", "ZIP"),
    (0, b"PK\x05\x06", "ZIP"),
    (257, b"ustar", "TAR"),
    (0, b"7z\xbc\xaf\x27\x1c", "7-Zip"),
    (0, b"Rar!\x1a\x07", "RAR"),
)
_KNOWN = (
    (0, b"\x89HDF\r\n\x1a\n", "HDF5"),
    (0, b"NRRD", "NRRD"),
    (0, b"ObjectType", "MetaImage"),
    (0, b"\x93NUMPY", "NumPy"),
    (0, b"%PDF", "PDF"),
    (0, b"\0\0\0\x0cjP  \r\n", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (4, b"ftyp", "ISO media (MP4, HEIF or AVIF)"),
    (8, b"AVI ", "AVI"),
    (0, b"\x1a\x45\xdf\xa3", "Matroska"),
    (0, b"8BPS", "Photoshop"),
    (0, b"PAR1", "Parquet"),
    (0, b"SQLite format 3\0", "SQLite"),
    (0, b"BZh", "bzip2"),
    (0, b"\xfd7zXZ\0", "xz"),
    (0, b"\x28\xb5\x2f\xfd", "Zstandard"),
)


def sniff(data: bytes) -> str:
    """The format of a file by its first bytes; `READERS` has a reader for it.

    Raises:
        Refused: `EMPTY`, `NOT_AN_IMAGE`, `ARCHIVE_UNSUPPORTED` or `FORMAT_UNSUPPORTED`.
    """
    if not data:
        raise reject(Reason.EMPTY, "The file has no bytes.")
    if data[128:132] == b"DICM":
        return "dicom"
    if name := _match(data, _READ):
        return name
    if data[:2] == _GZIP and _match(_inflate_head(data), _NIFTI):
        return "nifti"
    if data[:2] == b"BM" and data[6:10] == b"\0\0\0\0":
        return "bmp"
    if not _match(data, _ARCHIVES) and not _match(data, _KNOWN) and has_dicom(data):
        return "dicom"
    raise _refusal(data)


def _match(data: bytes, table: tuple[tuple[int, bytes, str], ...]) -> str:
    return next((name for at, magic, name in table if data.startswith(magic, at)), "")


def _refusal(data: bytes) -> Refused:
    """The answer for a format that has no reader."""
    inner, packing = data, ""
    if data[:2] == _GZIP:
        inner, packing = _inflate_head(data), "gzip-compressed "
    if name := _match(inner, _ARCHIVES):
        sentence = f"A {packing}{name} archive is not walked here: unpack it, or use a manifest."
        return reject(Reason.ARCHIVE_UNSUPPORTED, sentence)
    if name := _match(inner, _KNOWN):
        return reject(Reason.FORMAT_UNSUPPORTED, f"It is a {packing}{name} file; there is no reader for it.")
    if packing:
        return reject(Reason.FORMAT_UNSUPPORTED, "It is a gzip-compressed file; there is no reader for it.")
    if _is_text(data[:HEAD_BYTES]):
        kind = "a web page" if b"<html" in data[:HEAD_BYTES].lower() else "text"
        return reject(Reason.NOT_AN_IMAGE, f"The file is {kind}, not an image.")
    return reject(Reason.FORMAT_UNSUPPORTED, "Its first bytes are those of no image format that is read.")


def _inflate_head(data: bytes) -> bytes:
    try:
        return zlib.decompressobj(31).decompress(data[:HEAD_BYTES], HEAD_BYTES)
    except zlib.error:
        return b""


def _is_text(head: bytes) -> bool:
    """True when there are no control characters but white space."""
    return not any(byte < 9 or 13 < byte < 32 for byte in head)
