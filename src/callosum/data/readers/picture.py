"""Doubts that any picture can raise, whatever file it came in."""

from __future__ import annotations

import numpy as np

from callosum.core.errors import UsageError
from callosum.core.record import Flag
from callosum.data.readers.refusal import Reason, quarantine

MIN_SIDE_PX = 8
MAX_ASPECT = 16


def picture_flags(pixels: np.ndarray) -> list[Flag]:
    """`TINY`, `ASPECT_EXTREME`, `NON_FINITE` and `CONSTANT`.

    Raises:
        Refused: `NON_FINITE` when no sample at all is a number.
    """
    flags: list[Flag] = []
    short, long = sorted(pixels.shape[:2])
    if short < MIN_SIDE_PX:
        flags.append(Flag(code="TINY", sentence=f"Its shorter side has {short} pixels."))
    if long > MAX_ASPECT * short:
        flags.append(Flag(code="ASPECT_EXTREME", sentence=f"It is more than {MAX_ASPECT} times longer than wide."))
    if pixels.dtype.kind == "f":
        num_bad = int(pixels.size - np.count_nonzero(np.isfinite(pixels)))
        if num_bad == pixels.size:
            raise quarantine(Reason.NON_FINITE, "No sample is a finite number.")
        if num_bad:
            flags.append(Flag(code="NON_FINITE", sentence=f"{num_bad} samples are not finite; they are shown black."))
    if is_constant(pixels):
        flags.append(Flag(code="CONSTANT", sentence="Every pixel has the same value."))
    return flags


def is_constant(pixels: np.ndarray) -> bool:
    """True when every pixel equals the first; a real picture is found out in its first row."""
    first = pixels[0, 0]
    return bool((pixels[0] == first).all()) and bool((pixels == first).all())


def choose_frame(frame: int | None, num_frames: int) -> tuple[int, list[Flag]]:
    """The frame to read, counted from 0: the one asked for, else the middle one, which is then flagged.

    Raises:
        UsageError: the file has no such frame.
    """
    if frame is not None:
        if not 0 <= frame < num_frames:
            message = f"Frame {frame} was asked for; the file has {num_frames}, counted from 0."
            raise UsageError(message)
        return frame, []
    index = num_frames // 2
    if num_frames == 1:
        return 0, []
    sentence = f"It has {num_frames} frames; the middle one was read (frame {index}, counted from 0)."
    return index, [Flag(code="MULTI_FRAME", sentence=sentence)]
