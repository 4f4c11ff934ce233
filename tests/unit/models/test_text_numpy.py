import numpy as np
import torch

from callosum.models.dual import DualEncoder
from callosum.models.preprocess import Preprocess
from callosum.models.text.sizes import SmallTextConfig
from callosum.models.text.small_numpy import SmallTextNumpy
from callosum.models.tokenizer import pad
from callosum.models.towers import DualConfig
from callosum.models.vision.sizes import HybridConfig

VISION = HybridConfig(size_px=32, stem=8, widths=(8, 16, 16), depths=(1, 1, 1), token_width=16, thumbnail_px=4)


def test_numpy_and_torch_agree_whatever_the_padding() -> None:
    torch.manual_seed(0)
    config = SmallTextConfig(vocab_size=50, width=32, num_blocks=2, context_length=12)
    network = DualEncoder(DualConfig(dim=16, vision=VISION, text=config), Preprocess()).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    numpy_tower = SmallTextNumpy(config, {k: v.numpy() for k, v in network.state_dict().items()})
    ids = [[3, 4, 5], [7], [9, 8, 7, 6, 5, 4, 3, 2, 1]]
    ids_BL, mask_BL = pad(ids)
    with torch.inference_mode():
        expected = network.encode_text(torch.from_numpy(ids_BL), torch.from_numpy(mask_BL)).numpy()
    assert np.abs(numpy_tower(ids_BL, mask_BL) - expected).max() < 1e-5
    for n, row in enumerate(ids):
        assert np.abs(numpy_tower(*pad([row]))[0] - expected[n]).max() < 1e-5
