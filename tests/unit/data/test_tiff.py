"""TIFF of any sample type: raw stays raw, and slides are left to their reader."""

import io
import struct

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image as Pil

from callosum.core.errors import Refused
from callosum.core.record import PixelUnit
from callosum.data.readers import read_bytes

RNG = np.random.default_rng(0)


def saved(pixels: np.ndarray, **options: object) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels, **options)
    return stream.getvalue()


@pytest.mark.parametrize("dtype", ["u2", ">u2", "i2", "u4", "i4", "f4", "f8", "i1"])
def test_wide_samples_stay_raw(dtype: str) -> None:
    values = RNG.normal(60, 15, (32, 32)).clip(1, 120).astype(dtype)
    image = read_bytes(saved(values, byteorder=">" if dtype[0] == ">" else "<"))
    assert image.unit is PixelUnit.RAW
    assert np.array_equal(image.pixels, values)
    assert image.pixels.dtype.isnative
    assert image.display().dtype == np.uint8
    assert 60 < image.display().mean() < 190


def test_float_with_gaps() -> None:
    values = np.linspace(-1000, 3000, 1024, dtype=np.float32).reshape(32, 32)
    values[0, 0], values[0, 1] = np.nan, np.inf
    image = read_bytes(saved(values))
    assert [flag.code for flag in image.flags] == ["NON_FINITE"]
    assert image.display()[0, 0] == 0
    assert 110 < image.display().mean() < 145
    with pytest.raises(Refused, match="NON_FINITE"):
        read_bytes(saved(np.full((16, 16), np.nan, np.float32)))


def test_float64_beyond_float32() -> None:
    values = np.linspace(-1e300, 1e300, 1024).reshape(32, 32)
    assert np.abs(read_bytes(saved(values)).display().ravel().astype(int) - np.linspace(0, 255, 1024)).max() <= 3


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "packbits", "jpeg"])
def test_rgb(compression: str | None) -> None:
    colours = np.repeat(np.repeat(RNG.integers(0, 256, (4, 4, 3)), 16, 0), 16, 1).astype(np.uint8)
    image = read_bytes(saved(colours, photometric="rgb", compression=compression))
    assert image.unit is PixelUnit.DISPLAY
    assert np.abs(image.display().astype(int) - colours).mean() < 8


def test_planes_and_wide_colours() -> None:
    planes = RNG.integers(0, 1 << 12, (3, 16, 16)).astype(np.uint16)
    image = read_bytes(saved(planes, photometric="rgb", planarconfig="separate"))
    assert image.unit is PixelUnit.RAW
    assert np.array_equal(image.pixels, planes.transpose(1, 2, 0))
    assert image.display().max() == 255


def test_white_is_zero_is_inverted_once() -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.array_equal(read_bytes(saved(grey, photometric="miniswhite")).display(), 255 - grey)


def test_bilevel_and_palette() -> None:
    board = np.indices((16, 16)).sum(0) % 2 == 0
    assert np.array_equal(read_bytes(saved(board, photometric="minisblack")).display(), board * np.uint8(255))
    table = RNG.integers(0, 256, (3, 256)).astype(np.uint16)
    index = np.arange(256, dtype=np.uint8).reshape(16, 16)
    shown = read_bytes(saved(index, photometric="palette", colormap=table * 257)).display()
    assert np.array_equal(shown, table.T[index])


def test_alpha_is_composited_on_black() -> None:
    rgba = RNG.integers(0, 256, (16, 16, 4)).astype(np.uint8)
    rgba[:8, :, 3], rgba[8:, :, 3] = 0, 255
    shown = read_bytes(saved(rgba, photometric="rgb", extrasamples=["unassalpha"])).display()
    assert (shown[:8] == 0).all()
    assert np.array_equal(shown[8:], rgba[8:, :, :3])


def test_pages() -> None:
    pages = np.arange(5, dtype=np.uint16)[:, None, None] * 100 + np.arange(256, dtype=np.uint16).reshape(16, 16)
    data = saved(pages, photometric="minisblack")
    image = read_bytes(data)
    assert [flag.code for flag in image.flags] == ["MULTI_FRAME"]
    assert np.array_equal(image.pixels, pages[2])
    assert np.array_equal(read_bytes(data, frame=4).pixels, pages[4])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(orientation: int) -> None:
    upright = np.arange(384, dtype=np.uint16).reshape(16, 24)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: upright.T[::-1],
        7: upright.T[::-1, ::-1],
        8: upright.T[:, ::-1],
    }[orientation]
    data = saved(np.ascontiguousarray(stored), extratags=[(274, "H", 1, orientation, True)])
    assert np.array_equal(read_bytes(data).pixels, upright)


