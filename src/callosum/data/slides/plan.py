"""A slide becomes a plan: which tiles to read, at which resolution, with which doubts; then batches of them.

The plan depends on the file and the configuration only: the same slide gives the same tiles in the same batches, so
that an interrupted run goes on with the batches that are missing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from callosum.core.digest import digest_bytes, digest_file
from callosum.core.errors import UsageError
from callosum.core.record import Flag
from callosum.data.readers.picture import sample_indices
from callosum.data.readers.refusal import Reason, reject, unreadable
from callosum.data.slides.grid import choose_tiles, tissue_of_tiles
from callosum.data.slides.opening import is_mirax, opened
from callosum.data.slides.slide import RegionLost, Slide, SlideFacts
from callosum.data.slides.stain import Stain, StainFit, fit_stain
from callosum.data.slides.tiling import TileBatch, Tiling, read_pixels
from callosum.data.slides.tissue import Overview, read_overview, tissue_mask

BATCH_TILES = 64
MAX_LOST = 0.2
"""Share of tiles that may be lost before the slide is flagged."""

_SAME_MPP = 0.05
"""A level whose resolution is that close to the wanted one is taken as it is, without resampling."""

_OBJECTIVE_TO_UM = 10.0
"""A camera behind a 20x objective has pixels of about 0.5 micrometres, behind 40x of 0.25."""

_STAIN_TILES = 16
_MAX_GRID = 1 << 24


@dataclass(frozen=True, kw_only=True, slots=True)
class SlideConfig:
    """How slides are cut into tiles.

    Attributes:
        mpp: Wanted micrometres per pixel.
        tile_px: Side of a tile in pixels.
        min_tissue: Share of a tile that must be tissue, 0 to 1.
        max_tiles: Most tiles of one slide.
        stain: Stain normalisation.
        assumed_mpp: Micrometres per pixel of level 0 of slides that do not say; None takes their pixels as they are.
    """

    mpp: float = 0.5
    tile_px: int = 224
    min_tissue: float = 0.25
    max_tiles: int = 1024
    stain: Stain = Stain.NONE
    assumed_mpp: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "stain", Stain(self.stain))
        stated = (self.mpp, 0.5 if self.assumed_mpp is None else self.assumed_mpp)
        if not all(0.02 <= one <= 100 for one in stated):
            message = "mpp and assumed_mpp are micrometres per pixel: 0.02 to 100."
            raise UsageError(message)
        if not 8 <= self.tile_px <= 4096 or not 0 <= self.min_tissue <= 1 or not 1 <= self.max_tiles <= 1 << 20:
            message = "tile_px is 8 to 4096, min_tissue 0 to 1, and max_tiles 1 to 1,048,576."
            raise UsageError(message)


@dataclass(frozen=True, kw_only=True, slots=True)
class SlidePlan:
    """What is to be read of a slide.

    Attributes:
        source_digest: SHA-256 of the file; for 3DHISTECH, of the file and its folder.
        vendor: Name of the format.
        sizes: Width and height of each level, the largest first.
        mpp: Micrometres per pixel of level 0; 0 when not known.
        tissue: Share of the slide that is tissue, 0 to 1.
        num_tissue_tiles: Tiles with enough tissue, before the budget.
        lost: Share of the overview that could not be read, 0 to 1.
        tiling: How tiles are read.
        positions: Upper left corners of the chosen tiles in level-0 pixels, x and y.
        flags: Doubts about the slide.
    """

    source_digest: str
    vendor: str
    sizes: tuple[tuple[int, int], ...]
    mpp: float
    tissue: float
    num_tissue_tiles: int
    lost: float
    tiling: Tiling
    positions: tuple[tuple[int, int], ...]
    flags: tuple[Flag, ...] = ()

    def batches(self, size: int = BATCH_TILES) -> Iterator[TileBatch]:
        """The tiles in batches of `size`, in an order in which neighbours are near each other."""
        for index, at in enumerate(range(0, len(self.positions), size)):
            yield TileBatch(
                source_digest=self.source_digest,
                index=index,
                positions=self.positions[at : at + size],
                tiling=self.tiling,
            )

    def to_json(self) -> dict[str, Any]:
        """The JSON object `callosum.slide/1`."""
        return {"schema": "callosum.slide/1", **asdict(self)}


def expand(path: Path | str, *, config: SlideConfig | None = None, digest: str = "") -> SlidePlan:
    """Look at a slide and choose its tiles.

    Args:
        path: The slide.
        config: How to cut it.
        digest: What `slide_digest` says, when the caller has asked already, so that a slide is hashed once.

    Raises:
        Refused: it is no slide, or not one that can be read: see `open_slide` and `read_overview`.
        MissingDependency: only openslide reads it, and it is not installed.
    """
    path, config = Path(path), config or SlideConfig()
    slide = opened(path)
    overview = read_overview(slide)
    mask = tissue_mask(overview.pixels)
    mpp, flags = _resolution(slide.facts, config)
    tiling = choose_tiling(slide.facts, mpp, config)
    tissue = tissue_of_tiles(mask, *_grid(slide.facts, overview, tiling))
    rows, columns, num_found, doubts = choose_tiles(tissue, min_tissue=config.min_tissue, max_tiles=config.max_tiles)
    positions = _corners(rows, columns, tiling)
    flags += doubts + lost_flags(overview.lost)
    if config.stain is not Stain.NONE:
        fit = _fit(slide, positions, tiling, config.stain)
        tiling = tiling.with_stain(fit)
        if fit is None:
            sentence = "There is too little stain, or one stain only; the tiles were left as they are."
            flags.append(Flag(code="STAIN_UNFIT", sentence=sentence))
    return SlidePlan(
        source_digest=digest or slide_digest(path),
        vendor=slide.facts.vendor,
        sizes=tuple((level.width, level.height) for level in slide.facts.levels),
        mpp=math.sqrt(mpp[0] * mpp[1]) if mpp else 0.0,
        tissue=float(mask.mean()),
        num_tissue_tiles=num_found,
        lost=overview.lost,
        tiling=tiling,
        positions=positions,
        flags=tuple(flags),
    )


def lost_flags(share: float) -> list[Flag]:
    """The flag of a slide of which a share of more than `MAX_LOST` cannot be decoded; none for less."""
    if share <= MAX_LOST:
        return []
    return [Flag(code="TILES_LOST", sentence=f"{share:.0%} of the slide cannot be decoded; the rest was read.")]


def slide_digest(path: Path) -> str:
    """SHA-256 of the file, read in pieces; for 3DHISTECH, over the digests of the file and those in its folder.

    Raises:
        Refused: `UNREADABLE`.
    """
    try:
        files = [path]
        if is_mirax(path):
            files += sorted(one for one in path.with_suffix("").iterdir() if one.is_file())
        digests = [digest_file(one) for one in files]
    except OSError as error:
        raise unreadable() from error
    return digests[0] if len(digests) == 1 else digest_bytes("".join(digests).encode())


def _resolution(facts: SlideFacts, config: SlideConfig) -> tuple[tuple[float, float] | None, list[Flag]]:
    """Micrometres per pixel of level 0, and the doubt that comes with it."""
    if facts.mpp is not None:
        mpp, flags = facts.mpp, []
    elif config.assumed_mpp is not None:
        mpp = (config.assumed_mpp, config.assumed_mpp)
        sentence = f"The slide does not say its resolution; {config.assumed_mpp:g} µm per pixel was assumed."
        flags = [Flag(code="NO_MPP", sentence=sentence)]
    elif 1 <= facts.objective <= 100:
        mpp = (_OBJECTIVE_TO_UM / facts.objective,) * 2
        sentence = f"The slide does not say its resolution; it was taken from the {facts.objective:g}x objective."
        flags = [Flag(code="NO_MPP", sentence=sentence)]
    else:
        sentence = "The slide does not say its resolution; tiles are of pixels of its largest level."
        return None, [Flag(code="NO_MPP", sentence=sentence)]
    if min(mpp) > config.mpp * (1 + _SAME_MPP):
        sentence = f"Its finest resolution is {min(mpp):.3g} µm per pixel; tiles at {config.mpp:g} are enlarged."
        flags.append(Flag(code="MPP_COARSE", sentence=sentence))
    return mpp, flags


def choose_tiling(facts: SlideFacts, mpp: tuple[float, float] | None, config: SlideConfig) -> Tiling:
    """The level to read and how many of its pixels make a tile.

    The best level is the smallest one that is at least as fine as wanted: from there, tiles are reduced.
    """
    wanted = (config.mpp / mpp[0], config.mpp / mpp[1]) if mpp else (1.0, 1.0)
    index, level = max(
        ((n, one) for n, one in enumerate(facts.levels) if n == 0 or one.downsample <= min(wanted) * (1 + _SAME_MPP)),
        key=lambda pair: pair[1].downsample,
    )
    read = tuple(_side(config.tile_px, one / level.downsample) for one in wanted)
    step = (read[0] * level.downsample, read[1] * level.downsample)
    return Tiling(
        reader=facts.reader,
        level=index,
        downsample=level.downsample,
        read_px=(read[0], read[1]),
        tile_px=config.tile_px,
        step=step,
        mpp=math.sqrt(step[0] * mpp[0] * step[1] * mpp[1]) / config.tile_px if mpp else 0.0,
    )


def _side(tile_px: int, ratio: float) -> int:
    """Level pixels to read for a side of a tile; the tile's own when that is nearly right."""
    return tile_px if abs(ratio - 1) <= _SAME_MPP else max(1, round(tile_px * ratio))


