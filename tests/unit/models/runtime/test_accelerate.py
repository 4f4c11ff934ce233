import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from callosum.core.errors import UsageError
from callosum.models.layers import Activation, Block
from callosum.models.runtime.accelerate import accelerate, fold_norms
from callosum.models.runtime.bottleneck import PackedStage
from callosum.models.runtime.first_row import FirstRowBlock, reads_first_row
from callosum.models.runtime.packed import PackedAttention, PackedConv, PackedLinear, PackedMlp, SwitchedLinear
from callosum.models.runtime.precision import Op, Path, PathReport, Precision, Runtime, RuntimeReport
from callosum.models.runtime.probe import plain
from callosum.models.text.bert import Bert, BertConfig
from callosum.models.text.clip_text import ClipText, ClipTextConfig
from callosum.models.text.pooling import Pool
from callosum.models.vision.clip_resnet import ClipResNet, ClipResNetConfig
from callosum.models.vision.hybrid import Hybrid
from callosum.models.vision.resnet import ResNet, ResNetConfig
from callosum.models.vision.sizes import HybridConfig
from callosum.models.vision.swin import Swin, SwinConfig
from callosum.models.vision.vit import ViT, ViTConfig
from tests.unit.models.runtime.kernels import needs_kernels

PACKED = {
    Op.LINEAR: Path.PACKED,
    Op.GELU: Path.FUSED,
    Op.GELU_TANH: Path.FUSED,
    Op.ATTENTION: Path.BMM,
    Op.CONVOLUTION: Path.PACKED,
}


def taking(paths: dict[Op, Path]) -> Callable[[Precision], RuntimeReport]:
    """A probe that takes these paths, whatever they are worth here."""

    def probe(precision: Precision) -> RuntimeReport:
        reports = tuple(PathReport(op=op, path=path, ratio=1.0, error=0.0, why="told") for op, path in paths.items())
        return RuntimeReport(runtime=Runtime.TORCH, version="", precision=precision, paths=reports)

    return probe


def stirred(tower: nn.Module) -> nn.Module:
    """A tower in eval mode in which nothing is zero or one."""
    with torch.no_grad():
        for parameter in tower.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
        for norm in tower.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.running_mean.normal_(0, 0.1)
                norm.running_var.uniform_(0.5, 1.5)
    return tower.eval()


def vit(**other: object) -> tuple[nn.Module, tuple[Tensor, ...]]:
    tower = ViT(ViTConfig(size_px=32, patch_px=8, width=48, num_blocks=3, num_heads=4, **other))
    return stirred(tower), (torch.randn(3, 3, 32, 32),)


def bert(pool: Pool = Pool.CLS) -> tuple[nn.Module, tuple[Tensor, ...]]:
    config = BertConfig(
        vocab_size=50, width=48, num_blocks=4, num_heads=4, hidden=96, max_positions=20, context_length=12, pool=pool
    )
    mask = torch.ones(3, 12, dtype=torch.bool)
    mask[1, 5:] = False
    return stirred(Bert(config)), (torch.randint(0, 50, (3, 12)), mask)


def clip_text() -> tuple[nn.Module, tuple[Tensor, ...]]:
    config = ClipTextConfig(vocab_size=50, width=48, num_blocks=2, num_heads=4, context_length=12)
    return stirred(ClipText(config)), (torch.randint(0, 50, (3, 9)), torch.ones(3, 9, dtype=torch.bool))


def swin() -> tuple[nn.Module, tuple[Tensor, ...]]:
    config = SwinConfig(size_px=56, width=24, depths=(2, 2), num_heads=(2, 4))
    return stirred(Swin(config)), (torch.randn(2, 3, 56, 56),)


def resnet() -> tuple[nn.Module, tuple[Tensor, ...]]:
    return stirred(ResNet(ResNetConfig(stem=8, depths=(1, 2)))), (torch.randn(2, 3, 64, 64),)


def hybrid() -> tuple[nn.Module, tuple[Tensor, ...]]:
    config = HybridConfig(size_px=48, stem=8, widths=(8, 16, 24), depths=(1, 1, 1), token_width=32)
    return stirred(Hybrid(config)), (torch.randn(2, 3, 48, 48),)


