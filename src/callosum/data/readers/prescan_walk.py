"""One bounded walk over the elements of a DICOM data set, without recursion and without looking at values.

pydicom reads a sequence by calling itself, and believes every length. This walk goes where pydicom would go (PS3.5 7.1,
7.5 and A.4; its tolerance for a switch of encoding and for missing ends is followed), counts, and stops. What has a
stated end is read by pydicom only when it is asked for: damage inside it is contained, and costs that element alone.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import NamedTuple

from callosum.core.errors import Refused
from callosum.data.readers.refusal import Reason, quarantine, reject

MAX_DEPTH = 64
"""Sequences inside sequences. Real files stay below 20; pydicom's own limit is Python's stack, at about 250."""

MAX_ELEMENTS = 1 << 20
"""Elements, items and fragments of one file: about a second of walking, and some four seconds in pydicom."""

UNDEFINED = 0xFFFFFFFF
LONG_VRS = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
VRS = LONG_VRS | frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())

PIXEL_TAGS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
"""Float Pixel Data, Double Float Pixel Data and Pixel Data."""

_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_FIRST_PIXEL_TAG = 0x7FE00000
_IMAGE_PIXEL = 0x0028


@dataclass(frozen=True, kw_only=True, slots=True)
class Pixels:
    """The element that holds pixels.

    Attributes:
        tag: Which one.
        length: Bytes that its header states; None when its end is marked instead (encapsulated frames).
        num_fragments: Items after the first one, the offset table; 0 for native pixels.
    """

    tag: int
    length: int | None
    num_fragments: int = 0


@dataclass(kw_only=True, slots=True)
class Walk:
    """What was found.

    Attributes:
        image_pixel: Bytes of the elements (0028,eeee) of the data set itself, by element number.
        pixels: The last element with pixels, if there is one.
        num_elements: Everything that has a header of its own.
    """

    image_pixel: dict[int, bytes] = field(default_factory=dict)
    pixels: Pixels | None = None
    num_elements: int = 0


class _Level(NamedTuple):
    """A data set or a list of items that the walk is in.

    Attributes:
        is_items: True for the items of a sequence.
        is_explicit: How elements are encoded.
        end: Where it ends if nothing in it says so earlier.
        limit: What no element of it may reach beyond.
        is_contained: True when `limit` is the stated end of a sequence, not of the file.
        goes_to_end: True when what follows begins at `end`, whatever was found inside.
    """

    is_items: bool
    is_explicit: bool
    end: int
    limit: int
    is_contained: bool = False
    goes_to_end: bool = False


def walk(data: bytes, at: int, *, order: str) -> Walk:
    """Walk over the data set that begins at `at`.

    Args:
        data: The file, inflated.
        at: Where the first element of the data set is, behind group 0002.
        order: `<` or `>`, as in `struct`.

    Raises:
        Refused: `NESTING_LIMIT`, `TOO_MANY_ELEMENTS`, `LENGTH_OVERRUN`; `TRUNCATED` or `TRUNCATED_HEADER` where the end
            of something is marked and the mark is not there.
    """
    return _Walker(data, order).run(at)


class _Walker:
    def __init__(self, data: bytes, order: str) -> None:
        self._data = data
        self._found = Walk()
        self._levels: list[_Level] = []
        self._explicit = struct.Struct(f"{order}HH2sH").unpack_from
        self._implicit = struct.Struct(f"{order}HHL").unpack_from
        self._long = struct.Struct(f"{order}L").unpack_from
        self._item = struct.pack(f"{order}HH", _ITEM >> 16, _ITEM & 0xFFFF)
        self._sequence_end = struct.pack(f"{order}HH", _SEQUENCE_END >> 16, _SEQUENCE_END & 0xFFFF)

    def run(self, at: int) -> Walk:
        size = len(self._data)
        self._enter(at, _Level(is_items=False, is_explicit=self._looks_explicit(at), end=size, limit=size))
        while self._levels:
            level = self._levels[-1]
            at = self._one_item(at, level) if level.is_items else self._elements(at, level)
        return self._found

    def _elements(self, at: int, level: _Level) -> int:
        """Walk until this data set ends or a sequence begins."""
        data, end, limit, is_explicit = self._data, level.end, level.limit, level.is_explicit
        explicit, implicit, long_, found = self._explicit, self._implicit, self._long, self._found
        is_top = len(self._levels) == 1
        while at < end and at + 8 <= limit:
            vr: bytes | None = None
            if is_explicit:
                group, element, vr, length = explicit(data, at)
                at += 8
                if vr in LONG_VRS:
                    if at + 4 > limit:
                        break
                    length = long_(data, at)[0]
                    at += 4
                elif vr not in VRS and not b"AA" <= vr <= b"ZZ":  # implicit in the midst of explicit
                    vr, length = None, long_(data, at - 4)[0]
            else:
                group, element, length = implicit(data, at)
                at += 8
            found.num_elements += 1
            if found.num_elements > MAX_ELEMENTS:
                raise _too_many()
            tag = group << 16 | element
            if tag == _ITEM_END:
                break
            if is_top and group == _IMAGE_PIXEL and length <= 64:
                found.image_pixel[element] = data[at : at + length]
            if length == UNDEFINED:
                if vr == b"SQ" or vr == b"UN" or (vr is None and tag not in PIXEL_TAGS and self._has_item(at)):
                    return self._enter(at, level._replace(is_items=True, end=limit, goes_to_end=False))
                at = self._fragments(at, level, tag)
            elif at + length > limit:
                return self._leave_cut(length, level, tag)
            elif vr == b"SQ" or ((vr is None or vr == b"UN") and length >= 8 and self._has_item(at)):
                end = at + length
                inside = _Level(
                    is_items=True, is_explicit=is_explicit, end=end, limit=end, is_contained=True, goes_to_end=True
                )
                return self._enter(at, inside)
            else:
                if is_top and tag in PIXEL_TAGS:
                    found.pixels = Pixels(tag=tag, length=length)
                at += length
        self._levels.pop()
        return at

    def _one_item(self, at: int, level: _Level) -> int:
        """Enter the next item of a sequence, or leave the sequence."""
        if at + 8 > level.limit and at < level.end and not level.is_contained:
            raise quarantine(Reason.TRUNCATED_HEADER, "The file ends inside a sequence.")
        if at >= level.end or at + 8 > level.limit:
            self._levels.pop()
            return level.end if level.goes_to_end else at
        group, element, length = self._implicit(self._data, at)
        at += 8
        if group << 16 | element == _SEQUENCE_END:
            self._levels.pop()
            return level.end if level.goes_to_end else at
        self._check_length(length, level)
        end = level.limit if length == UNDEFINED else min(at + length, level.limit)
        is_explicit = level.is_explicit and self._looks_explicit(at)
        self._found.num_elements += 1
        if self._found.num_elements > MAX_ELEMENTS:
            raise _too_many()
        contained = level.is_contained
        return self._enter(at, _Level(False, is_explicit, end, level.limit, contained))  # noqa: FBT003 - names cost time

    def _enter(self, at: int, level: _Level) -> int:
        if len(self._levels) > 2 * MAX_DEPTH:
            raise reject(Reason.NESTING_LIMIT, f"Its sequences are nested more than {MAX_DEPTH} deep.")
        self._levels.append(level)
        return at

    def _leave_cut(self, length: int, level: _Level, tag: int) -> int:
        """An element that its surroundings cannot hold: refuse what cannot be, stop where the file was cut."""
        is_pixels = len(self._levels) == 1 and tag in PIXEL_TAGS
        if is_pixels:
            self._found.pixels = Pixels(tag=tag, length=length)
        else:
            self._check_length(length, level)
        if level.is_contained:
            self._levels.pop()
            return level.limit
        self._levels.clear()
        return len(self._data)

    def _check_length(self, length: int, level: _Level) -> None:
        if length != UNDEFINED and length > len(self._data) and not level.is_contained:
            raise reject(Reason.LENGTH_OVERRUN, "An element is longer than the file.")

    def _fragments(self, at: int, level: _Level, tag: int) -> int:
        """The end of a value that is marked by a delimiter: encapsulated frames, as a rule."""
        begin, num_items = at, 0
        while at + 8 <= level.limit and self._data.startswith(self._item, at):
            at += 8 + self._long(self._data, at + 4)[0]
            num_items += 1
            if num_items > MAX_ELEMENTS:
                raise _too_many()
        self._found.num_elements += num_items
        if at > level.limit or not self._data.startswith(self._sequence_end, at):
            num_items, at = 0, self._data.find(self._sequence_end, begin, level.limit)
        if at < 0:
            if level.is_contained:
                return level.limit
            if tag >= _FIRST_PIXEL_TAG:
                raise quarantine(Reason.TRUNCATED, "The pixels end early.")
            raise quarantine(Reason.TRUNCATED_HEADER, "The file ends inside an element.")
        if len(self._levels) == 1 and tag in PIXEL_TAGS:
            self._found.pixels = Pixels(tag=tag, length=None, num_fragments=max(0, num_items - 1))
        return at + 8

    def _has_item(self, at: int) -> bool:
        return self._data.startswith(self._item, at)

    def _looks_explicit(self, at: int) -> bool:
        """True when two capital letters stand where a VR would."""
        letters = self._data[at + 4 : at + 6]
        return len(letters) == 2 and letters.isalpha() and letters.isupper()


def _too_many() -> Refused:
    return reject(Reason.TOO_MANY_ELEMENTS, f"It has more than {MAX_ELEMENTS} elements.")
