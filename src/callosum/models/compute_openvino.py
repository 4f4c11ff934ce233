"""OpenVINO computes, where it is installed; the towers are converted when they are first needed."""

from __future__ import annotations

from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8

from callosum.core.cores import num_cores
from callosum.core.errors import UsageError
from callosum.models.compute_torch import MICRO_BATCH, Ids, TorchCompute
from callosum.models.preprocess import Preprocess
from callosum.models.runtime.bucket import bucketed
from callosum.models.runtime.precision import Precision, Runtime, RuntimeConfig
from callosum.models.towers import DualConfig

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from callosum.models.runtime.openvino import OpenVinoTower


class OpenVinoCompute(TorchCompute):
    """OpenVINO for the image tower, and for texts too except in int8, where they stay in torch."""

    def __init__(
        self,
        config: DualConfig,
        preprocess: Preprocess,
        weights: Path | dict[str, Tensor],
        *,
        pad_id: int,
        runtime: RuntimeConfig,
    ) -> None:
        if runtime.device not in ("auto", "cpu"):
            message = f"The OpenVINO runtime computes on the CPU; found device {runtime.device!r}."
            raise UsageError(message)
        if runtime.runtime is Runtime.TORCH:
            message = "int8 is computed by the OpenVINO runtime; found runtime 'torch'."
            raise UsageError(message, hint="Leave the runtime out, or say openvino.")
        if runtime.precision is Precision.INT8 and (runtime.calibration is None or len(runtime.calibration) < 2):
            message = "int8 is measured on some of your own pictures first; found none."
            raise UsageError(
                message, hint="Give a hundred or more: --calibration FOLDER, or load_encoder(..., calibration=[...])."
            )
        super().__init__(config, preprocess, weights, pad_id=pad_id, runtime=runtime)

    @property
    def is_accelerated(self) -> bool:  # type: ignore[override]
        """Towers are converted as they are written; in int8 the text tower stays in torch."""
        return False

    @cached_property
    def _vision(self) -> OpenVinoTower:
        import torch

        from callosum.models.dual import ImageSide
        from callosum.models.runtime.openvino import convert

        side = ImageSide(self.network).eval()
        prepared = torch.zeros(1, self.preprocess.size_px, self.preprocess.size_px, 3, dtype=torch.uint8)
        example = (self.network.normalise(prepared),)
        if self.runtime.precision is not Precision.INT8:
            return convert(side, example, precision=self.runtime.precision, num_threads=num_cores())
        return self._quantised(side, example)

    def _quantised(self, side: torch.nn.Module, example: tuple[Tensor, ...]) -> OpenVinoTower:
        import torch

        from callosum.models.runtime.int8 import quantised

        assert self.runtime.calibration is not None
        inputs = [(self.network.normalise(torch.from_numpy(one[None])),) for one in self.runtime.calibration]
        half = len(inputs) // 2
        tower, _ = quantised(side, example, calibration=inputs[:half], check=inputs[half:], num_threads=num_cores())
        return tower

    @cached_property
    def _text(self) -> OpenVinoTower:
        import torch

        from callosum.models.dual import TextSide
        from callosum.models.runtime.openvino import convert

        length = self.pad_length or min(8, self.config.text.context_length)
        example = (torch.ones(2, length, dtype=torch.int64), torch.ones(2, length, dtype=torch.bool))
        return convert(
            TextSide(self.network).eval(), example, precision=self.runtime.precision, num_threads=num_cores()
        )

    def image(self, pixels: UInt8[np.ndarray, "N S S 3"]) -> Float[np.ndarray, "N D"]:
        """Unit vectors of prepared pictures."""
        batches = [(pixels[n : n + 1],) for n in range(len(pixels))]
        tower = self._vision
        return self._gathered(partial(self._run, lambda x: _tensor(tower(self.network.normalise(x)))), batches)

    def text(self, ids: Ids) -> Float[np.ndarray, "N D"]:
        """Unit vectors of texts, equal ones computed once."""
        if self.runtime.precision is Precision.INT8:
            return super().text(ids)
        tower = self._text
        plan = bucketed(ids, batch_size=MICRO_BATCH, pad_length=self.pad_length)
        padded = [self._padded([ids[n] for n in batch]) for batch in plan.batches]
        return self._gathered(partial(self._run, lambda *x: _tensor(tower(*x))), padded)[plan.restore_N]

    def describe(self) -> str:
        """Runtime, version, precision and device in one line."""
        from callosum.models.runtime.openvino import imported

        return f"openvino {imported('openvino').__version__}, {self.runtime.precision}, cpu"


def _tensor(rows: np.ndarray) -> Tensor:
    import torch

    return torch.from_numpy(rows)