def clip_resnet() -> tuple[nn.Module, tuple[Tensor, ...]]:
    config = ClipResNetConfig(size_px=64, stem=8, depths=(1, 2), num_heads=4, dim=24)
    return stirred(ClipResNet(config)), (torch.randn(2, 3, 64, 64),)


TOWERS = {
    "vit": vit,
    "vit_clip": lambda: vit(has_pre_norm=True, has_patch_bias=False, activation=Activation.QUICK_GELU),
    "bert": bert,
    "bert_mean": lambda: bert(Pool.MEAN),
    "bert_unmasked": lambda: bert(Pool.MEDCLIP_UNMASKED),
    "bert_gloria": lambda: bert(Pool.GLORIA),
    "clip_text": clip_text,
    "swin": swin,
    "resnet": resnet,
    "clip_resnet": clip_resnet,
    "hybrid": hybrid,
}


@needs_kernels
@pytest.mark.parametrize("name", TOWERS)
@pytest.mark.parametrize("convolution", [Path.PACKED, Path.FUSED])
@pytest.mark.parametrize("precision", [Precision.FP32, Precision.BF16])
def test_a_fast_tower_equals_the_plain_one(name: str, convolution: Path, precision: Precision) -> None:
    torch.manual_seed(0)
    tower, inputs = TOWERS[name]()
    with torch.inference_mode():
        expected = functional.normalize(tower(*inputs), dim=-1)
        paths = {**PACKED, Op.CONVOLUTION: convolution}
        fast = accelerate(copy.deepcopy(tower), precision=precision, probe=taking(paths))
        found = functional.normalize(fast(*inputs), dim=-1)
        alone = functional.normalize(fast(*(x[:1] for x in inputs)), dim=-1)
    assert found.dtype == torch.float32
    if precision is Precision.FP32:
        assert float((found - expected).abs().max()) <= 1e-5
        assert float((alone - expected[:1]).abs().max()) <= 1e-5
    assert float((found * expected).sum(dim=-1).min()) >= (0.999999 if precision is Precision.FP32 else 0.9995)
    assert not any(type(m) in (nn.Linear, nn.Conv2d, nn.BatchNorm2d) for m in fast.modules())
    has_stages = "resnet" in name and convolution is Path.FUSED
    assert any(isinstance(m, PackedStage) for m in fast.modules()) == has_stages


@needs_kernels
def test_what_a_probe_found_here_equals_the_plain_tower() -> None:
    torch.manual_seed(0)
    tower, inputs = vit()
    with torch.inference_mode():
        expected = tower(*inputs)
        assert torch.allclose(accelerate(tower)(*inputs), expected, atol=1e-5)


@needs_kernels
@pytest.mark.parametrize("name", ["vit", "bert"])
def test_the_last_block_is_short_only_where_the_first_row_is_all_that_is_read(name: str) -> None:
    torch.manual_seed(0)
    tower, inputs = TOWERS[name]()
    fast = accelerate(copy.deepcopy(tower), probe=taking(PACKED))
    last = fast.blocks[-1]
    assert isinstance(last, FirstRowBlock)
    assert isinstance(last.block.attention, PackedAttention)
    rows: list[int] = []
    last.register_forward_hook(lambda module, given, out: rows.append(out.shape[1]))
    with torch.inference_mode():
        fast(*inputs)
        every = fast.hidden_states(*inputs)[-1] if name == "bert" else fast.tokens(*inputs)
        expected = tower.hidden_states(*inputs)[-1] if name == "bert" else tower.tokens(*inputs)
        fast(*inputs)
    assert rows == [1, 12 if name == "bert" else 17, 1]
    assert torch.allclose(every, expected, atol=1e-5)


@needs_kernels
def test_an_error_inside_a_tower_leaves_its_last_block_whole() -> None:
    torch.manual_seed(0)
    tower, (pixels,) = vit()
    fast = accelerate(copy.deepcopy(tower), probe=taking(PACKED))
    with torch.inference_mode():
        with pytest.raises(RuntimeError):
            fast(pixels[:, :, :16])
        assert torch.allclose(fast.tokens(pixels), tower.tokens(pixels), atol=1e-5)


