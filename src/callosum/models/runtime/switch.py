"""Settings of torch for float32 products, for the length of a call.

`permitted` lets oneDNN take matrix products on the CPU, which torch otherwise gives to MKL. The setting permits
bfloat16 inside. Whether that is what happens depends on the processor and on the oneDNN that torch was built with, so
nobody may enter it before `probe` has found the products right to 1e-5 on this machine. `without_tf32` keeps products
on a CUDA device in full float32.

Such a setting is the process's, not the thread's: while one thread is inside, products of every other thread obey it
too. Those of `permitted` stay right to the same 1e-5, because it is never entered where they would not. Threads inside
are counted; the first to enter keeps the old value and the last to leave puts it back, so none outlives the calls.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_lock = threading.Lock()
_inside = 0
_before = "none"
_inside_cuda = 0
_before_cuda: list[Any] = []


def is_offered() -> bool:
    """Whether this torch has the setting."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.backends.mkldnn, "matmul")


@contextmanager
def permitted() -> Iterator[None]:
    """Permit it until the last thread inside has left."""
    global _inside, _before
    setting = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    with _lock:
        if _inside == 0:
            _before = setting.fp32_precision
            setting.fp32_precision = "bf16"
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                setting.fp32_precision = _before


@contextmanager
def without_tf32() -> Iterator[None]:
    """No product of float32 in TF32, which keeps ten bits of 23, while a CUDA device computes.

    Threads inside are counted as in `permitted`. Torch has two names for these settings and refuses programs that mix
    them, so the newer ones are taken where there are some.
    """
    global _inside_cuda, _before_cuda
    names = _tf32_settings()
    with _lock:
        if _inside_cuda == 0:
            _before_cuda = [getattr(owner, name) for owner, name, _ in names]
            for owner, name, exact in names:
                setattr(owner, name, exact)
        _inside_cuda += 1
    try:
        yield
    finally:
        with _lock:
            _inside_cuda -= 1
            if _inside_cuda == 0:
                for (owner, name, _), value in zip(names, _before_cuda, strict=True):
                    setattr(owner, name, value)


def _tf32_settings() -> list[tuple[Any, str, Any]]:
    """Owner, name and exact value of each setting."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    if hasattr(cudnn, "conv"):
        return [(owner, "fp32_precision", "ieee") for owner in (cudnn.conv, matmul)]
    return [(owner, "allow_tf32", False) for owner in (cudnn, matmul)]
