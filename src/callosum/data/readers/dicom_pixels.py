"""One frame of a DICOM file as it is stored, decoded by plugins that are pinned.

Two decoders of one transfer syntax differ by a grey level, and embeddings would drift between installations; so
each syntax has one decoder and its version is part of the render recipe. The header is checked against the bytes
before anything is allocated (PS3.5 8, PS3.3 C.7.6.3).
"""

from __future__ import annotations

import importlib.metadata
import math
import zlib
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom.encaps import get_frame
from pydicom.pixels import get_decoder
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLELossless,
)

from callosum.core.record import Flag
from callosum.data.readers import dicom_jpeg
from callosum.data.readers.codestream import Codestream, jpeg2000_codestream, jpeg_codestream
from callosum.data.readers.dicom_header import as_int
from callosum.data.readers.refusal import Reason, check_samples, guard, metadata_only, quarantine, reject

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydicom.dataset import Dataset

dicom_jpeg.register()

NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian)
"""Transfer syntaxes whose pixels are not compressed."""

RLE_MAX_RATIO = 64
"""A run of PackBits makes at most 128 bytes of two (PS3.5 G.3.1)."""

DEFLATED_FRAMES = UID("1.2.840.10008.1.2.8.1")
"""Deflated Image Frame Compression: each frame a Deflate stream of native samples (PS3.5 A.4.13)."""

_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
_GREYS = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
_OWN_PRECISION = (*JPEG2000TransferSyntaxes, *JPEGLSTransferSyntaxes, JPEGBaseline8Bit, JPEGExtended12Bit)
PHOTOMETRICS = (*_GREYS, *_COLOURS)
_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


@dataclass(frozen=True, kw_only=True, slots=True)
class PixelLayout:
    """What the Image Pixel Module says (PS3.3 C.7.6.3), checked.

    Attributes:
        overrides: Elements that the standard implies and the file left out, as options of pydicom's decoder.
    """

    keyword: str
    rows: int
    columns: int
    samples: int
    num_frames: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    is_signed: bool
    photometric: str
    transfer_syntax: UID
    overrides: Mapping[str, Any]

    @property
    def is_integer(self) -> bool:
        """False for Float Pixel Data and Double Float Pixel Data."""
        return self.keyword == "PixelData"

    @property
    def is_compressed(self) -> bool:
        """False for native pixels."""
        return self.transfer_syntax not in NATIVE


def pixel_keyword(dataset: Dataset) -> str:
    """Name of the element that holds pixels; empty when there is none."""
    return next((keyword for keyword in _KEYWORDS if keyword in dataset), "")


def pixel_layout(dataset: Dataset, numbers: Mapping[str, int | None], photometric: str) -> PixelLayout:
    """Check the header of the pixels against itself and against their length.

    Args:
        dataset: Holds pixels, and a transfer syntax that pydicom knows.
        numbers: Rows, Columns, SamplesPerPixel, NumberOfFrames, BitsAllocated, BitsStored, HighBit,
            PixelRepresentation and PlanarConfiguration; None where missing or unreadable.
        photometric: Photometric Interpretation, empty when missing.

    Raises:
        Refused: `DIM_ZERO`, `DIM_MISMATCH`, `TOO_MANY_PIXELS`, `BITS_INVALID`, `PHOTOMETRIC_INVALID` or
            `TRUNCATED`.
    """
    keyword = pixel_keyword(dataset)
    syntax = UID(dataset.file_meta.TransferSyntaxUID)
    rows, columns = numbers["Rows"] or 0, numbers["Columns"] or 0
    if rows <= 0 or columns <= 0:
        raise reject(Reason.DIM_ZERO, "Rows or Columns is zero or missing.")
    num_frames = 1 if numbers["NumberOfFrames"] is None else numbers["NumberOfFrames"] or 1
    if num_frames < 1:
        raise reject(Reason.DIM_MISMATCH, f"Number of Frames is {num_frames}.")
    allocated, stored = _bits(keyword, numbers)
    samples, planar = _samples(numbers, photometric, is_native=syntax in (*NATIVE, DEFLATED_FRAMES))
    layout = PixelLayout(
        keyword=keyword,
        rows=rows,
        columns=columns,
        samples=samples,
        num_frames=num_frames,
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=stored - 1 if numbers["HighBit"] is None else numbers["HighBit"] or 0,
        is_signed=keyword == "PixelData" and numbers["PixelRepresentation"] == 1,
        photometric=photometric,
        transfer_syntax=syntax,
        overrides=planar | ({"number_of_frames": 1} if num_frames == 1 else {}),
    )
    check_samples(rows * columns * samples)
    _check_length(dataset, layout)
    return layout


