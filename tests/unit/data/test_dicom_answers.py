"""Every DICOM file has an answer, with a code and a sentence that tell no identifier."""

import io
import logging
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    MPEG2MPML,
    BasicTextSRStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    SegmentationStorage,
)

from callosum.core.errors import Refused
from callosum.data.readers import read, read_bytes
from callosum.data.readers.dicom_pixels import decoder_plugin
from callosum.data.readers.refusal import MAX_FILE_BYTES

MakeDicom = Callable[..., bytes]
PIXELS = np.arange(256, dtype=np.uint16).reshape(16, 16)


def answer(data: bytes) -> tuple[str, str]:
    with pytest.raises(Refused) as caught:
        read_bytes(data)
    refused = caught.value
    assert refused.sentence.endswith(".")
    assert "SECRET" not in str(refused)
    assert "Canary" not in str(refused)
    return refused.answer, refused.reason


def test_a_segmentation_is_a_picture_that_says_what_it_is(dicom: MakeDicom) -> None:
    assert "MASK" in {flag.code for flag in read_bytes(dicom(PIXELS, SOPClassUID=SegmentationStorage)).flags}
    assert "MASK" not in {flag.code for flag in read_bytes(dicom(PIXELS)).flags}


def test_identifiers_are_in_one_place(dicom: MakeDicom) -> None:
    canary = "Canary^Text"
    image = read_bytes(
        dicom(
            PIXELS,
            StudyDescription=canary,
            InstitutionName=canary,
            BodyPartExamined="Chest of Canary",
            AccessionNumber="SECRET",
            StudyInstanceUID="1.2.9",
            StudyDate="20200131",
        )
    )
    assert dict(image.identifiers) == {
        "patient_id": "PID-SECRET",
        "instance_uid": "1.2.3.4.5",
        "study_uid": "1.2.9",
        "accession": "SECRET",
    }
    told = f"{dict(image.attributes)} {image.flags} {image.render_recipe} {image!r}"
    for secret in ("SECRET", "Canary", "1.2.9", "2020"):
        assert secret not in told


def test_attributes_are_coded(dicom: MakeDicom) -> None:
    image = read_bytes(
        dicom(PIXELS, Modality="DX", BodyPartExamined="CHEST", ViewPosition="PA", Laterality="L", PatientSex="F")
    )
    expected = {
        "modality": "DX",
        "body_part": "chest",
        "view_position": "PA",
        "laterality": "L",
        "patient_sex": "F",
        "sop_class": "CT Image Storage",
        "photometric": "MONOCHROME2",
        "transfer_syntax": "Explicit VR Little Endian",
        "rows": 16,
        "columns": 16,
        "bits_stored": 16,
        "num_frames": 1,
        "frame": 0,
    }
    assert dict(image.attributes) == expected
    assert len(image.source_digest) == 64
    assert image.decoder == f"pydicom {pydicom.__version__}"


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({"Rows": 0}, ("REJECT", "DIM_ZERO")),
        ({"Columns": None}, ("REJECT", "DIM_ZERO")),
        ({"Rows": 17}, ("REJECT", "DIM_MISMATCH")),
        ({"Rows": 16000, "Columns": 16000}, ("REJECT", "DIM_MISMATCH")),
        ({"Rows": 65535, "Columns": 65535}, ("REJECT", "DIM_MISMATCH")),
        ({"NumberOfFrames": "1000000", "Rows": 16, "Columns": 16}, ("REJECT", "DIM_MISMATCH")),
        ({"NumberOfFrames": "-3", "Rows": 16, "Columns": 16}, ("REJECT", "DIM_MISMATCH")),
        ({"BitsStored": 17}, ("REJECT", "BITS_INVALID")),
        ({"BitsAllocated": 13}, ("REJECT", "BITS_INVALID")),
        ({"BitsAllocated": None}, ("REJECT", "BITS_INVALID")),
        ({"PixelRepresentation": 2}, ("REJECT", "BITS_INVALID")),
        ({"BitsAllocated": 24, "BitsStored": 24}, ("METADATA_ONLY", "BITS_UNSUPPORTED")),
        ({"PhotometricInterpretation": "RGB"}, ("REJECT", "PHOTOMETRIC_INVALID")),
        ({"PhotometricInterpretation": "GREYISH"}, ("REJECT", "PHOTOMETRIC_INVALID")),
        ({"SamplesPerPixel": 3}, ("REJECT", "PHOTOMETRIC_INVALID")),
        ({"PixelData": None}, ("METADATA_ONLY", "NO_PIXELS")),
        ({"PixelData": b""}, ("METADATA_ONLY", "NO_PIXELS")),
        (
            {"SOPClassUID": BasicTextSRStorage, "PixelData": None, "Rows": None},
            ("METADATA_ONLY", "NOT_AN_IMAGE_OBJECT"),
        ),
    ],
)
def test_headers(dicom: MakeDicom, elements: dict, expected: tuple[str, str]) -> None:
    if elements.get("Rows") and "NumberOfFrames" in elements:
        frames = PIXELS[None]
        assert answer(dicom(frames, **elements)) == expected
    else:
        assert answer(dicom(PIXELS, **elements)) == expected


