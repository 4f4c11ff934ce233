"""Grey or colour samples to the picture a person sees: uint8, black to white.

The order is that of DICOM PS3.3 C.11: physical values, then the window, then the polarity, each once.
Samples without a stated window are stretched between their 0.5 and 99.5 percentiles; nothing is ever clipped by a type.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np

PERCENTILES = (0.5, 99.5)
_BLOCK_SAMPLES = 1 << 16
"""Samples rendered at once: as float32 they stay in a core's own cache, which halves the time of a large film."""
_FLOAT32_WIDTH = 1e37
"""Wider windows would overflow float32."""


class WindowFunction(StrEnum):
    """VOI LUT functions of PS3.3 C.11.2.1.2-3."""

    LINEAR = "LINEAR"
    LINEAR_EXACT = "LINEAR_EXACT"
    SIGMOID = "SIGMOID"


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """A window in the units of the samples."""

    center: float
    width: float
    function: WindowFunction = WindowFunction.LINEAR

    @np.errstate(over="ignore", invalid="ignore")
    def apply(self, values: np.ndarray) -> np.ndarray:
        """Map values to 0..1 float32, of the same shape."""
        # 16-bit samples and float32 are exact in float32; wider samples lose their difference to a large centre
        is_narrow = values.dtype.itemsize <= 2 or (values.dtype == np.float32 and self.width < _FLOAT32_WIDTH)
        dtype = np.float32 if is_narrow else np.float64
        if self.function is WindowFunction.SIGMOID:
            exponent = np.clip(-4.0 * np.subtract(values, self.center, dtype=dtype) / self.width, -60.0, 60.0)
            return (1.0 / (1.0 + np.exp(exponent))).astype(np.float32)
        if self.function is WindowFunction.LINEAR and self.width > 1:
            low = self.center - 0.5 - (self.width - 1) / 2
            span = self.width - 1
        elif self.function is WindowFunction.LINEAR:  # width 1: a threshold (PS3.3 C.11.2.1.2.1)
            return (np.subtract(values, self.center - 0.5, dtype=dtype) > 0).astype(np.float32)
        else:
            low, span = self.center - self.width / 2, self.width
        unit = np.subtract(values, low, dtype=dtype)
        unit *= 1.0 / span
        return np.clip(unit, 0.0, 1.0, out=unit).astype(np.float32, copy=False)


_IDENTITY = Window(center=127.5, width=255.0, function=WindowFunction.LINEAR_EXACT)


@np.errstate(over="ignore", invalid="ignore")
def percentile_window(values: np.ndarray) -> Window:
    """The window between the 0.5 and 99.5 percentiles of the finite samples; minimum to maximum if they coincide."""
    is_narrow = values.dtype.kind in "iu" and values.dtype.itemsize <= 2
    finite = values if values.dtype.kind in "iu" else values[np.isfinite(values)]
    if finite.size == 0:
        return Window(center=0.5, width=1.0, function=WindowFunction.LINEAR_EXACT)
    low, high = _counted_percentiles(finite) if is_narrow else _float_percentiles(finite)
    if low >= high:
        low, high = float(finite.min()), float(finite.max())
    width = max(high - low, 1e-6)
    return Window(center=low + width / 2, width=width, function=WindowFunction.LINEAR_EXACT)


def _float_percentiles(values: np.ndarray) -> list[float]:
    """`np.percentile` in float64 where float32 could overflow between two ranks."""
    is_huge = values.dtype.kind == "f" and float(np.abs(values).max()) > _FLOAT32_WIDTH
    return [float(v) for v in np.percentile(values.astype(np.float64) if is_huge else values, PERCENTILES)]