def _bits(keyword: str, numbers: Mapping[str, int | None]) -> tuple[int, int]:
    if keyword != "PixelData":
        bits = 32 if keyword == "FloatPixelData" else 64
        return bits, bits
    allocated, stored = numbers["BitsAllocated"], numbers["BitsStored"]
    if allocated not in (1, 8, 16, 24, 32, 40, 48, 56, 64) or numbers["PixelRepresentation"] not in (0, 1):
        raise reject(Reason.BITS_INVALID, "Bits Allocated or Pixel Representation is missing or impossible.")
    if stored is None or not 1 <= stored <= allocated:
        raise reject(Reason.BITS_INVALID, f"Bits Stored is missing or not within Bits Allocated ({allocated}).")
    if allocated not in (1, 8, 16, 32, 64):
        raise metadata_only(Reason.BITS_UNSUPPORTED, f"Samples of {allocated} bits are not read.")
    return allocated, stored


def _samples(numbers: Mapping[str, int | None], photometric: str, *, is_native: bool) -> tuple[int, dict[str, int]]:
    """Samples per pixel, and the planar configuration where the standard leaves no choice."""
    samples = numbers["SamplesPerPixel"]
    expected = 1 if photometric in _GREYS else 3 if photometric in _COLOURS else 0
    if not expected or samples != expected:
        sentence = "Photometric Interpretation is missing, unknown, or does not fit Samples per Pixel."
        raise reject(Reason.PHOTOMETRIC_INVALID, sentence)
    if samples == 3 and numbers["PlanarConfiguration"] not in (0, 1):
        if is_native and photometric != "YBR_FULL_422":
            raise reject(Reason.PHOTOMETRIC_INVALID, "Colour samples without a Planar Configuration.")
        return samples, {"planar_configuration": 0}
    return samples, {}


def _check_length(dataset: Dataset, layout: PixelLayout) -> None:
    """Compare the bytes that are there with the bytes that the header needs."""
    value = dataset[layout.keyword].value
    actual = len(value) if value else 0
    if actual == 0:
        raise metadata_only(Reason.NO_PIXELS, "The pixel element is empty.")
    samples = layout.rows * layout.columns * layout.samples * layout.num_frames
    if layout.photometric == "YBR_FULL_422" and not layout.is_compressed:
        samples = samples * 2 // 3
    needed = math.ceil(samples * layout.bits_allocated / 8)
    if layout.transfer_syntax == RLELossless:
        needed //= RLE_MAX_RATIO
    elif layout.is_compressed:
        needed = 8 * layout.num_frames  # an item header per frame
    if actual < needed:
        sentence = f"The header needs {needed} bytes of pixels or more; the file holds {actual}."
        raise reject(Reason.DIM_MISMATCH, sentence)


