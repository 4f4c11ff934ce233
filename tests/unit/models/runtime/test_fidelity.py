import numpy as np
import pytest
import torch

from callosum.core.errors import InputError, UsageError
from callosum.models.runtime.fidelity import fidelity, require
from callosum.models.runtime.outliers import with_outliers
from callosum.models.vision.swin import Swin, SwinConfig
from callosum.models.vision.vit import ViT, ViTConfig


def turned(rows: np.ndarray) -> np.ndarray:
    """Every second row by 60 degrees."""
    out, sine = rows.copy(), 0.75**0.5
    out[::2] = rows[::2] @ np.array([[0.5, sine], [-sine, 0.5]])
    return out


def test_cosines_of_every_row() -> None:
    batches = [np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[3.0, 4.0]])]
    found = fidelity(lambda x: x, turned, batches, bound=0.4)
    assert found.num_rows == 3
    assert found.min_cosine == pytest.approx(0.5)
    assert found.mean_cosine == pytest.approx(2 / 3)
    assert found.passed
    assert not fidelity(lambda x: x, turned, batches, bound=0.6).passed


def test_length_does_not_count() -> None:
    found = fidelity(lambda x: x, lambda x: 7 * x, [np.random.default_rng(0).normal(size=(5, 9))])
    assert found.passed
    assert found.max_abs < 1e-6


def test_several_arguments_and_tensors() -> None:
    batch = (torch.ones(2, 3), torch.full((2, 3), 2.0))
    assert fidelity(lambda a, b: a + b, lambda a, b: (a * b).numpy(), [batch]).passed


def test_what_is_not_a_number_does_not_pass() -> None:
    found = fidelity(lambda x: x, lambda x: x * np.nan, [np.ones((2, 3))])
    assert found.min_cosine == -1.0
    assert not found.passed


def test_refusal_says_what_was_found() -> None:
    found = fidelity(lambda x: x, turned, [np.eye(2)], bound=0.9995)
    with pytest.raises(UsageError, match=r"int8 has to keep a cosine of 0.9995 to float32; found 0.500000 at worst"):
        require(found, "int8")
    require(fidelity(lambda x: x, lambda x: x, [np.eye(2)]), "int8")


def test_nothing_to_compare_and_rows_of_two_shapes() -> None:
    with pytest.raises(InputError, match="found none"):
        fidelity(lambda x: x, lambda x: x, [])
    with pytest.raises(InputError, match=r"rows \[2, 2\]; found \[1, 2\]"):
        fidelity(lambda x: x, lambda x: x[:1], [np.eye(2)])


@pytest.mark.parametrize(
    "tower",
    [
        ViT(ViTConfig(size_px=32, patch_px=8, width=48, num_blocks=2, num_heads=4)),
        Swin(SwinConfig(size_px=56, width=24, depths=(2, 2), num_heads=(2, 4))),
    ],
)
def test_outliers_change_the_activations_and_not_the_function(tower: torch.nn.Module) -> None:
    tower.eval()
    odd = with_outliers(tower)
    size = tower.config.size_px
    x = torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(0))
    seen: list[float] = []
    block = (odd.blocks if hasattr(odd, "blocks") else odd.stages[0].blocks)[0]
    block.norm1.register_forward_hook(lambda module, given, out: seen.append(float(out.abs().amax() / out.std())))
    with torch.inference_mode():
        assert fidelity(tower, odd, [x], bound=0.999999).passed
    assert seen[0] > 6
    assert int((block.norm1.weight > 19).sum()) == 6
