"""Who computes: prepared pictures and token ids become unit vectors in numpy, torch or OpenVINO."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from jaxtyping import Float, UInt8

from callosum.models.compute_openvino import OpenVinoCompute
from callosum.models.compute_torch import Ids, SmallCompute, TorchCompute
from callosum.models.preprocess import Preprocess
from callosum.models.runtime.precision import Precision, Runtime, RuntimeConfig
from callosum.models.text.sizes import SmallTextConfig
from callosum.models.towers import DualConfig
from callosum.models.vision.sizes import HybridConfig

if TYPE_CHECKING:
    from torch import Tensor


class Compute(Protocol):
    """Prepared inputs to unit vectors."""

    def image(self, pixels: UInt8[np.ndarray, "N S S 3"]) -> Float[np.ndarray, "N D"]:
        """Unit vectors of prepared pictures."""
        ...

    def text(self, ids: Ids) -> Float[np.ndarray, "N D"]:
        """Unit vectors of texts, given as token ids without padding."""
        ...

    def describe(self) -> str:
        """Runtime, version, precision and device in one line, recorded with vectors."""
        ...


def compute_for(
    config: DualConfig,
    preprocess: Preprocess,
    weights: Path | dict[str, Tensor],
    *,
    pad_id: int = 0,
    runtime: RuntimeConfig | None = None,
) -> Compute:
    """What computes a checkpoint of these sizes.

    Args:
        config: Sizes.
        preprocess: Gives the mean and deviation that pictures are normalised with.
        weights: `model.safetensors`, or tensors in memory.
        pad_id: Id that texts are padded with.
        runtime: The caller's choices.

    Raises:
        UsageError: a combination that does not exist.
    """
    runtime = runtime or RuntimeConfig()
    is_small = (type(config.vision), type(config.text)) == (HybridConfig, SmallTextConfig)
    kind = TorchCompute
    if runtime.runtime is Runtime.OPENVINO or runtime.precision is Precision.INT8:
        kind = OpenVinoCompute
    elif is_small and isinstance(weights, Path) and runtime.precision is Precision.FP32:
        kind = SmallCompute if runtime.device in ("auto", "cpu") else TorchCompute  # numpy has no other device
    return kind(config, preprocess, weights, pad_id=pad_id, runtime=runtime)
