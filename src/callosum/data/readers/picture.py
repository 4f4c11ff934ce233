"""What holds for any picture, whatever file it came in: the doubts it can raise, and which frames of many are read."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from callosum.core.errors import Refused, UsageError
from callosum.core.record import Flag, Image
from callosum.data.readers.refusal import Reason, quarantine

MIN_SIDE_PX = 8
MAX_ASPECT = 16

_RAW_MAX = 4095
"""Wide colours that stay below come from a detector of 12 bits or fewer; as a finished picture they would be black."""

_TRANSPOSED = 5
"""Orientations from here on exchange rows and columns (TIFF 6.0, tag 274)."""


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
            sentence = (
                f"{num_bad} samples are not finite; infinity is shown as the largest value, others as the smallest."
            )
            flags.append(Flag(code="NON_FINITE", sentence=sentence))
    if is_constant(pixels):
        flags.append(Flag(code="CONSTANT", sentence="Every pixel has the same value."))
    return flags


def is_constant(pixels: np.ndarray) -> bool:
    """True when every pixel equals the first; a real picture is found out in its first row."""
    first = pixels[0, 0]
    return bool((pixels[0] == first).all()) and bool((pixels == first).all())


def sample_indices(num_frames: int, limit: int) -> list[int]:
    """The centres of `limit` equal parts of a sequence: all of it when it is not longer, its middle for 1.

    Raises:
        UsageError: `limit` is not positive.
    """
    if limit < 1:
        message = f"At least 1 picture of a file must be asked for, not {limit}."
        raise UsageError(message)
    num_parts = min(num_frames, limit)
    return [(2 * part + 1) * num_frames // (2 * num_parts) for part in range(num_parts)]


def choose_frames(num_frames: int, *, frame: int | None, limit: int) -> tuple[list[int], list[Flag]]:
    """The frames to read, counted from 0: the one asked for, else a sample, flagged when it leaves some out.

    Raises:
        UsageError: the file has no such frame, or `limit` is not positive.
    """
    if frame is not None:
        if not 0 <= frame < num_frames:
            message = f"Frame {frame} was asked for; the file has {num_frames}, counted from 0."
            raise UsageError(message)
        return [frame], []
    indices = sample_indices(num_frames, limit)
    if len(indices) == num_frames:
        return indices, []
    if len(indices) == 1:
        read = f"the middle one was read (frame {indices[0]}, counted from 0)"
    else:
        read = f"{len(indices)} of them, evenly spaced, were read"
    sentence = f"It has {num_frames} frames; {read}."
    return indices, [Flag(code="MULTI_FRAME", sentence=sentence)]


def readable(indices: Iterable[int], read_frame: Callable[[int], Image]) -> Iterator[Image]:
    """The frames that can be read, one at a time; the last one is flagged when others had to be left out.

    Raises:
        Refused: none of the frames can be read; the answer of the first.
    """
    held, refusals, num_asked = None, [], 0
    for index in indices:
        num_asked += 1
        try:
            image = read_frame(index)
        except Refused as refused:
            refusals.append(refused)
            continue
        if held is not None:
            yield held
        held = image
    if held is None:
        raise refusals[0]
    if refusals:
        sentence = f"{len(refusals)} of the {num_asked} frames that were to be read are damaged; they were left out."
        flag = Flag(code="FRAMES_DAMAGED", sentence=sentence)
        held = dataclasses.replace(held, flags=(*held.flags, flag))
    yield held


def upright(samples: np.ndarray, orientation: int) -> np.ndarray:
    """Turn `[H, W, ...]` upright (TIFF 6.0 and EXIF, tag 274); 1 and unknown numbers leave it as it is."""
    if _TRANSPOSED <= orientation <= 8:
        samples = samples.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    return np.ascontiguousarray(samples)


def finished_colours(samples: np.ndarray, bits: int) -> np.ndarray:
    """uint16 `[H, W, 3]` scaled from its stated bits to a finished picture of uint8.

    One rule for PNG and TIFF: the largest number of the stated bits is white. Samples stated as 16 bits of which 12
    would do are returned as they are, to be shown between percentiles.
    """
    if bits == 16 and int(samples.max(initial=0)) <= _RAW_MAX:
        return samples
    scaled: np.ndarray = np.round(samples / np.float32(((1 << bits) - 1) / 255))
    return scaled.astype(np.uint8)
