"""Tries every path on this machine, once per process: right to the bound, and faster than the plain path, or not taken.

Nothing is decided by the name of a processor. A path is measured on small matrices, on one thread, since towers are
run one micro-batch to a thread; the time is the thread's own, so that other programs do not count. Paths of one
operation are timed in turn, and the least of the rounds counts.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from callosum.core.errors import UsageError
from callosum.models.layers import Activation, Mlp
from callosum.models.runtime.bottleneck import PackedStage
from callosum.models.runtime.packed import (
    MIX,
    PackedConv,
    PackedLinear,
    PackedMlp,
    SwitchedLinear,
    layer_of,
    mix_bmm,
)
from callosum.models.runtime.precision import Op, Path, PathReport, Precision, Runtime, RuntimeReport
from callosum.models.runtime.switch import is_offered
from callosum.models.vision.resnet import Bottleneck

ERROR_BOUND = {Precision.FP32: 1e-5, Precision.BF16: 1e-2}
"""Relative error, in the Frobenius norm against float64, up to which a path counts as right."""
DTYPE = {Precision.FP32: torch.float32, Precision.BF16: torch.bfloat16}
FASTER = 1.02
"""Ratio from which a path counts as faster than the plain one."""
CLEARLY_FASTER = 1.15
"""Ratio that needs no further rounds."""
ROUNDS = (3, 15)
"""Rounds before a clear lead is believed, and rounds after which there is none."""

Probe = Callable[[Precision], RuntimeReport]
Try = Callable[[], Tensor]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """An operation, its plain path, the other ways to build it, and its value in float64."""

    op: Op
    plain: Try
    others: Mapping[Path, Callable[[], Try]]
    exact: Tensor


@cache
def probe_here(precision: Precision) -> RuntimeReport:
    """What torch can do on this machine, measured at the first call for each precision.

    Raises:
        UsageError: int8 was asked for; it depends on the weights, not only on the machine.
    """
    if precision not in DTYPE:
        message = f"The torch runtime computes {', '.join(DTYPE)}; found {precision}."
        raise UsageError(message, hint="Use the OpenVINO runtime for int8.")
    found: list[PathReport] = []
    thread = threading.Thread(target=_on_one_thread, args=(precision, found), name="probe")
    thread.start()
    thread.join()
    version = torch.__version__
    return RuntimeReport(runtime=Runtime.TORCH, version=version, precision=precision, paths=tuple(found))


def plain(precision: Precision) -> RuntimeReport:
    """A probe that takes no path: every module stays as it is written."""
    return RuntimeReport(runtime=Runtime.TORCH, version=torch.__version__, precision=precision)


def _on_one_thread(precision: Precision, found: list[PathReport]) -> None:
    """Measure in a thread of its own, since the number of threads is set per thread and inherited by later ones."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            found.extend(judge(make(DTYPE[precision]), ERROR_BOUND[precision]) for make in TRIALS)
    finally:
        torch.set_num_threads(before)


def judge(trial: Trial, bound: float, *, clock: Callable[[], float] | None = None) -> PathReport:
    """The fastest right path of one operation."""
    ready, errors, refused = {Path.PLAIN: trial.plain}, {Path.PLAIN: _error(trial.plain(), trial.exact)}, []
    for path, build in trial.others.items():
        try:
            run = build()
            errors[path] = _error(run(), trial.exact)
        except (RuntimeError, AttributeError, TypeError) as error:
            refused.append(f"{path} not offered by this torch ({type(error).__name__})")
            continue
        if errors[path] <= bound:
            ready[path] = run
        else:
            refused.append(f"{path} wrong by {errors[path]:.1e}, more than {bound:.0e}")
    least_s = _least_s(ready, clock or _clock())
    ratio = {path: least_s[Path.PLAIN] / max(s, 1e-12) for path, s in least_s.items()}
    best = max(ratio, key=lambda path: ratio[path])
    taken = best if ratio[best] >= FASTER else Path.PLAIN
    others = [f"{path} {ratio[path]:.2f} times plain" for path in ratio if path not in (taken, Path.PLAIN)]
    why = "nothing right was faster" if taken is Path.PLAIN else f"{ratio[taken]:.2f} times plain, the fastest"
    why = "; ".join([why, *others, *refused])
    return PathReport(op=trial.op, path=taken, ratio=round(ratio[taken], 3), error=errors[taken], why=why)


def _least_s(runs: Mapping[Path, Try], clock: Callable[[], float]) -> dict[Path, float]:
    """Least time of each over the rounds, in turn; a narrow lead takes more of them, lest a busy machine decide."""
    least = dict.fromkeys(runs, float("inf"))
    for n in range(ROUNDS[1]):
        if n >= ROUNDS[0] and least[Path.PLAIN] >= CLEARLY_FASTER * min(least.values()):
            break
        for path, run in runs.items():
            start = clock()
            run()
            least[path] = min(least[path], clock() - start)
    return least