def _counted_percentiles(values: np.ndarray) -> list[float]:
    """`np.percentile(values, PERCENTILES)` of 8- and 16-bit integers, from their histogram: some ten times faster."""
    bits = 8 * values.dtype.itemsize
    flat = np.ravel(values).view(f"u{values.dtype.itemsize}")
    counts = np.zeros(1 << bits, np.int64)
    for start in range(0, flat.size, _BLOCK_SAMPLES):  # numpy counts a copy in 64 bits: a small one is twice as fast
        counts += np.bincount(flat[start : start + _BLOCK_SAMPLES], minlength=1 << bits)
    if values.dtype.kind == "i":
        counts = np.roll(counts, 1 << bits - 1)
    upto = np.cumsum(counts)
    smallest = int(np.iinfo(values.dtype).min)
    found = []
    for percentile in PERCENTILES:
        rank = percentile / 100 * (values.size - 1)
        left, right = (int(np.searchsorted(upto, at, side="right")) for at in (np.floor(rank), np.ceil(rank)))
        found.append(float(smallest + left + (right - left) * (rank - np.floor(rank))))
    return found


def to_display(
    values: np.ndarray, *, window: Window | tuple[Window, ...] | None = None, inverted: bool = False, factor: int = 1
) -> np.ndarray:
    """Render samples as uint8.

    Args:
        values: `[H, W]` or `[H, W, 3]`. uint8 without a window is a picture already.
        window: The window to apply, or three for red, green and blue of `[H, W]`; the percentile window when there
            is none.
        inverted: True when the smallest value is to be white (MONOCHROME1).
        factor: Rendered pixels are averaged over squares of this side, which must divide both sides of the picture.

    Returns:
        The shape of `values`, divided by `factor`; with colours last for three windows.
    """
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    if isinstance(window, tuple):
        colours = [to_display(values, window=each, inverted=inverted, factor=factor) for each in window]
        return np.stack(colours, axis=-1)
    if window is None and values.dtype == np.uint8 and factor == 1:
        return 255 - values if inverted else values
    if window is None and values.dtype == np.uint8:
        window = _IDENTITY
    window = window or percentile_window(values)
    H, W = values.shape[:2]
    shown = np.empty((H // factor, W // factor, *values.shape[2:]), np.uint8)
    num_rows = max(1, _BLOCK_SAMPLES * H // max(1, values.size * factor)) * factor
    for row in range(0, H, num_rows):
        unit = _unit(values[row : row + num_rows], window, inverted=inverted)
        unit = _averaged(unit, factor) if factor > 1 else unit
        unit *= 255.0
        shown[row // factor : (row + num_rows) // factor] = np.rint(unit, out=unit)
    return shown


def reduction(shape: tuple[int, ...], *, min_px: int) -> int:
    """The largest `factor` of `to_display` that divides both sides of a picture and leaves each at least `min_px`."""
    H, W = shape[:2]
    return max((n for n in range(1, min(H, W) // max(1, min_px) + 1) if H % n == W % n == 0), default=1)


def _unit(values: np.ndarray, window: Window, *, inverted: bool) -> np.ndarray:
    """0..1, from black to white, in an array of its own."""
    if values.dtype.kind == "f":
        values = np.nan_to_num(values, nan=-np.inf, posinf=np.inf, neginf=-np.inf)
    unit = window.apply(values)
    return np.subtract(1.0, unit, out=unit) if inverted else unit


def _averaged(unit: np.ndarray, factor: int) -> np.ndarray:
    """Means of squares of a side of 2 or more, rows first, as they lie together in memory."""
    rows = unit[::factor] + unit[1::factor]
    for n in range(2, factor):
        rows += unit[n::factor]
    means = rows[:, ::factor] + rows[:, 1::factor]
    for n in range(2, factor):
        means += rows[:, n::factor]
    means /= factor * factor
    return means


def describe_window(window: Window | tuple[Window, ...] | None) -> Any:
    """A JSON value that names the window, or the three, in a render recipe."""
    if isinstance(window, tuple):
        return [asdict(each) for each in window]
    return asdict(window) if window else {"percentiles": list(PERCENTILES)}
