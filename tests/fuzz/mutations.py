"""Changes that know where things are: lengths, tags, numbers and pieces of DICOM; chunks and numbers of the rest."""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import strategies as st

from tests.fuzz.corpus import corpus

MIN_BYTES = 16
"""Of less there is nothing left to change."""

LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
NUMBERS = (0, 1, 2, 7, 8, 15, 16, 17, 127, 128, 255, 256, 4096, 32767, 32768, 65535, 65536, 1 << 24)
NUMBERS += (0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFE, 0xFFFFFFFF)
TEXTS = (b"", b"0", b"-1", b"1e308", b"1e-308", b"nan", b"inf", b"1\\2\\3", b"999999999999", b"\xff\xfe", b"ISO_IR 999")
TEXTS += (b"MONOCHROME1", b"PALETTE COLOR", b"YBR_FULL_422", b"RGB", b"INVERSE", b"SIGMOID", b"../../etc", b"a" * 70)
_TAILS = " .1 .2 .5 .1.99 .4.50 .4.51 .4.57 .4.70 .4.80 .4.81 .4.90 .4.91 .4.100 .4.201 .4.203 .3".split(" ")
SYNTAXES = tuple(f"1.2.840.10008.1.2{tail}".encode() for tail in _TAILS)

Change = Callable[[bytes, st.DrawFn], bytes]


def elements(data: bytes) -> list[tuple[int, int, int]]:
    """Start, start of the value and end of each element of an explicit little-endian file, as far as it is sound."""
    found, at = [], 132
    while data[128:132] == b"DICM" and at + 8 <= len(data):
        vr, length = struct.unpack_from("<2sH", data, at + 4)
        value = at + 8
        if vr in LONG and at + 12 <= len(data):
            length, value = struct.unpack_from("<L", data, at + 8)[0], at + 12
        if not vr.isalpha() or value + length > len(data):
            break
        found.append((at, value, value + length))
        at = value + length
    return found


@dataclass(frozen=True)
class Damaged:
    """A file of the corpus after some changes."""

    name: str
    data: bytes = field(repr=False)


@st.composite
def damaged(draw: st.DrawFn) -> Damaged:
    """One to three changes to a file of the corpus."""
    name = draw(st.sampled_from(list(corpus())))
    data = corpus()[name]
    for _ in range(draw(st.sampled_from([1, 1, 2, 3]))):
        if len(data) < MIN_BYTES:
            break
        changes = OF_ELEMENTS + OF_ELEMENTS + OF_BYTES if elements(data) else OF_BYTES
        data = draw(st.sampled_from(changes))(data, draw)
    return Damaged(name, data[: 1 << 20])


def _element(data: bytes, draw: st.DrawFn) -> tuple[int, int, int]:
    return draw(st.sampled_from(elements(data)))


def _length(data: bytes, draw: st.DrawFn) -> bytes:
    start, value, _ = _element(data, draw)
    form, at = ("<H", start + 6) if value == start + 8 else ("<L", start + 8)
    limit = 0xFFFF if form == "<H" else 0xFFFFFFFF
    number = draw(st.sampled_from(NUMBERS) | st.integers(0, 64)) & limit
    return data[:at] + struct.pack(form, number) + data[at + struct.calcsize(form) :]


def _value(data: bytes, draw: st.DrawFn) -> bytes:
    """Another value, with a length that fits it."""
    start, value, end = _element(data, draw)
    if draw(st.booleans()):
        new = draw(st.sampled_from(TEXTS + SYNTAXES))
        new += b" " * (len(new) % 2)
    else:
        new = struct.pack("<L", draw(st.sampled_from(NUMBERS)))[: 2 if end - value == 2 else 4]
    if value == start + 8:
        return data[: start + 6] + struct.pack("<H", len(new)) + new + data[end:]
    return data[: start + 8] + struct.pack("<L", len(new)) + new + data[end:]


def _syntax(data: bytes, draw: st.DrawFn) -> bytes:
    for start, _, end in elements(data):
        if data[start : start + 4] == b"\2\0\x10\0":
            new = draw(st.sampled_from(SYNTAXES))
            new += b"\0" * (len(new) % 2)
            return data[: start + 6] + struct.pack("<H", len(new)) + new + data[end:]
    return data


def _tag(data: bytes, draw: st.DrawFn) -> bytes:
    start = _element(data, draw)[0]
    new = draw(
        st.sampled_from([b"\x28\0\x10\0", b"\xe0\x7f\x10\0", b"\xfe\xff\0\xe0", b"\x08\0\x05\0"])
        | st.binary(min_size=4, max_size=4)
    )
    return data[:start] + new + data[start + 4 :]


