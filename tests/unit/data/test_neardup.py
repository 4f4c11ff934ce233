"""Perceptual hashes: the search is exact, copies are found, and flat pictures resemble none."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PilImage

from callosum.data.neardup import SIDE, NearConfig, Thumbnail, near_pairs, perceptual_hashes
from callosum.data.neardup import _candidates as candidates


def scene(seed: int, side: int = 96) -> np.ndarray:
    """A smooth picture of its own: a few blurred blobs."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 255, (6, 6), dtype=np.uint8)
    return np.asarray(PilImage.fromarray(small).resize((side, side), PilImage.Resampling.BICUBIC))


def thumb(display: np.ndarray) -> np.ndarray:
    return Thumbnail()(display)[..., 0]


def jpeg(picture: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    PilImage.fromarray(picture).save(buffer, "JPEG", quality=quality)
    return np.asarray(PilImage.open(buffer))


def test_a_thumbnail_is_what_a_reading_worker_can_send() -> None:
    for shape in ((50, 70), (50, 70, 3), (1, 900)):
        made = Thumbnail()(np.zeros(shape, np.uint8))
        assert (made.shape, made.dtype) == ((SIDE, SIDE, 3), np.uint8)


def test_copies_are_found_and_others_are_not() -> None:
    pictures = [scene(seed) for seed in range(60)]
    first = pictures[0]
    copies = [
        jpeg(first, 40),
        np.asarray(PilImage.fromarray(first).resize((61, 61))),
        np.clip(first * 0.8 + 20, 0, 255).astype(np.uint8),
        np.repeat(first[..., None], 3, axis=2),
    ]
    found = near_pairs(np.stack([thumb(picture) for picture in (*pictures, *copies)]))
    assert found.groups() == [[0, 60, 61, 62, 63]]
    assert len(found.rows) == 10
    assert (found.correlation > 0.95).all()
    assert (np.diff(found.distance) >= 0).all()


def test_flat_pictures_do_not_match_each_other() -> None:
    flat = [np.full((40, 40), grey, np.uint8) for grey in (0, 0, 128, 255)]
    faint = np.full((40, 40), 9, np.uint8)
    faint[::2] = 10
    found = near_pairs(np.stack([thumb(picture) for picture in (*flat, faint)]))
    assert (len(found.rows), found.num_flat) == (0, 5)


def test_nothing_to_compare() -> None:
    found = near_pairs(np.empty((0, SIDE, SIDE), np.uint8))
    assert (found.rows.shape, found.groups()) == ((0, 2), [])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 9), st.integers(0, 1 << 30), st.integers(0, 60))
def test_the_search_finds_every_pair_within_the_radius_once(radius: int, seed: int, num: int) -> None:
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 1 << 63, num, dtype=np.uint64)
    for at in range(1, num):  # neighbours, some equal, some a few bits away
        flips = rng.choice(64, rng.integers(0, 12), replace=False)
        noise = np.bitwise_xor.reduce(np.left_shift(np.uint64(1), flips.astype(np.uint64)), initial=np.uint64(0))
        hashes[at] = hashes[rng.integers(0, at)] ^ noise
    found = [
        (int(a), int(b), int(d))
        for rows, far in candidates(hashes, radius)
        for (a, b), d in zip(rows, far, strict=True)
    ]
    apart = np.bitwise_count(hashes[:, None] ^ hashes[None]).astype(int)
    expected = {(i, j, int(apart[i, j])) for i in range(num) for j in range(i + 1, num) if apart[i, j] <= radius}
    assert len(found) == len(set(found))
    assert set(found) == expected


def test_a_bucket_larger_than_a_chunk_is_compared_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callosum.data.neardup._CHUNK", 3)
    hashes = np.full(11, 7, np.uint64)
    found = {tuple(pair) for rows, _ in candidates(hashes, 2) for pair in rows.tolist()}
    assert len(found) == 55


def test_hashes_do_not_change_with_brightness() -> None:
    thumbs = np.stack([thumb(scene(seed)) for seed in range(20)])
    darker = (thumbs // 2).astype(np.uint8)
    (first, _), (second, _) = perceptual_hashes(thumbs), perceptual_hashes(darker)
    assert np.bitwise_count(first ^ second).max() <= 6


def test_a_smaller_radius_finds_less() -> None:
    thumbs = np.stack([thumb(jpeg(scene(seed), quality)) for seed in range(10) for quality in (5, 90)])
    wide, exact = near_pairs(thumbs), near_pairs(thumbs, NearConfig(radius=0))
    assert len(exact.rows) <= len(wide.rows)
    assert (exact.distance == 0).all()
