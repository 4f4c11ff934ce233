"""PNG, JPEG and the like: nothing clipped, everything upright, hidden things stay hidden."""

import io
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
from PIL import Image as Pil

from callosum.core.errors import Refused, UsageError
from callosum.core.record import Image, PixelUnit
from callosum.data.readers import read_bytes

RNG = np.random.default_rng(0)


def saved(picture: Pil.Image, name: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, name, **options)
    return stream.getvalue()


def codes(image: Image) -> list[str]:
    return [flag.code for flag in image.flags]


def test_sixteen_bit_grey_is_raw_and_stretched() -> None:
    grey = RNG.integers(30000, 40000, (32, 32)).astype(np.uint16)
    image = read_bytes(saved(Pil.fromarray(grey)))
    assert image.unit is PixelUnit.RAW
    assert np.array_equal(image.pixels, grey)
    shown = image.display()
    assert shown.min() == 0
    assert shown.max() == 255
    assert 100 < shown.mean() < 155


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_sixteen_bit_png_with_channels(channels: int) -> None:
    colours = RNG.integers(0, 1 << 16, (16, 16, channels)).astype(np.uint16)
    image = read_bytes(imagecodecs.png_encode(colours))
    alpha = colours[..., -1:] / 65535 if channels in (2, 4) else 1.0
    expected = (colours[..., : channels - (channels in (2, 4))] * alpha) / 257
    if channels == 2:  # grey stays raw
        assert np.abs(image.pixels / 257 - expected[..., 0]).max() < 1
    else:
        assert image.unit is PixelUnit.DISPLAY
        assert np.abs(image.display() - expected).max() < 1


@pytest.mark.parametrize("mode", ["LA", "RGBA", "PA"])
def test_alpha_is_composited_on_black(mode: str) -> None:
    rgba = RNG.integers(1, 256, (16, 16, 4)).astype(np.uint8)
    rgba[..., 3] = 255
    rgba[:8, :, 3] = 0
    picture = Pil.fromarray(rgba)
    if mode == "PA":
        picture = picture.quantize(16)
    elif mode == "LA":
        picture = picture.convert("LA")
    shown = read_bytes(saved(picture)).display()
    assert (shown[:8] == 0).all()
    assert shown[8:].max() > 0


def test_half_transparent() -> None:
    rgba = np.full((16, 16, 4), 200, np.uint8)
    rgba[..., 3] = np.arange(256).reshape(16, 16)
    shown = read_bytes(saved(Pil.fromarray(rgba))).display()
    assert np.array_equal(shown[..., 0], np.round(200 * np.arange(256).reshape(16, 16) / 255))


