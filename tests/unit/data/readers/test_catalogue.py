"""The catalogue of failures, row by row: the bytes are made here, and the answer and the code are those of its row.

Rows that need more than one file or another reader are tested where those live; `ELSEWHERE` says where.
"""

import io
import struct
import tarfile
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import tifffile
from PIL import Image as Pil
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    JPEG2000,
    BasicTextSRStorage,
    EncapsulatedPDFStorage,
    ExplicitVRBigEndian,
    JPEGBaseline8Bit,
    RTPlanStorage,
)

from callosum.core.errors import Refused
from callosum.core.record import Answer, Image, PixelUnit
from callosum.data.containers import member_names
from callosum.data.readers import read_bytes, read_pictures
from callosum.data.readers.failures import FAILURES

ROOT = Path(__file__).parents[4]
ROWS = {failure.number: failure for failure in FAILURES}
ELSEWHERE = {
    31: "service/test_ingest.py::test_a_second_run_adds_nothing",
    32: "archive/test_identity.py::test_against_the_archive",
    33: "archive/test_identity.py::test_against_the_archive",
    36: "data/test_sources.py::test_any_file_name_is_text_of_one_line",
    37: "archive/test_archive.py::test_what_a_killed_process_wrote_is_flushed_before_it_counts",
    46: "data/test_nifti.py::test_values_that_are_no_numbers",
    47: "data/test_nifti.py::test_orientations_that_are_a_guess",
    48: "data/test_nifti.py::test_a_header_that_lies_costs_nothing",
    49: "data/test_nifti.py::test_fewer_bytes_than_announced",
    50: "data/slides/test_slide_reading.py::test_a_corrupt_tile_costs_the_tiles_it_touches",
    51: "data/slides/test_slide_reading.py::test_label_and_macro_are_never_read",
    52: "data/slides/test_slide_tissue.py::test_the_budget_is_spread_evenly",
    54: "archive/test_reports.py::test_they_meet_in_either_order",
    55: "data/report/test_sections.py::test_flags",
}
"""Below `tests/unit`."""
NOT_YET = {53}
PIXELS = np.arange(256, dtype=np.uint16).reshape(16, 16)
BYTES = PIXELS.astype(np.uint8)
WAVES = (np.sin(np.arange(64) / 9)[:, None] * np.cos(np.arange(64) / 7)).astype(np.float64)
MakeDicom = Callable[..., bytes]
Case = tuple[int, str, Callable[[MakeDicom], bytes], str]


def headless(data: bytes) -> bytes:
    """Without preamble and group 0002."""
    return data[144 + struct.unpack_from("<L", data, 140)[0] :]


def without_syntax(data: bytes) -> bytes:
    """Group 0002 with an element of another number where the transfer syntax was."""
    return data.replace(struct.pack("<HH2s", 2, 0x10, b"UI"), struct.pack("<HH2s", 2, 0x11, b"UI"), 1)


def with_syntax(data: bytes, uid: bytes) -> bytes:
    old = b"1.2.840.10008.1.2.1\0"
    at = data.index(old)
    grown = len(uid) + len(uid) % 2
    head = data[: at - 2] + struct.pack("<H", grown) + uid.ljust(grown, b"\0") + data[at + len(old) :]
    return head[:140] + struct.pack("<L", struct.unpack_from("<L", head, 140)[0] + grown - len(old)) + head[144:]


def deflate_bomb(dicom: MakeDicom) -> bytes:
    """0.6 MB that inflate to 600 MB of empty elements."""
    data = with_syntax(dicom(PIXELS), b"1.2.840.10008.1.2.1.99")
    start = 144 + struct.unpack_from("<L", data, 140)[0]
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    beginning = squeeze.compress(data[start:]) + squeeze.flush(zlib.Z_FULL_FLUSH)
    zeros = squeeze.compress(bytes(20 << 20)) + squeeze.flush(zlib.Z_FULL_FLUSH)
    return data[:start] + beginning + 30 * zeros + squeeze.flush()


def nested(dicom: MakeDicom) -> bytes:
    sequence = struct.pack("<HH2sHL", 0x0040, 0xA730, b"SQ", 0, 0xFFFFFFFF)
    return dicom(PIXELS, PixelData=None) + (sequence + struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)) * 5000


def endless_element(dicom: MakeDicom) -> bytes:
    return dicom(PIXELS, PixelData=None) + struct.pack("<HH2sHL", 0x29, 0x1010, b"UN", 0, 0xFFFFFFF0) + bytes(40)


def directory(dicom: MakeDicom, *parts: str) -> bytes:
    record = Dataset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom knows that these are no names of files
        record.ReferencedFileID = list(parts)
    medium = {"SOPClassUID": "1.2.840.10008.1.3.10", "DirectoryRecordSequence": Sequence([record])}
    return dicom(PIXELS, PixelData=None, **medium)


