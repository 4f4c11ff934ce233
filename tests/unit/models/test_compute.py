"""What computes a published model: plain for a query, fast for many, and the same vectors either way."""

from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch

from callosum.core.errors import UsageError
from callosum.models.compute import compute_for
from callosum.models.compute_openvino import OpenVinoCompute
from callosum.models.compute_torch import FEW, SmallCompute, TorchCompute
from callosum.models.dual import DualEncoder
from callosum.models.empty import without_values
from callosum.models.preprocess import Preprocess
from callosum.models.runtime.precision import Precision, Runtime, RuntimeConfig
from callosum.models.text.bert import BertConfig
from callosum.models.text.sizes import SmallTextConfig
from callosum.models.towers import DualConfig, Projection
from callosum.models.vision.sizes import HybridConfig
from callosum.models.vision.vit import ViTConfig

CONFIG = DualConfig(
    dim=16,
    vision=ViTConfig(size_px=32, patch_px=16, width=32, num_blocks=2, num_heads=2),
    text=BertConfig(vocab_size=50, width=32, num_blocks=2, num_heads=2, hidden=64, max_positions=24, context_length=24),
    text_head=Projection.MLP,
)
PREPROCESS = Preprocess(size_px=32)
PIXELS = np.random.default_rng(0).integers(0, 256, (11, 32, 32, 3), np.uint8)
IDS = [[1, *range(3, 3 + n % 9), 2] for n in range(11)]


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    network = DualEncoder(CONFIG, PREPROCESS)
    return {name: value + 0.05 * torch.randn(value.shape) for name, value in network.state_dict().items()}


def computing(weights: dict[str, torch.Tensor], **choices: object) -> TorchCompute:
    compute = compute_for(CONFIG, PREPROCESS, dict(weights), runtime=RuntimeConfig(**choices))
    assert type(compute) is TorchCompute
    return compute


def test_a_query_is_computed_plainly_and_many_fast_with_equal_vectors(weights: dict[str, torch.Tensor]) -> None:
    compute = computing(weights)
    few = np.concatenate([compute.image(PIXELS[:2]), compute.image(PIXELS[2:FEW])])
    assert not compute._is_fast
    many, texts = compute.image(PIXELS), compute.text(IDS)
    assert compute._is_fast
    assert np.abs(many[:FEW] - few).max() < 1e-5
    alone = computing(weights)
    assert np.abs(texts[:FEW] - np.concatenate([alone.text([row]) for row in IDS[:FEW]])).max() < 1e-5
    assert not alone._is_fast


def test_texts_come_back_in_order_whatever_their_length(weights: dict[str, torch.Tensor]) -> None:
    shuffled = [IDS[n] for n in (5, 0, 5, 10, 3, 9, 0)]
    texts, again = computing(weights).text(IDS), computing(weights).text(shuffled)
    assert np.abs(again - texts[[5, 0, 5, 10, 3, 9, 0]]).max() < 1e-5


def test_bfloat16_keeps_its_cosine_from_the_first_picture_on(weights: dict[str, torch.Tensor]) -> None:
    compute = computing(weights, precision=Precision.BF16)
    cosine = (compute.image(PIXELS[:1]) * computing(weights).image(PIXELS[:1])).sum()
    assert compute._is_fast
    assert 0.9995 < cosine
    assert "bf16" in compute.describe()


def test_what_belongs_to_the_process_is_as_it_was(weights: dict[str, torch.Tensor]) -> None:
    def state() -> list[object]:
        found: list[int] = []
        later = Thread(target=lambda: found.append(torch.get_num_threads()))
        later.start()
        later.join()
        return [*found, torch.get_num_threads(), torch.get_rng_state().tolist(), torch.get_float32_matmul_precision()]

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        was = state()
        assert was[:2] == [3, 3]
        for precision in (Precision.FP32, Precision.BF16):
            compute = computing(weights, precision=precision)
            compute.image(PIXELS)
            compute.text(IDS)
            assert compute._is_fast
            assert state() == was
            assert set(compute._threads.map(lambda _: torch.get_num_threads(), range(20))) == {1}
    finally:
        torch.set_num_threads(before)


def has_mps() -> bool:
    return torch.backends.mps.is_available()


def test_choices_that_do_not_exist_are_refused(weights: dict[str, torch.Tensor]) -> None:
    with pytest.raises(UsageError, match="your own pictures"):
        compute_for(CONFIG, PREPROCESS, weights, runtime=RuntimeConfig(precision=Precision.INT8))
    with pytest.raises(UsageError, match="runtime 'torch'"):
        compute_for(CONFIG, PREPROCESS, weights, runtime=RuntimeConfig(precision=Precision.INT8, runtime=Runtime.TORCH))
    with pytest.raises(UsageError, match="found 'abacus'"):
        computing(weights, device="abacus").image(PIXELS)
    absent = [name for name in ("mps", "xpu", "cuda:63", "meta", "cpu:x", "") if name != "mps" or not has_mps()]
    for device in absent:
        with pytest.raises(UsageError, match="and it is there; found"):
            computing(weights, device=device).text(IDS)
    choice = RuntimeConfig(runtime=Runtime.OPENVINO)
    assert type(compute_for(CONFIG, PREPROCESS, weights, runtime=choice)) is OpenVinoCompute


def test_the_starter_keeps_its_own_way(tmp_path: Path) -> None:
    small = DualConfig(dim=8, vision=HybridConfig(), text=SmallTextConfig(vocab_size=9))
    assert type(compute_for(small, PREPROCESS, tmp_path / "model.safetensors")) is SmallCompute


def test_networks_without_values_have_every_shape() -> None:
    expected = {name: value.shape for name, value in DualEncoder(CONFIG, PREPROCESS).state_dict().items()}
    with without_values():
        network = DualEncoder(CONFIG, PREPROCESS)
    assert {name: value.shape for name, value in network.state_dict().items()} == expected
    assert all(value.is_meta for value in network.state_dict().values())
