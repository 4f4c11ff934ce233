"""A checkpoint as an `Encoder`: texts are embedded in numpy, images in torch, imported when the first image comes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt8
from safetensors.numpy import load_file

from callosum.core.config import config_from
from callosum.core.cores import num_cores
from callosum.core.display import to_display
from callosum.core.embedding import Embedding, SpaceId, unit_rows
from callosum.core.errors import InputError, UsageError
from callosum.models.preprocess import Preprocess
from callosum.models.text.sizes import SmallTextConfig
from callosum.models.text.small_numpy import SmallTextNumpy
from callosum.models.tokenizer import WordPiece, pad
from callosum.models.vision.hybrid_numpy import HybridNumpy
from callosum.models.vision.sizes import HybridConfig

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

    from callosum.models.dual import DualEncoder

MICRO_BATCH = 16
PREPARED = 128
"""Pictures that are prepared and held at once."""
TEXT_BATCH = 64
FEW = 4
"""Pictures that numpy embeds sooner than torch is imported."""


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Sizes of both towers, as in `config.json`.

    Attributes:
        dim: Width of the shared space.
        vision: Fields of the image tower's config.
        text: Sizes of the text tower.
    """

    dim: int
    vision: Mapping[str, Any]
    text: SmallTextConfig


class CheckpointEncoder:
    """Implements `core.protocols.Encoder`.

    Args:
        config: Sizes.
        weights_path: `model.safetensors`; read once for texts and once for images.
        tokenizer: The checkpoint's tokenizer.
        preprocess: The checkpoint's way from a picture to its input.
        space: The space of the vectors.
        read: Reads a path to something with `display()`.
    """

    def __init__(
        self,
        *,
        config: EncoderConfig,
        weights_path: Path,
        tokenizer: WordPiece,
        preprocess: Preprocess,
        space: SpaceId,
        read: Callable[[Path], Any] | None = None,
    ) -> None:
        self.config = config
        self.tokenizer = tokenizer
        self._preprocess = preprocess
        self._space = space
        self._read = read
        self._weights_path = weights_path
        self._network: DualEncoder | None = None

    @property
    def space(self) -> SpaceId:
        """The space of every vector this encoder returns."""
        return self._space

    @property
    def preprocess(self) -> Preprocess:
        """Picture to tower input."""
        return self._preprocess

    def encode_text(self, texts: Sequence[str]) -> Embedding:
        """Embed sentences, each as if it were alone: the texts beside it change nothing but rounding.

        Raises:
            InputError: one string was given instead of a sequence of them.
        """
        if isinstance(texts, str):
            message = "encode_text takes a sequence of texts; found one string."
            raise InputError(message, hint="Write [text].")
        texts = list(texts)
        if odd := next((type(text).__name__ for text in texts if not isinstance(text, str)), None):
            message = f"A text is a string; found {odd}."
            raise InputError(message)
        texts = [text.encode("utf-8", "replace").decode() for text in texts]
        ids = self.tokenizer.ids(texts)
        order = sorted(range(len(ids)), key=lambda n: len(ids[n]))
        out_ND = np.zeros((len(ids), self.config.dim), np.float32)
        for start in range(0, len(order), TEXT_BATCH):
            part = order[start : start + TEXT_BATCH]
            out_ND[part] = self._text(*pad([ids[n] for n in part]))
        return Embedding(matrix=unit_rows(out_ND), space=self.space)

    def encode_image(self, images: Sequence[Any], *, batch_size: int | None = None) -> Embedding:
        """Embed pictures: paths, PIL images, uint8 or uint16 arrays `[H, W]` or `[H, W, 3]`, `Image` records.

        Raises:
            InputError: something else was given.
            UsageError: a path was given to an encoder without a reader.
        """
        images = _checked(images, batch_size)
        step = batch_size or PREPARED
        parts = [np.zeros((0, self.config.dim), np.float32)]
        for start in range(0, len(images), step):
            pixels = np.stack([self.preprocess(self._display(image)) for image in images[start : start + step]])
            parts.append(self.encode_pixels(pixels).matrix)
        return Embedding(matrix=np.concatenate(parts), space=self.space)

    def encode_pixels(self, pixels: UInt8[np.ndarray, "N S S 3"]) -> Embedding:
        """Embed what `preprocess` returned.

        A few pictures in a process that has not imported torch are embedded without it. Micro-batches run side by
        side on one thread each: a network this small gains less from threads inside an operation, and loses much when
        those wait for each other on a busy machine.
        """
        if self._network is None and len(pixels) <= FEW and "torch" not in sys.modules:
            return Embedding(matrix=self._vision_numpy(pixels), space=self.space)
        if self._network is None:
            self._network = load_network(self.config, self._weights_path)
        batches = [pixels[n : n + MICRO_BATCH] for n in range(0, len(pixels), MICRO_BATCH)]
        parts = self._threads.map(partial(_forward, self._network), batches)
        empty = np.zeros((0, self.config.dim), np.float32)
        return Embedding(matrix=np.concatenate([empty, *parts]), space=self.space)

    @cached_property
    def _weights(self) -> dict[str, Float[np.ndarray, ...]]:
        return {name: value.astype(np.float32) for name, value in load_file(self._weights_path).items()}

    @cached_property
    def _text(self) -> SmallTextNumpy:
        return SmallTextNumpy(self.config.text, self._weights)

    @cached_property
    def _vision_numpy(self) -> HybridNumpy:
        return HybridNumpy(vision_config(self.config), self._weights)

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(num_cores(), thread_name_prefix="encode", initializer=_one_thread)

    def _display(self, image: Any) -> UInt8[np.ndarray, "H W *C"]:
        """Display values of whatever `encode_image` accepts."""
        if isinstance(image, str | Path):
            if self._read is None:
                message = "This encoder was loaded without a reader of files."
                raise UsageError(message, hint="Use callosum.load_encoder, or give arrays or records.")
            image = self._read(Path(image))
        if hasattr(image, "display"):
            image = image.display()
        elif hasattr(image, "convert") and hasattr(image, "mode"):
            image = _pil_pixels(image)
        if not isinstance(image, np.ndarray) or image.ndim not in (2, 3) or image.shape[2:] not in ((), (1,), (3,)):
            found = f"{image.dtype} {list(image.shape)}" if isinstance(image, np.ndarray) else type(image).__name__
            message = f"An image is a path, a PIL image, an array [H, W] or [H, W, 3], or a record; found {found}."
            raise InputError(message)
        image = image.astype(image.dtype.newbyteorder("="), copy=False)
        if image.dtype not in (np.uint8, np.uint16) or 0 in image.shape:
            message = f"An array of pixels is uint8 or uint16 and not empty; found {image.dtype} {list(image.shape)}."
            raise InputError(message)
        return to_display(image)


