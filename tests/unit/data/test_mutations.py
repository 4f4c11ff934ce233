"""Damaged files end in an Image or a Refused, whatever the damage."""

import io
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as Pil

from callosum.core.errors import Refused
from callosum.core.record import Image
from callosum.data.readers import read_bytes

DICOM = [
    "CT_small.dcm",
    "MR_small_RLE.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_implicit.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "SC_rgb_small_odd_jpeg.dcm",
    "examples_palette.dcm",
    "image_dfl.dcm",
    "rtdose_1frame.dcm",
    "reportsi.dcm",
]
HITS = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=30)
QUIETLY = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def damaged(data: bytes, hits: list[tuple[float, int]], keep: float, *, is_header_only: bool) -> bytes:
    changed = bytearray(data)
    span = min(len(changed), 2000) if is_header_only else len(changed)
    for where, value in hits:
        changed[int(where * span)] = value
    return bytes(changed[: max(1, int(keep * len(changed)))])


def ends_well(data: bytes) -> None:
    try:
        image = read_bytes(data)
    except Refused as refused:
        assert refused.sentence
        return
    assert isinstance(image, Image)
    assert image.display().dtype == np.uint8


@QUIETLY
@given(st.sampled_from(DICOM), HITS, st.sampled_from([1.0, 1.0, 0.9, 0.5, 0.1]), st.booleans())
def test_dicom(
    pydicom_files: Path, name: str, hits: list[tuple[float, int]], keep: float, is_header_only: bool
) -> None:
    ends_well(damaged((pydicom_files / name).read_bytes(), hits, keep, is_header_only=is_header_only))


def small_picture(name: str) -> bytes:
    colours = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    stream = io.BytesIO()
    if name == "TIFF16":
        tifffile.imwrite(stream, colours.astype(np.uint16), photometric="rgb", compression="zlib")
    else:
        Pil.fromarray(colours).save(stream, name)
    return stream.getvalue()


PICTURES = {name: small_picture(name) for name in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "TIFF16")}


@QUIETLY
@given(st.sampled_from(sorted(PICTURES)), HITS, st.sampled_from([1.0, 1.0, 0.9, 0.5]), st.booleans())
def test_pictures(name: str, hits: list[tuple[float, int]], keep: float, is_header_only: bool) -> None:
    ends_well(damaged(PICTURES[name], hits, keep, is_header_only=is_header_only))


@QUIETLY
@given(st.binary(max_size=400))
def test_noise(data: bytes) -> None:
    with pytest.raises(Refused):
        read_bytes(data)