def test_a_refusal_keeps_what_the_header_told(dicom: MakeDicom) -> None:
    with pytest.raises(Refused) as caught:
        read_bytes(dicom(PIXELS, PixelData=None, Modality="DX"))
    assert caught.value.attributes["modality"] == "DX"
    assert caught.value.identifiers["patient_id"] == "PID-SECRET"


def with_syntax(data: bytes, uid: str) -> bytes:
    old = b"1.2.840.10008.1.2.1\0"
    new = uid.encode().ljust(len(old), b"\0")
    assert len(new) == len(old)
    return data.replace(old, new, 1)


@pytest.mark.parametrize("uid", ["1.2.3.4.5.6.7.8", "1.2.840.10008.1.9", "1.2.840.10008.1.1"])
def test_unknown_transfer_syntax(dicom: MakeDicom, uid: str) -> None:
    assert answer(with_syntax(dicom(PIXELS), uid)) == ("METADATA_ONLY", "TS_UNSUPPORTED")


def test_damaged_spacing_costs_the_spacing_only(dicom: MakeDicom) -> None:
    data = dicom(PIXELS, PixelSpacing=["0.25", "0.50"]).replace(b"0.25\\0.50", b"0.2Y\\0.50")
    assert b"0.2Y" in data
    assert "spacing_row_mm" not in read_bytes(data).attributes


def test_video_is_metadata_only(dicom: MakeDicom) -> None:
    from pydicom.encaps import encapsulate

    data = dicom(np.zeros((16, 16), np.uint8), syntax=MPEG2MPML, PixelData=encapsulate([b"\0\0\1\xb3" * 8]))
    assert answer(data) == ("METADATA_ONLY", "TS_UNSUPPORTED")


