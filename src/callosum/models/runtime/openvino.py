"""A tower converted for OpenVINO; optional, imported only when a tower is converted.

The tower is exported by torch and read by OpenVINO's own front end; nothing is written to disk. A convolutional or
windowed tower gains most: OpenVINO joins norms, sums and activations with the products around them.
"""

from __future__ import annotations

import importlib
import threading
import warnings
from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.fx.experimental.symbolic_shapes import is_concrete_int

from callosum.core.errors import MissingDependency, UsageError
from callosum.models.runtime.fidelity import COSINE_BOUND, fidelity, require
from callosum.models.runtime.precision import Precision, Runtime, RuntimeReport

HINT = {Precision.FP32: "f32", Precision.BF16: "bf16", Precision.INT8: "f32"}
"""What is not quantised in an int8 tower stays float32: bfloat16 there gains little."""


class OpenVinoTower:
    """A compiled tower: arrays in, rows out. It may be called from several threads; each has a request of its own.

    Args:
        model: An `openvino.Model`.
        num_rows: Rows it takes at once where that is fixed, else None.
        precision: Format of the products.
        num_threads: Calls that run side by side, each on one core.
    """

    def __init__(self, model: Any, *, num_rows: int | None, precision: Precision, num_threads: int = 1) -> None:
        ov = imported("openvino")
        self.num_rows = num_rows
        self.report = RuntimeReport(runtime=Runtime.OPENVINO, version=ov.__version__, precision=precision)
        options = {
            "INFERENCE_PRECISION_HINT": HINT[precision],
            "INFERENCE_NUM_THREADS": num_threads,
            "NUM_STREAMS": num_threads,
            "ENABLE_CPU_PINNING": False,
        }
        self._compiled = ov.Core().compile_model(model, "CPU", options)
        self._requests = threading.local()

    def __call__(self, *inputs: Shaped[np.ndarray, "N ..."] | Tensor) -> Shaped[np.ndarray, "N D"]:
        """Encode rows, so many at a time as the tower takes; the last ones are repeated to fill it."""
        arrays = [np.ascontiguousarray(x.numpy() if isinstance(x, Tensor) else x) for x in inputs]
        N = len(arrays[0])
        step = self.num_rows or max(N, 1)
        parts = []
        for start in range(0, N, step):
            rows = np.arange(start, start + step).clip(max=N - 1)
            parts.append(self._encode([x[rows] if self.num_rows else x for x in arrays])[: N - start])
        return np.concatenate(parts) if parts else np.zeros((0, self._compiled.outputs[0].partial_shape[-1].max_length))

    def _encode(self, arrays: list[np.ndarray]) -> np.ndarray:
        if not hasattr(self._requests, "own"):
            self._requests.own = self._compiled.create_infer_request()
        found: np.ndarray = self._requests.own.infer(arrays, share_inputs=True)[0].copy()
        return found


def convert(
    tower: nn.Module, example: tuple[Tensor, ...], *, precision: Precision = Precision.FP32, num_threads: int = 1
) -> OpenVinoTower:
    """Convert a tower, and check it against the tower on the example.

    Args:
        tower: In eval mode, float32, not made fast by `accelerate`.
        example: What the tower takes: pictures of the one size it will see, or token ids and mask of any length
            above 1. As many rows as the example has are encoded at once; for pictures one is best.
        precision: `fp32` or `bf16`; `int8.quantised` is for int8.
        num_threads: Calls that run side by side.

    Raises:
        MissingDependency: OpenVINO is not installed.
        UsageError: int8; the converted tower is not faithful here.
    """
    if precision is Precision.INT8:
        message = "A tower is quantised with pictures at hand; found a conversion to int8 without any."
        raise UsageError(message, hint="Use callosum.models.runtime.int8.quantised.")
    model, num_rows = exported(tower, example)
    fast = OpenVinoTower(model, num_rows=num_rows, precision=precision, num_threads=num_threads)
    with torch.inference_mode():
        found = fidelity(tower, fast, [example], bound=COSINE_BOUND[precision])
    require(found, f"OpenVINO in {precision}")
    return fast


def exported(tower: nn.Module, example: tuple[Tensor, ...]) -> tuple[Any, int | None]:
    """The tower as an `openvino.Model`, and the rows it takes at once where that is fixed.

    Pictures keep the example's shape, for which OpenVINO chooses better kernels; ids and masks may be of any.

    Raises:
        MissingDependency: OpenVINO is not installed.
        UsageError: a tower in training mode.
    """
    ov = imported("openvino")
    if tower.training:
        message = "A tower is converted in eval mode; found training mode."
        raise UsageError(message, hint="Call .eval() first.")
    auto = torch.export.Dim.AUTO
    axes = tuple({} if x.is_floating_point() else {0: auto, 1: auto} for x in example)
    with warnings.catch_warnings():
        # Both programs warn about their own internals.
        warnings.simplefilter("ignore")
        program = torch.export.export(tower, example, dynamic_shapes=axes)
        model = ov.convert_model(program)
    names = set(program.graph_signature.user_inputs)
    inputs = [node.meta["val"] for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
    shapes = [[int(d) if is_concrete_int(d) else -1 for d in value.shape] for value in inputs]
    model.reshape({port: shape for port, shape in zip(model.inputs, shapes, strict=True)})
    return model, None if shapes[0][0] == -1 else shapes[0][0]


def imported(package: str) -> Any:
    """An optional package.

    Raises:
        MissingDependency: it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError:
        message = f"The OpenVINO runtime needs the package {package}, which is not installed."
        raise MissingDependency(message, hint="Run: pip install 'callosum[openvino]'") from None
