"""Rates over steps and layers, what decays, and what is averaged."""

import pytest
import torch
from torch import nn

from callosum.core.errors import UsageError
from callosum.models.dual import DualEncoder
from callosum.models.preprocess import Preprocess
from callosum.models.text.bert import BertConfig
from callosum.models.towers import DualConfig
from callosum.models.vision.swin import SwinConfig
from callosum.models.vision.vit import ViTConfig
from callosum.train.checkpointing import optimizer_tensors, restore_optimizer
from callosum.train.ema import update_average
from callosum.train.optim import OptimConfig, adamw, set_rate

TEXT = BertConfig(vocab_size=30, width=16, num_blocks=3, num_heads=2, hidden=32, max_positions=8, context_length=8)
VIT = ViTConfig(size_px=16, patch_px=8, width=16, num_blocks=2, num_heads=2)
SWIN = SwinConfig(size_px=32, width=8, depths=(1, 1), num_heads=(2, 2), window=4)


def network(vision: object = VIT) -> DualEncoder:
    return DualEncoder(DualConfig(dim=8, vision=vision, text=TEXT), Preprocess(size_px=16))


def test_the_rate_rises_and_falls() -> None:
    config = OptimConfig(learning_rate=1.0, warmup_share=0.1, floor=0.2)
    rates = [config.rate(step, 100) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == 1.0
    assert rates[55] == pytest.approx(0.6)
    assert rates[100] == pytest.approx(0.2)
    assert OptimConfig(learning_rate=1.0, warmup_share=0.0).rate(0, 10) == 1.0


@pytest.mark.parametrize("change", [{"learning_rate": 0.0}, {"learning_rate": float("nan")}, {"layer_decay": 1.5}])
def test_rates_that_are_none(change: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(change))):
        OptimConfig(**change)


def shares(model: DualEncoder, config: OptimConfig) -> dict[str, float]:
    optimizer = adamw(model, (), config)
    by_id = {id(p): g["rate_share"] for g in optimizer.param_groups for p in g["params"]}
    return {name: by_id[id(p)] for name, p in model.named_parameters() if id(p) in by_id}


def test_early_layers_move_less() -> None:
    found = shares(network(), OptimConfig(layer_decay=0.5))
    assert found["vision.patch.weight"] == 0.5**3
    assert found["vision.blocks.0.mlp.up.weight"] == 0.5**2
    assert found["vision.blocks.1.mlp.up.weight"] == 0.5
    assert found["text.token.weight"] == 0.5**4
    assert found["text.blocks.2.attention.qkv.weight"] == 0.5
    assert found["image_projection.weight"] == found["log_logit_scale"] == 1.0


def test_layers_of_stages_count_one_by_one() -> None:
    found = shares(network(SWIN), OptimConfig(layer_decay=0.5))
    assert found["vision.patch.weight"] == 0.5**3
    assert found["vision.stages.0.blocks.0.mlp.up.weight"] == found["vision.stages.0.merge.reduce.weight"] == 0.5**2
    assert found["vision.stages.1.blocks.0.mlp.up.weight"] == 0.5


def test_sides_have_rates_of_their_own_and_none_means_locked() -> None:
    found = shares(network(), OptimConfig(image_rate=0.0, text_rate=0.3))
    assert not any(name.startswith("vision.") for name in found)
    assert found["text.token.weight"] == pytest.approx(0.3)


def test_matrices_decay_and_vectors_do_not() -> None:
    model = network()
    optimizer = adamw(model, (), OptimConfig(weight_decay=0.1))
    decay = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    assert all(decay[id(p)] == (0.1 if p.ndim >= 2 else 0.0) for p in model.parameters())
    set_rate(optimizer, 0.25)
    assert all(group["lr"] == 0.25 for group in optimizer.param_groups)


def test_nothing_to_train_is_an_error() -> None:
    with pytest.raises(UsageError, match="locked"):
        adamw(network().requires_grad_(requires_grad=False), (), OptimConfig())


def test_an_optimiser_continues_where_weights_are_channels_last() -> None:
    """A fused AdamW walks memory: averages put back in another layout would be those of other elements."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last) for _ in range(2)]
    layers[1].load_state_dict(layers[0].state_dict())
    first, second = (torch.optim.AdamW(layer.parameters(), lr=0.1, fused=True) for layer in layers)
    x = torch.randn(2, 3, 8, 8)

    def step(layer: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        layer(x).square().sum().backward()
        optimizer.step()

    step(layers[0], first)
    layers[1].load_state_dict(layers[0].state_dict())
    restore_optimizer(second, {name: value.contiguous() for name, value in optimizer_tensors(first).items()})
    step(layers[0], first)
    step(layers[1], second)
    assert torch.equal(layers[0].weight, layers[1].weight)


def test_the_average_follows() -> None:
    new, kept = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    nn.init.constant_(new.weight, 3.0)
    new.num_batches_tracked += 7
    update_average(kept, new, decay=0.9, step=10**6)
    assert kept.weight.tolist() == pytest.approx([1.2, 1.2])
    assert int(kept.num_batches_tracked) == 7
    update_average(kept, new, decay=0.9, step=0)
    assert kept.weight.tolist() == pytest.approx([0.1 * 1.2 + 0.9 * 3] * 2)
