"""Stored samples to physical meaning, window and polarity, each once (PS3.3 C.11, C.7.6.3.1.2).

A VOI LUT Sequence is the one transformation that a `Window` cannot hold: it is applied here, and the image becomes
a finished picture (unit DISPLAY). Everything else stays in physical units, and display is left to `Image`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom.pixels import apply_color_lut

from callosum.core.display import Window, WindowFunction, percentile_window
from callosum.core.record import Flag, PixelUnit
from callosum.data.readers.dicom_header import as_float, as_floats, as_int, as_text, items, raw_value
from callosum.data.readers.refusal import Reason, guard, quarantine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydicom.dataset import Dataset

    from callosum.data.readers.dicom_pixels import PixelLayout

_MAX_UNSIGNED_CT = 60000
"""A CT that is read as unsigned by mistake has its air just below 65536."""


@dataclass(kw_only=True, slots=True)
class Rendered:
    """What `render` found: the fields of `Image` that depend on samples."""

    pixels: np.ndarray
    unit: PixelUnit
    window: Window | None = None
    other_windows: Sequence[Window] = ()
    inverted: bool = False
    flags: list[Flag] = field(default_factory=list)

    def doubt(self, code: str, sentence: str) -> None:
        """Add a flag."""
        self.flags.append(Flag(code=code, sentence=sentence))


def render(stored: np.ndarray, dataset: Dataset, layout: PixelLayout, index: int) -> Rendered:
    """Give stored samples their meaning.

    Args:
        stored: What `decode_frame` returned.
        dataset: The header.
        layout: Its checked pixel module.
        index: The frame, for functional groups (PS3.3 C.7.6.16).

    Raises:
        Refused: `PALETTE_MISSING`.
    """
    if layout.photometric == "PALETTE COLOR":
        return Rendered(pixels=_palette(stored, dataset), unit=PixelUnit.DISPLAY)
    if layout.samples == 3:
        return Rendered(pixels=_to_uint8(stored, layout), unit=PixelUnit.DISPLAY)
    out = _modality(stored, dataset, layout, index)
    out.inverted = layout.photometric == "MONOCHROME1" or as_text(dataset, "PresentationLUTShape") == "INVERSE"
    has_slope = all(flag.code not in ("NO_HU", "SLOPE_ZERO") for flag in out.flags)
    voi = _functional(dataset, index, "FrameVOILUTSequence", "WindowCenter")
    if has_slope and any(raw_value(voi, keyword) is not None for keyword in ("WindowCenter", "WindowWidth")):
        if windows := _windows(voi):
            out.window, *out.other_windows = windows
        else:
            out.doubt("WINDOW_INVALID", "Its window cannot be used; it is shown between percentiles.")
    elif has_slope and (luts := items(voi, "VOILUTSequence")):
        _apply_voi_lut(out, luts[0], is_signed=layout.is_signed)
    _settle(out, stored, dataset, layout)
    return out


def _settle(out: Rendered, stored: np.ndarray, dataset: Dataset, layout: PixelLayout) -> None:
    """Without a window, keep padding out of the percentiles and show it black; 8 full bits are a picture already.

    A window of the file is left to show padding as it shows any value: many files declare 0 and have honest zeros.
    """
    if out.window is not None or out.unit is PixelUnit.DISPLAY:
        return
    if out.pixels.dtype == np.uint8 and layout.bits_stored == 8 and out.unit is PixelUnit.RAW:
        out.unit = PixelUnit.DISPLAY
    elif out.pixels.dtype == np.uint8:
        out.pixels = out.pixels.astype(np.uint16)  # so that display stretches it
    padding = _padding(stored, dataset, layout)
    if padding is None:
        return
    valid = out.pixels[~padding]
    darkest = valid.max() if out.inverted else valid.min()
    out.pixels = np.where(padding, darkest, out.pixels).astype(out.pixels.dtype)
    if out.unit is not PixelUnit.DISPLAY:
        out.window = percentile_window(valid)


def _palette(stored: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Look colours up and bring them to 8 bits: `[H, W, 3]` (PS3.3 C.7.9)."""
    refusal = quarantine(Reason.PALETTE_MISSING, "PALETTE COLOR pixels without a usable palette.")
    with guard(refusal):
        colours = apply_color_lut(stored, dataset)[..., :3]
    if colours.dtype != np.uint8:  # entries of 8 bits arrive shifted up, or, from some writers, unshifted
        colours = colours >> 8 if int(colours.max()) > 255 else colours
    return np.ascontiguousarray(colours, dtype=np.uint8)