def decode_frame(dataset: Dataset, layout: PixelLayout, index: int) -> tuple[np.ndarray, list[Flag]]:
    """Decode one frame: stored values `[H, W]`, or RGB (also for YBR) `[H, W, 3]`.

    Raises:
        Refused: `TS_UNSUPPORTED`, `CODESTREAM_INVALID`, or `PHOTOMETRIC_INVALID` for native pixels.
    """
    syntax = layout.transfer_syntax
    if layout.is_compressed:
        otherwise = quarantine(Reason.CODESTREAM_INVALID, "The compressed frame is damaged or is not of its syntax.")
    else:
        otherwise = quarantine(Reason.PIXELS_INVALID, "The pixels do not fit the header.")
    flags: list[Flag] = []
    found: Codestream | None = None
    with guard(otherwise):
        if syntax == DEFLATED_FRAMES:
            pixels = _inflated_frame(dataset, layout, index)
        else:
            if layout.is_compressed:
                found = _check_codestream(dataset, layout, index)
            pixels, _ = get_decoder(syntax).as_array(
                dataset,
                index=index,
                decoding_plugin=decoder_plugin(syntax)[0],
                **{"correct_unused_bits": False, "view_only": _is_plain(layout), **layout.overrides},
            )
        if not pixels.dtype.isnative:
            pixels = pixels.astype(pixels.dtype.newbyteorder("="))
        if found and found.is_signed and not layout.is_signed:
            pixels = pixels.view(f"i{pixels.dtype.itemsize}")
            sentence = "Pixel Representation says unsigned and the codestream signed; the codestream was believed."
            flags.append(Flag(code="SIGN_SUSPECT", sentence=sentence))
        pixels, doubts = _mask_unused_bits(pixels, dataset, layout)
        return pixels, [*flags, *doubts]


def _inflated_frame(dataset: Dataset, layout: PixelLayout, index: int) -> np.ndarray:
    """A frame of Deflated Image Frame Compression; no more is inflated than the header announces."""
    frame = get_frame(dataset.PixelData, index, number_of_frames=layout.num_frames)
    samples = layout.rows * layout.columns * layout.samples
    num_bytes = math.ceil(samples * layout.bits_allocated / 8)
    plain = zlib.decompressobj(-zlib.MAX_WBITS).decompress(frame, num_bytes + 2)
    if layout.photometric == "YBR_FULL_422" or not 0 <= len(plain) - num_bytes <= num_bytes % 2:
        raise quarantine(Reason.CODESTREAM_INVALID, "The deflated frame is not of the size that the header announces.")
    options: dict[str, Any] = {
        "rows": layout.rows,
        "columns": layout.columns,
        "samples_per_pixel": layout.samples,
        "photometric_interpretation": layout.photometric,
        "bits_allocated": layout.bits_allocated,
        "bits_stored": layout.bits_stored,
        "pixel_representation": int(layout.is_signed),
        "pixel_keyword": layout.keyword,
        "planar_configuration": as_int(dataset, "PlanarConfiguration") or 0,
        "number_of_frames": 1,
        "correct_unused_bits": False,
    }
    padded = plain.ljust(num_bytes + num_bytes % 2, b"\0")
    pixels: np.ndarray = get_decoder(ExplicitVRLittleEndian).as_array(padded, index=0, **options)[0]
    return pixels


def _is_plain(layout: PixelLayout) -> bool:
    """True when the samples can be looked at where they are, without being unpacked or put in order."""
    return layout.samples == 1 and layout.bits_allocated > 1 and layout.transfer_syntax in NATIVE[:-1]


def _check_codestream(dataset: Dataset, layout: PixelLayout, index: int) -> Codestream | None:
    """Refuse a codestream whose size is not the header's, before a decoder allocates what it announces."""
    if layout.transfer_syntax == RLELossless:
        return None
    frame = get_frame(dataset.PixelData, index, number_of_frames=layout.num_frames)
    found: Codestream | None = None
    if layout.transfer_syntax in JPEG2000TransferSyntaxes:
        found = jpeg2000_codestream(frame)
    elif layout.transfer_syntax in (*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes):
        found = jpeg_codestream(frame)
    size = (layout.rows, layout.columns, layout.samples)
    if found is None or (found.rows, found.columns, found.samples) != size:
        sentence = "The codestream is not of its transfer syntax, or announces another size than the header."
        raise quarantine(Reason.CODESTREAM_INVALID, sentence)
    return found


