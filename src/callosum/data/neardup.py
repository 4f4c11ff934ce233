"""Pictures that are nearly the same: 64-bit perceptual hashes, compared within a stated Hamming radius.

A picture is reduced to a grey thumbnail of 32 x 32 pixels (means of areas). Its hash holds the signs of the 64 lowest
frequencies but the mean, against their median (pHash: Zauner 2010). Medical pictures of one kind look alike, so a pair
of near hashes is only a candidate; it is reported when the thumbnails correlate as well. A picture without contrast
says nothing, has no hash, and resembles none.

The search is exact: of two hashes that differ in at most r bits, one of r + 1 bands of bits is equal (multi-index
hashing, Norouzi et al., CVPR 2012), so only pictures that share a band are compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8, UInt64
from PIL import Image as PilImage

SIDE = 32
_LOW = 10
_BITS = 64
_MIN_CONTRAST = 2.0
"""Standard deviation of the thumbnail, in grey levels of 255, below which a picture is flat."""
_CHUNK = 2048


@dataclass(frozen=True, kw_only=True)
class NearConfig:
    """What counts as nearly the same."""

    radius: int = 8
    """Bits of 64 in which the hashes may differ."""
    min_correlation: float = 0.95
    """Pearson correlation of the thumbnails from which on a candidate is reported."""


@dataclass(frozen=True, kw_only=True)
class NearPairs:
    """Pairs of row numbers, the smaller first, nearest first.

    Attributes:
        rows: `[P, 2]`.
        distance: Bits in which the hashes differ, `[P]`.
        correlation: Of the thumbnails, `[P]`.
        num_flat: Pictures without contrast, which were not compared.
    """

    rows: Int64[np.ndarray, "P 2"]
    distance: Int64[np.ndarray, " P"]
    correlation: Float32[np.ndarray, " P"]
    num_flat: int

    def groups(self) -> list[list[int]]:
        """Rows that hang together by pairs, as sorted lists; each has two rows at least."""
        parent: dict[int, int] = {}

        def top(row: int) -> int:
            while (above := parent.setdefault(row, row)) != row:
                parent[row] = parent[above]
                row = parent[row]
            return row

        for a, b in self.rows.tolist():
            parent[max(top(a), top(b))] = min(top(a), top(b))
        found: dict[int, list[int]] = {}
        for row in sorted(parent):
            found.setdefault(top(row), []).append(row)
        return list(found.values())


@dataclass(frozen=True, kw_only=True)
class Thumbnail:
    """A picture to its thumbnail, three equal channels: a `Preprocess`, so that reading workers can make it."""

    @property
    def spare_px(self) -> int | None:
        """Every pixel counts."""
        return None

    def __call__(self, display: UInt8[np.ndarray, "H W *C"]) -> UInt8[np.ndarray, "S S 3"]:
        """Grey, 32 x 32, means of areas."""
        picture = PilImage.fromarray(display).convert("L").resize((SIDE, SIDE), PilImage.Resampling.BOX)
        return np.repeat(np.asarray(picture)[..., None], 3, axis=2)


def near_pairs(thumbnails: UInt8[np.ndarray, "N 32 32"], config: NearConfig | None = None) -> NearPairs:
    """Every pair of nearly equal pictures."""
    config = config or NearConfig()
    hashes, is_flat = perceptual_hashes(thumbnails)
    told = np.flatnonzero(~is_flat)
    unit = _unit_rows(thumbnails)
    rows, distances, correlations = [], [], []
    for found, distance in _candidates(hashes[told], config.radius):
        pair = told[found]
        correlation = np.einsum("pd,pd->p", unit[pair[:, 0]], unit[pair[:, 1]])
        kept = correlation >= config.min_correlation
        rows.append(pair[kept])
        distances.append(distance[kept])
        correlations.append(correlation[kept])
    pairs = np.concatenate(rows) if rows else np.empty((0, 2), np.int64)
    distance = np.concatenate(distances) if rows else np.empty(0, np.int64)
    correlation = np.concatenate(correlations) if rows else np.empty(0, np.float32)
    order = np.lexsort((pairs[:, 1], pairs[:, 0], -correlation, distance))
    return NearPairs(
        rows=pairs[order].astype(np.int64),
        distance=distance[order].astype(np.int64),
        correlation=correlation[order].astype(np.float32),
        num_flat=int(is_flat.sum()),
    )


def perceptual_hashes(
    thumbnails: UInt8[np.ndarray, "N 32 32"],
) -> tuple[UInt64[np.ndarray, " N"], Bool[np.ndarray, " N"]]:
    """The hash of each thumbnail, and whether it is flat, so that its hash means nothing."""
    basis = _cosines()
    lowest = np.argsort(np.add.outer(*2 * [np.arange(len(basis))]).ravel(), kind="stable")[1 : _BITS + 1]
    hashes = np.empty(len(thumbnails), np.uint64)
    is_flat = np.empty(len(thumbnails), bool)
    weights = np.left_shift(np.uint64(1), np.arange(_BITS, dtype=np.uint64))
    for start in range(0, len(thumbnails), _CHUNK):
        grey = thumbnails[start : start + _CHUNK].astype(np.float32)
        low = np.einsum("uy,nyx,vx->nuv", basis, grey, basis, optimize=True).reshape(len(grey), -1)[:, lowest]
        bits = low > np.median(low, axis=1, keepdims=True)
        hashes[start : start + _CHUNK] = (bits * weights).sum(axis=1, dtype=np.uint64)
        is_flat[start : start + _CHUNK] = grey.std(axis=(1, 2)) < _MIN_CONTRAST
    return hashes, is_flat


def _cosines() -> Float32[np.ndarray, "L 32"]:
    """The first rows of the cosine transform (DCT-II), unscaled: only the signs of its values matter."""
    frequency, position = np.arange(_LOW)[:, None], np.arange(SIDE)[None]
    return np.cos(np.pi * frequency * (2 * position + 1) / (2 * SIDE)).astype(np.float32)


def _unit_rows(thumbnails: UInt8[np.ndarray, "N 32 32"]) -> Float32[np.ndarray, "N D"]:
    """Thumbnails of 16 x 16 less their mean, of length 1: their products are correlations."""
    num = len(thumbnails)
    small = (
        thumbnails.reshape(num, SIDE // 2, 2, SIDE // 2, 2)
        .mean(axis=(2, 4), dtype=np.float32)
        .reshape(num, SIDE * SIDE // 4)
    )
    small -= small.mean(axis=1, keepdims=True)
    length = np.linalg.norm(small, axis=1, keepdims=True)
    return small / np.maximum(length, 1e-6)


def _candidates(
    hashes: UInt64[np.ndarray, " N"], radius: int
) -> Iterator[tuple[Int64[np.ndarray, "P 2"], Int64[np.ndarray, " P"]]]:
    """Pairs within the radius, each once: with the first band in which the two are equal."""
    edges = np.linspace(0, _BITS, radius + 2).astype(int)
    bands = [_band(hashes, low, high) for low, high in pairwise(edges)]
    for at, band in enumerate(bands):
        order = np.argsort(band, kind="stable")
        starts = np.flatnonzero(np.diff(band[order], prepend=band[order[:1]] ^ np.uint64(1)))
        for start, end in pairwise([*starts.tolist(), len(order)]):
            bucket = order[start:end]
            for first in range(0, len(bucket) - 1, _CHUNK):
                yield from _compare(hashes, bands[:at], bucket, first, radius)


def _compare(
    hashes: UInt64[np.ndarray, " N"],
    earlier: list[UInt64[np.ndarray, " N"]],
    bucket: Int64[np.ndarray, " M"],
    first: int,
    radius: int,
) -> Iterator[tuple[Int64[np.ndarray, "P 2"], Int64[np.ndarray, " P"]]]:
    """Rows `first` and following of a bucket against all behind them."""
    rows, rest = bucket[first : first + _CHUNK], bucket[first:]
    distance = np.bitwise_count(hashes[rows][:, None] ^ hashes[rest][None])
    i, j = np.nonzero(distance <= radius)
    ahead = i < j
    i, j = i[ahead], j[ahead]
    a, b = rows[i], rest[j]
    is_new = np.ones(len(a), bool)
    for band in earlier:
        is_new &= band[a] != band[b]
    if is_new.any():
        pair = np.sort(np.stack([a[is_new], b[is_new]], axis=1), axis=1)
        yield pair, distance[i[is_new], j[is_new]].astype(np.int64)


def _band(hashes: UInt64[np.ndarray, " N"], low: int, high: int) -> UInt64[np.ndarray, " N"]:
    mask = np.uint64((1 << (high - low)) - 1)
    return (hashes >> np.uint64(low)) & mask
