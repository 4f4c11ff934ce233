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
_TABLE_PAYS_SAMPLES = 1 << 14
"""From here on, looking samples of 16 bits up is faster than computing each."""
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
        values = values.astype(np.float32 if is_narrow else np.float64, copy=False)
        if self.function is WindowFunction.SIGMOID:
            exponent = np.clip(-4.0 * (values - self.center) / self.width, -60.0, 60.0)
            return (1.0 / (1.0 + np.exp(exponent))).astype(np.float32)
        if self.function is WindowFunction.LINEAR and self.width > 1:
            low = self.center - 0.5 - (self.width - 1) / 2
            span = self.width - 1
        elif self.function is WindowFunction.LINEAR:  # width 1: a threshold (PS3.3 C.11.2.1.2.1)
            return (values > self.center - 0.5).astype(np.float32)
        else:
            low, span = self.center - self.width / 2, self.width
        return np.clip((values - low) / span, 0.0, 1.0).astype(np.float32, copy=False)


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
    counts = np.bincount(np.ravel(values).view(f"u{values.dtype.itemsize}"), minlength=1 << bits)
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


def to_display(values: np.ndarray, *, window: Window | None = None, inverted: bool = False) -> np.ndarray:
    """Render samples as uint8 of the same shape.

    Args:
        values: `[H, W]` or `[H, W, 3]`. uint8 without a window is a picture already.
        window: The window to apply; the percentile window when there is none.
        inverted: True when the smallest value is to be white (MONOCHROME1).
    """
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    if window is None and values.dtype == np.uint8:
        return 255 - values if inverted else values
    window = window or percentile_window(values)
    if values.dtype.kind in "iu" and values.dtype.itemsize <= 2 and values.size >= _TABLE_PAYS_SAMPLES:
        return _looked_up(values, window, inverted=inverted)
    return _computed(values, window, inverted=inverted)


def _looked_up(values: np.ndarray, window: Window, *, inverted: bool) -> np.ndarray:
    """Render 8- or 16-bit samples through a table of the values that occur, which are far fewer than the samples."""
    unsigned = np.dtype(f"u{values.dtype.itemsize}")
    low, high = int(values.min()), int(values.max())
    every = np.arange(low, high + 1).astype(values.dtype)
    table = np.zeros(1 << 8 * values.dtype.itemsize, np.uint8)
    table[every.view(unsigned)] = _computed(every, window, inverted=inverted)
    return table.take(np.ascontiguousarray(values).view(unsigned))


def _computed(values: np.ndarray, window: Window, *, inverted: bool) -> np.ndarray:
    unit = window.apply(np.nan_to_num(values, nan=-np.inf, posinf=np.inf, neginf=-np.inf))
    return np.round((1.0 - unit if inverted else unit) * 255.0).astype(np.uint8)


def describe_window(window: Window | None) -> dict[str, Any]:
    """A JSON value that names the window in a render recipe."""
    return asdict(window) if window else {"percentiles": list(PERCENTILES)}
