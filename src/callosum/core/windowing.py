"""The window that a caller asks for: a preset by its name, numbers, three at once for colour, or the file's own.

Presets and numbers are Hounsfield units, so they mean something for CT only.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType

from callosum.core.display import Window
from callosum.core.errors import UsageError

PRESETS_HU: Mapping[str, Window] = MappingProxyType(
    {
        "lung": Window(center=-600, width=1500),
        "mediastinum": Window(center=40, width=400),
        "bone": Window(center=400, width=1800),
        "brain": Window(center=40, width=80),
        "stroke": Window(center=40, width=40),
        "abdomen": Window(center=50, width=400),
        "liver": Window(center=30, width=150),
    }
)
"""Centers and widths in customary use; radiologists differ by some tens of units."""

_NUMBERS = re.compile(r"([^/]+)/([^/]+)")
_FILE = re.compile(r"file(?::(\d+))?", re.ASCII)
_MANNERS = "a preset, CENTER/WIDTH in HU, three of them joined by +, file, file:N or percentile"


@dataclass(frozen=True, kw_only=True, slots=True)
class Windowing:
    """What a caller asked for; without any field set, the file's own first window.

    Attributes:
        windows_hu: One window in Hounsfield units, or three for red, green and blue.
        file_index: Which of the windows of the file, counted from 0.
        is_percentile: Between percentiles, whatever the file says.
    """

    windows_hu: tuple[Window, ...] = ()
    file_index: int = 0
    is_percentile: bool = False


def resolve_windowing(asked: str | Sequence[str]) -> Windowing:
    """The meaning of `lung`, `lung+mediastinum+bone` (or three texts), `40/400`, `file`, `file:1` or `percentile`.

    Raises:
        UsageError: it is none of these.
    """
    parts = [part.strip().lower() for part in (asked.split("+") if isinstance(asked, str) else asked)]
    if len(parts) == 3:
        return Windowing(windows_hu=tuple(_window_hu(part) for part in parts))
    if len(parts) != 1:
        message = f"A picture is shown with 1 window or 3, not {len(parts)}."
        raise UsageError(message, hint=f"Give {_MANNERS}.")
    if parts[0] == "percentile":
        return Windowing(is_percentile=True)
    if found := _FILE.fullmatch(parts[0]):
        return Windowing(file_index=int(found[1] or 0))
    return Windowing(windows_hu=(_window_hu(parts[0]),))


def _window_hu(text: str) -> Window:
    if preset := PRESETS_HU.get(text):
        return preset
    if found := _NUMBERS.fullmatch(text):
        try:
            center, width = float(found[1]), float(found[2])
        except ValueError:
            center = width = math.nan
        if math.isfinite(center) and math.isfinite(width) and width >= 1:
            return Window(center=center, width=width)
    near = get_close_matches(text, PRESETS_HU, n=1)
    message = f"{text!r} is no window: expected {_MANNERS}."
    raise UsageError(message, hint=f"Did you mean {near[0]}?" if near else f"Presets: {', '.join(PRESETS_HU)}.")
