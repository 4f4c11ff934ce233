"""Lets oneDNN take float32 matrix products, which torch otherwise gives to MKL, for the length of a call.

The setting permits bfloat16 inside. Whether that is what happens depends on the processor and on the oneDNN that torch
was built with, so nobody may enter it before `probe` has found the products right to 1e-5 on this machine.

The setting is the process's, not the thread's: while one thread is inside, products of every other thread obey it too.
They stay right to the same 1e-5, because it is never entered where they would not. Threads inside are counted; the
first to enter keeps the old value and the last to leave puts it back, so it never outlives the calls.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_lock = threading.Lock()
_inside = 0
_before = "none"


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