def test_transparent_colour_of_a_palette() -> None:
    picture = Pil.fromarray((np.arange(256) // 16).astype(np.uint8).reshape(16, 16)).convert("P")
    shown = read_bytes(saved(picture, transparency=3)).display()
    assert (shown[3] == 0).all()
    assert (shown[4] > 0).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation: int) -> None:
    upright = np.zeros((16, 24), np.uint8)
    upright[:8, :12] = 250  # bright top left
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
    exif = Pil.Exif()
    exif[274] = orientation
    for name in ("JPEG", "PNG"):
        options = {"quality": 100} if name == "JPEG" else {}
        shown = read_bytes(saved(Pil.fromarray(np.ascontiguousarray(stored)), name, exif=exif, **options)).display()
        assert np.abs(shown.astype(int) - upright).max() <= 6


def test_cmyk_is_converted_and_flagged() -> None:
    red = Pil.new("RGB", (16, 16), (255, 0, 0)).convert("CMYK")
    image = read_bytes(saved(red, "JPEG", quality=100))
    assert "CMYK" in codes(image)
    assert np.abs(image.display()[0, 0].astype(int) - [255, 0, 0]).max() <= 3


def test_one_bit_and_palette() -> None:
    board = np.indices((16, 16)).sum(0) % 2 == 0
    assert np.array_equal(read_bytes(saved(Pil.fromarray(board))).display(), board * np.uint8(255))
    colours = RNG.integers(0, 256, (16, 16, 3)).astype(np.uint8) // 128 * 128
    picture = Pil.fromarray(colours).quantize(8)
    assert np.array_equal(read_bytes(saved(picture)).display(), np.asarray(picture.convert("RGB")))


def test_animation_gives_its_middle_frame() -> None:
    pages = [Pil.fromarray(np.full((16, 16), 50 * n, np.uint8)) for n in range(5)]
    data = saved(pages[0], "GIF", save_all=True, append_images=pages[1:])
    image = read_bytes(data)
    assert codes(image) == ["MULTI_FRAME", "CONSTANT"]
    assert image.attributes["frame"] == 2
    assert (image.display() == 100).all()
    assert (read_bytes(data, frame=0).display() == 0).all()
    with pytest.raises(UsageError):
        read_bytes(data, frame=9)


@pytest.mark.parametrize("name", ["PNG", "JPEG"])
def test_truncated(name: str) -> None:
    data = saved(Pil.fromarray(RNG.integers(0, 256, (64, 64)).astype(np.uint8)), name)
    with pytest.raises(Refused) as caught:
        read_bytes(data[: len(data) // 2])
    assert (caught.value.answer, caught.value.reason) == ("REJECT", "TRUNCATED")


def test_damaged_chunk() -> None:
    data = bytearray(saved(Pil.fromarray(RNG.integers(0, 256, (64, 64)).astype(np.uint8))))
    data[data.index(b"IDAT") + 40] ^= 0xFF
    with pytest.raises(Refused, match="CORRUPT"):
        read_bytes(bytes(data))


def png_header(width: int, height: int) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">L", len(body)) + name + body + struct.pack(">L", zlib.crc32(name + body))

    body = struct.pack(">LLBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", body) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(100_000, 100_000), (16_384, 16_385)])
def test_pixel_bomb(width: int, height: int) -> None:
    with pytest.raises(Refused, match="TOO_MANY_PIXELS"):
        read_bytes(png_header(width, height))


def test_one_limit_rules_whatever_the_limit_of_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pil, "MAX_IMAGE_PIXELS", 100)
    assert read_bytes(saved(Pil.new("1", (12_000, 8_000)))).pixels.shape == (8_000, 12_000)
    assert Pil.MAX_IMAGE_PIXELS == 100


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_orientation_of_sixteen_bit_colour(orientation: int) -> None:
    colours = RNG.integers(5000, 1 << 16, (16, 24, 3)).astype(np.uint16)
    exif = Pil.Exif()
    exif[274] = orientation
    body = exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">L", len(body)) + b"eXIf" + body + struct.pack(">L", zlib.crc32(b"eXIf" + body))
    plain = imagecodecs.png_encode(colours)
    shown = read_bytes(plain[:33] + chunk + plain[33:]).display()
    turned = {1: colours, 3: colours[::-1, ::-1], 6: np.rot90(colours, -1), 8: np.rot90(colours)}[orientation]
    assert np.array_equal(shown, np.round(turned / 257).astype(np.uint8))


def test_a_digest_that_is_known_is_not_computed_again() -> None:
    data = saved(Pil.new("L", (16, 16)))
    assert read_bytes(data, digest="known").source_digest == "known"
    assert len(read_bytes(data).source_digest) == 64


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((1, 1), ["TINY", "CONSTANT"]), ((2, 300), ["TINY", "ASPECT_EXTREME"]), ((9, 300), ["ASPECT_EXTREME"])],
)
def test_odd_shapes_are_flagged(shape: tuple[int, int], expected: list[str]) -> None:
    assert codes(read_bytes(saved(Pil.fromarray(RNG.integers(0, 256, shape).astype(np.uint8))))) == expected


def test_no_modality_is_guessed() -> None:
    assert "modality" not in read_bytes(saved(Pil.new("L", (16, 16)))).attributes
