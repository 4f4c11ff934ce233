"""The walk before parsing agrees with pydicom about good files, ends on every file, and costs little."""

import io
import struct
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless

from callosum.core.errors import Refused
from callosum.data.readers import prescan_walk
from callosum.data.readers.prescan import lay_out
from callosum.data.readers.prescan_walk import MAX_DEPTH, walk

MakeDicom = Callable[..., bytes]
PIXELS = np.arange(256, dtype=np.uint16).reshape(16, 16)
QUIETLY = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))

SEQUENCE, ITEM = (0x0040, 0xA730), (0xFFFE, 0xE000)
ITEM_END, SEQUENCE_END = struct.pack("<HHL", 0xFFFE, 0xE00D, 0), struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)


def element(tag: tuple[int, int], vr: bytes, value: bytes, length: int | None = None) -> bytes:
    size = len(value) if length is None else length
    if vr in prescan_walk.LONG_VRS:
        return struct.pack("<HH2sHL", *tag, vr, 0, size) + value
    return struct.pack("<HH2sH", *tag, vr, size) + value


def item(content: bytes, length: int | None = None) -> bytes:
    return struct.pack("<HHL", *ITEM, len(content) if length is None else length) + content


def open_sequence(content: bytes) -> bytes:
    inner = item(content + ITEM_END, 0xFFFFFFFF)
    return element(SEQUENCE, b"SQ", inner + SEQUENCE_END, 0xFFFFFFFF)


def closed_sequence(content: bytes, vr: bytes = b"SQ") -> bytes:
    return element(SEQUENCE, vr, item(content))


def reason(data: bytes, order: str = "<") -> str:
    with pytest.raises(Refused) as caught:
        walk(data, 0, order=order)
    return caught.value.reason


def count_elements(dataset: Dataset) -> tuple[int, int]:
    """Elements and items, as pydicom sees them."""
    num_elements = num_items = 0
    for each in dataset:
        num_elements += 1
        if each.VR == "SQ":
            for inner in each.value:
                below = count_elements(inner)
                num_elements, num_items = num_elements + below[0], num_items + below[1] + 1
    return num_elements, num_items


NAMES = [
    "CT_small.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_implicit.dcm",
    "image_dfl.dcm",
    "liver_1frame.dcm",
    "reportsi.dcm",
    "rtplan.dcm",
    "waveform_ecg.dcm",
    "nested_priv_SQ.dcm",
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMES)
def test_it_counts_what_pydicom_finds(pydicom_files: Path, name: str) -> None:
    data = (pydicom_files / name).read_bytes()
    num_elements, num_items = count_elements(pydicom.dcmread(io.BytesIO(data)))
    num_ends = lay_out(data).num_elements - num_elements - num_items
    assert 0 <= num_ends <= num_items  # an item that is closed by a mark has one element more


def test_pixels_are_found_in_every_encoding(dicom: MakeDicom) -> None:
    plain = lay_out(dicom(PIXELS)).num_elements
    for syntax in (ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian):
        assert lay_out(dicom(PIXELS, syntax=syntax)).num_elements == plain
    frames = encapsulate([bytes(20), bytes(20), bytes(20)])
    three = dicom(np.zeros((3, 4, 4), np.uint8), syntax=RLELossless, NumberOfFrames="3", PixelData=frames)
    assert lay_out(three).num_fragments == 3


@pytest.mark.parametrize("make", [open_sequence, closed_sequence, lambda inner: closed_sequence(inner, b"UN")])
def test_depth_is_counted_however_sequences_end(make: Callable[[bytes], bytes]) -> None:
    def nested(depth: int) -> bytes:
        content = element((0x10, 0x10), b"LO", b"ab")
        for _ in range(depth):
            content = make(content)
        return content

    assert walk(nested(MAX_DEPTH), 0, order="<").num_elements > MAX_DEPTH
    assert reason(nested(MAX_DEPTH + 1)) == "NESTING_LIMIT"
    assert reason(nested(400)) == "NESTING_LIMIT"


