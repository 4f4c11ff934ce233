import torch

from callosum.models.vision.hybrid import Hybrid
from callosum.models.vision.sizes import HybridConfig


def test_folding_the_norms_changes_nothing() -> None:
    torch.manual_seed(0)
    tower = Hybrid(HybridConfig(size_px=48, stem=8, widths=(8, 16, 24), depths=(1, 1, 1), token_width=16))
    x = torch.randn(4, 3, 48, 48)
    for _ in range(3):
        tower(x)
    tower.eval()
    with torch.inference_mode():
        before = tower(x)
        tower.fold_norms()
        after = tower(x)
    assert before.shape == (4, tower.feature_width)
    assert torch.allclose(before, after, atol=1e-4)
