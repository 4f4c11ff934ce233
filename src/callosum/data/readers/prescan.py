"""DICOM before pydicom: where the data set begins, how it is encoded, how much of it there is.

pydicom must never be forced to read unknown bytes (it finds elements in a web page), it inflates a deflated data set
without limit, and it follows sequences and lengths wherever they lead. All of that is settled here, on the bytes
(PS3.5 7.1, A.4 and A.5, PS3.10 7.1), and so is whether the pixels that the header announces can be there.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from callosum.data.readers.prescan_walk import LONG_VRS, UNDEFINED, VRS, Pixels, Walk, walk
from callosum.data.readers.refusal import MAX_FILE_BYTES, MAX_INFLATED_BYTES, Reason, quarantine, reject

EXPLICIT_LE = b"1.2.840.10008.1.2.1"
EXPLICIT_BE = b"1.2.840.10008.1.2.2"
DEFLATED_LE = b"1.2.840.10008.1.2.1.99"
MAX_RATIO = 32
"""A deflated data set may grow to as many times its size, or to `MAX_INFLATED_BYTES`, whichever is more. Pictures give
two to four; deflate itself can give a thousand."""

_NATIVE = frozenset({b"", b"1.2.840.10008.1.2", EXPLICIT_LE, EXPLICIT_BE, DEFLATED_LE})
_JPEG_FAMILY = b"1.2.840.10008.1.2.4."
_FRAME_BY_FRAME = (*(_JPEG_FAMILY + tail for tail in (b"5", b"7", b"8", b"9", b"20")), b"1.2.840.10008.1.2.5")
"""Syntaxes of which every frame has a fragment of its own; a film has one fragment for all (PS3.5 A.4)."""

_WIDTHS = (1, 8, 16, 32, 64)
_ELEMENTS_TO_BELIEVE = 4
_SAMPLES, _PHOTOMETRIC, _FRAMES, _ROWS, _COLUMNS, _BITS = 0x0002, 0x0004, 0x0008, 0x0010, 0x0011, 0x0100


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """How a DICOM file is laid out.

    Attributes:
        data: The file, with a preamble and inflated.
        has_preamble: False when the preamble or the magic was missing from the file.
        has_meta: False when there is no group 0002; pydicom must then be told to read it nevertheless.
        transfer_syntax: UID in group 0002, empty when missing.
        num_elements: Elements, items and fragments behind group 0002.
        num_fragments: Pieces of the encapsulated pixels; 0 when there are none.
    """

    data: bytes
    has_preamble: bool
    has_meta: bool
    transfer_syntax: str
    num_elements: int = 0
    num_fragments: int = 0


def has_dicom(data: bytes) -> bool:
    """True when the bytes are a DICOM data set without the usual beginning, beyond reasonable doubt."""
    return _start(data) is not None


def lay_out(data: bytes) -> Layout:
    """Find group 0002, inflate what follows it if it is deflated, and walk over it all before anyone else does.

    Raises:
        Refused: `DECOMPRESSION_LIMIT`, `NESTING_LIMIT`, `TOO_MANY_ELEMENTS`, `LENGTH_OVERRUN`, `DIM_ZERO`,
            `DIM_MISMATCH`; `TRUNCATED` or `TRUNCATED_HEADER` for what has no end.
    """
    regular = data[128:132] == b"DICM"
    start = 132 if regular else _start(data)
    if start is None:
        raise reject(Reason.NOT_AN_IMAGE, "The bytes are not a DICOM data set.")
    uid = b""
    if not regular and data[start : start + 2] != b"\2\0":
        data, end, has_meta = data[start:], 0, False
    else:
        if not regular:
            data, start = bytes(128) + b"DICM" + data[start:], 132
        end, at, uid = _walk_meta(data, start)
        has_meta = end > start
        if uid == DEFLATED_LE:
            plain = EXPLICIT_LE.ljust(len(DEFLATED_LE), b"\0")
            data = data[:at] + plain + data[at + len(plain) : end] + inflate(data[end:])
    order = _byte_order(data, end, uid)
    found = walk(data, end, order=order)
    if found.pixels is not None:
        _check_pixels(found, found.pixels, uid, order)
    return Layout(
        data=data,
        has_preamble=regular,
        has_meta=has_meta,
        transfer_syntax=uid.decode("ascii", "replace"),
        num_elements=found.num_elements,
        num_fragments=found.pixels.num_fragments if found.pixels else 0,
    )


def _byte_order(data: bytes, at: int, uid: bytes) -> str:
    """As pydicom decides: by the transfer syntax, or without one by a first group that would be absurdly high."""
    if uid:
        return ">" if uid == EXPLICIT_BE else "<"
    return ">" if data[at + 4 : at + 6] in VRS and data[at + 1 : at + 2] >= b"\4" else "<"


def _check_pixels(found: Walk, pixels: Pixels, uid: bytes, order: str) -> None:
    """Compare what the header announces with what is there; what is missing or odd is left to the reader.

    Raises:
        Refused: `DIM_ZERO` or `DIM_MISMATCH`.
    """
    is_native = uid in _NATIVE
    if not is_native and not uid.startswith(_FRAME_BY_FRAME):
        return
    elements = found.image_pixel
    rows, columns, samples, bits = (_number(elements.get(n), order) for n in (_ROWS, _COLUMNS, _SAMPLES, _BITS))
    num_frames = _decimal(elements.get(_FRAMES, b""))
    photometric = elements.get(_PHOTOMETRIC, b"").strip(b" \0")
    if rows == 0 or columns == 0:
        raise reject(Reason.DIM_ZERO, "Rows or Columns is zero.")
    if num_frames < 1:
        raise reject(Reason.DIM_MISMATCH, f"Number of Frames is {num_frames}.")
    if not is_native and 0 < pixels.num_fragments < num_frames:
        sentence = f"The header announces {num_frames} frames; the pixels come in {pixels.num_fragments} pieces."
        raise reject(Reason.DIM_MISMATCH, sentence)
    is_sound = bits in _WIDTHS and samples == (3 if photometric[:3] in (b"RGB", b"YBR") else 1)
    if not (is_native and is_sound and min(rows, columns) > 0 and pixels.length):
        return
    num_samples = rows * columns * samples * num_frames
    if photometric == b"YBR_FULL_422":
        num_samples = num_samples * 2 // 3
    needed = -(-num_samples * bits // 8)
    if pixels.length < needed:
        sentence = f"The header needs {needed} bytes of pixels or more; the file holds {pixels.length}."
        raise reject(Reason.DIM_MISMATCH, sentence)


def _number(value: bytes | None, order: str) -> int:
    """An unsigned short; -1 when it is missing or not one."""
    return struct.unpack(f"{order}H", value)[0] if value is not None and len(value) == 2 else -1


def _decimal(value: bytes) -> int:
    """Number of Frames, of which the first counts; 1 when missing, zero or not a number."""
    try:
        return int(value.split(b"\\")[0].strip(b" \0")) or 1
    except ValueError:
        return 1


def inflate(data: bytes) -> bytes:
    """Inflate a raw deflate stream up to the limit.

    Raises:
        Refused: `DECOMPRESSION_LIMIT`, or `TRUNCATED_HEADER` for a stream that ends early.
    """
    limit = min(MAX_FILE_BYTES, max(MAX_INFLATED_BYTES, MAX_RATIO * len(data)))
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        plain = stream.decompress(data, limit)
    except zlib.error as error:
        raise quarantine(Reason.CODESTREAM_INVALID, "The deflated data set cannot be inflated.") from error
    if stream.unconsumed_tail:
        sentence = f"The deflated data set grows beyond {limit >> 20} MiB."
        raise reject(Reason.DECOMPRESSION_LIMIT, sentence)
    if not stream.eof:
        raise quarantine(Reason.TRUNCATED_HEADER, "The deflated data set ends early.")
    return plain


def _start(data: bytes) -> int | None:
    """Where a data set without the usual beginning starts: 0, 128 or 132."""
    return next((at for at in (0, 132, 128) if _is_plausible(data, at)), None)


def _is_plausible(data: bytes, start: int) -> bool:
    """Walk the first elements: first group 0002 or 0008, tags that grow, lengths that stay inside."""
    for order, explicit in (("<", True), ("<", False), (">", True)):
        at, last, found = start, (0, 0), 0
        while found < _ELEMENTS_TO_BELIEVE and at + 8 <= len(data):
            tag = struct.unpack_from(f"{order}HH", data, at)
            if (found == 0 and tag[0] not in (2, 8)) or (found and tag <= last):
                break
            step = _element_length(data, at, order=order, explicit=explicit or tag[0] == 2)
            if step is None or at + step > len(data):
                break
            at, last, found = at + step, tag, found + 1
        if found == _ELEMENTS_TO_BELIEVE:
            return True
    return False


def _element_length(data: bytes, at: int, *, order: str, explicit: bool) -> int | None:
    """Bytes of the element at `at`, header included; None when it is not one or has no stated length."""
    if not explicit:
        length = struct.unpack_from(f"{order}L", data, at + 4)[0]
        return None if length == UNDEFINED else 8 + length
    vr = data[at + 4 : at + 6]
    if vr not in VRS:
        return None
    if vr not in LONG_VRS:
        return 8 + int(struct.unpack_from(f"{order}H", data, at + 6)[0])
    if at + 12 > len(data):
        return None
    length = struct.unpack_from(f"{order}L", data, at + 8)[0]
    return None if length == UNDEFINED else 12 + length


def _walk_meta(data: bytes, start: int) -> tuple[int, int, bytes]:
    """End of group 0002, and where its Transfer Syntax UID is and what it says."""
    at, uid_at, uid = start, 0, b""
    while data[at : at + 2] == b"\2\0" and at + 8 <= len(data):
        length = _element_length(data, at, order="<", explicit=True)
        if length is None:
            break
        if data[at + 2 : at + 4] == b"\x10\0":
            uid_at, uid = at + 8, data[at + 8 : at + length].rstrip(b"\0 ")
        at += length
    return at, uid_at, uid