def _grid(facts: SlideFacts, overview: Overview, tiling: Tiling) -> tuple[tuple[int, int], tuple[float, float]]:
    """Rows and columns of tiles that fit on the slide, at least one, and height and width of one on the overview."""
    first, (width, height) = facts.levels[0], tiling.step
    shape = (max(1, int(first.height / height)), max(1, int(first.width / width)))
    if shape[0] * shape[1] > _MAX_GRID:
        raise reject(Reason.TOO_MANY_PIXELS, "The slide announces more tiles than any scanner makes.")
    return shape, (height / overview.scale[1], width / overview.scale[0])


def _corners(
    rows: Int[np.ndarray, " N"], columns: Int[np.ndarray, " N"], tiling: Tiling
) -> tuple[tuple[int, int], ...]:
    """Upper left corners in level-0 pixels, x and y."""
    x, y = (
        np.rint(index * step).astype(int).tolist() for index, step in zip((columns, rows), tiling.step, strict=True)
    )
    return tuple(zip(x, y, strict=True))


def _fit(slide: Slide, positions: tuple[tuple[int, int], ...], tiling: Tiling, method: Stain) -> StainFit | None:
    """Fit to tiles spread evenly over the chosen ones."""
    tiles = []
    for index in sample_indices(len(positions), _STAIN_TILES):
        try:
            tiles.append(read_pixels(slide, positions[index], tiling))
        except RegionLost:
            continue
    return fit_stain(method, tiles)
