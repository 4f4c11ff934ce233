"""Volumes whose samples tell where they are: every cut can be checked against patient coordinates."""

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callosum.core.display import Window, percentile_window
from callosum.core.errors import InputError, Refused, UsageError
from callosum.core.record import Flag, PixelUnit
from callosum.data.volumes import volume as volume_module
from callosum.data.volumes.volume import Plane, Volume, check_volume

AXES = {"L": (1, 0, 0), "R": (-1, 0, 0), "P": (0, 1, 0), "A": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}
EVERY = ["".join(letters) for order in permutations(("LR", "PA", "SI")) for letters in product(*order)]
SIZES = {"L": 4, "P": 5, "S": 6}


def make(
    samples: np.ndarray, orientation: str = "SPL", spacing: tuple[float, ...] = (1, 1, 1), **more: object
) -> Volume:
    affine = np.eye(4)
    affine[:3, :3] = np.stack([AXES[letter] for letter in orientation], axis=1) * spacing
    return Volume(samples=samples, affine=affine, **{"unit": PixelUnit.RAW} | more)  # type: ignore[arg-type]


def places(volume: Volume) -> np.ndarray:
    """Patient coordinates `[Z, Y, X, 3]` of the samples."""
    indices = np.stack(np.meshgrid(*map(np.arange, volume.samples.shape[:3]), indexing="ij"), axis=-1)
    return indices @ volume.affine[:3, :3].T + volume.affine[:3, 3]


def telling(orientation: str, spacing: tuple[float, ...] = (1, 1, 1)) -> Volume:
    """A volume of 100 z + 10 y + x of the patient."""
    sizes = [SIZES[next(end for end in pair if end in SIZES)] for pair in (axis_pair(one) for one in orientation)]
    blank = make(np.zeros(sizes, np.float64), orientation, spacing)
    return make(places(blank) @ [1.0, 10.0, 100.0], orientation, spacing)


def axis_pair(letter: str) -> str:
    return next(pair for pair in ("LR", "PA", "SI") if letter in pair)


@pytest.mark.parametrize("orientation", EVERY)
def test_cuts_are_shown_as_a_radiologist_looks_at_them(orientation: str) -> None:
    volume = telling(orientation)
    assert volume.orientation == orientation
    directions = {Plane.AXIAL: (100, 10, 1), Plane.CORONAL: (10, -100, 1), Plane.SAGITTAL: (1, -100, 10)}
    sizes = {Plane.AXIAL: (6, 5, 4), Plane.CORONAL: (5, 6, 4), Plane.SAGITTAL: (4, 6, 5)}
    for plane, (across, down, along) in directions.items():
        cuts = np.stack([image.pixels for image in volume.slices(99, plane=plane)])
        assert cuts.shape == sizes[plane]
        np.testing.assert_allclose(np.diff(cuts, axis=0), across)
        np.testing.assert_allclose(np.diff(cuts, axis=1), down)
        np.testing.assert_allclose(np.diff(cuts, axis=2), along)


@pytest.mark.parametrize("target", EVERY)
def test_turning_keeps_what_lies_where(target: str) -> None:
    volume = telling("PIR", (3, 2, 1)).oriented(target)
    assert volume.orientation == target
    np.testing.assert_allclose(places(volume) @ [1.0, 10.0, 100.0], volume.samples)


def test_the_acquired_plane_is_the_one_of_its_slices() -> None:
    assert [telling(orientation).plane for orientation in ("SPL", "AIL", "RIP")] == ["axial", "coronal", "sagittal"]
    (image,) = telling("RIP").slices(1, plane=Plane.ACQUIRED)
    assert image.attributes["plane"] == "sagittal"
    (named,) = telling("RIP").slices(1, plane="acquired")
    np.testing.assert_array_equal(named.pixels, image.pixels)
    with pytest.raises(UsageError, match="axial, coronal"):
        telling("RIP").slices(1, plane="oblique")


def test_slices_say_which_they_are() -> None:
    volume = make(np.arange(60.0).reshape(10, 2, 3), attributes={"modality": "CT"}, identifiers={"patient_id": "x"})
    found = [(image.attributes["slice"], image.attributes["num_slices"]) for image in volume.slices(3)]
    assert found == [(1, 10), (5, 10), (8, 10)]
    (middle,) = volume.slices(1)
    assert middle.attributes["slice"] == 5
    assert middle.attributes["modality"] == "CT"
    assert middle.identifiers == {"patient_id": "x"}
    np.testing.assert_array_equal(middle.pixels, volume.samples[5])
    with pytest.raises(UsageError, match="has 10"):
        volume.pictures([10])
    with pytest.raises(UsageError):
        volume.slices(0)


