"""Stain normalisation against pictures whose stains are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callosum.data.slides import stain
from callosum.data.slides.stain import Stain, StainFit, fit_stain, stain_vectors

METHODS = [Stain.MACENKO, Stain.REINHARD]
HAEMATOXYLIN, EOSIN = (0.65, 0.70, 0.29), (0.07, 0.99, 0.11)
"""Ruifrok and Johnston (2001)."""


def unit(vector: tuple[float, ...]) -> np.ndarray:
    return np.array(vector) / np.linalg.norm(vector)


def stained(first: np.ndarray, second: np.ndarray, *, seed: int = 0, strength: float = 1.0) -> np.ndarray:
    """A picture by Beer and Lambert: places of one stain, of the other, of both, and glass."""
    rng = np.random.default_rng(seed)
    amounts = rng.gamma(4, 0.25, (160 * 160, 2)) * strength
    kind = rng.integers(0, 4, 160 * 160)
    amounts[kind == 0, 0] = 0
    amounts[kind == 1, 1] = 0
    amounts[kind == 3] = 0
    density = amounts @ np.stack([first, second])
    return np.clip(np.rint(256 * np.exp(-density) - 1), 0, 255).astype(np.uint8).reshape(160, 160, 3)


def angle_deg(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.degrees(np.arccos(np.clip(a @ b, -1, 1))))


@settings(max_examples=25, deadline=None)
@given(
    turn=st.tuples(*[st.floats(-0.1, 0.1)] * 6),
    strength=st.floats(0.6, 1.3),
    seed=st.integers(0, 50),
)
def test_known_stains_are_recovered(turn: tuple[float, ...], strength: float, seed: int) -> None:
    first = unit(tuple(np.maximum(np.array(HAEMATOXYLIN) + turn[:3], 0.02)))
    second = unit(tuple(np.maximum(np.array(EOSIN) + turn[3:], 0.02)))
    picture = stained(first, second, seed=seed, strength=strength).reshape(-1, 3)
    density = -np.log((picture + 1.0) / 256)
    found = stain_vectors(density[(density >= 0.02).all(axis=-1)])
    assert found is not None
    assert angle_deg(found[:, 0], first) < 5
    assert angle_deg(found[:, 1], second) < 5


def test_macenko_makes_slides_of_two_laboratories_alike() -> None:
    """The same amounts of other stains: after normalisation the pictures agree, before they do not."""
    one = stained(unit(HAEMATOXYLIN), unit((0.15, 0.96, 0.22)))
    other = stained(unit((0.55, 0.78, 0.30)), unit((0.22, 0.93, 0.30)), strength=0.7)
    before = np.abs(one.astype(int) - other).mean()
    fits = [fit_stain(Stain.MACENKO, [picture]) for picture in (one, other)]
    assert all(fits)
    normal = [fit.apply(picture).astype(int) for fit, picture in zip(fits, (one, other), strict=True) if fit]
    assert before > 12
    assert np.abs(normal[0] - normal[1]).mean() < before / 4


def test_what_is_normal_stays() -> None:
    """To Macenko, a picture made of the reference stains at the reference strength."""
    reference = np.array([[0.5626, 0.7201, 0.4062], [0.2159, 0.8012, 0.5581]])
    picture = stained(*reference)
    first = fit_stain(Stain.MACENKO, [picture])
    assert first is not None
    normal = first.apply(picture)
    second = fit_stain(Stain.MACENKO, [normal])
    assert second is not None
    assert np.abs(second.apply(normal).astype(int) - normal).mean() < 2.5  # of 255: percentiles shift


def test_what_is_normal_stays_to_reinhard(monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture with the mean and spread of the reference; here the reference is made of the picture."""
    picture = stained(unit(HAEMATOXYLIN), unit((0.15, 0.96, 0.22)))
    fit = fit_stain(Stain.REINHARD, [picture])
    assert fit is not None
    assert np.abs(fit.apply(picture).astype(int) - picture).mean() > 3
    monkeypatch.setattr(stain, "_REFERENCE_MEAN", np.array(fit.numbers[:3]))
    monkeypatch.setattr(stain, "_REFERENCE_SPREAD", np.array(fit.numbers[3:]))
    assert np.abs(fit.apply(picture).astype(int) - picture).max() <= 1


def test_reinhard_gives_the_mean_and_spread_of_the_reference() -> None:
    """Computed here anew, in the space of Ruderman as Reinhard prints it."""
    picture = stained(unit(HAEMATOXYLIN), unit((0.25, 0.90, 0.35)), strength=0.5)
    fit = fit_stain(Stain.REINHARD, [picture])
    assert fit is not None
    tissue = (-np.log((picture + 1.0) / 256)).mean(axis=-1) >= 0.05
    lms = fit.apply(picture)[tissue] @ np.array(
        [[0.3811, 0.1967, 0.0241], [0.5783, 0.7244, 0.1288], [0.0402, 0.0782, 0.8444]]
    )
    long, middle, short = np.log(np.maximum(lms, 1e-3)).T
    both = long + middle
    lab = np.stack([(both + short) / np.sqrt(3), (both - 2 * short) / np.sqrt(6), (long - middle) / np.sqrt(2)])
    assert lab.mean(axis=1) == pytest.approx([8.7411, -0.1244, 0.0445], abs=0.08)
    assert lab.std(axis=1) == pytest.approx([0.6135, 0.1099, 0.0286], rel=0.35)


@pytest.mark.parametrize("method", METHODS)
def test_white_stays_white_and_empty_tiles_stay_empty(method: Stain) -> None:
    fit = fit_stain(method, [stained(unit(HAEMATOXYLIN), unit((0.15, 0.96, 0.22)))])
    assert fit is not None
    white = np.full((8, 8, 3), 255, np.uint8)
    assert np.array_equal(fit.apply(white), white)
    glass = np.full((8, 8, 3), (243, 241, 244), np.uint8)
    assert np.abs(fit.apply(glass).astype(int) - glass).max() < 16


@pytest.mark.parametrize("method", METHODS)
@given(seed=st.integers(0, 1000), side=st.integers(1, 12))
@settings(max_examples=20, deadline=None)
def test_any_tile_can_be_normalised(method: Stain, seed: int, side: int) -> None:
    fit = fit_stain(method, [stained(unit(HAEMATOXYLIN), unit(EOSIN))])
    assert fit is not None
    tile = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    out = fit.apply(tile)
    assert out.dtype == np.uint8
    assert out.shape == tile.shape


@pytest.mark.parametrize("method", METHODS)
def test_too_little_to_fit(method: Stain) -> None:
    white = np.full((64, 64, 3), 250, np.uint8)
    speck = white.copy()
    speck[:10, :10] = (120, 50, 140)
    one_colour = np.full((64, 64, 3), (150, 60, 150), np.uint8)
    for tiles in ([], [white], [speck], [one_colour], [np.zeros((64, 64, 3), np.uint8)]):
        assert fit_stain(method, tiles) is None


def test_one_stain_is_not_two() -> None:
    rng = np.random.default_rng(0)
    density = rng.gamma(4, 0.2, (4096, 1)) * unit(HAEMATOXYLIN)
    only = np.clip(np.rint(256 * np.exp(-density) - 1), 0, 255).astype(np.uint8).reshape(64, 64, 3)
    assert fit_stain(Stain.MACENKO, [only]) is None


def test_the_name_says_which_fit() -> None:
    one, two = (StainFit(method=Stain.MACENKO, numbers=(*[value] * 9,)) for value in (0.1, 0.2))
    assert one.name.startswith("macenko ")
    assert one.name != two.name
