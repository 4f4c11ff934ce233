import numpy as np
import pytest
import torch
from torch import Tensor

from callosum.core.errors import UsageError
from callosum.train.augment_recipes import RECIPES, Augmentation, Recipe, augment_pixels, augmentation_of
from callosum.train.chance import keys

SIDE, SIZE = 64, 56


def _pixels(num: int, channels: int = 3) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (num, SIDE, SIDE, channels), np.uint8))


def _left_bright(num: int) -> Tensor:
    pixels = torch.zeros(num, SIDE, SIDE, 1, dtype=torch.uint8)
    pixels[:, :, : SIDE // 2] = 200
    return pixels


@pytest.mark.parametrize("recipe", list(Recipe))
@pytest.mark.parametrize("channels", [1, 3])
def test_shape_range_and_a_function_of_the_key_alone(recipe: Recipe, channels: int) -> None:
    pixels, codes = _pixels(6, channels), keys(1, np.arange(6))
    limits = augmentation_of(recipe)
    x = augment_pixels(pixels, codes, augmentation=limits, size_px=SIZE)
    assert x.shape == (6, 3, SIZE, SIZE)
    assert 0.0 <= float(x.min()) <= float(x.max()) <= 1.0
    alone = augment_pixels(pixels[4:5], codes[4:5], augmentation=limits, size_px=SIZE)
    assert torch.allclose(alone[0], x[4], atol=1e-6)
    other = augment_pixels(pixels, keys(2, np.arange(6)), augmentation=limits, size_px=SIZE)
    assert torch.equal(x, other) == (recipe is Recipe.NONE)
    assert torch.equal(x, augment_pixels(pixels, codes, augmentation=limits, size_px=SIZE))


@pytest.mark.parametrize("recipe", list(Recipe))
def test_no_recipe_mirrors_unless_asked(recipe: Recipe) -> None:
    codes = keys(3, np.arange(64))
    x = augment_pixels(_left_bright(64), codes, augmentation=augmentation_of(recipe), size_px=SIZE)
    is_left = x[..., : SIZE // 2].mean(dim=(1, 2, 3)) > x[..., SIZE // 2 :].mean(dim=(1, 2, 3))
    assert bool(is_left.all())
    mirrored = augment_pixels(_left_bright(64), codes, augmentation=augmentation_of(recipe, mirror=0.5), size_px=SIZE)
    flipped = mirrored[..., : SIZE // 2].mean(dim=(1, 2, 3)) < mirrored[..., SIZE // 2 :].mean(dim=(1, 2, 3))
    assert 15 < int(flipped.sum()) < 49


def test_nothing_asked_for_changes_nothing() -> None:
    pixels = _pixels(2)
    x = augment_pixels(pixels, keys(np.arange(2)), augmentation=Augmentation(), size_px=SIDE)
    assert torch.equal(x, pixels.permute(0, 3, 1, 2).float() / 255)


def test_resampling_without_change_keeps_the_picture() -> None:
    """The affine way with limits of nothing: pixel centres fall on pixel centres."""
    pixels = _pixels(3)
    still = Augmentation(shift=1e-9)
    x = augment_pixels(pixels, keys(np.arange(3)), augmentation=still, size_px=SIDE)
    assert torch.allclose(x, pixels.permute(0, 3, 1, 2).float() / 255, atol=1e-4)


def test_crops_of_gloria_are_pixels_of_the_square() -> None:
    pixels = _pixels(8, 1)
    x = augment_pixels(pixels, keys(np.arange(8)), augmentation=RECIPES[Recipe.GLORIA], size_px=SIZE)
    corners = set()
    for n in range(8):
        windows = pixels[n, :, :, 0].unfold(0, SIZE, 1).unfold(1, SIZE, 1)
        same = (windows == (x[n, 0] * 255).round().to(torch.uint8)).all(dim=-1).all(dim=-1).nonzero()
        assert len(same) == 1
        corners.add(tuple(same[0].tolist()))
    assert len(corners) > 4


def test_crops_stay_inside_and_reach_the_edges() -> None:
    white = torch.full((256, SIDE, SIDE, 1), 255, dtype=torch.uint8)
    x = augment_pixels(white, keys(np.arange(256)), augmentation=RECIPES[Recipe.CLIP], size_px=SIZE)
    assert float(x.min()) > 0.99 - 0.5  # half a pixel of black at most at an edge
    assert float(x[:, :, 1:-1, 1:-1].min()) > 0.999


def test_magnification_and_shift_have_the_stated_size() -> None:
    spot = torch.zeros(1, SIDE, SIDE, 1, dtype=torch.uint8)
    spot[:, 24:40, 24:40] = 255
    x = augment_pixels(spot, keys(0), augmentation=Augmentation(scale=(2.0, 2.0)), size_px=SIDE)
    assert float((x[0, 0] > 0.5).float().sum()) == pytest.approx(32 * 32, rel=0.05)
    codes = keys(np.arange(500))
    moved = augment_pixels(spot.expand(500, -1, -1, -1), codes, augmentation=Augmentation(shift=0.1), size_px=SIDE)
    centre = (moved[:, 0].sum(dim=1) * torch.arange(SIDE)).sum(dim=1) / moved[:, 0].sum(dim=(1, 2)) - 31.5
    assert float(centre.abs().max()) == pytest.approx(0.1 * SIDE, abs=0.3)
    assert abs(float(centre.mean())) < 0.4


def test_tone_and_blur() -> None:
    pixels = _pixels(4, 1)
    codes = keys(np.arange(4))
    plain = augment_pixels(pixels, codes, augmentation=Augmentation(), size_px=SIDE)
    dark = augment_pixels(pixels, codes, augmentation=Augmentation(brightness=(0.5, 0.5)), size_px=SIDE)
    assert torch.allclose(dark, plain * 0.5, atol=1e-4)
    flat = augment_pixels(pixels, codes, augmentation=Augmentation(contrast=(0.5, 0.5)), size_px=SIDE)
    assert torch.allclose(flat.std(dim=(1, 2, 3)), plain.std(dim=(1, 2, 3)) * 0.5, atol=1e-3)
    soft = augment_pixels(pixels, codes, augmentation=Augmentation(blur_px=(2.0, 2.0)), size_px=SIDE)
    assert float(soft.std()) < 0.3 * float(plain.std())
    assert torch.allclose(soft.mean(dim=(1, 2, 3)), plain.mean(dim=(1, 2, 3)), atol=0.02)


def test_unknown_recipes_are_refused() -> None:
    with pytest.raises(UsageError, match="convirt"):
        augmentation_of("simclr")
    with pytest.raises(UsageError, match="probability"):
        augmentation_of(Recipe.CLIP, mirror=2.0)
