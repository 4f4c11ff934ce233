"""Tiles per second of a slide over bare openslide: reading alone, and reading with antialiased reduction.

The same regions of the same pyramid, in the same order, each route with a handle of its own; the two take turns, and
the median of the turns' ratios counts. Run it with `python -m benchmarks.slides [--quick] [--json]`.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import openslide
import tifffile
from PIL import Image as Pil

from benchmarks.figures import Figure, arguments, save, show
from callosum.data.slides import SlideConfig, SlidePlan, close_all, expand, native, read_tiles

SIDE = 8192


def slide(path: Path) -> None:
    """A pyramid of JPEG tiles: two stains in patches on all of it, with noise as of a camera."""
    rng = np.random.default_rng(0)
    patches = np.kron(rng.integers(0, 2, (SIDE // 32, SIDE // 32)), np.ones((32, 32), int))[..., None]
    pixels = np.where(patches, np.uint8([110, 60, 140]), np.uint8([215, 130, 175]))
    pixels += rng.integers(0, 24, (SIDE, SIDE, 1), dtype=np.uint8)
    with tifffile.TiffWriter(path) as writer:
        for factor in (1, 4, 16):
            writer.write(
                pixels[::factor, ::factor],
                tile=(256, 256),
                photometric="rgb",
                compression="jpeg",
                subfiletype=0 if factor == 1 else 1,
                resolution=(20000, 20000),
                resolutionunit=3,
                metadata=None,
            )


def ours(path: Path, plan: SlidePlan) -> int:
    """Tiles through the package."""
    return sum(1 for batch in plan.batches() for _ in read_tiles(path, batch))


def bare(path: Path, plan: SlidePlan) -> int:
    """Regions as openslide gives them, converted to RGB; reduced by Pillow where they are larger than a tile."""
    count = 0
    side = (plan.tiling.tile_px, plan.tiling.tile_px)
    with openslide.OpenSlide(path) as opened:
        for corner in plan.positions:
            region = opened.read_region(corner, plan.tiling.level, plan.tiling.read_px)
            if plan.tiling.read_px != side:
                region = region.convert("RGB").resize(side, Pil.Resampling.BICUBIC)
            np.asarray(region)
            count += 1
    return count


def rates(path: Path, plan: SlidePlan, *, turns: int) -> tuple[float, float]:
    """Tiles per second, and the median over turns of the ratio to bare openslide in the same turn."""
    per_second, ratios = [], []
    for turn in range(turns):
        taken = {}
        for route in (ours, bare) if turn % 2 else (bare, ours):
            close_all()
            start = time.process_time()
            count = route(path, plan)
            taken[route] = (time.process_time() - start) / count
        per_second.append(1 / taken[ours])
        ratios.append(taken[bare] / taken[ours])
    return statistics.median(per_second), statistics.median(ratios)


def measure(*, quick: bool) -> list[Figure]:
    """The figures; processor time, as other programs may run beside it."""
    assert native.openslide_module() is not None, "install the extra: pip install 'callosum[slides]'"
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "slide.tiff"
        slide(path)
        start = time.process_time()
        expand(path)
        figures.append(Figure(name="slide_expand_cpu_s", value=time.process_time() - start, unit="s"))
        for name, mpp in [("own", 0.5), ("reduced", 1.0)]:
            config = SlideConfig(mpp=mpp, max_tiles=128 if quick else 512)
            per_second, ratio = rates(path, expand(path, config=config), turns=4 if quick else 16)
            figures.append(Figure(name=f"slide_{name}_tiles_per_s", value=per_second, unit="tiles/s"))
            figures.append(Figure(name=f"slide_{name}_over_bare_openslide", value=ratio, target=0.9))
        close_all()
    return figures


def main() -> None:
    """Measure, print, and keep the full run's figures."""
    options = arguments(__doc__).parse_args()
    figures = measure(quick=options.quick)
    show(figures, form="json" if options.json else "table")
    if not options.quick:
        save("slides", figures)


if __name__ == "__main__":
    main()
