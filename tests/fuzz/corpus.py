"""Good and bad files to start from: those of the data packs where they are, those of pydicom, and a few made here."""

import io
import os
import tarfile
from functools import cache
from pathlib import Path

import numpy as np
import pydicom
import tifffile
from PIL import Image as Pil

MAX_BYTES = 300 << 10
"""Larger files take long to change and to read, and damage in them is rarely where it matters."""

_PACKS = ("dicom_zoo/dicom.tar.gz", "image_zoo/files.tar.gz")


@cache
def corpus() -> dict[str, bytes]:
    """Name to bytes."""
    found = _made() | _of_pydicom()
    root = os.environ.get("CALLOSUM_DATA")
    for pack in _PACKS:
        if root and (Path(root) / pack).is_file():
            found |= _of_archive(Path(root) / pack)
    return dict(sorted(found.items()))


def _of_archive(path: Path) -> dict[str, bytes]:
    found = {}
    with tarfile.open(path) as archive:
        for member in archive:
            if member.isfile() and 0 < member.size <= MAX_BYTES:
                stream = archive.extractfile(member)
                assert stream is not None
                found[f"{path.parent.name}/{member.name}"] = stream.read()
    return found


def _of_pydicom() -> dict[str, bytes]:
    folder = Path(pydicom.__file__).parent / "data" / "test_files"
    files = [path for path in folder.glob("*.dcm") if path.stat().st_size <= MAX_BYTES]
    return {f"pydicom/{path.name}": path.read_bytes() for path in files}


def _made() -> dict[str, bytes]:
    colours = np.random.default_rng(0).integers(0, 256, (24, 32, 3)).astype(np.uint8)
    found = {}
    for name in ("PNG", "JPEG", "GIF", "BMP", "WEBP"):
        stream = io.BytesIO()
        Pil.fromarray(colours).save(stream, name)
        found[f"made/{name}"] = stream.getvalue()
    for name, options in {"plain": {}, "lzw": {"compression": "lzw"}, "tiles": {"tile": (16, 16)}}.items():
        stream = io.BytesIO()
        tifffile.imwrite(stream, colours.astype(np.uint16), photometric="rgb", **options)
        found[f"made/TIFF {name}"] = stream.getvalue()
    return found
