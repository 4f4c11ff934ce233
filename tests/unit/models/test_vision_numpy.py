import numpy as np
import pytest
import torch

from callosum.models.dual import DualEncoder
from callosum.models.preprocess import Preprocess
from callosum.models.text.sizes import SmallTextConfig
from callosum.models.towers import DualConfig
from callosum.models.vision.hybrid_numpy import HybridNumpy
from callosum.models.vision.sizes import HybridConfig

PREPROCESS = Preprocess(mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.25))


@pytest.mark.parametrize(
    ("size_px", "thumbnail_px", "depths"), [(32, 4, (1, 1, 1)), (36, 5, (2, 1, 2)), (50, 0, (1, 2, 1))]
)
def test_numpy_and_torch_agree(size_px: int, thumbnail_px: int, depths: tuple[int, ...]) -> None:
    torch.manual_seed(size_px)
    vision = HybridConfig(
        size_px=size_px, stem=8, widths=(8, 16, 16), depths=depths, token_width=16, thumbnail_px=thumbnail_px
    )
    network = DualEncoder(DualConfig(dim=16, vision=vision, text=SmallTextConfig(vocab_size=9, width=16)), PREPROCESS)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.dtype.is_floating_point:
                value.add_(0.2 * (torch.rand(value.shape) if "var" in name else torch.randn(value.shape)))
    network.eval()
    pixels = np.random.default_rng(0).integers(0, 256, (3, size_px, size_px, 3), np.uint8)
    with torch.inference_mode():
        expected = network.encode_image(torch.from_numpy(pixels)).numpy()
    found = HybridNumpy(vision, {k: v.numpy() for k, v in network.state_dict().items()}, PREPROCESS)(pixels)
    assert np.abs(found - expected).max() < 1e-5
    assert np.abs(expected[0] - expected[1]).max() > 1e-4, "the pictures differ, so agreement says something"