def _forward(network: DualEncoder, pixels: UInt8[np.ndarray, "B S S 3"]) -> Float[np.ndarray, "B D"]:
    """One micro-batch."""
    import torch

    with torch.inference_mode():
        return unit_rows(network.encode_image(torch.from_numpy(pixels)).numpy())


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _checked(images: Sequence[Any], batch_size: int | None) -> list[Any]:
    """The images as a list, where they are several of what can be one."""
    if isinstance(batch_size, bool) or not (batch_size is None or (isinstance(batch_size, int) and batch_size >= 1)):
        message = f"batch_size is a whole number of at least 1; found {batch_size!r}."
        raise InputError(message)
    is_one = isinstance(images, str | bytes | Path) or hasattr(images, "display") or hasattr(images, "convert")
    is_one = is_one or (isinstance(images, np.ndarray) and images.ndim < 4 and images.dtype != object)
    if is_one or not hasattr(images, "__iter__"):
        message = f"encode_image takes a sequence of images; found one {type(images).__name__}."
        raise InputError(message, hint="Write [image].")
    return list(images)


def _pil_pixels(image: PilImage) -> np.ndarray:
    """Samples of a PIL image, upright: grey of any depth as it is; else RGB, transparency laid on black."""
    from PIL import ImageOps

    image = ImageOps.exif_transpose(image)
    is_opaque = "transparency" not in image.info
    if image.mode in ("I", "F") or image.mode.startswith("I;16") or (image.mode == "L" and is_opaque):
        return to_display(np.asarray(image))
    if {"A", "a"} & set(image.getbands()) or not is_opaque:
        straight = image.convert("LA") if image.mode == "La" else image
        rgba = np.asarray(straight.convert("RGBA")).astype(np.uint16)
        return (rgba[..., :3] * rgba[..., 3:] // 255).astype(np.uint8)
    return np.asarray(image.convert("RGB"))


def vision_config(config: EncoderConfig) -> HybridConfig:
    """Sizes of the image tower."""
    return config_from(HybridConfig, {k: tuple(v) if isinstance(v, list) else v for k, v in config.vision.items()})


def load_network(config: EncoderConfig, weights_path: Path) -> DualEncoder:
    """Build the network in float32, fold its batch norms into the convolutions, ready to encode images."""
    import torch
    from safetensors.torch import load_file as load_tensors

    from callosum.models.dual import DualEncoder

    network = DualEncoder(vision=vision_config(config), text=config.text, dim=config.dim)
    state = {name: value.to(torch.float32) for name, value in load_tensors(weights_path).items()}
    counters = {name: value for name, value in network.state_dict().items() if not value.dtype.is_floating_point}
    network.load_state_dict({**counters, **state}, strict=True)
    network.vision.fold_norms()
    return network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
