"""A checkpoint as an `Encoder`: what is given becomes tower input, in batches, and comes back as an `Embedding`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from callosum.core.display import to_display
from callosum.core.embedding import Embedding, SpaceId, TokenEmbedding
from callosum.core.errors import InputError, UsageError
from callosum.models.compute import Compute
from callosum.models.compute_torch import TorchCompute
from callosum.models.preprocess import Preprocess
from callosum.models.tokenizer import SubwordTokenizer

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

PREPARED = 128
"""Pictures that are prepared and held at once."""


class CheckpointEncoder:
    """Implements `core.protocols.Encoder`.

    Args:
        dim: Width of the shared space.
        compute: Turns prepared pictures and token ids into vectors.
        tokenizer: The checkpoint's tokenizer.
        preprocess: The checkpoint's way from a picture to its input.
        space: The space of the vectors.
        read: Reads a path to something with `display()`.
    """

    def __init__(
        self,
        *,
        dim: int,
        compute: Compute,
        tokenizer: SubwordTokenizer,
        preprocess: Preprocess,
        space: SpaceId,
        read: Callable[[Path], Any] | None = None,
    ) -> None:
        self.dim = dim
        self.compute = compute
        self.tokenizer = tokenizer
        self._preprocess = preprocess
        self._space = space
        self._read = read

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

        Texts longer than the context are cut; `truncated` says which.

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
        vectors_ND = self.compute.text(self.tokenizer.ids(texts))
        return Embedding(matrix=vectors_ND, space=self.space)

    def encode_image(self, images: Sequence[Any], *, batch_size: int | None = None) -> Embedding:
        """Embed pictures: paths, PIL images, uint8 or uint16 arrays `[H, W]` or `[H, W, 3]`, `Image` records.

        Raises:
            InputError: something else was given.
            UsageError: a path was given to an encoder without a reader.
        """
        images = _checked(images, batch_size)
        step = batch_size or PREPARED
        parts = [np.zeros((0, self.dim), np.float32)]
        for start in range(0, len(images), step):
            parts.append(self.encode_pixels(self.prepare(images[start : start + step])).matrix)
        return Embedding(matrix=np.concatenate(parts), space=self.space)

    def encode_pixels(self, pixels: UInt8[np.ndarray, "N S S 3"]) -> Embedding:
        """Embed what `preprocess` returned."""
        return Embedding(matrix=self.compute.image(pixels), space=self.space)

    def encode_image_tokens(self, images: Sequence[Any]) -> TokenEmbedding:
        """Embed the regions of pictures, row by row of the grid; what `encode_image` takes.

        Raises:
            UsageError: the checkpoint has no vectors of regions.
        """
        matrix = self._towers().regions(self.prepare(images))
        return TokenEmbedding(matrix=matrix, mask=np.ones(matrix.shape[:2], bool), space=self.space)

    def encode_text_tokens(self, texts: Sequence[str]) -> TokenEmbedding:
        """Embed the words of texts; the pieces that begin and end a text are words of their own.

        Raises:
            UsageError: the checkpoint has no vectors of words.
        """
        matrix, mask = self._towers().words(self.tokenizer.ids(list(texts)), self.tokenizer.joins_V)
        return TokenEmbedding(matrix=matrix, mask=mask, space=self.space)

    def _towers(self) -> TorchCompute:
        if not isinstance(self.compute, TorchCompute):
            message = "Vectors of regions and words are computed in torch."
            raise UsageError(message)
        return self.compute

    def prepare(self, images: Sequence[Any]) -> UInt8[np.ndarray, "N S S 3"]:
        """What `encode_pixels` takes, from what `encode_image` takes.

        Raises:
            InputError: something else was given.
        """
        pixels = [self._prepared(image) for image in _checked(images, None)]
        return np.stack(pixels) if pixels else np.zeros((0, *[self._preprocess.size_px] * 2, 3), np.uint8)

    @property
    def runtime(self) -> str:
        """What computes: recorded with every vector, so that it can be explained later."""
        return self.compute.describe()

    def truncated(self, texts: Sequence[str]) -> list[bool]:
        """Whether each text is longer than the context, so that its end is not looked at."""
        return self.tokenizer.truncated(list(texts))

    def _prepared(self, image: Any) -> UInt8[np.ndarray, "S S 3"]:
        """The tower's input; what is a PIL image is prepared as the checkpoint's authors did, 16-bit ones excepted."""
        is_pil = hasattr(image, "convert") and hasattr(image, "mode")
        if is_pil and self._preprocess.keeps_mode and not _is_deep(image) and image.mode != "La":
            return self._preprocess(image)
        return self._preprocess(self._display(image))

    def _display(self, image: Any) -> UInt8[np.ndarray, "H W *C"]:
        """Display values of whatever `encode_image` accepts."""
        if isinstance(image, str | Path):
            if self._read is None:
                message = "This encoder was loaded without a reader of files."
                raise UsageError(message, hint="Use callosum.load_encoder, or give arrays or records.")
            image = self._read(Path(image))
        if hasattr(image, "display"):
            spare_px = self._preprocess.spare_px  # as indexing does, so that a picture finds itself
            image = image.display(min_px=spare_px) if spare_px else image.display()
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


def _is_deep(image: PilImage) -> bool:
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def _checked(images: Sequence[Any], batch_size: int | None) -> list[Any]:
    """The images as a list, where they are several of what can be one."""
    is_whole = batch_size is None or (hasattr(batch_size, "__index__") and not isinstance(batch_size, bool))
    if not is_whole or (batch_size is not None and batch_size < 1):
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
    if _is_deep(image) or (image.mode == "L" and is_opaque):
        return to_display(np.asarray(image))
    if {"A", "a"} & set(image.getbands()) or not is_opaque:
        straight = image.convert("LA") if image.mode == "La" else image
        rgba = np.asarray(straight.convert("RGBA")).astype(np.uint16)
        return (rgba[..., :3] * rgba[..., 3:] // 255).astype(np.uint8)
    return np.asarray(image.convert("RGB"))
