"""Real slides, when the data packs are here: what openslide says, tile for tile, and what is refused."""

import csv
import tarfile
from pathlib import Path

import numpy as np
import pytest

from callosum.core.errors import Refused
from callosum.data.slides import (
    SlideConfig,
    SlidePlan,
    Stain,
    close_all,
    expand,
    is_slide,
    native,
    read_tiles,
    slide_overview,
)

needs_openslide = pytest.mark.skipif(native.openslide_module() is None, reason="openslide is not installed")
REFUSED = {"malformed", "truncated", "too_large"}
WHOLE_SLIDE = "VL Whole Slide Microscopy Image Storage"


@pytest.fixture(scope="module")
def slides(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[Path, str]:
    """Every whole slide of the zoos on disk, and what its manifest expects."""
    root = tmp_path_factory.mktemp("slides")
    found = {}
    for pack, archive, column, value in [
        ("image_zoo", "files.tar.gz", "kind", "wsi"),
        ("dicom_zoo", "dicom.tar.gz", "sop_class", WHOLE_SLIDE),
    ]:
        with (data_root / pack / "manifest.csv").open(newline="") as stream:
            rows = [row for row in csv.DictReader(stream) if row.get(column) == value or value in row.values()]
        wanted = {row["path"].partition(":")[2]: row["expected"] for row in rows}
        with tarfile.open(data_root / pack / archive) as opened:
            for member in opened:
                if member.name in wanted:
                    opened.extract(member, root, filter="data")
                    found[root / member.name] = wanted[member.name]
    yield found
    close_all()


def named(slides: dict[Path, str], name: str) -> Path:
    return next((path for path in slides if path.name == name), None) or pytest.skip(f"{name} is not in the pack")


def tiles(path: Path, plan: SlidePlan) -> list:
    return [image for batch in plan.batches() for image in read_tiles(path, batch)]


@needs_openslide
def test_every_slide_gets_its_answer(slides: dict[Path, str]) -> None:
    assert len(slides) >= 5
    surprises = {}
    for path, expected in slides.items():
        if not is_slide(path):  # for the reader of its format; a broken one is answered there
            continue
        try:
            plan = expand(path, config=SlideConfig(max_tiles=8))
            answer = "tiles" if tiles(path, plan) else "nothing"
        except Refused as refused:
            answer = str(refused.answer)
        good = {"QUARANTINE", "REJECT"} if expected in REFUSED else {"tiles"}
        if answer not in good and expected in REFUSED | {"image"}:
            surprises[path.name] = (expected, answer)
    assert not surprises


@needs_openslide
@pytest.mark.parametrize("name", ["CMU-1-Small-Region.svs", "tcga-cr-7395-01a-01-ts1.svs"])
def test_tiles_are_what_openslide_reads(slides: dict[Path, str], name: str) -> None:
    path = named(slides, name)
    openslide = native.openslide_module()
    assert openslide is not None
    with openslide.OpenSlide(path) as bare:
        images = tiles(path, expand(path, config=SlideConfig(max_tiles=48)))
        assert len(images) == 48
        for image in images:
            corner = (image.attributes["tile_x"], image.attributes["tile_y"])
            assert np.array_equal(image.pixels, np.asarray(bare.read_region(corner, 0, (224, 224)).convert("RGB")))


def test_both_libraries_choose_the_same_tiles(slides: dict[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    if native.openslide_module() is None:
        pytest.skip("openslide is not installed")
    path = named(slides, "CMU-1-Small-Region.svs")
    config = SlideConfig(max_tiles=24)
    plan = expand(path, config=config)
    pictures = tiles(path, plan)
    close_all()
    monkeypatch.setattr(native, "openslide_module", lambda: None)
    again = expand(path, config=config)
    assert again.positions == plan.positions
    assert (again.mpp, again.vendor) == (plan.mpp, plan.vendor)
    for one, other in zip(pictures, tiles(path, again), strict=True):
        difference = np.abs(one.pixels.astype(int) - other.pixels)
        assert difference.mean() < 1  # two decoders of JPEG
        assert one.decoder != other.decoder
    close_all()


@needs_openslide
def test_tissue_of_a_known_section(slides: dict[Path, str]) -> None:
    """A strip of skin that covers about a third of the picture, the left quarter of which is bare glass."""
    path = named(slides, "CMU-1-Small-Region.svs")
    plan = expand(path)
    assert 0.25 < plan.tissue < 0.45
    assert plan.mpp == pytest.approx(0.499)
    assert not [1 for x, y in plan.positions if x < 300 and y < 700 and (x, y) != (0, 0)]
    assert slide_overview(path, plan).size == (1110, 1484)


@needs_openslide
@pytest.mark.parametrize("stain", [Stain.MACENKO, Stain.REINHARD])
def test_two_laboratories_look_more_alike_after_normalisation(slides: dict[Path, str], stain: Stain) -> None:
    paths = [named(slides, name) for name in ("CMU-1-Small-Region.svs", "tcga-cr-7395-01a-01-ts1.svs")]

    def mean_colour(path: Path, method: Stain) -> np.ndarray:
        pixels = np.concatenate(
            [i.pixels for i in tiles(path, expand(path, config=SlideConfig(stain=method, max_tiles=16)))]
        )
        density = -np.log((pixels.reshape(-1, 3) + 1.0) / 256)
        colour = density[density.mean(axis=-1) > 0.15].mean(axis=0)
        return colour / np.linalg.norm(colour)

    before, after = (
        float(np.degrees(np.arccos(mean_colour(paths[0], method) @ mean_colour(paths[1], method))))
        for method in (Stain.NONE, stain)
    )
    assert after < before


@needs_openslide
def test_a_slide_that_lost_frames_is_read_around(slides: dict[Path, str]) -> None:
    path = named(slides, "multiframe.dcm")
    plan = expand(path)
    assert 0 < plan.lost < 0.2
    assert tiles(path, plan)