@pytest.mark.parametrize("syntax", [ExplicitVRBigEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_native_syntaxes(dicom: MakeDicom, syntax: str) -> None:
    pixels = PIXELS.byteswap() if syntax == ExplicitVRBigEndian else PIXELS
    image = read_bytes(dicom(pixels, syntax=syntax))
    assert np.array_equal(image.pixels, PIXELS)
    assert image.pixels.dtype.isnative


@pytest.mark.parametrize("cut", [1, 100, 400])
def test_truncated_pixels(dicom: MakeDicom, cut: int) -> None:
    assert answer(dicom(PIXELS)[:-cut]) == ("QUARANTINE", "TRUNCATED")


def test_truncated_header(dicom: MakeDicom) -> None:
    data = dicom(PIXELS)
    answers = {answer(data[:end]) for end in range(320, len(data) - 512 - 12)}
    cut_between_elements = {("METADATA_ONLY", "NO_PIXELS"), ("METADATA_ONLY", "NOT_AN_IMAGE_OBJECT")}
    assert answers <= {("QUARANTINE", "TRUNCATED_HEADER"), *cut_between_elements}
    assert ("QUARANTINE", "TRUNCATED_HEADER") in answers


def test_preamble_only() -> None:
    assert answer(bytes(128) + b"DICM") == ("QUARANTINE", "TRUNCATED_HEADER")


def test_element_longer_than_the_file(dicom: MakeDicom) -> None:
    data = dicom(PIXELS, PixelData=None)
    data += struct.pack("<HH2sHL", 0x0029, 0x1010, b"UN", 0, 0xFFFFFFF0) + bytes(40)
    assert answer(data) == ("REJECT", "LENGTH_OVERRUN")


def test_missing_preamble_and_magic(dicom: MakeDicom) -> None:
    data = dicom(PIXELS)
    for damaged in (data[132:], data[:128] + b"XXXX" + data[132:]):
        image = read_bytes(damaged)
        assert [flag.code for flag in image.flags] == ["NO_PREAMBLE"]
        assert np.array_equal(image.pixels, PIXELS)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, None])
def test_missing_group_two(dicom: MakeDicom, syntax: str | None) -> None:
    pixels = PIXELS.byteswap() if syntax == ExplicitVRBigEndian else PIXELS
    data = dicom(pixels, **({"syntax": syntax} if syntax else {}))
    start = 132 + 12 + struct.unpack_from("<L", data, 140)[0]
    image = read_bytes(data[start:])
    assert [flag.code for flag in image.flags] == ["NO_PREAMBLE", "NO_META"]
    assert np.array_equal(image.pixels, PIXELS)


def test_compressed_pixels_without_a_syntax(pydicom_files: Path) -> None:
    data = (pydicom_files / "JPEG2000.dcm").read_bytes()
    start = 132 + 12 + struct.unpack_from("<L", data, 140)[0]
    assert answer(data[start:]) == ("QUARANTINE", "NO_META")


def test_deflate_bomb(dicom: MakeDicom) -> None:
    data = with_syntax(dicom(PIXELS), "1.2.840.10008.1.2.1")
    uid, deflated = b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99"
    length = struct.unpack_from("<L", data, 140)[0]
    head, body = data[: 144 + length], data[144 + length :]
    at = head.index(uid)
    head = head[: at - 2] + struct.pack("<H", len(deflated)) + deflated + head[at + len(uid) :]
    squeeze = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = squeeze.compress(body) + b"".join(squeeze.compress(bytes(1 << 24)) for _ in range(17)) + squeeze.flush()
    began = time.perf_counter()
    assert answer(head + packed) == ("REJECT", "DECOMPRESSION_LIMIT")
    assert time.perf_counter() - began < 10
    assert answer(head + packed[:100]) == ("QUARANTINE", "TRUNCATED_HEADER")
    assert answer(head + b"\xff" * 100)[1] == "CODESTREAM_INVALID"


