"""Formats by their first bytes, and a stated answer for each that is not read."""

import gzip
import io
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image as Pil

from callosum.core.errors import Refused
from callosum.data.readers import READERS, read_bytes
from callosum.data.readers.sniff import sniff


def packed(kind: str) -> bytes:
    stream = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr("a.png", b"x")
    else:
        with tarfile.open(fileobj=stream, mode=kind) as archive:
            archive.addfile(tarfile.TarInfo("a.png"), io.BytesIO())
    return stream.getvalue()


NIFTI = (348).to_bytes(4, "little") + bytes(340) + b"n+1\0" + bytes(100)


@pytest.mark.parametrize("data", [NIFTI, gzip.compress(NIFTI)], ids=["plain", "gzip"])
def test_volumes_are_recognised(data: bytes) -> None:
    assert sniff(data) == "nifti"


@pytest.mark.parametrize(
    ("data", "reason", "word"),
    [
        (b"", "EMPTY", "no bytes"),
        (b"<!DOCTYPE html><HTML><body>please log in</body>", "NOT_AN_IMAGE", "web page"),
        (b"name,age\nx,3\n", "NOT_AN_IMAGE", "text"),
        ("Befund: unauffällig".encode(), "NOT_AN_IMAGE", "text"),
        (packed("zip"), "ARCHIVE_UNSUPPORTED", "ZIP"),
        (packed("w:"), "ARCHIVE_UNSUPPORTED", "TAR"),
        (packed("w:gz"), "ARCHIVE_UNSUPPORTED", "gzip-compressed TAR"),
        (gzip.compress(b"hello"), "FORMAT_UNSUPPORTED", "gzip"),
        (b"\x1f\x8bbroken", "FORMAT_UNSUPPORTED", "gzip"),
        (b"%PDF-1.7\n", "FORMAT_UNSUPPORTED", "PDF"),
        (b"\x89HDF\r\n\x1a\n", "FORMAT_UNSUPPORTED", "HDF5"),
        (bytes(range(1, 250)), "FORMAT_UNSUPPORTED", "no image format"),
        (bytes(1000), "FORMAT_UNSUPPORTED", "no image format"),
    ],
)
def test_refused_formats(data: bytes, reason: str, word: str) -> None:
    with pytest.raises(Refused) as caught:
        read_bytes(data)
    assert (caught.value.answer, caught.value.reason) == ("REJECT", reason)
    assert word in caught.value.sentence


@pytest.mark.parametrize("name", ["PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF"])
def test_every_format_has_a_reader(name: str) -> None:
    stream = io.BytesIO()
    grey = np.add.outer(np.arange(24), np.arange(32)).astype(np.uint8)
    Pil.fromarray(grey).save(stream, name, **({"lossless": True} if name == "WEBP" else {}))
    data = stream.getvalue()
    assert sniff(data) == name.lower()
    assert sniff(data) in READERS
    image = read_bytes(data)
    assert image.pixels.shape[:2] == (24, 32)
    assert image.attributes["format"] == name.lower()
    shown = image.display()
    assert np.abs((shown if shown.ndim == 2 else shown[..., 0]).astype(int) - grey).max() <= (
        2 if name == "JPEG" else 0
    )


def test_text_with_dicom_like_start_is_not_dicom() -> None:
    with pytest.raises(Refused, match="FORMAT_UNSUPPORTED"):
        read_bytes(b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100" + b"\x00" * 40)
