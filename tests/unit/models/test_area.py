"""The area filter against what OpenCV 5.0 gave (`cv2.resize(..., interpolation=cv2.INTER_AREA)`)."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from callosum.models.area import resize_area
from callosum.models.preprocess import Fit, Preprocess, Resample

PICTURE = (np.arange(35).reshape(5, 7) * 37 % 256).astype(np.uint8)
BY_OPENCV = {
    (3, 4): [[17, 80, 144, 207], [22, 85, 149, 212], [27, 90, 154, 217]],
    (5, 10): [
        [0, 21, 42, 74, 100, 122, 148, 180, 201, 222],
        [3, 24, 45, 77, 103, 125, 151, 183, 204, 225],
        [6, 27, 48, 80, 106, 128, 154, 186, 207, 228],
        [9, 30, 51, 83, 109, 131, 157, 189, 210, 231],
        [12, 33, 54, 86, 112, 134, 160, 192, 213, 234],
    ],
    (9, 4): [
        [16, 69, 137, 206],
        [16, 69, 138, 207],
        [19, 72, 140, 209],
        [20, 73, 142, 210],
        [22, 75, 143, 212],
        [23, 76, 145, 214],
        [25, 78, 146, 215],
        [27, 80, 149, 217],
        [28, 81, 149, 218],
    ],
}


@pytest.mark.parametrize("size", BY_OPENCV)
def test_it_is_opencvs_area_filter(size: tuple[int, int]) -> None:
    found = resize_area(PICTURE, *size)
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - BY_OPENCV[size]).max() <= 1


def test_every_row_of_a_picture_twice_as_large_is_there_twice() -> None:
    assert np.array_equal(resize_area(PICTURE, 10, 14), PICTURE.repeat(2, axis=0).repeat(2, axis=1))


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 60), st.integers(1, 60))
def test_a_flat_picture_stays_flat_and_order_is_kept(height: int, width: int, h: int, w: int) -> None:
    assert np.array_equal(resize_area(np.full((height, width), 77, np.uint8), h, w), np.full((h, w), 77))
    slope = np.broadcast_to(np.linspace(0, 255, width).astype(np.uint8), (height, width))
    row = resize_area(slope, h, w)[0].astype(int)
    assert all(a <= b for a, b in pairwise(row))


def test_colours_are_resized_each_for_itself() -> None:
    colours = np.stack([PICTURE, 255 - PICTURE, PICTURE // 2], axis=2)
    found = resize_area(colours, 3, 4)
    for n in range(3):
        assert np.array_equal(found[..., n], resize_area(colours[..., n], 3, 4))


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "1"])
def test_glorias_square_is_made_of_any_picture(mode: str) -> None:
    preprocess = Preprocess(
        size_px=24, fit=Fit.PAD_CROP, longest_px=28, resample=Resample.AREA, is_grey=True, keeps_mode=True
    )
    for size in ((9, 14), (90, 70), (28, 20)):
        picture = Image.fromarray(np.arange(size[0] * size[1], dtype=np.uint32).reshape(size).astype(np.uint8))
        assert preprocess(picture.convert(mode)).shape == (24, 24, 3)
