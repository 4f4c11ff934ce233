"""Opening slides and reading tiles: the right pixels at the right place, whoever decodes, whatever is broken."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from callosum.core.errors import MissingDependency, Refused, UsageError
from callosum.data.slides import (
    SlideConfig,
    SlidePlan,
    Stain,
    close_all,
    expand,
    is_slide,
    lost_flags,
    native,
    opening,
    read_overview_image,
    read_tiles,
    slide_overview,
)
from callosum.data.slides.slide import mosaic
from tests.unit.data.slides.made import LABEL, MakeSlide, damage, paint, reduced

SIDE = 4480
BLOCK = (448, 224, 3136, 1568)
needs_openslide = pytest.mark.skipif(native.openslide_module() is None, reason="openslide is not installed")


@pytest.fixture
def without_openslide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "openslide_module", lambda: None)


@pytest.fixture(scope="module")
def painted() -> np.ndarray:
    return paint(SIDE, 1792, tissue=BLOCK)


def all_tiles(path: Path, plan: SlidePlan) -> list:
    return [image for batch in plan.batches() for image in read_tiles(path, batch)]


@pytest.mark.parametrize("reader", ["openslide", "tifffile"])
def test_tiles_at_the_slides_own_resolution_are_its_pixels(
    painted: np.ndarray, make_tiff: MakeSlide, reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if reader == "tifffile":
        monkeypatch.setattr(native, "openslide_module", lambda: None)
    elif native.openslide_module() is None:
        pytest.skip("openslide is not installed")
    path = make_tiff(painted)
    plan = expand(path)
    assert (plan.mpp, plan.sizes, plan.flags) == (pytest.approx(0.5), ((SIDE, 1792), (SIDE // 4, 448)), ())
    assert plan.tissue == pytest.approx(2688 * 1344 / (SIDE * 1792), abs=0.01)
    assert plan.num_tissue_tiles == len(plan.positions) == 12 * 6
    images = all_tiles(path, plan)
    for image in images:
        x, y = image.attributes["tile_x"], image.attributes["tile_y"]
        assert np.array_equal(image.pixels, painted[y : y + 224, x : x + 224])
        assert image.decoder.startswith(f"{reader} ")
    assert [(i.attributes["tile_x"], i.attributes["tile_y"]) for i in images] == list(plan.positions)
    assert images[0].attributes["tile_um"] == 112
    assert images[0].source_digest == plan.source_digest


@pytest.mark.parametrize("mpp", [1.0, 2.0, 3.1])
def test_coarser_tiles_come_from_the_best_level_with_antialias(
    painted: np.ndarray, make_tiff: MakeSlide, mpp: float
) -> None:
    path = make_tiff(painted)
    plan = expand(path, config=SlideConfig(mpp=mpp))
    assert plan.tiling.level == (0 if mpp < 2 else 1)
    assert plan.tiling.mpp == pytest.approx(mpp, rel=0.01)
    whole = round(plan.tiling.step[0])
    for image in all_tiles(path, plan):
        x, y = int(image.attributes["tile_x"]), int(image.attributes["tile_y"])
        area = painted[y : y + whole, x : x + whole].astype(float)
        assert np.allclose(image.pixels.mean(axis=(0, 1)), area.mean(axis=(0, 1)), atol=2)


@pytest.mark.parametrize("mpp", [1.0, 2.0, 3.0])
def test_fine_stripes_become_their_mean(make_tiff: MakeSlide, mpp: float) -> None:
    """Picking pixels would show one of the two colours."""
    stripes = np.empty((1344, SIDE, 3), np.uint8)
    stripes[:, ::2], stripes[:, 1::2] = (120, 60, 140), (220, 130, 180)
    path = make_tiff(stripes, factors=(1,))
    for image in all_tiles(path, expand(path, config=SlideConfig(mpp=mpp, max_tiles=4))):
        assert np.abs(image.pixels[8:-8, 8:-8].astype(int) - (170, 95, 160)).max() <= 2


def test_a_finer_resolution_than_the_slide_has_is_flagged(painted: np.ndarray, make_tiff: MakeSlide) -> None:
    plan = expand(make_tiff(painted, mpp=1.0))
    assert [flag.code for flag in plan.flags] == ["MPP_COARSE"]
    assert plan.tiling.read_px == (112, 112)


@pytest.mark.parametrize(
    ("mpp", "config", "step", "tile_mpp"),
    [
        (None, SlideConfig(), 224, 0.0),
        (None, SlideConfig(assumed_mpp=0.25), 448, 0.5),
        (353.0, SlideConfig(), 224, 0.0),  # 72 dots per inch is a page
    ],
)
def test_missing_resolution(
    painted: np.ndarray, make_tiff: MakeSlide, mpp: float | None, config: SlideConfig, step: int, tile_mpp: float
) -> None:
    path = make_tiff(painted, mpp=mpp)
    plan = expand(path, config=config)
    assert [flag.code for flag in plan.flags] == ["NO_MPP"]
    assert (plan.tiling.step[0], plan.tiling.mpp) == (step, tile_mpp)
    assert ("mpp" in next(iter(all_tiles(path, plan))).attributes) is bool(tile_mpp)


@pytest.mark.parametrize("compression", ["jpeg", "deflate"])
@pytest.mark.parametrize("reader", ["openslide", "tifffile"])
def test_a_corrupt_tile_costs_the_tiles_it_touches(
    painted: np.ndarray, make_tiff: MakeSlide, compression: str, reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if reader == "tifffile":
        monkeypatch.setattr(native, "openslide_module", lambda: None)
    elif native.openslide_module() is None:
        pytest.skip("openslide is not installed")
    path = make_tiff(painted, compression=compression)
    across = -(-SIDE // 256)
    broken = 5 * across + 5
    damage(path, broken)
    plan = expand(path, config=SlideConfig(tile_px=256))
    touched = {(x, y) for x, y in plan.positions if x == 5 * 256 and y == 5 * 256}
    images = all_tiles(path, plan)
    assert len(touched) == 1
    assert {(i.attributes["tile_x"], i.attributes["tile_y"]) for i in images} == set(plan.positions) - touched
    assert images[0].decoder.startswith(reader)


def test_lost_share() -> None:
    assert lost_flags(0.2) == []
    assert [flag.code for flag in lost_flags(0.21)] == ["TILES_LOST"]
    assert "21%" in lost_flags(0.21)[0].sentence


def test_damage_without_a_small_level_is_counted(painted: np.ndarray, make_tiff: MakeSlide) -> None:
    """Without a pyramid the overview meets the damage itself: it is read around."""
    path = make_tiff(painted, factors=(1,), compression="jpeg")
    across, down = -(-SIDE // 256), -(-1792 // 256)
    damage(path, *range(2 * across))
    plan = expand(path)
    assert plan.lost == pytest.approx(2 / down, abs=0.03)
    assert "TILES_LOST" in [flag.code for flag in plan.flags]
    whole = {(x, y) for x, y in plan.positions if y >= 512}
    assert {(i.attributes["tile_x"], i.attributes["tile_y"]) for i in all_tiles(path, plan)} == whole
    assert len(whole) == 48


def test_a_slide_of_rubbish_is_kept_aside(painted: np.ndarray, make_tiff: MakeSlide) -> None:
    path = make_tiff(painted, compression="jpeg")
    for level in (0, 1):
        with tifffile.TiffFile(path) as opened:
            count = len(opened.pages[level].dataoffsets)
        damage(path, *range(count), level=level)
    with pytest.raises(Refused) as caught:
        expand(path)
    assert (caught.value.answer, caught.value.reason) == ("QUARANTINE", "CODESTREAM_INVALID")


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.9])
def test_a_truncated_slide_is_answered(painted: np.ndarray, make_tiff: MakeSlide, keep: float) -> None:
    path = make_tiff(painted, compression="jpeg")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    try:
        plan = expand(path)
    except Refused as refused:
        assert refused.answer in ("QUARANTINE", "REJECT")
    else:
        assert plan.lost > 0 or len(all_tiles(path, plan)) < len(plan.positions)


@needs_openslide
@pytest.mark.parametrize("openslide", [True, False])
def test_label_and_macro_are_never_read(
    painted: np.ndarray, make_tiff: MakeSlide, openslide: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    openslide = native.openslide_module()
    assert openslide is not None

    def forbidden(self: object) -> None:
        raise AssertionError

    monkeypatch.setattr(openslide.OpenSlide, "associated_images", property(forbidden))
    if not openslide:
        monkeypatch.setattr(native, "openslide_module", lambda: None)
    path = make_tiff(painted, aperio=True, compression="jpeg", name="slide.svs")
    assert is_slide(path)
    plan = expand(path)
    assert (plan.vendor, plan.mpp, len(plan.sizes)) == ("aperio", 0.5, 2)
    for picture in [read_overview_image(path), *all_tiles(path, plan)]:
        assert not (np.abs(picture.pixels.astype(int) - LABEL).max(axis=-1) < 40).any()


@needs_openslide
def test_levels_in_sub_ifds_are_found(painted: np.ndarray, make_tiff: MakeSlide) -> None:
    """openslide sees one level of such a file; the reader says who read it."""
    path = make_tiff(painted, sub_ifds=True)
    slide = opening.opened(path)
    assert len(slide.facts.levels) == 2
    assert slide.facts.reader.startswith("tifffile")


def test_what_is_a_slide(painted: np.ndarray, make_tiff: MakeSlide, tmp_path: Path) -> None:
    assert is_slide(make_tiff(painted, name="large.tiff"))
    assert is_slide(make_tiff(painted[:512, :512], aperio=True, name="small.svs"))
    assert not is_slide(make_tiff(painted[:512, :512], name="small.tiff"))
    tifffile.imwrite(tmp_path / "strips.tiff", painted, photometric="rgb")
    tifffile.imwrite(tmp_path / "grey.tiff", painted[..., 0], tile=(256, 256))
    for name in ("strips.tiff", "grey.tiff", "nothing.tiff"):
        assert not is_slide(tmp_path / name)
    (tmp_path / "broken.svs").write_bytes(b"II*\0" + bytes(range(256)) * 4)
    (tmp_path / "words.svs").write_bytes(b"not a slide")
    assert not is_slide(tmp_path / "broken.svs")
    assert not is_slide(tmp_path / "words.svs")
    with pytest.raises(Refused, match="NOT_AN_IMAGE"):
        expand(tmp_path / "words.svs")
    with pytest.raises(Refused, match="UNREADABLE"):
        expand(tmp_path / "nothing.tiff")


def test_scanner_formats_need_openslide(tmp_path: Path, without_openslide: None) -> None:
    path = tmp_path / "slide.mrxs"
    path.write_bytes(b"\xff\xd8\xff\xe0")
    assert not is_slide(path)
    (tmp_path / "slide").mkdir()
    (tmp_path / "slide" / "Slidedat.ini").write_text("[GENERAL]")
    assert is_slide(path)
    with pytest.raises(MissingDependency, match=r"callosum\[slides\]"):
        expand(path)


@needs_openslide
def test_a_damaged_scanner_file_is_kept_aside(tmp_path: Path) -> None:
    (tmp_path / "slide").mkdir()
    (tmp_path / "slide" / "Slidedat.ini").write_text("[GENERAL]")
    path = tmp_path / "slide.mrxs"
    path.write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(Refused, match="CORRUPT"):
        expand(path)


def test_batches_are_values_that_say_the_same_again(painted: np.ndarray, make_tiff: MakeSlide) -> None:
    path = make_tiff(painted)
    plan, again = expand(path), expand(path)
    assert pickle.loads(pickle.dumps(plan)) == plan == again
    ids = [batch.batch_id for batch in plan.batches(size=40)]
    assert ids == [batch.batch_id for batch in again.batches(size=40)]
    assert [len(batch.positions) for batch in plan.batches(size=40)] == [40, 32]
    assert len(set(ids)) == 2
    batch = pickle.loads(pickle.dumps(next(plan.batches())))
    close_all()
    assert len(list(read_tiles(path, batch))) == 64
    assert json.loads(json.dumps(plan.to_json()))["positions"][0] == list(plan.positions[0])
    for config in (SlideConfig(mpp=1.0), SlideConfig(tile_px=256), SlideConfig(stain=Stain.MACENKO)):
        assert next(expand(path, config=config).batches()).batch_id not in ids


def test_a_changed_file_is_not_read_from_the_old_handle(painted: np.ndarray, make_tiff: MakeSlide) -> None:
    path = make_tiff(painted)
    first = expand(path)
    path.unlink()
    second = expand(make_tiff(paint(SIDE, 1792, tissue=(0, 0, 896, 896))))
    assert first.source_digest != second.source_digest
    assert len(second.positions) == 16


def test_normalisation_is_in_the_recipe(painted: np.ndarray, make_tiff: MakeSlide) -> None:
    path = make_tiff(painted)
    for stain in (Stain.MACENKO, Stain.REINHARD):
        plan = expand(path, config=SlideConfig(stain=stain))
        image = next(read_tiles(path, next(plan.batches())))
        assert f"+ {stain} " in image.render_recipe["decoder"]
        json.dumps(plan.to_json())
    empty = make_tiff(np.full_like(painted, 240), name="glass.tiff")
    plan = expand(empty, config=SlideConfig(stain=Stain.MACENKO))
    assert [flag.code for flag in plan.flags] == ["LITTLE_TISSUE", "STAIN_UNFIT"]
    assert len(plan.positions) == 1


def test_drawing_shows_tissue_and_tiles(painted: np.ndarray, make_tiff: MakeSlide) -> None:
    path = make_tiff(painted)
    plan = expand(path, config=SlideConfig(max_tiles=5))
    picture = np.asarray(slide_overview(path, plan))
    assert picture.shape == (448, 1120, 3)
    framed = (picture == (0, 96, 160)).all(axis=-1)
    for x, y in plan.positions:
        assert framed[y // 4, x // 4 : x // 4 + 55].all()
    assert framed.sum() <= 5 * 4 * 57
    assert picture[5, 5].min() > 244  # faded glass


@pytest.mark.parametrize("broken", [{"mpp": 0.0}, {"tile_px": 4}, {"min_tissue": 1.5}, {"max_tiles": 0}])
def test_settings_are_checked(broken: dict) -> None:
    with pytest.raises(UsageError):
        SlideConfig(**broken)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=12))
def test_damaged_headers_are_answered(
    changes: list[tuple[int, int]], make_tiff: MakeSlide, without_openslide: None
) -> None:
    """Bytes of the first page are changed, where sizes, offsets and codecs are."""
    path = make_tiff(paint(300, 300, tissue=(0, 0, 256, 256)), aperio=True, compression="deflate", factors=(1,))
    data = bytearray(path.read_bytes())
    for at, value in changes:
        data[at % 700] = value
    close_all()
    path.write_bytes(bytes(data))
    if not is_slide(path):
        return
    try:
        plan = expand(path)
    except (Refused, MissingDependency):
        return
    assert len(all_tiles(path, plan)) <= len(plan.positions)


@given(
    region=st.tuples(st.integers(-40, 90), st.integers(-40, 90), st.integers(1, 60), st.integers(1, 60)),
    tile=st.tuples(st.integers(1, 30), st.integers(1, 30)),
)
def test_mosaic_is_a_cut_of_the_whole(region: tuple[int, int, int, int], tile: tuple[int, int]) -> None:
    whole = np.random.default_rng(1).integers(0, 255, (53, 71, 3), dtype=np.uint8)
    wide = np.pad(whole, ((60, 160), (60, 160), (0, 0)), constant_values=255)
    x, y, width, height = region

    def piece(row: int, column: int) -> np.ndarray:
        top, left = row * tile[1], column * tile[0]
        return np.pad(whole, ((0, 30), (0, 30), (0, 0)))[top : top + tile[1], left : left + tile[0]]

    found = mosaic(region, (71, 53), tile, piece)
    assert np.array_equal(found, wide[y + 60 : y + 60 + height, x + 60 : x + 60 + width])


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("openslide", [True, False])
def test_dicom_tiles(make_dicom: MakeSlide, sparse: bool, openslide: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not openslide:
        monkeypatch.setattr(native, "openslide_module", lambda: None)
    elif native.openslide_module() is None:
        pytest.skip("openslide is not installed")
    pixels = paint(700, 600, tissue=(0, 0, 448, 448))
    path = make_dicom(pixels, sparse=sparse)
    assert is_slide(path)
    plan = expand(path)
    assert (plan.vendor, plan.mpp, plan.flags) == ("dicom", pytest.approx(0.5), ())
    images = all_tiles(path, plan)
    assert len(images) == 4
    for image in images:
        x, y = image.attributes["tile_x"], image.attributes["tile_y"]
        assert np.array_equal(image.pixels, pixels[y : y + 224, x : x + 224])
    assert images[0].identifiers["patient_id"] == "P-17"
    assert images[0].identifiers["accession"] == "A-4"
    assert "P-17" not in json.dumps(plan.to_json()) + repr(images[0])


@pytest.mark.parametrize("flavour", ["LABEL", "OVERVIEW"])
def test_dicom_labels_are_refused(make_dicom: MakeSlide, flavour: str) -> None:
    path = make_dicom(paint(200, 200, tissue=(0, 0, 100, 100)), flavour=flavour)
    assert is_slide(path)
    with pytest.raises(Refused) as caught:
        expand(path)
    assert (caught.value.answer, caught.value.reason) == ("METADATA_ONLY", "LABEL_IMAGE")
    assert caught.value.identifiers["patient_id"] == "P-17"


@needs_openslide
def test_a_dicom_slide_is_read_once(make_dicom: MakeSlide) -> None:
    """Its lower levels are files beside it; they are answered, and used, but are no slides of their own."""
    pixels = paint(1024, 1024, tissue=(0, 0, 512, 512))
    path = make_dicom(pixels)
    lower = make_dicom(reduced(pixels, 4), reduced_by=4, name="1.dcm")
    make_dicom(reduced(pixels, 8), flavour="LABEL", name="2.dcm")
    assert expand(path).sizes == ((1024, 1024), (256, 256))
    with pytest.raises(Refused) as caught:
        expand(lower)
    assert (caught.value.answer, caught.value.reason) == ("METADATA_ONLY", "SLIDE_LEVEL")


def test_dicom_thumbnails_are_ordinary_pictures(make_dicom: MakeSlide) -> None:
    assert not is_slide(make_dicom(paint(64, 64, tissue=(0, 0, 32, 32)), flavour="THUMBNAIL"))
