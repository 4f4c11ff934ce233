"""Is this file a whole slide, to be cut into tiles, or an ordinary picture?

It is told by content, cheaply, and alike whether openslide is installed or not. A slide is

- a TIFF that carries the marks of a scanner (Aperio, Hamamatsu, Leica, Ventana, Philips);
- any other TIFF in colour that is stored in tiles and has a side of more than 4,096 pixels;
- a file of 3DHISTECH: a JPEG beside a folder of its name that holds Slidedat.ini;
- a DICOM instance of the whole slide microscopy class that is a level in colour, or one that shows the label, which
  is then refused. Thumbnails and fluorescence stay ordinary pictures.
"""

from __future__ import annotations

from pathlib import Path

from callosum.core.errors import Refused

MIN_SIDE_PX = 4096

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_JPEG = b"\xff\xd8\xff"
_HEAD_BYTES = 4096


def is_slide(path: Path) -> bool:
    """True when the file is to be read as a whole slide; False also for what cannot be opened."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
    except (OSError, ValueError):
        return False
    if head.startswith(_TIFF):
        return _is_tiff_slide(path)
    if head[128:132] == b"DICM":
        return is_dicom_slide(path, head)
    return head.startswith(_JPEG) and is_mirax(path)


def is_mirax(path: Path) -> bool:
    """True for the .mrxs file of 3DHISTECH, whose pictures are in a folder beside it."""
    return (path.with_suffix("") / "Slidedat.ini").is_file()


def is_dicom_slide(path: Path, head: bytes) -> bool:
    """True for an instance of a slide: a level in colour, or a picture of its label."""
    from callosum.data.slides.dicom_slide import SOP_CLASS, DicomInstance

    if SOP_CLASS not in head:
        return False
    try:
        instance = DicomInstance(path)
    except Refused:
        return False
    return instance.is_level or instance.is_written_on


def _is_tiff_slide(path: Path) -> bool:
    import tifffile

    from callosum.data.slides.pyramid import is_colour, quiet, vendor_of

    try:
        with quiet(), tifffile.TiffFile(path) as opened:
            page = opened.pages.first
            if vendor_of(opened):
                return True
            return page.is_tiled and is_colour(page) and max(page.imagewidth, page.imagelength) > MIN_SIDE_PX
    except Exception:  # a damaged TIFF is for the ordinary reader to answer
        return False