def too_many_tiles(dicom: MakeDicom) -> bytes:
    siz = b"\xff\x4f\xff\x51" + struct.pack(">HHLLLLLLLLH", 47, 0, 16, 16, 0, 0, 1, 0, 0, 0, 1) + bytes(16)
    return dicom(BYTES, syntax=JPEG2000, PixelData=encapsulate([siz]))


def picture(name: str, pixels: np.ndarray | Pil.Image, **options: Any) -> bytes:
    stream = io.BytesIO()
    opened = pixels if isinstance(pixels, Pil.Image) else Pil.fromarray(pixels)
    opened.save(stream, name, **options)
    return stream.getvalue()


def animation() -> bytes:
    frames = [Pil.fromarray(np.full((16, 16), shade, np.uint8)) for shade in (0, 80, 160)]
    return picture("GIF", frames[0], save_all=True, append_images=frames[1:])


def huge_png() -> bytes:
    header = struct.pack(">LLBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b""))
    parts = (
        struct.pack(">L", len(body)) + kind + body + struct.pack(">L", zlib.crc32(kind + body)) for kind, body in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def pages() -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.stack([BYTES, BYTES.T, BYTES[::-1]]), photometric="minisblack")
    return stream.getvalue()


def zipped(name: str = "../../etc/evil.dcm") -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, bytes(1 << 20))
    return stream.getvalue()


def tarred() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("../../etc/evil.dcm"))
    return stream.getvalue()


def ct(dicom: MakeDicom, **elements: Any) -> bytes:
    scaled = {"Modality": "CT", "RescaleSlope": "1", "RescaleIntercept": "-1024"}
    return dicom(PIXELS, **(scaled | elements))


