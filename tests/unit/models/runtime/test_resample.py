import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PilImage

from callosum.core.errors import InputError
from callosum.models.preprocess import Resample
from callosum.models.runtime.resample import resample, windowed

FILTERS = {filter_: PilImage.Resampling[filter_.name] for filter_ in Resample}


def by_pillow(image: np.ndarray, size: tuple[int, int], filter_: Resample) -> np.ndarray:
    return np.asarray(PilImage.fromarray(image.astype(np.float32)).resize(size[::-1], FILTERS[filter_]))


def radiograph(height: int, width: int) -> np.ndarray:
    """12 bits in 16, with structure and noise."""
    rng = np.random.default_rng(0)
    coarse = rng.normal(size=(12, 14)).astype(np.float32)
    smooth = np.asarray(PilImage.fromarray(coarse).resize((width, height), PilImage.Resampling.BICUBIC))
    return np.clip(2000 + 700 * smooth + 60 * rng.normal(size=(height, width)), 0, 4095).astype(np.uint16)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 40), st.integers(1, 40), st.sampled_from(sorted(FILTERS)))
def test_it_is_pillows_kernel(height: int, width: int, h: int, w: int, filter_: Resample) -> None:
    image = np.random.default_rng(height * 71 + width).integers(0, 65536, (height, width), dtype=np.uint16)
    assert np.abs(resample(image, (h, w), filter_=filter_) - by_pillow(image, (h, w), filter_)).max() < 0.1


def test_a_windowed_radiograph_is_that_of_windowing_first() -> None:
    image, low, high = radiograph(1250, 1500), 600.0, 3400.0
    first = np.clip((image.astype(np.float32) - low) * (255 / (high - low)), 0, 255)
    expected = np.clip(by_pillow(first, (224, 224), Resample.BICUBIC), 0, 255)
    found = windowed(image, (224, 224), low=low, high=high)
    assert found.dtype == np.uint8
    apart = np.abs(found - expected)
    assert apart.max() <= 0.51
    assert apart.mean() <= 0.3


def test_samples_outside_are_clipped_before_they_are_mixed() -> None:
    image = np.array([[0, 1000]], dtype=np.uint16)
    assert resample(image, (1, 1), filter_=Resample.BOX)[0, 0] == 500
    assert resample(image, (1, 1), filter_=Resample.BOX, clip=(0, 100))[0, 0] == 50
    assert image.max() == 1000, "the picture itself is not touched"


def test_float_pictures_are_not_touched_either() -> None:
    image = np.array([[0, 1000]], dtype=np.float32)
    resample(image, (1, 1), clip=(0, 100))
    assert image.max() == 1000


def test_channels_are_resized_alike() -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 50, 3), dtype=np.uint8)
    found = resample(image, (24, 20))
    assert found.shape == (24, 20, 3)
    for channel in range(3):
        assert np.allclose(found[:, :, channel], resample(image[:, :, channel], (24, 20)), atol=1e-3)


@pytest.mark.parametrize(
    ("image", "size"),
    [
        (np.zeros(5, np.uint16), (2, 2)),
        (np.zeros((0, 5), np.uint16), (2, 2)),
        (np.zeros((5, 5), bool), (2, 2)),
        (np.zeros((5, 5), np.uint16), (2, 0)),
    ],
)
def test_what_is_no_picture_is_refused(image: np.ndarray, size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="A picture"):
        resample(image, size)


def test_an_empty_window_is_refused() -> None:
    with pytest.raises(InputError, match="found 3 to 3"):
        windowed(np.zeros((4, 4), np.uint16), (2, 2), low=3, high=3)
