"""Pillow's filters on 16-bit pictures: a radiograph to the size of a tower's input.

Pillow resizes 16-bit samples as float32 only, so that a pipeline windows, converts and filters millions of samples one
after the other. Here each pass is a product with a banded matrix, strip by strip: rows first, since the samples of a
row lie side by side, and only the strip at hand is clipped and becomes float32. Clipping comes before the filter, as
in a pipeline that windows first; the linear part of the window comes after it, on a few thousand samples.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int, Shaped, UInt8

from callosum.core.errors import InputError
from callosum.models.preprocess import Resample

STRIP = 8
"""Rows of output per product."""
SUPPORT = {Resample.BOX: 0.5, Resample.BILINEAR: 1.0, Resample.BICUBIC: 2.0, Resample.LANCZOS: 3.0}


def resample(
    image: Shaped[np.ndarray, "H W *C"],
    size: tuple[int, int],
    *,
    filter_: Resample = Resample.BICUBIC,
    clip: tuple[float, float] | None = None,
) -> Float[np.ndarray, "h w *C"]:
    """Resize with Pillow's kernel, which widens with the reduction so that nothing aliases.

    Args:
        image: Samples of any real type, with or without channels.
        size: Height and width of the result.
        filter_: The filter; `bicubic` has Keys' a = -0.5, as Pillow.
        clip: Least and largest value of a sample; others are clipped before they are mixed.

    Returns:
        float32 in the units of the samples; the filter may overshoot them.

    Raises:
        InputError: not a picture, or an empty one.
    """
    if image.ndim not in (2, 3) or 0 in image.shape or min(size) < 1 or image.dtype.kind not in "uif":
        message = f"A picture [H, W] or [H, W, C] of numbers was expected, to become {list(size)}; "
        message += f"found {image.dtype} {list(image.shape)}."
        raise InputError(message)
    H, W = image.shape[:2]
    rows = _banded(np.ascontiguousarray(image).reshape(H, -1), size[0], filter_, clip)
    columns = np.ascontiguousarray(rows.reshape(size[0], W, -1).transpose(1, 0, 2)).reshape(W, -1)
    out = _banded(columns, size[1], filter_, None).reshape(size[1], size[0], -1).transpose(1, 0, 2)
    return np.ascontiguousarray(out).reshape(*size, *image.shape[2:])


def windowed(
    image: Shaped[np.ndarray, "H W"],
    size: tuple[int, int],
    *,
    low: float,
    high: float,
    filter_: Resample = Resample.BICUBIC,
) -> UInt8[np.ndarray, "h w"]:
    """Resize a picture seen through a window: `low` and below is 0, `high` and above 255.

    Raises:
        InputError: an empty window; not a picture.
    """
    if not high > low:
        message = f"A window's upper end lies above its lower end; found {low:g} to {high:g}."
        raise InputError(message)
    values = resample(image, size, filter_=filter_, clip=(low, high))
    return np.clip((values - low) * (255.0 / (high - low)) + 0.5, 0, 255).astype(np.uint8)


def _banded(
    x_LV: Shaped[np.ndarray, "L V"], size: int, filter_: Resample, clip: tuple[float, float] | None
) -> Float[np.ndarray, "S V"]:
    """Resize the first axis, strip by strip."""
    out_SV = np.empty((size, x_LV.shape[1]), np.float32)
    for start, low, weight_SL in _strips(x_LV.shape[0], size, filter_):
        part_LV = x_LV[low : low + weight_SL.shape[1]].astype(np.float32, copy=clip is not None)
        if clip is not None:
            np.clip(part_LV, clip[0], clip[1], out=part_LV)
        np.matmul(weight_SL, part_LV, out=out_SV[start : start + len(weight_SL)])
    return out_SV


@lru_cache(maxsize=32)
def _strips(length: int, size: int, filter_: Resample) -> list[tuple[int, int, Float[np.ndarray, "s l"]]]:
    """Per strip of output: its first row, the first input row it needs, and its weights."""
    first_S, weight_ST = _bands(length, size, filter_)
    strips = []
    for start in range(0, size, STRIP):
        first = first_S[start : start + STRIP]
        low, high = first[0], min(length, first[-1] + weight_ST.shape[1])
        weight_SL = np.zeros((len(first), high - low), np.float32)
        for n, (at, weight) in enumerate(zip(first - low, weight_ST[start : start + STRIP], strict=True)):
            weight_SL[n, at : at + len(weight)] = weight[: high - low - at]
        strips.append((start, int(low), weight_SL))
    return strips


def _bands(length: int, size: int, filter_: Resample) -> tuple[Int[np.ndarray, " S"], Float[np.ndarray, "S T"]]:
    """First input sample and weights of every output sample, as Pillow's `precompute_coeffs` has them."""
    scale = length / size
    stretch = max(scale, 1.0)
    reach = SUPPORT[filter_] * stretch
    centre_S = (np.arange(size) + 0.5) * scale
    first_S = np.maximum(0, (centre_S - reach + 0.5).astype(int))
    stop_S = np.minimum(length, (centre_S + reach + 0.5).astype(int))
    at_ST = first_S[:, None] + np.arange((stop_S - first_S).max())
    weight_ST = _kernel((at_ST - centre_S[:, None] + 0.5) / stretch, filter_) * (at_ST < stop_S[:, None])
    return first_S, weight_ST / weight_ST.sum(axis=1, keepdims=True)


def _kernel(x: Float[np.ndarray, "S T"], filter_: Resample) -> Float[np.ndarray, "S T"]:
    """The filter at distances `x`."""
    far = np.abs(x)
    match filter_:
        case Resample.BOX:
            return ((x > -0.5) & (x <= 0.5)).astype(float)
        case Resample.BILINEAR:
            return np.clip(1 - far, 0, None)
        case Resample.BICUBIC:
            inner = (1.5 * far - 2.5) * far * far + 1
            outer = (((far - 5) * far + 8) * far - 4) * -0.5
            return np.where(far < 1, inner, np.where(far < 2, outer, 0.0))
        case Resample.LANCZOS:
            return np.where(far < 3, np.sinc(x) * np.sinc(x / 3), 0.0)