def test_truncated() -> None:
    data = saved(RNG.integers(0, 256, (64, 64)).astype(np.uint8))
    with pytest.raises(Refused) as caught:
        read_bytes(data[:-1000])
    assert (caught.value.answer, caught.value.reason) == ("REJECT", "TRUNCATED")


def test_slides_channels_and_damage_have_answers() -> None:
    slide = saved(np.zeros((32, 32, 3), np.uint8), photometric="rgb", description="Aperio Image Library v1")
    with pytest.raises(Refused, match="FORMAT_UNSUPPORTED"):
        read_bytes(slide)
    with pytest.raises(Refused, match="CHANNELS_UNSUPPORTED"):
        read_bytes(saved(np.zeros((32, 32, 7), np.uint8), photometric="minisblack", planarconfig="contig"))
    with pytest.raises(Refused, match="CORRUPT"):
        read_bytes(b"II*\0" + bytes(20))


COLOURS = np.repeat(np.array([[[200, 30, 30]], [[20, 40, 220]]], np.uint8), 32, 1).repeat(16, 0)


@pytest.mark.parametrize("options", [{}, {"compression": "tiff_lzw"}, {"compression": "jpeg", "quality": 100}])
def test_ycbcr(options: dict[str, object]) -> None:
    stream = io.BytesIO()
    picture = Pil.fromarray(COLOURS)
    (picture if "quality" in options else picture.convert("YCbCr")).save(stream, "TIFF", **options)
    shown = read_bytes(stream.getvalue()).display()
    assert np.abs(shown.astype(int) - COLOURS).max() <= 2


def test_subsampled_ycbcr_and_cielab_are_refused() -> None:
    lab, stream = Pil.fromarray(COLOURS).convert("LAB"), io.BytesIO()
    lab.save(stream, "TIFF")
    wide = saved(np.zeros((16, 16, 3), np.uint16), photometric="ycbcr")
    full, half = (struct.pack("<HHLHH", 530, 3, 2, n, n) for n in (1, 2))
    subsampled = saved(COLOURS, photometric="ycbcr").replace(full, half)
    for data in (stream.getvalue(), wide, subsampled):
        with pytest.raises(Refused) as caught:
            read_bytes(data)
        assert (caught.value.answer, caught.value.reason) == ("REJECT", "FORMAT_UNSUPPORTED")


def test_associated_alpha_is_multiplied_already() -> None:
    rgba = np.dstack([COLOURS // 2, np.full((32, 32), 128, np.uint8)])
    shown = read_bytes(saved(rgba, photometric="rgb", extrasamples=["assocalpha"])).display()
    assert np.array_equal(shown, COLOURS // 2)
    shown = read_bytes(saved(rgba, photometric="rgb", extrasamples=["unspecified"])).display()
    assert np.array_equal(shown, COLOURS // 2)


def test_a_second_channel_is_no_alpha() -> None:
    two = RNG.integers(0, 256, (16, 16, 2)).astype(np.uint8)
    with pytest.raises(Refused, match="CHANNELS_UNSUPPORTED"):
        read_bytes(saved(two, photometric="minisblack", planarconfig="contig", extrasamples=["unspecified"]))


def test_sixteen_bit_colours_are_those_of_png() -> None:
    wide = RNG.integers(0, 1 << 16, (16, 16, 3)).astype(np.uint16)
    dark = RNG.integers(0, 1 << 12, (16, 16, 3)).astype(np.uint16)
    for colours, unit in ((wide, PixelUnit.DISPLAY), (dark, PixelUnit.RAW)):
        tiff, png = read_bytes(saved(colours, photometric="rgb")), read_bytes(imagecodecs.png_encode(colours))
        assert tiff.unit is png.unit is unit
        assert np.array_equal(tiff.display(), png.display())
    assert np.array_equal(read_bytes(saved(wide, photometric="rgb")).display(), np.round(wide / 257))


@pytest.mark.parametrize(("photometric", "shade"), [("minisblack", 0), ("miniswhite", 255)])
def test_gaps_are_shown_as_their_sentence_says(photometric: str, shade: int) -> None:
    values = np.linspace(0, 1, 1024, dtype=np.float32).reshape(32, 32)
    values[4, 4], values[5, 5] = np.nan, np.inf
    image = read_bytes(saved(values, photometric=photometric))
    assert image.flags[0].sentence == (
        "2 samples are not finite; infinity is shown as the largest value, others as the smallest."
    )
    assert (image.display()[4, 4], image.display()[5, 5]) == (shade, 255 - shade)
