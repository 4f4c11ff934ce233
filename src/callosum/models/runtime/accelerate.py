"""Replaces the modules of a tower by faster ones of equal value."""

from __future__ import annotations

import re

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from callosum.core.errors import UsageError
from callosum.models.layers import Activation, Attention, Mlp
from callosum.models.runtime.bottleneck import PackedStage, is_stage
from callosum.models.runtime.first_row import reads_first_row, shorten
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
from callosum.models.runtime.precision import Op, Path, Precision, RuntimeReport
from callosum.models.runtime.probe import DTYPE, Probe, probe_here
from callosum.models.runtime.window import PackedWindowAttention
from callosum.models.vision.swin import WindowAttention

NORM_AFTER = re.compile(r"(?:norm|bn)(\d+)")
"""`norm<n>` and `bn<n>` name the batch norm of `conv<n>`."""


def accelerate(module: nn.Module, *, precision: Precision = Precision.FP32, probe: Probe = probe_here) -> nn.Module:
    """Make a tower fast, in place, for inference on a CPU; what comes out equals what came out before.

    Batch norms are folded into the convolution before them. Then every `nn.Linear`, `Mlp`, `Attention` and `nn.Conv2d`
    gives way to a faster module where the probe found one. The tower can afterwards be neither trained nor saved: its
    weights are laid out for the processor, and their plain copies are gone.

    Args:
        module: A tower in eval mode, float32, on the CPU.
        precision: `fp32` keeps unit vectors to 1e-5; `bf16` keeps their cosine above 0.9995.
        probe: Says which paths to take; the default measures this machine, once per process.

    Returns:
        The module, or what took its place where the module itself was replaced.

    Raises:
        UsageError: a module in training mode, on another device or of another format; int8.
    """
    if module.training:
        message = "A tower is made fast for inference, in eval mode; found training mode."
        raise UsageError(message, hint="Call .eval() first.")
    odd = {
        f"{p.dtype} on {p.device}" for p in module.parameters() if p.dtype != torch.float32 or p.device.type != "cpu"
    }
    if odd:
        message = f"A tower is made fast from float32 weights on the CPU; found {', '.join(sorted(odd))}."
        raise UsageError(message, hint="Call .float().cpu() first.")
    report = probe(precision)
    module.requires_grad_(requires_grad=False)
    with torch.random.fork_rng(devices=[]):  # layers draw weights when they are made, and get others
        fold_norms(module)
        if report.path(Op.LINEAR) is Path.PACKED:
            for tower in [tower for tower in module.modules() if reads_first_row(tower)]:
                shorten(tower, dtype=DTYPE[report.precision])  # type: ignore[arg-type]
        return _replaced(module, report, {})


def fold_norms(module: nn.Module) -> None:
    """Fold batch norms into the convolutions before them: the same function, for inference only.

    A pair is a convolution and the norm right after it in an `nn.Sequential`, or `conv<n>` and `norm<n>` (or `bn<n>`)
    of one module.
    """
    for owner in module.modules():
        children = dict(owner.named_children())
        before = dict(zip(list(children)[1:], children, strict=False)) if isinstance(owner, nn.Sequential) else {}
        for name, norm in children.items():
            match = NORM_AFTER.fullmatch(name)
            conv_name = before.get(name) or (match and f"conv{match[1]}")
            conv = children.get(conv_name or "")
            if type(norm) is nn.BatchNorm2d and type(conv) is nn.Conv2d and norm.num_features == conv.out_channels:
                setattr(owner, str(conv_name), fuse_conv_bn_eval(conv, norm))
                setattr(owner, name, nn.Identity())


def _replaced(module: nn.Module, report: RuntimeReport, done: dict[int, nn.Module]) -> nn.Module:
    """The faster module, or the same with its children replaced; a module that stands twice is replaced once."""
    if id(module) not in done:
        fast = _fast(module, report)
        done[id(module)] = fast or module
        if fast is None:
            # Not named_children(), which passes over a module that stands twice.
            for name, child in module._modules.items():
                if child is not None:
                    setattr(module, name, _replaced(child, report, done))
    return done[id(module)]


def _fast(module: nn.Module, report: RuntimeReport) -> nn.Module | None:
    """The faster module of equal value; None where there is none.

    Types are compared exactly: a subclass may compute something else, or be read by its owner.
    """
    dtype, linear = DTYPE[report.precision], report.path(Op.LINEAR)
    if type(module) is nn.Linear:
        if linear is Path.PACKED:
            return PackedLinear(module, dtype=dtype)
        return SwitchedLinear(module) if linear is Path.SWITCHED else None
    convolution = report.path(Op.CONVOLUTION)
    if type(module) is nn.Conv2d and can_pack(module) and convolution in (Path.PACKED, Path.FUSED):
        return PackedConv(module, dtype=dtype)
    if type(module) is nn.Sequential and is_stage(module) and convolution is Path.FUSED:
        return PackedStage(module, dtype=dtype)
    if linear is not Path.PACKED:
        return None
    if type(module) is Mlp:
        op = Op.GELU_TANH if module.activation is Activation.GELU_TANH else Op.GELU
        return PackedMlp(module, dtype=dtype, is_fused=report.path(op) is Path.FUSED)
    if type(module) is WindowAttention:
        return PackedWindowAttention(module, dtype=dtype)
    if type(module) is Attention:
        return PackedAttention(module, dtype=dtype, mix=MIX.get(report.path(Op.ATTENTION), mix_bmm))
    return None
