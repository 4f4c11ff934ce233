"""The grid of tiles: how much tissue each holds, and which are read when there are more than the budget."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from callosum.core.record import Flag
from callosum.data.readers.picture import sample_indices


def tissue_of_tiles(
    mask: Bool[np.ndarray, "H W"], shape: tuple[int, int], step: tuple[float, float]
) -> Float[np.ndarray, "R C"]:
    """Share of tissue in each tile of a grid.

    Args:
        mask: Where tissue is on the overview.
        shape: Rows and columns of the grid.
        step: Height and width of a tile in points of the overview.
    """
    sums = np.pad(np.cumsum(np.cumsum(mask, axis=0, dtype=np.int64), axis=1), ((1, 0), (1, 0)))
    (top, bottom), (left, right) = (_edges(*of) for of in zip(shape, mask.shape, step, strict=True))
    inside = sums[np.ix_(bottom, right)] - sums[np.ix_(top, right)]
    inside = inside - sums[np.ix_(bottom, left)] + sums[np.ix_(top, left)]
    share: np.ndarray = inside / np.outer(bottom - top, right - left)
    return share


def _edges(count: int, size: int, side: float) -> tuple[np.ndarray, np.ndarray]:
    """First and last point (excluded) of each tile along one side of the overview; never none."""
    edges = np.rint(np.arange(count + 1) * side).astype(np.int64)
    start = np.minimum(edges[:-1], size - 1)
    return start, np.clip(edges[1:], start + 1, size)


def choose_tiles(
    tissue: Float[np.ndarray, "R C"], *, min_tissue: float, max_tiles: int
) -> tuple[Int[np.ndarray, " N"], Int[np.ndarray, " N"], int, list[Flag]]:
    """Rows and columns of the tiles to read, how many had enough tissue, and doubts.

    Where no tile has enough (small cores, loose cells), half of what the fullest tile holds is enough; where none
    holds any, the tile in the middle stands for the slide: every slide is found by something. More than the budget are
    thinned out evenly over the tissue, at the centres of equal parts of a Z-order curve (Morton 1966), whose parts are
    compact areas.
    """
    flags: list[Flag] = []
    enough, most = min_tissue, float(tissue.max())
    if most < enough or not most:
        sentence = f"No tile has the wanted tissue; the fullest has {most:.1%}, and those with half of that were read."
        flags.append(Flag(code="LITTLE_TISSUE", sentence=sentence))
        enough = most / 2
    rows, columns = np.nonzero((tissue >= enough) & (tissue > 0)) if most else _middle(tissue.shape)
    order = np.argsort(_along_curve(rows, columns), kind="stable")
    num_found = len(order)
    if num_found > max_tiles:
        order = order[sample_indices(num_found, max_tiles)]
        sentence = f"{max_tiles} of {num_found} tiles with tissue are read, evenly spread over it."
        flags.append(Flag(code="TILE_BUDGET", sentence=sentence))
    return rows[order], columns[order], num_found if most else 0, flags


def _middle(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([(shape[0] - 1) // 2]), np.array([(shape[1] - 1) // 2])


def _along_curve(rows: Int[np.ndarray, " N"], columns: Int[np.ndarray, " N"]) -> Int[np.ndarray, " N"]:
    """Place on the curve: the bits of row and column, interleaved."""
    place = np.zeros(len(rows), np.int64)
    for bit in range(24):
        place |= ((columns >> bit) & 1) << (2 * bit) | ((rows >> bit) & 1) << (2 * bit + 1)
    return place