CASES: list[Case] = [
    (1, "empty", lambda _: b"", "EMPTY"),
    (2, "page", lambda _: b"<!DOCTYPE html><html><body>Please log in</body></html>", "NOT_AN_IMAGE"),
    (2, "text", lambda _: b"not a picture", "NOT_AN_IMAGE"),
    (3, "cut at 600 bytes", lambda d: d(PIXELS, PatientComments="x" * 400)[:600], "TRUNCATED_HEADER"),
    (4, "native", lambda d: d(PIXELS)[:-100], "TRUNCATED"),
    (4, "compressed", lambda d: d(BYTES, syntax=JPEG2000, PixelData=encapsulate([bytes(400)]))[:-100], "TRUNCATED"),
    (5, "no magic", lambda d: d(PIXELS)[132:], "NO_PREAMBLE"),
    (6, "native", lambda d: headless(d(PIXELS)), "NO_META"),
    (6, "compressed", lambda d: headless(d(BYTES, syntax=JPEG2000, PixelData=encapsulate([bytes(40)]))), "NO_META"),
    (7, "native", lambda d: without_syntax(d(PIXELS)), "NO_META"),
    (8, "private", lambda d: with_syntax(d(PIXELS), b"1.2.3.4.5.6.7.8"), "TS_UNSUPPORTED"),
    (8, "film", lambda d: with_syntax(d(PIXELS), b"1.2.840.10008.1.2.4.100"), "TS_UNSUPPORTED"),
    (9, "600 MB", deflate_bomb, "DECOMPRESSION_LIMIT"),
    (10, "5,000 deep", nested, "NESTING_LIMIT"),
    (11, "0xFFFFFFF0", endless_element, "LENGTH_OVERRUN"),
    (12, "no element", lambda d: d(PIXELS, PixelData=None), "NO_PIXELS"),
    (12, "empty element", lambda d: d(PIXELS, PixelData=b""), "NO_PIXELS"),
    (
        13,
        "report",
        lambda d: d(PIXELS, PixelData=None, Rows=None, SOPClassUID=BasicTextSRStorage),
        "NOT_AN_IMAGE_OBJECT",
    ),
    (13, "document", lambda d: d(PIXELS, PixelData=None, SOPClassUID=EncapsulatedPDFStorage), "NOT_AN_IMAGE_OBJECT"),
    (13, "plan", lambda d: d(PIXELS, PixelData=None, SOPClassUID=RTPlanStorage), "NOT_AN_IMAGE_OBJECT"),
    (13, "directory", lambda d: directory(d, "IMAGES", "IM0001"), "DICOM_DIRECTORY"),
    (
        14,
        "12 for 16",
        lambda d: d((WAVES * 1500 + 3500).astype(np.uint16), BitsStored=12, HighBit=11),
        "BITS_INCONSISTENT",
    ),
    (15, "17 of 16", lambda d: d(PIXELS, BitsStored=17), "BITS_INVALID"),
    (16, "15 for 12", lambda d: d(PIXELS, BitsStored=12, HighBit=15), "HIGH_BIT_INCONSISTENT"),
    (17, "air near 65535", lambda d: ct(d, PixelData=(PIXELS.astype(np.int16) - 1000).tobytes()), "SIGN_SUSPECT"),
    (18, "rows", lambda d: d(PIXELS, Rows=0), "DIM_ZERO"),
    (18, "columns", lambda d: d(PIXELS, Columns=0), "DIM_ZERO"),
    (19, "65535 x 65535", lambda d: d(PIXELS, Rows=65535, Columns=65535), "DIM_MISMATCH"),
    (20, "a million", lambda d: d(PIXELS[None], NumberOfFrames="1000000"), "DIM_MISMATCH"),
    (20, "less than none", lambda d: d(PIXELS[None], NumberOfFrames="-3"), "DIM_MISMATCH"),
    (
        20,
        "compressed",
        lambda d: d(BYTES[None], syntax=JPEG2000, NumberOfFrames="9", PixelData=encapsulate([bytes(99)])),
        "DIM_MISMATCH",
    ),
    (
        21,
        "other size",
        lambda d: d(PIXELS, syntax=JPEGBaseline8Bit, PixelData=encapsulate([picture("JPEG", BYTES.repeat(2, 0))])),
        "CODESTREAM_INVALID",
    ),
    (21, "millions of tiles", too_many_tiles, "CODESTREAM_INVALID"),
    (22, "no slope", lambda d: d(PIXELS, Modality="CT"), "NO_HU"),
    (23, "slope 0", lambda d: ct(d, RescaleSlope="0"), "SLOPE_ZERO"),
    (24, "width 0", lambda d: ct(d, WindowCenter="40", WindowWidth="0"), "WINDOW_INVALID"),
    (24, "width empty", lambda d: ct(d, WindowCenter="40", WindowWidth=""), "WINDOW_INVALID"),
    (24, "function", lambda d: ct(d, WindowCenter="40", WindowWidth="9", VOILUTFunction="CUBIC"), "WINDOW_INVALID"),
    (25, "inverse", lambda d: d(PIXELS, PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE"), ""),
    (26, "stored inverted", lambda d: d(np.uint16(4095) - PIXELS), ""),
    (27, "no palette", lambda d: d(BYTES, PhotometricInterpretation="PALETTE COLOR"), "PALETTE_MISSING"),
    (28, "RGB of one sample", lambda d: d(PIXELS, PhotometricInterpretation="RGB"), "PHOTOMETRIC_INVALID"),
    (29, "four frames", lambda d: d(np.stack([BYTES] * 4), NumberOfFrames="4"), "MULTI_FRAME"),
    (30, "big-endian", lambda d: d(PIXELS.byteswap(), syntax=ExplicitVRBigEndian), ""),
    (34, "missing", lambda d: d(PIXELS).replace(b"1.2.3.4.5\0", bytes(10)), "UID_INVALID"),
    (34, "none", lambda d: d(PIXELS, StudyInstanceUID="not.a.uid!"), "UID_INVALID"),
    (
        35,
        "ISO_IR 999",
        lambda d: d(PIXELS, SpecificCharacterSet="ISO_IR 100").replace(b"IR 100", b"IR 999"),
        "CHARSET_UNKNOWN",
    ),
    (38, "zip", lambda _: zipped(), "ARCHIVE_UNSUPPORTED"),
    (38, "zip with an absolute name", lambda _: zipped("/etc/evil.dcm"), "ARCHIVE_UNSUPPORTED"),
    (38, "tar", lambda _: tarred(), "ARCHIVE_UNSUPPORTED"),
    (39, "100,000 x 100,000", lambda _: huge_png(), "TOO_MANY_PIXELS"),
    (40, "CMYK", lambda _: picture("JPEG", Pil.new("CMYK", (16, 16), (10, 90, 0, 40))), "CMYK"),
    (41, "16 bits", lambda _: picture("PNG", PIXELS * 200), ""),
    (43, "GIF", lambda _: animation(), "MULTI_FRAME"),
    (43, "TIFF", lambda _: pages(), "MULTI_FRAME"),
    (
        44,
        "JPEG",
        lambda _: picture("JPEG", np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8))[:-300],
        "TRUNCATED",
    ),
    (45, "transparent", lambda _: picture("PNG", np.stack([BYTES, BYTES * 0], axis=-1)), "CONSTANT"),
]


def read(data: bytes) -> tuple[str, Image | Refused]:
    """The answer to the first picture; as a run would, what is read is also shown."""
    try:
        image = next(read_pictures(data, limit=1))
    except Refused as refused:
        return str(refused.answer), refused
    assert image.display().dtype == np.uint8
    return str(Answer.FLAG if image.flags else Answer.ACCEPT), image


@pytest.mark.parametrize(("number", "name", "make", "code"), CASES, ids=[f"{case[0]}: {case[1]}" for case in CASES])
def test_row(dicom: MakeDicom, number: int, name: str, make: Callable[[MakeDicom], bytes], code: str) -> None:
    data = make(dicom)
    began = time.perf_counter()
    answer, what = read(data)
    assert time.perf_counter() - began < 2
    if isinstance(what, Refused):
        assert what.reason == code
        assert code in ROWS[number].codes
        assert what.sentence.endswith(".")
        assert not {"SECRET", "Canary", "evil"} & set(str(what).replace(":", " ").split())
    else:
        codes = {flag.code for flag in what.flags}
        assert {code} - {""} <= codes
        assert codes <= {*ROWS[number].codes, "NO_PREAMBLE", "NO_META", "CONSTANT"}
    assert answer in {*ROWS[number].answers, *(["ACCEPT+FLAG"] if code == "CONSTANT" else [])}


def test_every_row_has_a_test() -> None:
    assert {case[0] for case in CASES} | set(ELSEWHERE) | {42} | NOT_YET == set(ROWS)


@pytest.mark.parametrize("place", sorted(set(ELSEWHERE.values())))
def test_the_other_tests_are_there(place: str) -> None:
    path, _, name = place.partition("::")
    assert f"\ndef {name}(" in (ROOT / "tests" / "unit" / path).read_text()


def grown() -> bytes:
    """A thousand bytes of content for each of the archive."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(100):
            archive.writestr(f"{number}.dcm", bytes(1 << 20))
    return stream.getvalue()


@pytest.mark.parametrize(
    "make", [zipped, lambda: zipped("/etc/evil.dcm"), tarred, grown], ids=["zip", "absolute", "tar", "bomb"]
)
def test_an_unsafe_archive_is_not_opened(tmp_path: Path, make: Callable[[], bytes]) -> None:
    (tmp_path / "archive").write_bytes(make())
    with pytest.raises(Refused) as caught:
        member_names(tmp_path / "archive")
    assert (caught.value.answer, caught.value.reason) == ("REJECT", "ARCHIVE_UNSAFE")
    assert "evil" not in caught.value.sentence


@pytest.mark.parametrize("make", [deflate_bomb, nested], ids=["deflate", "nesting"])
def test_bombs_are_refused_within_a_second(dicom: MakeDicom, make: Callable[[MakeDicom], bytes]) -> None:
    data = make(dicom)
    assert len(data) < 1 << 20
    took = min(_seconds(data) for _ in range(3))
    assert took < 1


def _seconds(data: bytes) -> float:
    began = time.process_time()
    with pytest.raises(Refused):
        read_bytes(data)
    return time.process_time() - began


def test_monochrome1_is_inverted_once(dicom: MakeDicom) -> None:
    plain = read_bytes(dicom(PIXELS)).display().astype(int)
    for shape in (None, "INVERSE", "IDENTITY"):
        elements = {} if shape is None else {"PresentationLUTShape": shape}
        shown = read_bytes(dicom(PIXELS, PhotometricInterpretation="MONOCHROME1", **elements)).display()
        assert np.abs(shown - (255 - plain)).max() <= 1


def test_float_tiff_is_not_clipped() -> None:
    stream = io.BytesIO()
    tifffile.imwrite(stream, (WAVES * 2000 + 1000).astype(np.float32))
    image = read_bytes(stream.getvalue())
    assert image.unit is PixelUnit.RAW
    shown = image.display()
    assert np.mean((shown == 0) | (shown == 255)) < 0.05


def test_what_is_hidden_by_transparency_stays_hidden() -> None:
    assert read_bytes(picture("PNG", np.stack([BYTES, BYTES * 0], axis=-1))).display().max() == 0


NAMES = [
    (["IMAGES", "IM0001"], 1),
    (["..", "etc"], 0),
    (["/etc/passwd"], 0),
    (["IMAGES", ""], 0),
    (["C:", "IM1"], 0),
    (["A"] * 9, 0),
]


@pytest.mark.parametrize(("parts", "num_safe"), NAMES)
def test_a_directory_never_leads_elsewhere(dicom: MakeDicom, parts: list[str], num_safe: int) -> None:
    from callosum.data.readers.dicom_directory import listed_files

    data = directory(dicom, *parts)
    found, num_unsafe = listed_files(pydicom.dcmread(io.BytesIO(data)))
    assert (len(found), num_unsafe) == (num_safe, 1 - num_safe)
    refused = read(data)[1]
    assert isinstance(refused, Refused)
    assert f"lists {num_safe} files" in refused.sentence
    assert "IM" not in refused.sentence
