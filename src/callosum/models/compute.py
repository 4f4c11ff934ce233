"""Who computes: the starter in numpy until there are many pictures, published towers in torch.

Both turn prepared pictures and token ids into unit vectors; `CheckpointEncoder` prepares and batches for them.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from jaxtyping import Bool, Float, Int64, UInt8
from safetensors.numpy import load_file

from callosum.core.cores import num_cores
from callosum.core.embedding import unit_rows
from callosum.models.layers_numpy import Weights
from callosum.models.preprocess import Preprocess
from callosum.models.text.sizes import SmallTextConfig
from callosum.models.text.small_numpy import SmallTextNumpy
from callosum.models.towers import DualConfig
from callosum.models.vision.hybrid_numpy import HybridNumpy
from callosum.models.vision.sizes import HybridConfig

if TYPE_CHECKING:
    from torch import Tensor

    from callosum.models.dual import DualEncoder

FEW = 4
"""Pictures that numpy embeds sooner than torch is imported."""
SMALL_MICRO_BATCH = 16
MICRO_BATCH = 8


class Compute(Protocol):
    """Prepared inputs to unit vectors."""

    def image(self, pixels: UInt8[np.ndarray, "N S S 3"]) -> Float[np.ndarray, "N D"]:
        """Unit vectors of prepared pictures."""
        ...

    def text(self, ids_BL: Int64[np.ndarray, "B L"], mask_BL: Bool[np.ndarray, "B L"]) -> Float[np.ndarray, "B D"]:
        """Unit vectors of padded token ids."""
        ...


def compute_for(config: DualConfig, preprocess: Preprocess, weights: Path | dict[str, Tensor]) -> Compute:
    """What computes a checkpoint of these sizes.

    Args:
        config: Sizes.
        preprocess: Gives the mean and deviation that pictures are normalised with.
        weights: `model.safetensors`, or tensors in memory.
    """
    if isinstance(weights, Path) and (type(config.vision), type(config.text)) == (HybridConfig, SmallTextConfig):
        return SmallCompute(config, preprocess, weights)
    return TorchCompute(config, preprocess, weights)


class TorchCompute:
    """Torch for both towers.

    Micro-batches run side by side on one thread each: threads inside an operation gain less, and lose much when they
    wait for each other on a busy machine.
    """

    micro_batch = MICRO_BATCH

    def __init__(self, config: DualConfig, preprocess: Preprocess, weights: Path | dict[str, Tensor]) -> None:
        self.config = config
        self.preprocess = preprocess
        self._weights = weights

    @cached_property
    def network(self) -> DualEncoder:
        """The network, ready for inference."""
        return load_network(self.config, self.preprocess, self._weights)

    def image(self, pixels: UInt8[np.ndarray, "N S S 3"]) -> Float[np.ndarray, "N D"]:
        """Unit vectors of prepared pictures."""
        network = self.network
        step = self.micro_batch
        parts = self._threads.map(
            partial(_forward_images, network), [pixels[n : n + step] for n in range(0, len(pixels), step)]
        )
        return np.concatenate([np.zeros((0, self.config.dim), np.float32), *parts])

    def text(self, ids_BL: Int64[np.ndarray, "B L"], mask_BL: Bool[np.ndarray, "B L"]) -> Float[np.ndarray, "B D"]:
        """Unit vectors of padded token ids."""
        network = self.network
        step = self.micro_batch
        parts = self._threads.map(
            partial(_forward_texts, network),
            [(ids_BL[n : n + step], mask_BL[n : n + step]) for n in range(0, len(ids_BL), step)],
        )
        return np.concatenate([np.zeros((0, self.config.dim), np.float32), *parts])

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(num_cores(), thread_name_prefix="encode", initializer=_one_thread)


class SmallCompute(TorchCompute):
    """The starter: texts in numpy, and a few pictures too unless torch is there already; many pictures in torch."""

    micro_batch = SMALL_MICRO_BATCH

    @cached_property
    def _arrays(self) -> Weights:
        assert isinstance(self._weights, Path)
        return {name: value.astype(np.float32) for name, value in load_file(self._weights).items()}

    @cached_property
    def _text(self) -> SmallTextNumpy:
        return SmallTextNumpy(self.config.text, self._arrays)

    @cached_property
    def _vision(self) -> HybridNumpy:
        return HybridNumpy(self.config.vision, self._arrays, self.preprocess)

    def image(self, pixels: UInt8[np.ndarray, "N S S 3"]) -> Float[np.ndarray, "N D"]:
        """Unit vectors of prepared pictures."""
        if len(pixels) <= FEW and "torch" not in sys.modules:
            return self._vision(pixels)
        return super().image(pixels)

    def text(self, ids_BL: Int64[np.ndarray, "B L"], mask_BL: Bool[np.ndarray, "B L"]) -> Float[np.ndarray, "B D"]:
        """Unit vectors of padded token ids."""
        return self._text(ids_BL, mask_BL)


def load_network(config: DualConfig, preprocess: Preprocess, weights: Path | dict[str, Tensor]) -> DualEncoder:
    """Build the network, load its weights as float32 and fold its batch norms, ready for inference.

    Raises:
        InputError: weights are missing, unexpected or of another shape; all are listed.
    """
    import torch
    from safetensors.torch import load_file as load_tensors

    from callosum.models.checkpoints.fit import require_fit
    from callosum.models.dual import DualEncoder

    with torch.device("meta"):
        network = DualEncoder(config, preprocess)
    state = load_tensors(weights) if isinstance(weights, Path) else weights
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    counters = {name: torch.zeros((), dtype=torch.int64) for name in expected if name.endswith("num_batches_tracked")}
    state = {**counters, **{name: value for name, value in state.items() if name not in counters}}
    require_fit({name: tuple(value.shape) for name, value in state.items()}, expected)
    floats = {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
    network.load_state_dict(floats, strict=True, assign=True)
    for parameter in network.parameters():
        parameter.requires_grad = False
    network.eval()
    if hasattr(network.vision, "fold_norms"):
        network.vision.fold_norms()
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _forward_images(network: DualEncoder, pixels: UInt8[np.ndarray, "B S S 3"]) -> Float[np.ndarray, "B D"]:
    """One micro-batch of pictures."""
    import torch

    with torch.inference_mode():
        return unit_rows(network.encode_image(torch.from_numpy(pixels)).numpy())


def _forward_texts(
    network: DualEncoder, batch: tuple[Int64[np.ndarray, "B L"], Bool[np.ndarray, "B L"]]
) -> Float[np.ndarray, "B D"]:
    """One micro-batch of texts."""
    import torch

    with torch.inference_mode():
        return unit_rows(network.encode_text(*(torch.from_numpy(np.ascontiguousarray(part)) for part in batch)).numpy())


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