def _mask_unused_bits(pixels: np.ndarray, dataset: Dataset, layout: PixelLayout) -> tuple[np.ndarray, list[Flag]]:
    """Clear, or sign-extend over, the bits above Bits Stored (PS3.5 8.1.1).

    They may hold overlays or rubbish. They may also hold the picture, when Bits Stored is wrong: then the masked
    picture wraps around and is rougher than the unmasked one, which is kept and flagged. JPEG 2000, JPEG-LS and lossy
    JPEG carry their own precision (lossy JPEG overshoots a narrower one) and are left alone.
    """
    shift = layout.bits_allocated - layout.bits_stored
    if shift == 0 or not layout.is_integer or layout.transfer_syntax in _OWN_PRECISION:
        return pixels, []
    flags: list[Flag] = []
    if layout.high_bit != layout.bits_stored - 1:
        flags.append(Flag(code="HIGH_BIT_INCONSISTENT", sentence="High Bit is not Bits Stored - 1; it is ignored."))
    low, high = (
        (-(1 << layout.bits_stored - 1), (1 << layout.bits_stored - 1) - 1)
        if layout.is_signed
        else (
            0,
            (1 << layout.bits_stored) - 1,
        )
    )
    if int(pixels.max()) <= high and (not layout.is_signed or low <= int(pixels.min())):
        return pixels, flags
    below = layout.high_bit + 1 - layout.bits_stored
    if 0 < below <= shift and not (pixels & ((1 << below) - 1)).any():
        sentence = "High Bit is not Bits Stored - 1; samples lie below it, and were moved."
        return (pixels << shift - below) >> shift, [Flag(code="HIGH_BIT_INCONSISTENT", sentence=sentence)]
    masked = np.right_shift(np.left_shift(pixels, shift), shift)
    if not _has_embedded_overlay(dataset) and _roughness(pixels) < _roughness(masked):
        sentence = f"Samples use more than the {layout.bits_stored} bits that are stated; all bits were read."
        return pixels, [*flags, Flag(code="BITS_INCONSISTENT", sentence=sentence)]
    return masked, flags


def _has_embedded_overlay(dataset: Dataset) -> bool:
    """True when an overlay is kept in unused bits (retired, PS3.3 C.9.2): Overlay Bit Position without data."""
    return any((group, 0x0102) in dataset and (group, 0x3000) not in dataset for group in range(0x6000, 0x6020, 2))


def _roughness(pixels: np.ndarray) -> float:
    """Mean absolute step between neighbours, over at most about 256 rows."""
    rows = pixels[:: max(1, len(pixels) // 256)].astype(np.float64)
    return float(np.abs(np.diff(rows, axis=1)).mean()) if rows.shape[1] > 1 else 0.0


def decoder_plugin(syntax: UID) -> tuple[str, str]:
    """Plugin of pydicom (empty for native pixels) and the distribution that does the work."""
    if syntax in (*NATIVE, DEFLATED_FRAMES):
        return "", "pydicom"
    if dicom_jpeg.is_available(syntax):
        return dicom_jpeg.PLUGIN, "imagecodecs"
    if syntax == JPEGBaseline8Bit:
        return "pillow", "pillow"
    if syntax in JPEGLSTransferSyntaxes:
        return "pyjpegls", "pyjpegls"
    if syntax in JPEG2000TransferSyntaxes:
        return "pylibjpeg", "pylibjpeg-openjpeg"
    if syntax == RLELossless:
        return "pydicom", "pydicom"
    raise metadata_only(Reason.TS_UNSUPPORTED, "Its transfer syntax is not one that is decoded.")


@cache
def decoder_name(distribution: str) -> str:
    """Name and version for the render recipe."""
    return f"{distribution} {importlib.metadata.version(distribution)}"
