"""Number formats of a training step, and the setting of oneDNN that makes float32 products faster where it is right."""

from __future__ import annotations

import contextlib
import ctypes
import json
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from callosum.core.config import config_from
from callosum.models.runtime.precision import PathReport, Precision, RuntimeReport
from callosum.models.runtime.probe import Probe, probe_here
from callosum.models.runtime.switch import is_offered, permitted
from callosum.train.disk import writing

ERROR_BOUND = 1e-5
ROUNDS = 3
KEPT = "products.json"
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, LARGE_BYTES = -1, -3, 1 << 30


class StepPrecision(StrEnum):
    """Number format of the products of a step; weights, their averages and losses are float32 in both."""

    FP32 = "fp32"
    """Equal to plain float32 to 1e-5."""
    BF16 = "bf16"
    """Products in bfloat16 (torch.autocast)."""


def computing(precision: StepPrecision, device: str) -> AbstractContextManager[None]:
    """Compute towers in this format."""
    if precision == StepPrecision.FP32:
        return nullcontext()
    return torch.autocast(device, torch.bfloat16)


def keep_memory() -> None:
    """Let the C library keep the memory of one step for the next, where it can be told to (glibc).

    Otherwise large tensors are given back to the system when they are freed, and every step pays for getting its pages
    again: a tenth of its time, measured. It holds until the process ends, and changes no value.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
        libc.mallopt(M_TRIM_THRESHOLD, LARGE_BYTES)


def kept_probe(folder: Path) -> Probe:
    """The probe of `models.runtime`, its findings kept with a run: what is continued computes as it began."""

    def probe(precision: Precision) -> RuntimeReport:
        path = folder / f"paths-{precision}.json"
        if not path.is_file():
            _keep(path, probe_here(precision).to_json())
        value = json.loads(path.read_text(encoding="utf-8"))
        paths = tuple(config_from(PathReport, each) for each in value.pop("paths"))
        return config_from(RuntimeReport, {**value, "paths": paths})

    return probe


@contextmanager
def fast_products(folder: Path) -> Iterator[None]:
    """Let oneDNN multiply float32 matrices for the length of a run, where that is right here and faster.

    The setting is the process's, and threads read ahead: turned on and off around steps it would reach their products
    by chance, and a run could not be repeated to the bit. What was found is kept in the folder of the run for the same
    reason: a run that is continued computes as it began.
    """
    path = folder / KEPT
    if path.is_file():
        is_taken = bool(json.loads(path.read_text(encoding="utf-8"))["switched"])
    else:
        is_taken = is_switch_right()
        _keep(path, {"switched": is_taken})
    with permitted() if is_taken else nullcontext():
        yield


def _keep(path: Path, value: Any) -> None:
    """Write what was found, whole or not at all: a killed process leaves nothing that cannot be read."""
    draft = path.with_name(f"{path.name}.part")
    with writing("What is fast here"):
        draft.write_text(json.dumps(value) + "\n", encoding="utf-8")
        draft.replace(path)


@cache
def is_switch_right() -> bool:
    """Whether oneDNN's float32 products are right to 1e-5 here, forwards and backwards, and faster; measured once."""
    if not is_offered():
        return False
    generator = torch.Generator().manual_seed(0)
    x, weight, gradient = (torch.randn(shape, generator=generator) for shape in ((256, 768), (1024, 768), (256, 1024)))

    def products(dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
        a, w = (value.to(dtype).requires_grad_() for value in (x, weight))
        out = functional.linear(a, w)
        return [out.detach(), *torch.autograd.grad(out, (a, w), gradient.to(dtype))]

    plain_s, switched_s = float("inf"), float("inf")
    for _ in range(ROUNDS):
        start = time.thread_time()
        products()
        middle = time.thread_time()
        with permitted():
            found = products()
        plain_s, switched_s = min(plain_s, middle - start), min(switched_s, time.thread_time() - middle)
    errors = [float((a.double() - b).norm() / b.norm()) for a, b in zip(found, products(torch.float64), strict=True)]
    return max(errors) <= ERROR_BOUND and switched_s < plain_s