def test_bottomless_nesting(dicom: MakeDicom) -> None:
    data = dicom(PIXELS, PixelData=None)
    opening = struct.pack("<HH2sHL", 0x0040, 0xA730, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    assert answer(data + opening * 5000) == ("REJECT", "NESTING_LIMIT")


def test_sixty_levels_are_read(dicom: MakeDicom) -> None:
    inner = Dataset()
    for _ in range(60):
        outer = Dataset()
        outer.ContentSequence = Sequence([inner])
        inner = outer
    assert not read_bytes(dicom(PIXELS, ContentSequence=Sequence([inner]))).flags


def test_codestream_that_is_not_the_header_s(dicom: MakeDicom, pydicom_files: Path) -> None:
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEG2000

    garbage = np.zeros((16, 16), np.uint8)
    assert (
        answer(dicom(garbage, syntax=JPEGBaseline8Bit, PixelData=encapsulate([b"garbage!"])))[1] == "CODESTREAM_INVALID"
    )
    dataset = pydicom.dcmread(pydicom_files / "JPEG2000.dcm")
    dataset.Rows = int(dataset.Rows) - 1
    stream = io.BytesIO()
    dataset.save_as(stream)
    assert answer(stream.getvalue()) == ("QUARANTINE", "CODESTREAM_INVALID")
    siz = b"\xff\x4f\xff\x51" + struct.pack(">HHLLLLLLLLH", 47, 0, 16, 16, 0, 0, 1, 0, 0, 0, 1) + bytes(16)
    assert answer(dicom(garbage, syntax=JPEG2000, PixelData=encapsulate([siz])))[1] == "CODESTREAM_INVALID"


def test_rle_cannot_hold_what_is_announced(dicom: MakeDicom) -> None:
    from pydicom.encaps import encapsulate
    from pydicom.uid import RLELossless

    data = dicom(np.zeros((8000, 8000), np.uint8), syntax=RLELossless, PixelData=encapsulate([bytes(100)]))
    assert answer(data) == ("REJECT", "DIM_MISMATCH")


def test_float_pixels(dicom: MakeDicom) -> None:
    values = np.linspace(-1, 3, 64, dtype=np.float32).reshape(8, 8)
    values[0, 0] = np.nan
    image = read_bytes(
        dicom(PIXELS, PixelData=None, FloatPixelData=values.tobytes(), Rows=8, Columns=8, BitsAllocated=32)
    )
    assert [flag.code for flag in image.flags] == ["NON_FINITE"]
    assert image.display()[0, 0] == 0
    assert image.display().max() == 255


def test_burned_in_text_is_flagged(dicom: MakeDicom) -> None:
    image = read_bytes(dicom(PIXELS, BurnedInAnnotation="YES"))
    assert [flag.code for flag in image.flags] == ["BURNED_IN_ANNOTATION"]


def test_nothing_is_logged_or_warned(
    dicom: MakeDicom, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    data = dicom(PIXELS, PixelData=PIXELS.tobytes() + bytes(100), StudyDate="Canary", PatientAge="Canary")
    caplog.set_level(logging.DEBUG)
    caplog.clear()
    read_bytes(data)
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


def test_decoders_are_pinned() -> None:
    from pydicom.uid import UID

    assert decoder_plugin(UID("1.2.840.10008.1.2.4.50")) == ("pillow", "pillow")
    assert decoder_plugin(UID("1.2.840.10008.1.2.4.51"))[1] == "imagecodecs"
    assert decoder_plugin(UID("1.2.840.10008.1.2.4.57"))[1] == "imagecodecs"
    assert decoder_plugin(UID("1.2.840.10008.1.2.4.70"))[1] == "imagecodecs"
    assert decoder_plugin(UID("1.2.840.10008.1.2.4.80"))[1] == "pyjpegls"
    assert decoder_plugin(UID("1.2.840.10008.1.2.4.90"))[1] == "pylibjpeg-openjpeg"
    assert decoder_plugin(UID("1.2.840.10008.1.2.4.201"))[1] == "pylibjpeg-openjpeg"
    assert decoder_plugin(UID("1.2.840.10008.1.2.5")) == ("pydicom", "pydicom")


def test_files_by_path(tmp_path: Path, dicom: MakeDicom) -> None:
    path = tmp_path / "picture.txt"
    path.write_bytes(dicom(PIXELS))
    assert np.array_equal(read(path).pixels, PIXELS)
    with pytest.raises(Refused, match="UNREADABLE"):
        read(tmp_path)
    with pytest.raises(Refused, match="UNREADABLE"):
        read(tmp_path / "missing")
    with (tmp_path / "huge.png").open("wb") as stream:  # sparse: it takes no room
        stream.write(b"\x89PNG\r\n\x1a\n")
        stream.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(Refused, match="FILE_TOO_LARGE"):
        read(tmp_path / "huge.png")
