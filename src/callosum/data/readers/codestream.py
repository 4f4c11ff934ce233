"""Size and precision that a JPEG, JPEG-LS or JPEG 2000 codestream announces, read before it is decoded.

A decoder allocates what the codestream announces, not what the DICOM header says, so the two must agree first.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

MAX_TILES = 65535
"""ISO/IEC 15444-1 A.4.2: a tile index has 16 bits."""

_NO_SEGMENT = frozenset({0x01, *range(0xD0, 0xD9)})
_FRAME_MARKERS = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}


@dataclass(frozen=True, kw_only=True, slots=True)
class Codestream:
    """What a codestream announces; only JPEG 2000 says whether its samples are signed."""

    rows: int
    columns: int
    samples: int
    precision: int
    is_signed: bool = False


def jpeg_codestream(data: bytes) -> Codestream | None:
    """Read the frame header of JPEG (ISO/IEC 10918-1 B.2.2) or JPEG-LS; None when there is none."""
    if data[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 10 <= len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF or marker in _NO_SEGMENT:
            at += 1 if marker == 0xFF else 2
            continue
        if marker in _FRAME_MARKERS:
            precision, rows, columns, samples = struct.unpack_from(">BHHB", data, at + 4)
            return Codestream(rows=rows, columns=columns, samples=samples, precision=precision)
        at += 2 + max(2, struct.unpack_from(">H", data, at + 2)[0])
    return None


def jpeg2000_codestream(data: bytes) -> Codestream | None:
    """Read the SIZ segment (ISO/IEC 15444-1 A.5.1); None when there is none or it asks for too many tiles."""
    at = data.find(b"\xff\x4f\xff\x51", 0, 4096)
    if at < 0 or at + 43 > len(data):
        return None
    x1, y1, x0, y0, tile_x, tile_y, tile_x0, tile_y0 = struct.unpack_from(">8L", data, at + 8)
    samples = struct.unpack_from(">H", data, at + 40)[0]
    if not tile_x or not tile_y or x1 <= x0 or y1 <= y0:
        return None
    if -(-(x1 - tile_x0) // tile_x) * -(-(y1 - tile_y0) // tile_y) > MAX_TILES:
        return None
    depth = data[at + 42]
    return Codestream(
        rows=y1 - y0, columns=x1 - x0, samples=samples, precision=(depth & 0x7F) + 1, is_signed=depth >= 0x80
    )