def test_towers_that_pool_every_row_are_not_shortened() -> None:
    assert reads_first_row(vit()[0])
    assert reads_first_row(bert()[0])
    assert not any(reads_first_row(TOWERS[name]()[0]) for name in ("bert_mean", "clip_text", "swin", "resnet"))


def test_where_nothing_is_faster_every_module_stays() -> None:
    torch.manual_seed(0)
    for make in (vit, bert, swin):
        tower, inputs = make()
        kinds = [type(m) for m in tower.modules()]
        with torch.inference_mode():
            expected = tower(*inputs)
            fast = accelerate(tower, probe=plain)
            assert fast is tower
            assert [type(m) for m in fast.modules()] == kinds
            assert torch.equal(fast(*inputs), expected)


def test_the_switch_alone_wraps_linear_layers() -> None:
    torch.manual_seed(0)
    tower, inputs = vit()
    with torch.inference_mode():
        expected = tower(*inputs)
        fast = accelerate(tower, probe=taking({Op.LINEAR: Path.SWITCHED}))
        assert torch.allclose(fast(*inputs), expected, atol=1e-4)
    assert sum(isinstance(m, SwitchedLinear) for m in fast.modules()) == 12
    assert not any(isinstance(m, PackedLinear | PackedMlp) for m in fast.modules())


@needs_kernels
def test_one_layer_becomes_another_object_and_a_shared_one_is_packed_once() -> None:
    assert isinstance(accelerate(nn.Linear(3, 4).eval(), probe=taking(PACKED)), PackedLinear)
    shared = nn.Linear(4, 4)
    fast = accelerate(nn.Sequential(shared, nn.ReLU(), shared).eval(), probe=taking(PACKED))
    assert fast[0] is fast[2]


@needs_kernels
def test_a_subclass_of_a_layer_is_left_alone() -> None:
    class Odd(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + 1

    assert isinstance(accelerate(nn.Sequential(Odd(3, 3)).eval(), probe=taking(PACKED))[0], Odd)


def test_norms_are_folded_only_into_the_convolution_before_them() -> None:
    torch.manual_seed(0)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.norm1 = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)
            self.conv2, self.bn2 = nn.Conv2d(4, 5, 1), nn.BatchNorm2d(5)
            self.norm3 = nn.BatchNorm2d(5)
            self.tail = nn.Sequential(nn.Conv2d(5, 6, 1), nn.ReLU(), nn.BatchNorm2d(6), nn.Conv2d(6, 2, 1))

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.tail(self.norm3(self.bn2(self.conv2(functional.relu(self.norm1(self.conv1(x)))))))
            return out

    net = stirred(Net())
    x = torch.randn(2, 3, 8, 8)
    with torch.inference_mode():
        expected = net(x)
        fold_norms(net)
        assert torch.allclose(net(x), expected, atol=1e-5)
    assert [isinstance(m, nn.Identity) for m in (net.norm1, net.bn2, net.norm3, net.tail[2])] == [
        True,
        True,
        False,
        False,
    ]


@needs_kernels
def test_a_fast_tower_can_still_be_moved_about() -> None:
    torch.manual_seed(0)
    tower, inputs = resnet()
    with torch.inference_mode():
        expected = tower(*inputs)
        fast = accelerate(tower, probe=taking(PACKED)).to(memory_format=torch.channels_last).float()
        assert torch.allclose(fast(*inputs), expected, atol=1e-4)
    assert any(isinstance(m, PackedConv) for m in fast.modules())


def test_refusals() -> None:
    with pytest.raises(UsageError, match="eval mode; found training mode"):
        accelerate(Block(8, 2))
    with pytest.raises(UsageError, match=r"found torch.float16 on cpu"):
        accelerate(Block(8, 2).half().eval())
    with pytest.raises(UsageError, match="found int8"):
        accelerate(Block(8, 2).eval(), precision=Precision.INT8)
