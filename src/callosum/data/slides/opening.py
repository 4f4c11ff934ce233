"""Open a slide with the library that reads it, and keep a few open between batches of tiles.

openslide first. tifffile where openslide is not installed, refuses a plain tiled TIFF, or finds fewer levels in it
than there are (it does not look into SubIFDs). Frames through pydicom for DICOM that openslide does not read. Which
one it was is in `SlideFacts.reader`, and from there in every tile's render recipe.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

from callosum.core.errors import MissingDependency, Refused
from callosum.data.readers.refusal import Reason, guard, metadata_only, quarantine, reject, unreadable
from callosum.data.slides.detect import is_mirax, is_slide

if TYPE_CHECKING:
    from callosum.data.slides.slide import Slide

MAX_OPEN = 2
"""Slides that a process keeps open; a batch of tiles often comes from the slide of the last one."""

_open: OrderedDict[tuple[Path, int, int], Slide] = OrderedDict()


def opened(path: Path) -> Slide:
    """The slide, opened now or still open from last time; whoever asks does not close it.

    Raises:
        Refused: see `open_slide`.
        MissingDependency: see `open_slide`.
    """
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise unreadable() from error
    key = (path, status.st_size, status.st_mtime_ns)
    if key not in _open:
        while len(_open) >= MAX_OPEN:
            _open.popitem(last=False)[1].close()
        _open[key] = open_slide(path)
    _open.move_to_end(key)
    return _open[key]


def close_all() -> None:
    """Close what `opened` keeps open."""
    while _open:
        _open.popitem()[1].close()


def open_slide(path: Path) -> Slide:
    """Open a slide.

    Raises:
        Refused: `NOT_AN_IMAGE` for a file that is no slide, `LABEL_IMAGE`, `SLIDE_LEVEL`, or `CORRUPT`.
        MissingDependency: only openslide reads it, and it is not installed.
    """
    if not is_slide(path):
        raise reject(Reason.NOT_AN_IMAGE, "The file is not a whole slide.")
    with path.open("rb") as stream:
        is_dicom = stream.read(132)[128:] == b"DICM"
    if is_dicom:
        return _open_dicom(path)
    return _open_native(path) if is_mirax(path) else _open_tiff(path)


def _open_native(path: Path) -> Slide:
    from callosum.data.slides.native import OpenslideSlide, openslide_module

    if openslide_module() is None:
        message = "This format of slide is read with openslide, which is not installed."
        raise MissingDependency(message, hint="Run: pip install 'callosum[slides]'")
    return OpenslideSlide(path)


def _open_tiff(path: Path) -> Slide:
    from callosum.data.slides.native import OpenslideSlide, openslide_module
    from callosum.data.slides.pyramid import TiffSlide, num_levels

    found = openslide_module()
    if found is None:
        return TiffSlide(path) if num_levels(path) else _open_native(path)
    with guard(quarantine(Reason.CORRUPT, "The slide is damaged: its format cannot be told.")):
        vendor = found.OpenSlide.detect_format(path)
    if vendor not in (None, "generic-tiff"):
        return OpenslideSlide(path)
    plain = num_levels(path)
    try:
        slide = OpenslideSlide(path)
    except Refused:
        if not plain:
            raise
        return TiffSlide(path)
    if plain > len(slide.facts.levels):
        slide.close()
        return TiffSlide(path)
    return slide


def _open_dicom(path: Path) -> Slide:
    from callosum.data.slides.dicom_slide import MAX_BYTES, DicomInstance, DicomSlide
    from callosum.data.slides.native import OpenslideSlide, openslide_module

    instance = DicomInstance(path)
    instance.check_is_level()
    if openslide_module() is not None:
        try:
            slide = OpenslideSlide(path, instance.identifiers)
        except Refused:
            if path.stat().st_size > MAX_BYTES:
                raise
        else:
            if slide.facts.levels[0].width > instance.size[0] > 0:
                slide.close()
                sentence = "A lower level of a slide, whose full picture is another file beside it."
                raise instance.refused(metadata_only(Reason.SLIDE_LEVEL, sentence))
            return slide
    if path.stat().st_size > MAX_BYTES:
        return _open_native(path)
    return DicomSlide(path, instance)