def test_damage_inside_what_has_a_stated_end_is_contained() -> None:
    broken = element((0x11, 0x10), b"UN", b"", 0xFFFFFFF0)
    after = element((0x28, 0x10), b"US", b"\5\0")
    found = walk(closed_sequence(broken) + after, 0, order="<")
    assert found.image_pixel == {0x10: b"\5\0"}
    assert reason(open_sequence(broken) + after) == "LENGTH_OVERRUN"


def test_an_open_sequence_inside_a_closed_one_ends_where_it_says() -> None:
    inside = open_sequence(element((0x10, 0x10), b"LO", b"ab")) + element((0x10, 0x20), b"LO", b"cd")
    found = walk(closed_sequence(inside) + element((0x28, 0x11), b"US", b"\7\0"), 0, order="<")
    assert found.num_elements == 8
    assert found.image_pixel == {0x11: b"\7\0"}


def test_what_has_no_end_is_truncated() -> None:
    assert reason(element((0x7FE0, 0x10), b"OB", item(b"") + item(b"abcd"), 0xFFFFFFFF)) == "TRUNCATED"
    assert reason(element((0x29, 0x10), b"OB", b"abcdefgh", 0xFFFFFFFF)) == "TRUNCATED_HEADER"
    assert reason(element(SEQUENCE, b"SQ", item(b"", 0), 0xFFFFFFFF) + b"\0") == "TRUNCATED_HEADER"


def test_elements_items_and_fragments_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prescan_walk, "MAX_ELEMENTS", 1000)
    flood = element((0x9, 0x10), b"LO", b"") * 1001
    assert reason(flood) == "TOO_MANY_ELEMENTS"
    assert reason(element(SEQUENCE, b"SQ", item(b"") * 1001)) == "TOO_MANY_ELEMENTS"
    fragments = item(b"") * 1001 + SEQUENCE_END
    assert reason(element((0x7FE0, 0x10), b"OB", fragments, 0xFFFFFFFF)) == "TOO_MANY_ELEMENTS"
    assert walk(flood[: 8 * 1000], 0, order="<").num_elements == 1000


@QUIETLY
@given(st.binary(max_size=300), st.sampled_from("<>"))
def test_noise_ends_well(data: bytes, order: str) -> None:
    try:
        found = walk(data, 0, order=order)
    except Refused as refused:
        assert refused.reason in {"LENGTH_OVERRUN", "TRUNCATED", "TRUNCATED_HEADER"}
    else:
        assert found.num_elements <= len(data) / 8


BRICKS = st.sampled_from([ITEM_END, SEQUENCE_END, item(b"", 0xFFFFFFFF), item(b"ab")]) | st.builds(
    element,
    st.sampled_from([SEQUENCE, (0x28, 0x10), (0x7FE0, 0x10), (0x9, 0x10)]),
    st.sampled_from([b"SQ", b"UN", b"OB", b"US", b"\1\2"]),
    st.binary(max_size=12),
    st.sampled_from([None, 0xFFFF, 2, 12]),
)


@QUIETLY
@given(st.lists(BRICKS, max_size=40))
def test_bricks_in_any_order_end_well(bricks: list[bytes]) -> None:
    data = b"".join(bricks)
    try:
        found = walk(data, 0, order="<")
    except Refused:
        return
    assert found.num_elements <= len(data) / 8


def test_it_costs_little_beside_reading(dicom: MakeDicom) -> None:
    """Thousands of elements: less than half of what pydicom needs to find them."""
    groups = []
    for number in range(1000):
        group = Dataset()
        group.InstanceNumber, group.SliceLocation, group.ImageType = str(number), "1.5", ["ORIGINAL", "PRIMARY"]
        groups.append(group)
    data = dicom(PIXELS, ContentSequence=Sequence(groups))
    pydicom.dcmread(io.BytesIO(data)).ContentSequence  # noqa: B018 - imports what it needs
    assert _least(lambda: lay_out(data)) < _least(lambda: len(pydicom.dcmread(io.BytesIO(data)).ContentSequence)) / 2


def _least(work: Callable[[], object]) -> float:
    def once() -> float:
        began = time.process_time()
        work()
        return time.process_time() - began

    return min(once() for _ in range(5))
