"""What the parts expect of each other: signatures only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from callosum.core.embedding import Embedding, SpaceId
from callosum.core.finding import Presence


@runtime_checkable
class Preprocess(Protocol):
    """A checkpoint's way from a picture to its input.

    It is a small picklable value that needs neither torch nor the weights, so that reading workers can apply it.
    """

    @property
    def spare_px(self) -> int | None:
        """Pixels that are enough for either side of a picture that may be averaged down; None where none may be."""
        ...

    def __call__(self, display: UInt8[np.ndarray, "H W *C"]) -> UInt8[np.ndarray, "S S 3"]:
        """Resize and crop a grey or colour picture to what the image tower takes, still uint8."""
        ...


@runtime_checkable
class Encoder(Protocol):
    """Images or texts in, `Embedding` out. Weights, tokenizer, preprocessing and pooling are one thing."""

    @property
    def space(self) -> SpaceId:
        """The space of every vector this encoder returns."""
        ...

    @property
    def preprocess(self) -> Preprocess:
        """Picture to tower input."""
        ...

    @property
    def runtime(self) -> str:
        """What computes, in one line; recorded with every vector that is kept."""
        ...

    def encode_image(self, images: Sequence[Any], *, batch_size: int | None = None) -> Embedding:
        """Embed pictures: paths, PIL images, uint8 or uint16 arrays `[H, W]` or `[H, W, 3]`, `Image` records."""
        ...

    def encode_pixels(self, pixels: UInt8[np.ndarray, "N S S 3"]) -> Embedding:
        """Embed what `preprocess` returned."""
        ...

    def encode_text(self, texts: Sequence[str]) -> Embedding:
        """Embed sentences."""
        ...


@runtime_checkable
class Extractor(Protocol):
    """What a text says, concept by concept: a rule-based labeller, a network, or a table of known texts."""

    def __call__(self, text: str, /) -> Mapping[str, Presence]:
        """The presence of every concept that a sentence or a report speaks of; others are unmentioned."""
        ...
