"""Every file inside the pydicom package ends in the answer that it deserves; they are always there."""

import hashlib
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from callosum.core.errors import Refused
from callosum.data.readers import read

NOT_DICOM = {".py", ".pyc", ".txt", ".md"}
EXPECTED = {
    "JPEG2000-embedded-sequence-delimiter.dcm": ("QUARANTINE", "CODESTREAM_INVALID"),
    "MR_truncated.dcm": ("QUARANTINE", "TRUNCATED"),
    "UN_sequence.dcm": ("METADATA_ONLY", "NO_PIXELS"),
    "badVR.dcm": ("QUARANTINE", "PIXELS_INVALID"),
    "meta_missing_tsyntax.dcm": ("REJECT", "DIM_ZERO"),
    "no_meta.dcm": ("REJECT", "FORMAT_UNSUPPORTED"),
    "reportsi.dcm": ("METADATA_ONLY", "NOT_AN_IMAGE_OBJECT"),
    "rtplan.dcm": ("METADATA_ONLY", "NOT_AN_IMAGE_OBJECT"),
    "rtplan_truncated.dcm": ("METADATA_ONLY", "NOT_AN_IMAGE_OBJECT"),
    "rtstruct.dcm": ("METADATA_ONLY", "NOT_AN_IMAGE_OBJECT"),
    "waveform_ecg.dcm": ("METADATA_ONLY", "NOT_AN_IMAGE_OBJECT"),
    "liver_1frame.dcm": ("ACCEPT+FLAG", "MASK"),
    "DICOMDIR": ("METADATA_ONLY", "DICOM_DIRECTORY"),
    "test1.json": ("REJECT", "NOT_AN_IMAGE"),
    "zipMR.gz": ("REJECT", "FORMAT_UNSUPPORTED"),
}


@pytest.fixture(scope="module")
def answers(pydicom_files: Path) -> dict[Path, tuple[str, str]]:
    found = {}
    folders = [pydicom_files, pydicom_files.parent / "charset_files", pydicom_files.parent / "palettes"]
    for path in sorted(p for folder in folders for p in folder.rglob("*")):
        if not path.is_file() or path.suffix in NOT_DICOM:
            continue
        began = time.perf_counter()
        try:
            image = read(path)
        except Refused as refused:
            found[path] = (str(refused.answer), refused.reason)
        else:
            assert image.display().dtype == np.uint8
            assert image.source_digest == hashlib.sha256(path.read_bytes()).hexdigest()
            found[path] = ("ACCEPT+FLAG" if image.flags else "ACCEPT", ",".join(flag.code for flag in image.flags))
        assert time.perf_counter() - began < 5
    return found


def test_known_answers(answers: dict[Path, tuple[str, str]]) -> None:
    by_name = {path.name: answer for path, answer in answers.items()}
    assert {name: by_name[name] for name in EXPECTED} == EXPECTED


def test_all_images_are_read(answers: dict[Path, tuple[str, str]]) -> None:
    """Nothing but the files above is quarantined or rejected, and most of the rest are pictures."""
    odd = {path.name for path, (answer, _) in answers.items() if answer in ("QUARANTINE", "REJECT")}
    assert odd <= {
        *EXPECTED,
        "nested_priv_SQ.dcm",
        "README",
        "crayons.icc",
        "rtplan.dump",
        "rtstruct.dump",
        "test_PN.json",
    }
    counts = Counter(answer for answer, _ in answers.values())
    assert counts["ACCEPT"] + counts["ACCEPT+FLAG"] >= 95


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("MR_small.dcm", "MR_small_RLE.dcm"),
        ("MR_small.dcm", "MR_small_bigendian.dcm"),
        ("MR_small.dcm", "MR_small_expb.dcm"),
        ("MR_small.dcm", "MR_small_implicit.dcm"),
        ("MR_small.dcm", "MR_small_jp2klossless.dcm"),
        ("MR_small.dcm", "MR_small_jpeg_ls_lossless.dcm"),
        ("SC_rgb_small_odd.dcm", "SC_rgb_small_odd_big_endian.dcm"),
        ("rtdose.dcm", "rtdose_rle.dcm"),
        ("rtdose.dcm", "rtdose_expb.dcm"),
    ],
)
def test_lossless_syntaxes_agree(pydicom_files: Path, one: str, other: str) -> None:
    first, second = read(pydicom_files / one), read(pydicom_files / other)
    assert np.array_equal(first.pixels, second.pixels)
    assert np.array_equal(first.display(), second.display())


@pytest.mark.parametrize(
    "name",
    [
        "SC_rgb_dcmtk_+eb+cr.dcm",
        "SC_rgb_jls_lossy_line.dcm",
        "SC_rgb_rle.dcm",
        "SC_rgb_jpeg_dcmtk.dcm",
    ],
)
def test_the_colour_chart_is_red_at_the_top(pydicom_files: Path, name: str) -> None:
    top, bottom = read(pydicom_files / name).display()[[5, 95], 50].astype(int)
    assert np.abs(top - [255, 0, 0]).max() <= 3
    assert np.abs(bottom - [255, 255, 255]).max() <= 3


def test_twelve_bit_and_lossless_jpeg(pydicom_files: Path) -> None:
    image = read(pydicom_files / "JPGExtended.dcm")
    assert image.decoder.startswith("imagecodecs ")
    assert (image.pixels.shape, int(image.pixels.max())) == ((1024, 256), 264)
    assert read(pydicom_files / "SC_rgb_jpeg_gdcm.dcm").decoder.startswith("imagecodecs ")
