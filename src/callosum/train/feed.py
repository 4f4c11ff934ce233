"""One batch as a training step takes it, and how a draw becomes one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64, UInt8, UInt64
from torch import Tensor

from callosum.core.errors import InputError, UsageError
from callosum.train.augment_recipes import Augmentation, augment_pixels
from callosum.train.labels import merge
from callosum.train.mixture import Draw
from callosum.train.pixel_cache import PixelCache
from callosum.train.sentences import SentenceConfig, Take, draw_sentences, reworded, text_key
from callosum.train.stock import Material, Writing, normal_index

Tokenizer = Callable[[Sequence[str]], tuple[np.ndarray, np.ndarray]]
"""Texts to padded ids and the mask of the positions that count."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """N pictures and M texts of one step on one process; pairs come first in both, row by row.

    Attributes:
        step: Number of the step, from 0.
        pixels: In 0..1 `[N, 3, S, S]`; or, when the loop augments, bytes `[N, H, W, C]` as they are in the cache.
        keys_N: What augments each picture.
        texts: What is shown.
        token_ids: `[M, L]`; None without a tokenizer.
        token_mask: Positions that count.
        image_labels: 1 positive, 0 negative, -1 uncertain, NaN unmentioned.
        text_labels: Likewise, of what is shown.
        image_pairs: Equal to `text_pairs` of the picture's text, and different on all processes; -1 for none.
        text_pairs: See there.
        image_patients: Keys; equal for one patient.
        text_patients: Likewise.
        image_ids: Record ids.
        text_ids: Likewise.
    """

    step: int
    pixels: Float[Tensor, "N 3 S S"] | UInt8[Tensor, "N H W C"]
    keys_N: UInt64[np.ndarray, " N"] = field(repr=False)
    texts: tuple[str, ...] = field(repr=False)
    token_ids: Int64[Tensor, "M L"] | None
    token_mask: Bool[Tensor, "M L"] | None
    image_labels: Float32[Tensor, "N K"]
    text_labels: Float32[Tensor, "M K"]
    image_pairs: Int64[Tensor, " N"]
    text_pairs: Int64[Tensor, " M"]
    image_patients: tuple[str, ...]
    text_patients: tuple[str, ...]
    image_ids: tuple[str, ...]
    text_ids: tuple[str, ...]

    @property
    def text_keys(self) -> tuple[str, ...]:
        """Equal for texts that are equal but for case and spaces."""
        return tuple(text_key(text) for text in self.texts)

    @property
    def image_text_keys(self) -> tuple[str | None, ...]:
        """The key of each picture's own text; None for a picture alone."""
        keys = self.text_keys
        return tuple(None if at < 0 else keys[at] for at in self.text_of_image.tolist())

    @property
    def text_of_image(self) -> Int64[Tensor, " N"]:
        """The number of each picture's own text in this batch; -1 for a picture alone."""
        return torch.where(self.image_pairs < 0, -1, torch.arange(len(self.image_pairs)))

    @property
    def num_matched(self) -> int:
        """Pictures with a text here that is theirs or shares a positive concept; 0 is a batch without positives."""
        shares_NM = (self.image_labels == 1.0).float() @ (self.text_labels == 1.0).float().T > 0
        return int((shares_NM.any(dim=1) | (self.image_pairs >= 0)).sum())