def _to_uint8(colours: np.ndarray, layout: PixelLayout) -> np.ndarray:
    """Scale colour samples by their stated bits."""
    if layout.bits_stored == 8 and colours.dtype == np.uint8:
        return np.ascontiguousarray(colours)
    if not layout.is_integer:
        return np.round(np.clip(np.nan_to_num(colours), 0, 1) * 255).astype(np.uint8)
    full = (1 << layout.bits_stored) - 1
    return np.round(np.clip(colours, 0, full) * (255.0 / full)).astype(np.uint8)


def _modality(stored: np.ndarray, dataset: Dataset, layout: PixelLayout, index: int) -> Rendered:
    """Modality LUT (PS3.3 C.11.1): slope and intercept, or a table, or nothing."""
    is_ct = as_text(dataset, "Modality") == "CT"
    if luts := items(dataset, "ModalityLUTSequence"):
        table = _lookup(stored, luts[0], is_signed=layout.is_signed)
        return Rendered(pixels=table[0], unit=PixelUnit.RAW) if table else _no_table(stored)
    source = _functional(dataset, index, "PixelValueTransformationSequence", "RescaleSlope")
    slope, intercept = as_float(source, "RescaleSlope"), as_float(source, "RescaleIntercept")
    if slope is None and intercept is None:
        out = Rendered(pixels=stored, unit=PixelUnit.RAW)
        if is_ct:
            out.doubt("NO_HU", "A CT without Rescale Slope and Intercept: samples are not Hounsfield units.")
        return out
    if slope == 0:
        out = Rendered(pixels=stored, unit=PixelUnit.RAW)
        out.doubt("SLOPE_ZERO", "Rescale Slope is 0; slope, intercept and window were ignored.")
        return out
    is_hu = is_ct and as_text(source, "RescaleType") in ("", "HU")
    values = rescale(stored, 1.0 if slope is None else slope, intercept or 0.0)
    out = Rendered(pixels=values, unit=PixelUnit.HU if is_hu else PixelUnit.RAW)
    if is_ct and not layout.is_signed and (intercept or 0) < 0 and int(stored.max()) > _MAX_UNSIGNED_CT:
        out.doubt("SIGN_SUSPECT", "Unsigned CT samples near the top of 16 bits: Pixel Representation may be wrong.")
    return out


def _no_table(stored: np.ndarray) -> Rendered:
    out = Rendered(pixels=stored, unit=PixelUnit.RAW)
    out.doubt("LUT_INVALID", "The Modality LUT cannot be used; stored values were kept.")
    return out


