"""Where tissue is, and which tiles are chosen."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callosum.data.slides.grid import choose_tiles, tissue_of_tiles
from callosum.data.slides.tissue import otsu, tissue_mask
from tests.unit.data.slides.made import GLASS, paint

TISSUE = (60, 40, 220, 160)


def overview() -> np.ndarray:
    return paint(300, 200, tissue=TISSUE)


def block(pixels: np.ndarray, box: tuple[int, int, int, int], colour: tuple[int, int, int]) -> np.ndarray:
    left, top, right, bottom = box
    pixels[top:bottom, left:right] = colour
    return pixels


def overlap(mask: np.ndarray) -> float:
    """Intersection over union with the block of tissue."""
    left, top, right, bottom = TISSUE
    truth = np.zeros(mask.shape, bool)
    truth[top:bottom, left:right] = True
    return float((mask & truth).sum() / (mask | truth).sum())


def test_tissue_is_found_and_glass_is_not() -> None:
    assert overlap(tissue_mask(overview())) > 0.98


@pytest.mark.parametrize("glass", [(255, 255, 255), (225, 222, 215), (243, 232, 243), (250, 250, 235)])
def test_tinted_glass_is_glass(glass: tuple[int, int, int]) -> None:
    pixels = overview()
    pixels[(pixels == GLASS).all(axis=-1)] = glass
    assert overlap(tissue_mask(pixels)) > 0.97


@pytest.mark.parametrize(
    ("what", "colour"),
    [
        ("black border", (12, 12, 14)),
        ("blue ink", (40, 90, 190)),
        ("green ink", (30, 140, 70)),
        ("red ink", (210, 40, 45)),
        ("black ink", (45, 44, 46)),
        ("grey shadow", (150, 150, 152)),
    ],
)
def test_what_is_no_tissue(what: str, colour: tuple[int, int, int]) -> None:
    pixels = block(overview(), (240, 0, 270, 200), colour)
    assert overlap(tissue_mask(pixels)) > 0.97, what


def test_a_slide_in_a_blue_green_stain_is_not_taken_for_ink() -> None:
    """Alcian blue, or the collagen of a trichrome stain: it is everywhere, as no pen is."""
    pixels = block(np.full((200, 300, 3), GLASS, np.uint8), TISSUE, (80, 160, 200))
    assert overlap(tissue_mask(pixels)) > 0.97


def test_brown_and_pale_stains_are_tissue() -> None:
    for colour in [(150, 95, 60), (225, 195, 215), (160, 165, 200)]:  # DAB, pale eosin, pale haematoxylin
        pixels = block(np.full((200, 300, 3), GLASS, np.uint8), TISSUE, colour)
        assert overlap(tissue_mask(pixels)) > 0.97, colour


def test_specks_go_and_pinholes_close() -> None:
    pixels = overview()
    rng = np.random.default_rng(0)
    for x, y in rng.integers((65, 45), (215, 155), (40, 2)):
        pixels[y : y + 2, x : x + 2] = GLASS
    for x in range(5, 55, 10):
        pixels[10:12, x : x + 2] = (120, 60, 150)
    assert overlap(tissue_mask(pixels)) > 0.98


def test_all_tissue_and_no_tissue() -> None:
    full = paint(300, 200, tissue=(0, 0, 300, 200))
    assert tissue_mask(full).mean() > 0.98
    rng = np.random.default_rng(0)
    bare = np.clip(np.array(GLASS) + rng.integers(-3, 4, (200, 300, 3)), 0, 255).astype(np.uint8)
    assert tissue_mask(bare).mean() < 0.001
    for value in (0, 255):
        assert not tissue_mask(np.full((20, 20, 3), value, np.uint8)).any()


@given(st.lists(st.integers(0, 255), min_size=2, max_size=200))
def test_otsu_has_the_largest_variance_between_classes(values: list[int]) -> None:
    samples = np.array(values, np.uint8)

    def between(threshold: int) -> float:
        low, high = samples[samples <= threshold], samples[samples > threshold]
        if not len(low) or not len(high):
            return 0.0
        return float(len(low) * len(high) * (low.mean() - high.mean()) ** 2)

    assert between(otsu(samples)) == pytest.approx(max(between(t) for t in range(256)))


@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    shape=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    step=st.tuples(st.floats(0.05, 12), st.floats(0.05, 12)),
    seed=st.integers(0, 99),
)
def test_tissue_of_a_tile_is_counted(
    size: tuple[int, int], shape: tuple[int, int], step: tuple[float, float], seed: int
) -> None:
    mask = np.random.default_rng(seed).random(size) < 0.4
    found = tissue_of_tiles(mask, shape, step)
    assert found.shape == shape
    for (row, column), share in np.ndenumerate(found):
        top, left = min(round(row * step[0]), size[0] - 1), min(round(column * step[1]), size[1] - 1)
        bottom, right = max(round((row + 1) * step[0]), top + 1), max(round((column + 1) * step[1]), left + 1)
        assert share == pytest.approx(mask[top:bottom, left:right].mean())


@settings(max_examples=50)
@given(
    shape=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    budget=st.integers(1, 200),
    enough=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_choice(shape: tuple[int, int], budget: int, enough: float, seed: int) -> None:
    tissue = np.random.default_rng(seed).random(shape) ** 3
    rows, columns, num_found, flags = choose_tiles(tissue, min_tissue=enough, max_tiles=budget)
    codes = [flag.code for flag in flags]
    assert len(rows) == len(set(zip(rows.tolist(), columns.tolist(), strict=True))) == min(num_found, budget)
    limit = tissue.max() / 2 if "LITTLE_TISSUE" in codes else enough
    assert (tissue[rows, columns] >= limit).all()
    assert num_found == ((tissue >= limit) & (tissue > 0)).sum() >= 1
    assert ("TILE_BUDGET" in codes) is (num_found > budget)
    assert ("LITTLE_TISSUE" in codes) is bool(tissue.max() < enough)


def test_the_budget_is_spread_evenly() -> None:
    """Of a slide full of tissue, every sixteenth of it gets its sixteenth of the tiles."""
    rows, columns, num_found, _ = choose_tiles(np.ones((64, 64)), min_tissue=0.5, max_tiles=256)
    counts = np.zeros((4, 4), int)
    np.add.at(counts, (rows // 16, columns // 16), 1)
    assert num_found == 4096
    assert (counts == 16).all()
    whole = choose_tiles(np.ones((64, 64)), min_tissue=0.5, max_tiles=5000)
    assert len(whole[0]) == 4096
    steps = np.hypot(np.diff(whole[0]), np.diff(whole[1]))
    assert np.median(steps) < 2  # neighbours follow each other


def test_bare_glass_is_represented_by_its_middle() -> None:
    rows, columns, num_found, flags = choose_tiles(np.zeros((5, 9)), min_tissue=0.25, max_tiles=10)
    assert (rows.tolist(), columns.tolist(), num_found) == ([2], [4], 0)
    assert [flag.code for flag in flags] == ["LITTLE_TISSUE"]