def _vr(data: bytes, draw: st.DrawFn) -> bytes:
    start = _element(data, draw)[0]
    new = draw(st.sampled_from([b"SQ", b"UN", b"OB", b"OW", b"US", b"DS", b"IS", b"FD", b"AT", b"PN", b"??", b"\0\0"]))
    return data[: start + 4] + new + data[start + 6 :]


def _without(data: bytes, draw: st.DrawFn) -> bytes:
    start, _, end = _element(data, draw)
    return data[:start] + data[end:]


def _twice(data: bytes, draw: st.DrawFn) -> bytes:
    start, _, end = _element(data, draw)
    return data[:end] + data[start:end] * draw(st.sampled_from([1, 2, 50])) + data[end:]


def _nested(data: bytes, draw: st.DrawFn) -> bytes:
    """Sequences inside each other before an element, closed or not."""
    start = _element(data, draw)[0]
    depth, vr = draw(st.sampled_from([1, 60, 70, 400])), draw(st.sampled_from([b"SQ", b"UN"]))
    opened = struct.pack("<HH2sHLHHL", 0x0040, 0xA730, vr, 0, 0xFFFFFFFF, 0xFFFE, 0xE000, 0xFFFFFFFF)
    closed = struct.pack("<HHLHHL", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
    return data[:start] + opened * depth + draw(st.sampled_from([b"", closed * depth])) + data[start:]


def _deflated(data: bytes, draw: st.DrawFn) -> bytes:
    """The data set deflated, with something behind it."""
    found = [end for start, _, end in elements(data) if data[start : start + 2] == b"\2\0"]
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    end = max(found, default=132)
    tail = bytes(draw(st.sampled_from([0, 100, 10 << 20])))
    packed = squeeze.compress(data[end:] + tail) + squeeze.flush()
    return data[:end].replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99", 1) + packed


def _place(data: bytes, draw: st.DrawFn) -> int:
    """Somewhere; as a rule behind the magic bytes, without which a file is soon answered."""
    first = min(draw(st.sampled_from([0, 12, 140, 140, 400])), len(data) - 1)
    return draw(st.integers(first, min(len(data) - 1, first + draw(st.sampled_from([64, 1024, 1 << 20])))))


def _in_pixels(data: bytes, draw: st.DrawFn) -> bytes:
    """Bytes behind the last element with a stated end that is not the pixels: what a decoder is given."""
    ends = [start for start, _, end in elements(data) if end < len(data)]
    first = min(max(ends, default=132) + 32, len(data) - 1)
    changed = bytearray(data)
    for _ in range(draw(st.integers(1, 6))):
        span = draw(st.sampled_from([64, 700, 1 << 20]))
        changed[draw(st.integers(first, min(len(data) - 1, first + span)))] = draw(st.integers(0, 255))
    return bytes(changed)


def _flipped(data: bytes, draw: st.DrawFn) -> bytes:
    changed = bytearray(data)
    for _ in range(draw(st.integers(1, 12))):
        changed[_place(data, draw)] = draw(st.integers(0, 255))
    return bytes(changed)


def _number(data: bytes, draw: st.DrawFn) -> bytes:
    """A number that may be a size, anywhere."""
    form = draw(st.sampled_from(["<H", ">H", "<L", ">L"]))
    size, at = struct.calcsize(form), _place(data, draw)
    number = draw(st.sampled_from(NUMBERS)) & ((1 << 8 * size) - 1)
    return data[:at] + struct.pack(form, number) + data[at + size :]


def _cut(data: bytes, draw: st.DrawFn) -> bytes:
    return data[: _place(data, draw)]


def _moved(data: bytes, draw: st.DrawFn) -> bytes:
    """A piece taken out, doubled or put elsewhere."""
    start, to = _place(data, draw), _place(data, draw)
    piece = data[start : start + draw(st.integers(1, 256))]
    rest = data[:start] + data[start + len(piece) :]
    return draw(st.sampled_from([rest, data[:to] + piece + data[to:], rest[:to] + piece + rest[to:]]))


def _solid(data: bytes, draw: st.DrawFn) -> bytes:
    """A stretch of one byte."""
    start = _place(data, draw)
    num_bytes = draw(st.sampled_from([4, 64, 4096]))
    return data[:start] + draw(st.sampled_from([b"\0", b"\xff"])) * num_bytes + data[start + num_bytes :]


OF_ELEMENTS: tuple[Change, ...] = (
    _in_pixels,
    _in_pixels,
    _in_pixels,
    _in_pixels,
    _length,
    _value,
    _value,
    _syntax,
    _tag,
    _vr,
    _without,
    _twice,
    _nested,
    _deflated,
)
OF_BYTES: tuple[Change, ...] = (_flipped, _flipped, _number, _number, _cut, _moved, _solid)
