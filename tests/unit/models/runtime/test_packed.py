import threading

import pytest
import torch
from torch import Tensor, nn

from callosum.models.layers import Activation, Attention, Mlp
from callosum.models.runtime.packed import (
    MIX,
    PackedAttention,
    PackedConv,
    PackedLinear,
    PackedMlp,
    SwitchedLinear,
    can_pack,
    mix_bmm,
)
from callosum.models.runtime.precision import Path
from callosum.models.runtime.window import PackedWindowAttention
from callosum.models.vision.swin import WindowAttention, shift_mask
from tests.unit.models.runtime.kernels import needs_kernels

pytestmark = needs_kernels
BOUND = {torch.float32: 1e-6, torch.bfloat16: 1.5e-2}
DTYPES = pytest.mark.parametrize("dtype", BOUND)


def apart(found: Tensor, expected: Tensor) -> float:
    assert found.shape == expected.shape and found.dtype == expected.dtype
    return float((found - expected).norm() / expected.norm())


@DTYPES
@pytest.mark.parametrize("shape", [(7, 33), (1, 33), (3, 5, 33), (0, 33)])
@pytest.mark.parametrize("has_bias", [True, False])
def test_linear(dtype: torch.dtype, shape: tuple[int, ...], has_bias: bool) -> None:
    torch.manual_seed(0)
    plain, x = nn.Linear(33, 50, bias=has_bias), torch.randn(shape)
    with torch.inference_mode():
        found = PackedLinear(plain, dtype=dtype)(x)
        assert found.shape == (*shape[:-1], 50)
        if shape[0]:
            assert apart(found, plain(x)) <= BOUND[dtype]


def test_linear_of_a_strided_input() -> None:
    torch.manual_seed(0)
    plain, x = nn.Linear(16, 24), torch.randn(5, 16, 9).transpose(1, 2)
    with torch.inference_mode():
        assert apart(PackedLinear(plain, dtype=torch.float32)(x), plain(x)) <= 1e-6
        assert apart(SwitchedLinear(plain)(x), plain(x)) <= 1e-5


@DTYPES
@pytest.mark.parametrize("activation", list(Activation))
@pytest.mark.parametrize("is_fused", [True, False])
def test_perceptron(dtype: torch.dtype, activation: Activation, is_fused: bool) -> None:
    torch.manual_seed(0)
    plain, x = Mlp(40, 100, activation=activation), 3 * torch.randn(2, 9, 40)
    with torch.inference_mode():
        assert apart(PackedMlp(plain, dtype=dtype, is_fused=is_fused)(x), plain(x)) <= BOUND[dtype]


@DTYPES
@pytest.mark.parametrize("path", list(MIX))
@pytest.mark.parametrize("num_tokens", [5, 80])
@pytest.mark.parametrize("masking", ["none", "all", "some"])
@pytest.mark.parametrize("is_causal", [True, False])
def test_attention(dtype: torch.dtype, path: Path, num_tokens: int, masking: str, is_causal: bool) -> None:
    torch.manual_seed(0)
    plain = Attention(36, 3, is_causal=is_causal)
    x = 2 * torch.randn(3, num_tokens, 36)
    mask = None if masking == "none" else torch.ones(3, num_tokens, dtype=torch.bool)
    if masking == "some":
        mask[0, 3:], mask[2, 1:] = False, False
    with torch.inference_mode():
        found = PackedAttention(plain, dtype=dtype, mix=MIX[path])(x, mask)
        assert apart(found, plain(x, mask)) <= BOUND[dtype]


@DTYPES
def test_attention_in_windows(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    plain = WindowAttention(32, 4, window=4)
    nn.init.normal_(plain.bias_table)
    mask = shift_mask(8, 4, 2)
    fast, x = PackedWindowAttention(plain, dtype=dtype), torch.randn(3 * len(mask), 16, 32)
    with torch.inference_mode():
        for given in (mask, None, mask):
            assert apart(fast(x, given), plain(x, given)) <= BOUND[dtype]
        assert not torch.equal(fast(x, mask), fast(x, None))


@DTYPES
@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(3, 8, 4, 4),
        nn.Conv2d(8, 16, 3, 2, 1, bias=False),
        nn.Conv2d(8, 8, 3, padding=2, dilation=2),
        nn.Conv2d(8, 16, 1, groups=4),
    ],
)
def test_convolution(dtype: torch.dtype, conv: nn.Conv2d) -> None:
    torch.manual_seed(0)
    fast = PackedConv(conv, dtype=dtype)
    with torch.inference_mode():
        for shape in ((2, conv.in_channels, 12, 16), (1, conv.in_channels, 20, 12)):
            x = torch.randn(shape)
            assert apart(fast(x), conv(x)) <= BOUND[dtype]
            assert apart(fast(x.contiguous(memory_format=torch.channels_last)), conv(x)) <= BOUND[dtype]


def test_convolutions_that_are_left_alone() -> None:
    assert can_pack(nn.Conv2d(3, 8, 3, padding=1))
    assert not can_pack(nn.Conv2d(3, 8, 3, padding="same"))
    assert not can_pack(nn.Conv2d(3, 8, 3, padding=1, padding_mode="reflect"))


def test_a_packed_convolution_is_laid_out_once_by_many_threads() -> None:
    torch.manual_seed(0)
    conv, x = nn.Conv2d(8, 8, 3, padding=1), torch.randn(1, 8, 16, 16)
    fast, found = PackedConv(conv, dtype=torch.float32), []

    def call() -> None:
        with torch.inference_mode():
            found.append(fast(x))

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    with torch.inference_mode():
        assert all(apart(y, conv(x)) <= 1e-6 for y in found)


def test_long_and_short_rows_mix_alike() -> None:
    torch.manual_seed(0)
    qkv = torch.randn(2, 100, 3 * 24)
    whole = mix_bmm(qkv, 3, None)
    short = torch.stack([mix_bmm(row[None, :20], 3, None)[0] for row in qkv])
    mask = torch.zeros(2, 1, 100, dtype=torch.bool)
    mask[:, :, :20] = True
    assert apart(mix_bmm(qkv, 3, mask)[:, :20], short) <= 1e-6
    assert apart(whole, mix_bmm(qkv, 3, torch.ones_like(mask))) <= 1e-6
