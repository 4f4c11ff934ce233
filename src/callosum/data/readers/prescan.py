"""DICOM before pydicom: where the data set begins, how it is encoded, and inflation with a limit.

pydicom must never be forced to read unknown bytes (it finds elements in a web page), and it inflates a deflated
data set without limit. Both are settled here, on the bytes (PS3.5 7.1 and A.5, PS3.10 7.1).
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, replace

from callosum.data.readers.refusal import MAX_INFLATED_BYTES, Reason, quarantine, reject

EXPLICIT_LE = b"1.2.840.10008.1.2.1"
DEFLATED_LE = b"1.2.840.10008.1.2.1.99"

_LONG_VRS = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_VRS = _LONG_VRS | frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
_UNDEFINED = 0xFFFFFFFF
_ELEMENTS_TO_BELIEVE = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """How a DICOM file is laid out.

    Attributes:
        data: The file, with a preamble and inflated.
        has_preamble: False when the preamble or the magic was missing from the file.
        has_meta: False when there is no group 0002; pydicom must then be told to read it nevertheless.
        transfer_syntax: UID in group 0002, empty when missing.
    """

    data: bytes
    has_preamble: bool
    has_meta: bool
    transfer_syntax: str


def has_dicom(data: bytes) -> bool:
    """True when the bytes are a DICOM data set without the usual beginning, beyond reasonable doubt."""
    return _start(data) is not None


def lay_out(data: bytes) -> Layout:
    """Find group 0002 and inflate what follows it if it is deflated.

    Raises:
        Refused: `DECOMPRESSION_LIMIT`, or `TRUNCATED_HEADER` for a deflated stream that ends early.
    """
    regular = data[128:132] == b"DICM"
    start = 132 if regular else _start(data)
    if start is None:
        raise reject(Reason.NOT_AN_IMAGE, "The bytes are not a DICOM data set.")
    if not regular and data[start : start + 2] == b"\2\0":
        data, start = bytes(128) + b"DICM" + data[start:], 132
    elif not regular:
        return Layout(data=data[start:], has_preamble=False, has_meta=False, transfer_syntax="")
    end, at, uid = _walk_meta(data, start)
    layout = Layout(
        data=data, has_preamble=regular, has_meta=end > start, transfer_syntax=uid.decode("ascii", "replace")
    )
    if uid != DEFLATED_LE:
        return layout
    plain = EXPLICIT_LE.ljust(len(DEFLATED_LE), b"\0")
    head = data[:at] + plain + data[at + len(plain) : end]
    return replace(layout, data=head + inflate(data[end:]))


def inflate(data: bytes) -> bytes:
    """Inflate a raw deflate stream up to the limit.

    Raises:
        Refused: `DECOMPRESSION_LIMIT`, or `TRUNCATED_HEADER` for a stream that ends early.
    """
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        plain = stream.decompress(data, MAX_INFLATED_BYTES)
    except zlib.error as error:
        raise quarantine(Reason.CODESTREAM_INVALID, "The deflated data set cannot be inflated.") from error
    if stream.unconsumed_tail:
        sentence = f"The deflated data set grows beyond {MAX_INFLATED_BYTES >> 20} MiB."
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
        return None if length == _UNDEFINED else 8 + length
    vr = data[at + 4 : at + 6]
    if vr not in _VRS:
        return None
    if vr not in _LONG_VRS:
        return 8 + int(struct.unpack_from(f"{order}H", data, at + 6)[0])
    if at + 12 > len(data):
        return None
    length = struct.unpack_from(f"{order}L", data, at + 8)[0]
    return None if length == _UNDEFINED else 12 + length


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