class Feed:
    """Draws to batches: squares from the cache, sentences, labels, ids.

    Args:
        material: What is drawn from.
        cache: Has the squares of all its pictures.
        sentences: What is shown of a text.
        augmentation: Limits; None leaves the bytes of the cache to the loop.
        size_px: Side of the pictures.
        tokenizer: None leaves the texts to the loop.

    Raises:
        UsageError: a picture is not in the cache; or sentences are to be drawn of texts that are labelled as a whole.
    """

    def __init__(
        self,
        material: Material,
        cache: PixelCache,
        *,
        sentences: SentenceConfig,
        augmentation: Augmentation | None,
        size_px: int,
        tokenizer: Tokenizer | None = None,
    ) -> None:
        self.material = material
        self.cache = cache
        self.sentences = sentences
        self.augmentation = augmentation
        self.size_px = size_px
        self.tokenizer = tokenizer
        self._normal = normal_index(material.concepts)
        self._image_labels_NK = material.image_labels_NK
        self._cache_rows_N = cache.find(material.sources)
        if num_missing := int((self._cache_rows_N < 0).sum()):
            message = f"{num_missing} of {len(self._cache_rows_N)} pictures are not in the pixel cache."
            raise UsageError(message, hint="Use what material.readable(cache) returns.")
        is_whole = any(not text.is_by_sentence and len(text.sentences) > 1 for text in material.texts)
        if material.concepts and is_whole and sentences.take is not Take.WHOLE and not sentences.inherits_labels:
            message = "The labels of the texts are those of whole reports, and single sentences are to be drawn."
            hint = "Give an extractor, or take=whole, or inherits_labels=True where the objective ignores labels."
            raise UsageError(message, hint=hint)

    def batch(self, draw: Draw, *, rank: int = 0) -> Batch:
        """What a draw stands for."""
        pictures = [self.material.pictures[row] for row in draw.image_rows_N.tolist()]
        writings = [self.material.texts[row] for row in draw.text_rows_M.tolist()]
        shown = [self._shown(text, key) for text, key in zip(writings, draw.text_keys_M[:, None], strict=True)]
        texts = tuple(text for text, _ in shown)
        ids, mask = (None, None) if self.tokenizer is None else map(torch.from_numpy, self.tokenizer(texts))
        K = len(self.material.concepts)
        labels_MK = np.stack([labels_K for _, labels_K in shown]) if shown else np.zeros((0, K), np.float32)
        pairs = torch.arange(draw.num_pairs) + rank * draw.num_pairs
        alone = [torch.full((len(each) - draw.num_pairs,), -1) for each in (pictures, writings)]
        return Batch(
            step=draw.step,
            pixels=self._pixels(draw),
            keys_N=draw.image_keys_N,
            texts=texts,
            token_ids=ids,
            token_mask=mask,
            image_labels=torch.from_numpy(self._image_labels_NK[draw.image_rows_N]),
            text_labels=torch.from_numpy(labels_MK),
            image_pairs=torch.cat([pairs, alone[0]]),
            text_pairs=torch.cat([pairs, alone[1]]),
            image_patients=tuple(picture.patient for picture in pictures),
            text_patients=tuple(text.patient for text in writings),
            image_ids=tuple(picture.record_id for picture in pictures),
            text_ids=tuple(text.record_id for text in writings),
        )

    def _pixels(self, draw: Draw) -> Tensor:
        pixels = torch.from_numpy(self.cache.gather(self._cache_rows_N[draw.image_rows_N]))
        if self.augmentation is None:
            return pixels
        return augment_pixels(pixels, draw.image_keys_N, augmentation=self.augmentation, size_px=self.size_px)

    def _shown(self, text: Writing, key_1: np.ndarray) -> tuple[str, np.ndarray]:
        chosen = draw_sentences(text.sentences, self.sentences, key_1)
        words = reworded(" ".join(text.sentences[at] for at in chosen), self.sentences.rewording, key_1)
        labels_SK = text.labels_SK[chosen] if text.is_by_sentence else text.labels_SK
        return words, merge(labels_SK, normal=self._normal)


def check_contrast(material: Material, *, has_pairs: bool) -> None:
    """Refuse material from which nothing can be learnt.

    Raises:
        InputError: all texts are equal; or, without pairs, no picture shares a positive concept with any text, or all
            pictures and texts have the same labels.
        UsageError: there are neither pairs nor labels.
    """
    whole = {text_key(" ".join(text.sentences)) for text in material.texts}
    if len(whole) == 1 and len(material.texts) > 1:
        message = f"All {len(material.texts)} texts are equal: there is nothing to tell apart."
        raise InputError(message, hint="Check which columns hold the texts.")
    if has_pairs:
        return
    if not material.concepts:
        message = "Pictures and texts that are no pairs can be matched by labels only, and there are none."
        raise UsageError(message, hint="Name label columns, those of 1 and 0 too: concepts=A,B. Or set num_pairs.")
    image_NK, text_MK = material.image_labels_NK == 1.0, material.text_labels_MK == 1.0
    if not (image_NK.any(axis=0) & text_MK.any(axis=0)).any():
        message = "No concept is positive both in a picture and in a text: every batch would be without positives."
        raise InputError(
            message, hint="Check the label columns of the manifests, and that they name the same concepts."
        )
    if len(np.unique(np.concatenate([image_NK, text_MK]), axis=0)) == 1:
        message = "All pictures and texts have the same labels: there is nothing to tell apart."
        raise InputError(message, hint="Add rows of another class.")
