"""What `encode_image` and `encode_text` take, and what they say to anything else."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PilImage

import callosum
from callosum.core.errors import InputError

ENCODER = callosum.load_encoder("starter")
RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 255, (60, 50), dtype=np.uint8)


def cosine(one: object, other: object) -> float:
    rows = ENCODER.encode_image([one, other]).matrix
    return float(rows[0] @ rows[1])


@pytest.mark.parametrize("images", ["film.dcm", Path("film.dcm"), GREY, np.dstack([GREY] * 3), 7, None])
def test_one_image_instead_of_several_is_an_error(images: object) -> None:
    with pytest.raises(InputError):
        ENCODER.encode_image(images)


@pytest.mark.parametrize("batch_size", [0, -1, True, 1.5, "3"])
def test_an_odd_batch_size_is_an_error(batch_size: object) -> None:
    with pytest.raises(InputError, match="batch_size"):
        ENCODER.encode_image([GREY], batch_size=batch_size)


@pytest.mark.parametrize("texts", ["one", [1], [None], [b"x"], [("a", "b")]])
def test_what_is_no_text_is_an_error(texts: object) -> None:
    with pytest.raises(InputError):
        ENCODER.encode_text(texts)


def test_a_generator_and_an_empty_list_are_fine() -> None:
    assert ENCODER.encode_image(GREY for _ in range(3)).matrix.shape == (3, 256)
    assert ENCODER.encode_image([]).matrix.shape == (0, 256)
    assert ENCODER.encode_text(["lone \ud800 surrogate"]).matrix.shape == (1, 256)


def test_byte_order_changes_nothing() -> None:
    deep = (GREY.astype(np.uint16) * 16).astype("<u2")
    assert cosine(deep, deep.astype(">u2")) == pytest.approx(1.0, abs=1e-5)


def test_a_picture_beside_others_has_the_vector_it_has_alone() -> None:
    pictures = [RNG.integers(0, 255, (40, 40), dtype=np.uint8) for _ in range(50)]
    together = ENCODER.encode_image(pictures).matrix
    for n in (0, 17, 49):
        np.testing.assert_allclose(ENCODER.encode_image([pictures[n]]).matrix[0], together[n], atol=1e-5)
    np.testing.assert_allclose(ENCODER.encode_image(pictures, batch_size=7).matrix, together, atol=1e-5)


def test_pil_images_are_seen_like_their_files(tmp_path: Path) -> None:
    exif = PilImage.Exif()
    exif[0x0112] = 6
    picture = PilImage.fromarray(RNG.integers(0, 255, (40, 64, 3), dtype=np.uint8))
    picture.save(tmp_path / "turned.jpg", exif=exif)
    clear = PilImage.fromarray(np.dstack([GREY] * 3 + [255 - GREY]))
    clear.save(tmp_path / "clear.png")
    for name in ("turned.jpg", "clear.png"):
        with PilImage.open(tmp_path / name) as opened:
            assert cosine(opened, tmp_path / name) == pytest.approx(1.0, abs=1e-4)