def rescale(stored: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    """`stored * slope + intercept`: in the smallest integers when all is integral, else float32."""
    if slope == 1 and intercept == 0:
        return stored
    integral = stored.dtype.kind in "iu" and slope.is_integer() and intercept.is_integer()
    if integral and stored.dtype.itemsize <= 2 and abs(slope) < 1 << 12 and abs(intercept) < 1 << 30:
        limits = np.iinfo(stored.dtype)
        ends = (limits.min * slope + intercept, limits.max * slope + intercept)
        if not _fits(ends, np.int16):  # the type is wider than the samples: a CT has 12 bits of 16
            ends = (int(stored.min()) * slope + intercept, int(stored.max()) * slope + intercept)
        dtype = np.int16 if _fits(ends, np.int16) else np.int32
        if dtype is np.int16 and abs(slope) < 1 << 15 and abs(intercept) < 1 << 15 and slope == 1:
            return stored.astype(np.int16) + np.int16(intercept)  # wraps twice, ends right
        return (stored.astype(np.int32) * np.int32(slope) + np.int32(intercept)).astype(dtype)
    values: np.ndarray = stored.astype(np.float32 if stored.dtype.itemsize <= 2 else np.float64)
    return (values * slope + intercept).astype(np.float32)


def _fits(ends: tuple[float, float], dtype: Any) -> bool:
    return np.iinfo(dtype).min <= min(ends) and max(ends) <= np.iinfo(dtype).max


def _functional(dataset: Dataset, index: int, sequence: str, keyword: str) -> Dataset:
    """The item that holds `keyword`: of the frame, shared by all frames, or the data set itself."""
    if keyword in dataset:
        return dataset
    per_frame = items(dataset, "PerFrameFunctionalGroupsSequence")
    groups = [*per_frame[index : index + 1], *items(dataset, "SharedFunctionalGroupsSequence")[:1]]
    for group in groups:
        if found := items(group, sequence):
            return found[0]
    return dataset


def _windows(source: Dataset) -> list[Window]:
    """The windows of the file, in its order, up to the first that cannot be used (PS3.3 C.11.2.1.2)."""
    centers, widths = (as_floats(source, keyword) for keyword in ("WindowCenter", "WindowWidth"))
    name = as_text(source, "VOILUTFunction") or "LINEAR"
    if len(centers) != len(widths) or name not in WindowFunction.__members__:
        return []
    function = WindowFunction(name)
    smallest = 1.0 if function is WindowFunction.LINEAR else np.finfo(np.float32).tiny
    usable = takewhile(lambda pair: pair[1] >= smallest, zip(centers, widths, strict=True))
    return [Window(center=center, width=width, function=function) for center, width in usable]


def _apply_voi_lut(out: Rendered, item: Dataset, *, is_signed: bool) -> None:
    """VOI LUT (PS3.3 C.11.2.1.1) to a finished uint8 picture, still to be inverted."""
    table = _lookup(out.pixels, item, is_signed=is_signed)
    if table is None:
        out.doubt("WINDOW_INVALID", "Its VOI LUT cannot be used; it is shown between percentiles.")
        return
    values, bits = table
    full = max((1 << bits) - 1, 1)
    out.pixels = np.round(np.minimum(values, full) * (255.0 / full)).astype(np.uint8)
    out.unit = PixelUnit.DISPLAY


def _lookup(values: np.ndarray, item: Dataset, *, is_signed: bool) -> tuple[np.ndarray, int] | None:
    """Map values through a LUT item; the mapped values and their bits, None when the LUT is unusable."""
    descriptor, data = raw_value(item, "LUTDescriptor"), raw_value(item, "LUTData")
    if descriptor is None or data is None or len(descriptor) != 3:
        return None
    num_entries, first, bits = (int(number) for number in descriptor)
    num_entries = num_entries & 0xFFFF or 1 << 16
    is_signed = is_signed or bool(values.min() < 0)  # of rescaled values, whatever the stored ones are
    first = first - (1 << 16) if is_signed and first >= 1 << 15 else first
    if isinstance(data, bytes):
        entries = np.frombuffer(data, dtype=np.uint8 if len(data) < 2 * num_entries else "<u2")
    else:
        entries = np.atleast_1d(np.asarray(data, dtype=np.int64)).astype(np.uint16)
    entries = entries[:num_entries]
    if entries.size != num_entries or not 1 <= bits <= 16:
        return None
    bits = max(bits, int(entries.max()).bit_length())  # some writers state 8 for entries of 16
    where = np.rint(values).astype(np.int64) if values.dtype.kind == "f" else values.astype(np.int64)
    return entries[np.clip(where - first, 0, num_entries - 1)], bits


def _padding(stored: np.ndarray, dataset: Dataset, layout: PixelLayout) -> np.ndarray | None:
    """Where the pixel padding is (PS3.3 C.7.5.1.1.2); None when there is none, or nothing else."""
    low = as_int(dataset, "PixelPaddingValue")
    if low is None or not layout.is_integer:
        return None
    high = as_int(dataset, "PixelPaddingRangeLimit")
    if layout.is_signed:
        low, high = _signed(low), None if high is None else _signed(high)
    mask = stored == low if high is None else (stored >= min(low, high)) & (stored <= max(low, high))
    return mask if mask.any() and not mask.all() else None


def _signed(value: int) -> int:
    return value - (1 << 16) if 1 << 15 <= value < 1 << 16 else value
