"""The window a caller asks for: what the texts mean, and what they do to pictures in HU and to others."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callosum.core.digest import digest_json
from callosum.core.display import Window, percentile_window
from callosum.core.errors import UsageError
from callosum.core.record import Image, PixelUnit
from callosum.core.windowing import PRESETS_HU, Windowing, resolve_windowing

HU = np.arange(-1024, 1024, dtype=np.int16).reshape(32, 64)


def ct(**fields: object) -> Image:
    return Image(pixels=HU, unit=PixelUnit.HU, **{"window": Window(center=0, width=2000), **fields})


def ramp(values: np.ndarray, center: float, width: float) -> np.ndarray:
    """PS3.3 C.11.2.1.2.1, written out."""
    return np.clip(((values - (center - 0.5)) / (width - 1) + 0.5) * 255, 0, 255)


@pytest.mark.parametrize(
    ("asked", "meaning"),
    [
        ("lung", Windowing(windows_hu=(Window(center=-600, width=1500),))),
        (" Brain ", Windowing(windows_hu=(Window(center=40, width=80),))),
        ("40/400", Windowing(windows_hu=(Window(center=40, width=400),))),
        ("-600.5/1500", Windowing(windows_hu=(Window(center=-600.5, width=1500),))),
        (["bone"], Windowing(windows_hu=(Window(center=400, width=1800),))),
        ("file", Windowing()),
        ("file:2", Windowing(file_index=2)),
        ("percentile", Windowing(is_percentile=True)),
        (
            "lung+40/400+bone",
            Windowing(windows_hu=(PRESETS_HU["lung"], PRESETS_HU["mediastinum"], PRESETS_HU["bone"])),
        ),
    ],
)
def test_what_texts_mean(asked: str | list[str], meaning: Windowing) -> None:
    assert resolve_windowing(asked) == meaning


@pytest.mark.parametrize(
    "asked",
    ["", "lungs?", "40", "40/0", "40/nan", "inf/5", "a/b", "1/2/3", "lung+bone", "lung+bone+file", "file:-1", "file:x"],
)
def test_what_is_no_window(asked: str) -> None:
    with pytest.raises(UsageError):
        resolve_windowing(asked)


def test_the_nearest_preset_is_named() -> None:
    with pytest.raises(UsageError, match="Did you mean mediastinum"):
        resolve_windowing("mediastinium")


@given(st.text(max_size=20))
def test_every_text_is_a_window_or_a_usage_error(text: str) -> None:
    try:
        assert isinstance(resolve_windowing(text), Windowing)
    except UsageError:
        pass


@pytest.mark.parametrize("name", PRESETS_HU)
def test_presets_are_windows_of_the_standard(name: str) -> None:
    window = PRESETS_HU[name]
    assert np.abs(ct().display(window=name) - ramp(HU, window.center, window.width)).max() <= 0.51


def test_three_windows_are_red_green_and_blue() -> None:
    shown = ct().display(window=("lung", "mediastinum", "bone"))
    assert shown.shape == (*HU.shape, 3)
    for channel, name in enumerate(("lung", "mediastinum", "bone")):
        assert np.array_equal(shown[..., channel], ct().display(window=name))
    assert np.array_equal(shown, ct().display(window="lung+mediastinum+bone"))


def test_each_choice_has_a_recipe_of_its_own() -> None:
    image = ct(other_windows=(Window(center=1, width=2),))
    choices = ["file", "file:1", "percentile", "lung", "40/400", "lung+mediastinum+bone", "bone+mediastinum+lung"]
    recipes = [image.windowed(resolve_windowing(choice)).render_recipe for choice in choices]
    assert len({digest_json(recipe) for recipe in recipes}) == len(choices)
    assert all(json.loads(json.dumps(recipe)) == recipe for recipe in recipes)


@pytest.mark.parametrize("unit", [PixelUnit.RAW, PixelUnit.DISPLAY])
def test_hounsfield_windows_leave_other_pictures_alone(unit: PixelUnit) -> None:
    image = Image(pixels=np.arange(64, dtype=np.uint8).reshape(8, 8), unit=unit)
    asked = image.windowed(resolve_windowing("lung"))
    assert [flag.code for flag in asked.flags] == ["WINDOW_NOT_HU"]
    assert np.array_equal(asked.display(), image.display())
    with pytest.raises(UsageError, match="not in HU"):
        image.display(window="lung")


def test_windows_of_the_file_by_number() -> None:
    image = ct(other_windows=(Window(center=5, width=50),))
    assert image.windowed(resolve_windowing("file")) is image
    assert image.windowed(resolve_windowing("file:1")).window == Window(center=5, width=50)
    missing = image.windowed(resolve_windowing("file:2"))
    assert (missing.window, [flag.code for flag in missing.flags]) == (image.window, ["WINDOW_MISSING"])
    with pytest.raises(UsageError, match="does not have"):
        image.display(window="file:2")


def test_percentiles_instead_of_the_window_of_the_file() -> None:
    assert ct().windowed(resolve_windowing("percentile")).window == percentile_window(HU)
    picture = Image(pixels=np.full((4, 4), 7, np.uint8), unit=PixelUnit.DISPLAY)
    assert np.array_equal(picture.display(window="percentile"), picture.pixels)


def test_polarity_stays() -> None:
    shown, inverted = (ct(inverted=is_inverted).display(window="brain") for is_inverted in (False, True))
    assert np.abs(shown.astype(int) + inverted - 255).max() <= 1