@given(st.floats(1.05, 20), st.floats(0.2, 3), st.sampled_from(list(Plane)[:3]))
def test_pixels_become_square_and_a_gradient_stays_one(ratio: float, fine: float, plane: Plane) -> None:
    volume = telling("SPL", (fine * ratio, fine, fine))
    (image,) = volume.slices(1, plane=plane)
    assert image.attributes["spacing_row_mm"] == image.attributes["spacing_column_mm"]
    if plane is Plane.AXIAL:
        assert image.pixels.shape == (5, 4)
        return
    assert image.pixels.shape[0] == round(6 * ratio)
    steps = np.diff(image.pixels[:, 0])
    inside = steps[int(ratio) + 1 : -int(ratio) - 1]  # beyond the centres of the outer slices, edges are held
    np.testing.assert_allclose(inside, -100 * fine * 6 * ratio / round(6 * ratio), rtol=1e-4)
    assert image.pixels.max() <= volume.samples.max()
    assert image.pixels.min() >= volume.samples.min()


def test_integers_stay_integers_and_full_range_does_not_overflow() -> None:
    samples = np.array([[[-32768]], [[32767]]], np.int16).repeat(4, axis=2)
    (image,) = make(samples, spacing=(4, 1, 1)).slices(1, plane=Plane.CORONAL)
    assert image.pixels.dtype == np.int16
    column = image.pixels[:, 0].astype(int)
    assert (np.diff(column) <= 0).all()
    assert (column[0], column[-1]) == (32767, -32768)


def test_pixels_that_are_absurdly_long_are_left() -> None:
    (image,) = make(np.zeros((3, 8, 8)), spacing=(100, 1, 1)).slices(1, plane=Plane.CORONAL)
    assert image.pixels.shape == (3, 8)
    assert "SPACING_EXTREME" in {flag.code for flag in image.flags}


def test_all_slices_share_one_window() -> None:
    samples = np.random.default_rng(0).normal(size=(9, 8, 8)) * np.arange(1, 10)[:, None, None]
    windows = {image.window for image in make(samples).slices(9)}
    assert windows == {percentile_window(samples)}
    stated = Window(center=40, width=400)
    assert {image.window for image in make(samples, window=stated).slices(9)} == {stated}
    colours = make(np.zeros((3, 8, 8, 3), np.uint8), unit=PixelUnit.DISPLAY)
    assert colours.slices(1)[0].window is None
    assert colours.slices(1, plane=Plane.SAGITTAL)[0].pixels.shape == (3, 8, 3)


def test_a_large_volume_is_thinned_for_its_window(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = np.random.default_rng(0).normal(size=(40, 40, 40))
    full = make(samples).shown_window()
    monkeypatch.setattr(volume_module, "_WINDOW_SAMPLES", 4000)
    thin = make(samples).shown_window()
    assert isinstance(full, Window)
    assert isinstance(thin, Window)
    assert thin != full
    assert thin.width == pytest.approx(full.width, rel=0.1)


def test_uneven_or_tilted_slices_are_not_cut_across() -> None:
    sheared = np.eye(4)[:, [2, 1, 0, 3]]
    sheared[1, 0] = 0.3
    tilted = Volume(samples=np.zeros((9, 9, 9)), affine=sheared, unit=PixelUnit.RAW)
    for volume in (tilted, make(np.zeros((9, 9, 9)), is_even=False)):
        assert len(volume.slices(2)) == 2
        assert not volume.can_cut(Plane.CORONAL)
        with pytest.raises(UsageError, match="axial plane only"):
            volume.slices(1, plane=Plane.CORONAL)


def test_doubts_of_the_volume_are_doubts_of_its_slices() -> None:
    flag = Flag(code="NO_ORIENTATION", sentence="A guess.")
    (image,) = make(np.zeros((3, 9, 9)), flags=(flag,)).slices(1)
    assert [one.code for one in image.flags] == ["NO_ORIENTATION", "CONSTANT"]


def test_shapes_are_checked() -> None:
    with pytest.raises(InputError, match="found"):
        make(np.zeros((3, 3)))
    with pytest.raises(InputError, match="affine"):
        Volume(samples=np.zeros((3, 3, 3)), affine=np.zeros((4, 4)), unit=PixelUnit.RAW)
    check_volume(1 << 28, 4)
    with pytest.raises(Refused, match="TOO_MANY_PIXELS"):
        check_volume((1 << 28) + 1, 4)
