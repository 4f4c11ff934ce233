import pytest
import torch

from callosum.train.augment import PACK_AUGMENT, AugmentConfig, augment

STILL = AugmentConfig(min_scale=1, max_scale=1, stretch=0, rotation_deg=0, brightness=0, contrast=0, blur=0, cutout=0)


def test_shape_range_and_repeatability() -> None:
    pixels = torch.randint(0, 256, (len(PACK_AUGMENT), 40, 40, 3), dtype=torch.uint8)
    first, second = (
        augment(pixels, list(PACK_AUGMENT.values()), size_px=32, generator=torch.Generator().manual_seed(0))
        for _ in range(2)
    )
    assert first.shape == (len(PACK_AUGMENT), 3, 32, 32)
    assert torch.equal(first, second)
    assert float(first.min()) >= 0.0
    assert float(first.max()) <= 1.0


def test_limits_of_zero_leave_the_picture_but_for_noise() -> None:
    pixels = torch.full((8, 32, 32, 3), 128, dtype=torch.uint8)
    x = augment(pixels, [STILL] * 8, size_px=32, generator=torch.Generator().manual_seed(0))
    assert float((x - 128 / 255).abs().mean()) < 0.03


@pytest.mark.parametrize("pack", ["cxr_nih14", "cxr_pediatric", "cxr_notes"])
def test_chest_films_are_not_mirrored(pack: str) -> None:
    assert PACK_AUGMENT[pack].mirror == 0.0
    assert not PACK_AUGMENT[pack].is_dihedral
