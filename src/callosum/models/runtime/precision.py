"""The choices a user has, and the report of which paths were taken here and why."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import UInt8


class Precision(StrEnum):
    """Number format of the multiplications.

    `fp32` equals the plain float32 path to 1e-5 on unit vectors; `bf16` keeps a cosine of 0.9995; `int8` is refused
    where it does not keep that on the caller's own weights and pictures.
    """

    FP32 = "fp32"
    BF16 = "bf16"
    INT8 = "int8"


class Runtime(StrEnum):
    """What multiplies: torch, or OpenVINO where it is installed; `auto` is torch."""

    AUTO = "auto"
    TORCH = "torch"
    OPENVINO = "openvino"


@dataclass(frozen=True, kw_only=True)
class RuntimeConfig:
    """What computes, as `load_encoder` and the command line take it.

    Attributes:
        precision: Number format of the multiplications.
        runtime: What multiplies.
        device: `auto`, `cpu`, or a device of torch such as `cuda`; `auto` is a GPU where there is one.
        calibration: Prepared pictures `[N, S, S, 3]` that int8 is measured on: the first half sets its scales, the
            second half is what the gate looks at.
    """

    precision: Precision = Precision.FP32
    runtime: Runtime = Runtime.AUTO
    device: str = "auto"
    calibration: UInt8[np.ndarray, "N S S 3"] | None = None


class Op(StrEnum):
    """What has more than one path."""

    LINEAR = "linear"
    GELU = "gelu"
    GELU_TANH = "gelu_tanh"
    ATTENTION = "attention"
    CONVOLUTION = "convolution"


class Path(StrEnum):
    """A way to compute it. All but `plain` are tried before they are taken."""

    PLAIN = "plain"
    """As the module is written, in float32."""
    SWITCHED = "switched"
    """As it is written, while oneDNN is permitted to multiply float32 matrices."""
    PACKED = "packed"
    """Weights laid out for oneDNN ahead of the call."""
    FUSED = "fused"
    """Packed, and activations and sums applied inside the multiplication."""
    SDPA = "sdpa"
    """Torch's fused attention."""
    BMM = "bmm"
    """Two batched products and a softmax, picture by picture where they are long."""


@dataclass(frozen=True, kw_only=True)
class PathReport:
    """One operation: the path taken for it, and what was measured.

    Attributes:
        op: The operation.
        path: The path taken.
        ratio: Time of the plain path over time of the path taken; 1 for the plain path.
        error: Relative error of the path taken, against float64.
        why: What decided, in words.
    """

    op: Op
    path: Path
    ratio: float
    error: float
    why: str


@dataclass(frozen=True, kw_only=True)
class RuntimeReport:
    """What the runtime does on this machine; recorded with vectors and shown by `callosum doctor`.

    Attributes:
        runtime: What multiplies.
        version: Its version.
        precision: The format asked for.
        paths: One report per operation.
    """

    runtime: Runtime
    version: str
    precision: Precision
    paths: tuple[PathReport, ...] = ()

    def path(self, op: Op) -> Path:
        """The path taken for an operation; plain where it was not tried."""
        return next((report.path for report in self.paths if report.op is op), Path.PLAIN)

    def to_json(self) -> dict[str, object]:
        """The JSON object."""
        return asdict(self)
