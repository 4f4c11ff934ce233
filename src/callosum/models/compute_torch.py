"""Torch computes, or numpy for the starter until there are many pictures; torch is imported when it is first needed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property, partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, UInt8
from safetensors.numpy import load_file

from callosum.core.cores import num_cores
from callosum.core.embedding import unit_rows
from callosum.core.errors import UsageError
from callosum.models.layers_numpy import Weights
from callosum.models.preprocess import Preprocess
from callosum.models.runtime.bucket import bucketed, chunked
from callosum.models.runtime.precision import Precision, RuntimeConfig
from callosum.models.text.small_numpy import SmallTextNumpy
from callosum.models.tokenizer import pad
from callosum.models.towers import DualConfig
from callosum.models.vision.hybrid_numpy import HybridNumpy

if TYPE_CHECKING:
    from torch import Tensor

    from callosum.models.dual import DualEncoder

FEW = 4
"""Pictures that numpy embeds sooner than torch is imported, and rows for which layers are not made fast."""
SMALL_MICRO_BATCH = 16
MICRO_BATCH = 8
GPU_BATCH = 64
TEXT_BATCH = 64
Ids = Sequence[Sequence[int]]


class TorchCompute:
    """Torch for both towers.

    On a CPU, micro-batches run side by side on one thread each, through the layers that a probe found faster: threads
    inside an operation gain less, and lose much when they wait for each other on a busy machine.
    """

    micro_batch = MICRO_BATCH
    is_accelerated = True

    def __init__(
        self,
        config: DualConfig,
        preprocess: Preprocess,
        weights: Path | dict[str, Tensor],
        *,
        pad_id: int,
        runtime: RuntimeConfig,
    ) -> None:
        self.config = config
        self.preprocess = preprocess
        self.runtime = runtime
        self.pad_id = pad_id
        self.pad_length: int | None = getattr(config.text, "pad_length", None)
        self._weights = weights
        self._num_rows = 0
        self._is_fast = False
        self._lock = Lock()

    @cached_property
    def device(self) -> str:
        """The device of torch that computes."""
        import torch

        wanted = self.runtime.device
        if wanted == "auto":
            return "cuda" if torch.cuda.is_available() else "cpu"
        try:
            if torch.device(wanted).type == "meta":
                raise ValueError
            torch.zeros(1, device=wanted).cpu()
        except Exception as error:  # what torch raises depends on the device and on how torch was built
            message = f"A device is auto, cpu, or one of torch's such as cuda, and it is there; found {wanted!r}."
            raise UsageError(message, hint="Use --device cpu, or leave it out.") from error
        return wanted

    @cached_property
    def network(self) -> DualEncoder:
        """The network, ready for inference."""
        network = load_network(self.config, self.preprocess, self._weights)
        return network if self.device == "cpu" else network.to(self.device)

    def _ready(self, num_rows: int) -> DualEncoder:
        """The network for so many rows more; it is made fast once that pays, which a query or two do not.

        Faster layers equal the plain ones to 1e-5 in float32; in bfloat16 they are what was asked for.
        """
        self._num_rows += num_rows
        is_due = self._num_rows > FEW or self.runtime.precision is not Precision.FP32
        if self.is_accelerated and self.device == "cpu" and is_due and not self._is_fast:
            from callosum.models.runtime.accelerate import accelerate

            accelerate(self.network, precision=self.runtime.precision)
            self._is_fast = True
        return self.network

    def image(self, pixels: UInt8[np.ndarray, "N S S 3"]) -> Float[np.ndarray, "N D"]:
        """Unit vectors of prepared pictures."""
        step = self.micro_batch if self.device == "cpu" else GPU_BATCH
        batches = [(pixels[n : n + step],) for n in range(0, len(pixels), step)]
        with self._lock:
            return self._gathered(partial(self._run, self._ready(len(pixels)).encode_image), batches)

    def text(self, ids: Ids) -> Float[np.ndarray, "N D"]:
        """Unit vectors of texts, equal ones computed once."""
        with self._lock:
            return self._texts(ids, self._ready(len(ids)))

    def _texts(self, ids: Ids, network: DualEncoder) -> Float[np.ndarray, "N D"]:
        if self._is_fast:
            from callosum.models.runtime.unpadded import takes_unpadded

            if takes_unpadded(network.text):
                plan = chunked(ids, num_threads=num_cores())
                batches = [([ids[n] for n in batch],) for batch in plan.batches]
                return self._gathered(partial(_unpadded, network), batches)[plan.restore_N]
        size = MICRO_BATCH if self.device == "cpu" else TEXT_BATCH
        plan = bucketed(ids, batch_size=size, pad_length=self.pad_length)
        padded = [self._padded([ids[n] for n in batch]) for batch in plan.batches]
        return self._gathered(partial(self._run, network.encode_text), padded)[plan.restore_N]

    def regions(self, pixels: UInt8[np.ndarray, "N S S 3"]) -> Float[np.ndarray, "N P D"]:
        """Unit vectors of the regions of prepared pictures.

        Raises:
            UsageError: the checkpoint projects whole pictures only.
        """
        if not self.config.has_regions:
            message = "This checkpoint has vectors of whole pictures only."
            raise UsageError(message, hint="GLoRIA's have vectors of regions.")
        step = self.micro_batch
        batches = [(pixels[n : n + step],) for n in range(0, len(pixels), step)]
        return np.concatenate([self._run(self.network.encode_regions, batch) for batch in batches])

    def words(self, ids: Ids, joins_V: Bool[np.ndarray, " V"]) -> tuple[np.ndarray, np.ndarray]:
        """Unit vectors of the words of texts, `[N, K, D]`, and the mask of the words, `[N, K]`.

        Args:
            ids: Token ids of each text, without padding.
            joins_V: For each id whether its piece continues the word before it.

        Raises:
            UsageError: the text tower is not a BERT whose words live in the shared space.
        """
        import torch

        if not self.config.has_regions:
            message = "This checkpoint has vectors of whole texts only."
            raise UsageError(message, hint="GLoRIA's have vectors of words.")
        ids_BL, mask_BL = self._padded(ids)
        inputs = [torch.from_numpy(part).to(self.device) for part in (ids_BL, mask_BL, joins_V[ids_BL])]
        with torch.inference_mode(), self._exact():
            words, mask = self.network.text.word_features(*inputs)
            return unit_rows(self.network.text_projection(words).float().cpu().numpy()), mask.cpu().numpy()

    def describe(self) -> str:
        """Runtime, version, precision and device in one line."""
        import torch

        return f"torch {torch.__version__}, {self.runtime.precision}, {self.device}"

    def _exact(self) -> AbstractContextManager[None]:
        """On a GPU of NVIDIA float32 is multiplied as such: its own default for convolutions keeps ten bits."""
        if not self.device.startswith("cuda"):
            return nullcontext()
        from callosum.models.runtime.switch import without_tf32

        return without_tf32()

    def _padded(self, ids: Ids) -> tuple[np.ndarray, np.ndarray]:
        return pad(ids, pad_id=self.pad_id, length=self.pad_length)

    def _gathered(self, run: Any, batches: Sequence[tuple[Any, ...]]) -> Float[np.ndarray, "N D"]:
        """Run the batches, side by side on a CPU, and put their rows together in order."""
        import torch

        empty = np.zeros((0, self.config.dim), np.float32)
        if self.device != "cpu":
            return np.concatenate([empty, *map(run, batches)])
        try:
            return np.concatenate([empty, *self._threads.map(run, batches)])
        finally:
            torch.set_num_threads(torch.get_num_threads())  # what later threads inherit is this thread's number again

    def _run(self, encode: Any, batch: tuple[np.ndarray, ...]) -> Float[np.ndarray, "B D"]:
        """One batch through one side of the network."""
        import torch

        inputs = [torch.from_numpy(np.ascontiguousarray(part)).to(self.device) for part in batch]
        kind = self.device.split(":")[0]
        is_lower = kind != "cpu" and self.runtime.precision is Precision.BF16
        with torch.inference_mode(), self._exact(), torch.autocast(kind, torch.bfloat16, enabled=is_lower):
            return unit_rows(encode(*inputs).float().cpu().numpy())

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(num_cores(), thread_name_prefix="encode", initializer=_one_thread)


class SmallCompute(TorchCompute):
    """The starter: texts in numpy, and a few pictures too unless torch is there already; many pictures in torch.

    Its convolutions are small: packed ones would gain seven per cent, and cost more than that to prepare.
    """

    micro_batch = SMALL_MICRO_BATCH
    is_accelerated = False

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

    def text(self, ids: Ids) -> Float[np.ndarray, "N D"]:
        """Unit vectors of texts, equal ones computed once."""
        plan = bucketed(ids, batch_size=TEXT_BATCH)
        empty = np.zeros((0, self.config.dim), np.float32)
        parts = [self._text(*self._padded([ids[n] for n in batch])) for batch in plan.batches]
        return np.concatenate([empty, *parts])[plan.restore_N]

    def describe(self) -> str:
        """Runtime, version, precision and device in one line."""
        return super().describe() if "torch" in sys.modules else f"numpy {np.__version__}, fp32, cpu"


def load_network(config: DualConfig, preprocess: Preprocess, weights: Path | dict[str, Tensor]) -> DualEncoder:
    """Build the network, load its weights as float32 and fold its batch norms, ready for inference.

    Raises:
        InputError: weights are missing, unexpected or of another shape; all are listed.
    """
    import torch
    from safetensors.torch import load_file as load_tensors

    from callosum.models.checkpoints.fit import require_fit
    from callosum.models.dual import DualEncoder
    from callosum.models.empty import without_values

    with without_values():
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


def _unpadded(network: DualEncoder, batch: tuple[Ids]) -> Float[np.ndarray, "B D"]:
    """Texts one after the other, without padding."""
    import torch

    from callosum.models.runtime.unpadded import encode_unpadded

    with torch.inference_mode():
        return unit_rows(network.text_projection(encode_unpadded(network.text, batch[0])).float().numpy())


def _one_thread() -> None:
    import torch

    torch.get_num_threads()  # a thread takes the process's number when it first asks, and would take it later
    torch.set_num_threads(1)