def _clock() -> Callable[[], float]:
    """The thread's own time where it is counted finely, else the wall's."""
    return time.thread_time if time.get_clock_info("thread_time").resolution <= 1e-5 else time.perf_counter


def _error(found: Tensor, exact: Tensor) -> float:
    """Relative error in the Frobenius norm; not a number counts as infinite."""
    error = float((found.double() - exact).norm() / exact.norm())
    return error if error == error else float("inf")


def _linear(dtype: torch.dtype) -> Trial:
    """The widest layers of a base tower over a short text; larger than a core's own cache, as in a tower they are."""
    layers, x = nn.Sequential(_layer(768, 3072), _layer(3072, 768)), torch.randn(24, 768)

    def packed() -> Try:
        return partial(nn.Sequential(*[PackedLinear(layer, dtype=dtype) for layer in layers]), x)  # type: ignore[arg-type]

    others: dict[Path, Callable[[], Try]] = {Path.PACKED: packed}
    if dtype is torch.float32 and is_offered():
        others[Path.SWITCHED] = lambda: partial(nn.Sequential(*map(SwitchedLinear, layers)), x)  # type: ignore[arg-type]
    exact = x.double()
    for layer in layers:
        exact = functional.linear(exact, layer.weight.double(), layer.bias.double())  # type: ignore[arg-type]
    return Trial(op=Op.LINEAR, plain=partial(layers, x), others=others, exact=exact)


def _layer(width_in: int, width: int) -> nn.Linear:
    """A layer with weights of the usual size; a few rows are drawn and repeated, which takes less time."""
    few = torch.empty(32, width_in).uniform_(-(width_in**-0.5), width_in**-0.5)
    return layer_of(few.repeat(width // 32, 1), torch.empty(width).uniform_(-0.1, 0.1))


def _gelu(dtype: torch.dtype, *, op: Op, activation: Activation) -> Trial:
    layer, x = Mlp(256, 768, activation=activation), torch.randn(128, 256)
    others: dict[Path, Callable[[], Try]] = {
        Path.PACKED: lambda: partial(PackedMlp(layer, dtype=dtype, is_fused=False), x),
        Path.FUSED: lambda: partial(PackedMlp(layer, dtype=dtype, is_fused=True), x),
    }
    hidden = activation(functional.linear(x.double(), layer.up.weight.double(), layer.up.bias.double()))
    exact = functional.linear(hidden, layer.down.weight.double(), layer.down.bias.double())
    return Trial(op=op, plain=partial(layer, x), others=others, exact=exact)


def _attention(dtype: torch.dtype) -> Trial:
    """A picture of 197 tokens and 6 heads, half of what a base tower has."""
    num_heads, W = 6, 384
    qkv_BLV = torch.randn(1, 197, 3 * W)
    qkv_BLV[:, :, :W] *= (W // num_heads) ** -0.5
    rounded = qkv_BLV.to(dtype)
    others: dict[Path, Callable[[], Try]] = {
        path: partial(partial, mix, rounded, num_heads, None)
        for path, mix in MIX.items()
        if path is not Path.SWITCHED or (dtype is torch.float32 and is_offered())
    }

    def as_written() -> Tensor:
        q, k, v = qkv_BLV.view(1, 197, 3, num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        return ((q @ k.transpose(-1, -2)).softmax(dim=-1) @ v).transpose(1, 2).reshape(1, 197, W)

    exact = mix_bmm(qkv_BLV.double(), num_heads, None)
    return Trial(op=Op.ATTENTION, plain=as_written, others=others, exact=exact)


def _convolution(dtype: torch.dtype) -> Trial:
    """A bottleneck without norms, which inside a tower finds its own layout ready."""
    block = Bottleneck(256, 64, stride=1).eval()
    for name in ("norm1", "norm2", "norm3"):
        setattr(block, name, nn.Identity())
    x = torch.randn(1, 256, 28, 28)
    last = x.contiguous(memory_format=torch.channels_last)

    def packed() -> Try:
        fast = copy.deepcopy(block)
        for name in ("conv1", "conv2", "conv3"):
            setattr(fast, name, PackedConv(getattr(block, name), dtype=dtype))
        return partial(fast, last)

    def fused() -> Try:
        return partial(PackedStage(nn.Sequential(block), dtype=dtype), last)

    exact = copy.deepcopy(block).double()(x.double())
    others = {Path.PACKED: packed, Path.FUSED: fused}
    return Trial(op=Op.CONVOLUTION, plain=partial(block, x), others=others, exact=exact)


TRIALS: tuple[Callable[[torch.dtype], Trial], ...] = (
    _linear,
    partial(_gelu, op=Op.GELU, activation=Activation.GELU),
    partial(_gelu, op=Op.GELU_TANH, activation=Activation.GELU_TANH),
    _attention,
    _convolution,
)
