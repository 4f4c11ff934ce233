"""8-bit weights and activations, refused where they are not faithful on the caller's own weights and pictures.

Quantisation after training by NNCF: scales of the activations from some pictures, and SmoothQuant (Xiao et al. 2023),
which moves outliers of activations into the weights. That suffices for random weights and for some trained ones.
Which, nobody can say beforehand: so every quantised tower passes the gate or is an error. The gate has two leaves: the
tower itself, and the same function with outlier channels, lest some pictures that happen to raise none open it.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from callosum.core.errors import InputError
from callosum.models.runtime.fidelity import COSINE_BOUND, Fidelity, fidelity, require
from callosum.models.runtime.openvino import OpenVinoTower, exported, imported
from callosum.models.runtime.outliers import with_outliers
from callosum.models.runtime.precision import Precision

Batch = tuple[Tensor, ...]


def quantised(
    tower: nn.Module,
    example: Batch,
    *,
    calibration: Sequence[Batch],
    check: Sequence[Batch],
    bound: float = COSINE_BOUND[Precision.INT8],
    num_threads: int = 1,
) -> tuple[OpenVinoTower, Fidelity]:
    """Quantise a tower and measure what that did to its vectors.

    Args:
        tower: In eval mode, float32, not made fast by `accelerate`.
        example: What the tower takes, as for `openvino.convert`.
        calibration: Inputs of the example's shape from which scales are taken; some hundred of the pictures that will
            be encoded.
        check: Other such inputs, on which the tower is compared with itself in float32.
        bound: Least cosine of every row.
        num_threads: Calls that run side by side.

    Returns:
        The tower and its fidelity on `check`, or that with outlier channels where it is less.

    Raises:
        MissingDependency: OpenVINO or NNCF is not installed.
        InputError: nothing to calibrate with, or to check on.
        UsageError: the quantised tower does not reach the bound.
    """
    if not calibration or not check:
        message = f"Inputs to calibrate with and others to check on were expected; found {len(calibration)} "
        raise InputError(message + f"and {len(check)}.", hint="Give some of the pictures that will be encoded.")
    fast, found = _measured(tower, example, calibration, check, bound, num_threads)
    require(found, "int8")
    strained = with_outliers(tower)
    if strained is None:
        return fast, found
    _, under_strain = _measured(strained, example, calibration, check, bound, num_threads)
    require(under_strain, "int8 with outlier channels")
    return fast, min(found, under_strain, key=lambda each: each.min_cosine)


def _measured(
    tower: nn.Module,
    example: Batch,
    calibration: Sequence[Batch],
    check: Sequence[Batch],
    bound: float,
    num_threads: int,
) -> tuple[OpenVinoTower, Fidelity]:
    """The quantised tower, and how far it is from the tower."""
    model, num_rows = exported(tower, example)
    model = _quantised(model, calibration)
    fast = OpenVinoTower(model, num_rows=num_rows, precision=Precision.INT8, num_threads=num_threads)
    with torch.inference_mode():
        return fast, fidelity(tower, fast, check, bound=bound)


def _quantised(model: Any, calibration: Sequence[Batch]) -> Any:
    """The model with 8-bit products."""
    nncf = imported("nncf")
    log = logging.getLogger("nncf")
    level = log.level
    log.setLevel(logging.ERROR)
    dataset = nncf.Dataset([tuple(x.numpy() for x in batch) for batch in calibration])
    try:
        # NNCF shows its progress on standard output, which belongs to results.
        with contextlib.redirect_stdout(sys.stderr):
            return nncf.quantize(model, dataset, model_type=nncf.ModelType.TRANSFORMER, subset_size=len(calibration))
    finally:
        log.setLevel(level)
