import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image as PilImage

from callosum.core.display import Window, WindowFunction, percentile_window, reduction, to_display
from callosum.core.record import Image, PixelUnit


@pytest.mark.parametrize(
    ("function", "value", "expected"),
    [  # PS3.3 C.11.2.1.2: center 40, width 400
        (WindowFunction.LINEAR, 40 - 0.5 - 399 / 2, 0.0),
        (WindowFunction.LINEAR, 40 - 0.5, 0.5),
        (WindowFunction.LINEAR, 40 - 0.5 + 399 / 2, 1.0),
        (WindowFunction.LINEAR, 140, (140 - 39.5) / 399 + 0.5),
        (WindowFunction.LINEAR_EXACT, -160, 0.0),
        (WindowFunction.LINEAR_EXACT, 40, 0.5),
        (WindowFunction.LINEAR_EXACT, 240, 1.0),
        (WindowFunction.SIGMOID, 40, 0.5),
        (WindowFunction.SIGMOID, 140, 1 / (1 + np.exp(-1))),
    ],
)
def test_window_functions(function: WindowFunction, value: float, expected: float) -> None:
    window = Window(center=40, width=400, function=function)
    assert window.apply(np.array([value])) == pytest.approx(expected, abs=1e-6)


def test_width_one_is_a_threshold() -> None:
    window = Window(center=10, width=1)
    assert window.apply(np.array([9.0, 10.0])).tolist() == [0.0, 1.0]


@given(arrays(st.sampled_from([np.uint16, np.int16, np.float32]), array_shapes(min_dims=2, max_dims=2, max_side=9)))
def test_every_array_has_a_picture_and_inversion_is_its_negative(values: np.ndarray) -> None:
    shown = to_display(values)
    assert shown.dtype == np.uint8
    assert shown.shape == values.shape
    np.testing.assert_allclose(to_display(values, inverted=True).astype(int), 255 - shown.astype(int), atol=1)


@given(arrays(np.int16, (6, 7)))
def test_brighter_never_becomes_darker(values: np.ndarray) -> None:
    order = np.argsort(values.ravel(), kind="stable")
    assert np.all(np.diff(to_display(values).ravel()[order].astype(int)) >= 0)


def test_sixteen_bits_are_stretched_not_clipped() -> None:
    ramp = np.linspace(0, 4095, 10_000).astype(np.uint16).reshape(100, 100)
    shown = to_display(ramp)
    assert len(np.unique(shown)) > 250
    assert percentile_window(ramp).width == pytest.approx(0.99 * 4095, rel=0.01)


def test_a_finished_picture_is_shown_as_it_is() -> None:
    picture = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert to_display(picture) is picture
    assert np.array_equal(to_display(picture, inverted=True), 255 - picture)


def test_constant_and_empty_of_numbers() -> None:
    assert len(np.unique(to_display(np.full((4, 4), 7, np.uint16)))) == 1
    assert to_display(np.full((4, 4), np.nan, np.float32)).dtype == np.uint8


@given(
    arrays(st.sampled_from([np.uint8, np.int8, np.uint16, np.int16]), array_shapes(min_dims=2, max_dims=2, max_side=9))
)
def test_percentiles_of_narrow_integers_are_exact(values: np.ndarray) -> None:
    counted, computed = percentile_window(values), percentile_window(values.astype(np.float64))
    assert (counted.center, counted.width) == pytest.approx((computed.center, computed.width))
    assert type(counted.center) is float


@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
@pytest.mark.parametrize("is_inverted", [False, True])
def test_large_pictures_are_shown_like_small_ones(dtype: type, is_inverted: bool) -> None:
    values = np.random.default_rng(0).integers(-3000, 3000, (1024, 1024)).astype(dtype)[:, ::1]
    window = Window(center=40, width=400)
    large = to_display(values, window=window, inverted=is_inverted)
    small = np.concatenate([to_display(part, window=window, inverted=is_inverted) for part in np.split(values, 16)])
    assert np.array_equal(large, small)


def test_extreme_values_do_not_warn() -> None:
    values = np.array([[-3e38, 0.0], [3e38, np.inf]], np.float32)
    assert to_display(values).tolist() == [[0, 128], [255, 255]]


@pytest.mark.parametrize("function", list(WindowFunction))
@pytest.mark.parametrize("shape", [(3, 700_000), (700_000, 3), (1030, 517), (300, 500, 3)])
def test_blocks_leave_no_seam(function: WindowFunction, shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).integers(-3000, 3000, shape).astype(np.int16)
    window = Window(center=40, width=400, function=function)
    assert np.array_equal(to_display(values, window=window), np.rint(window.apply(values) * 255))


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 12), st.integers(1, 12))
def test_the_factor_divides_both_sides_and_leaves_enough(rows: int, columns: int, times: int, min_px: int) -> None:
    shape = (rows * times, columns * times)
    factor = reduction(shape, min_px=min_px)
    assert shape[0] % factor == shape[1] % factor == 0
    assert factor == 1 or min(shape) // factor >= min_px
    assert factor >= times or min(shape) // times < min_px


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
@pytest.mark.parametrize("factor", [2, 3])
def test_reduced_pictures_are_means_of_what_is_seen(dtype: type, factor: int) -> None:
    values = np.random.default_rng(0).integers(0, 250, (600, 1200)).astype(dtype)
    window = None if dtype is np.uint8 else Window(center=40, width=30)
    shown = to_display(values, window=window, inverted=True).astype(float)
    means = shown.reshape(600 // factor, factor, 1200 // factor, factor).mean(axis=(1, 3))
    assert np.abs(to_display(values, window=window, inverted=True, factor=factor) - means).max() <= 1.0


@pytest.mark.parametrize("resample", [2, 3])  # bilinear, bicubic
def test_a_reduced_picture_is_the_same_small_picture(resample: int) -> None:
    """Structures of two final pixels, at full contrast, and noise of single ones: a film has less of both."""
    rng = np.random.default_rng(0)
    coarse = PilImage.fromarray(rng.normal(2000, 800, (60, 50)).astype(np.float32)).resize((1250, 1500))
    image = Image(
        pixels=(np.asarray(coarse) + rng.normal(0, 100, (1500, 1250))).clip(0, 4095).astype(np.uint16),
        unit=PixelUnit.RAW,
        window=Window(center=2000, width=1500),
    )
    reduced = image.display(min_px=4 * 112)
    assert reduced.shape == (750, 625)
    small, exact = (
        np.asarray(PilImage.fromarray(each).resize((112, 112), PilImage.Resampling(resample))).astype(int)
        for each in (reduced, image.display())
    )
    assert np.abs(small - exact).max() <= 1
