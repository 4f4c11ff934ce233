"""Features of locked towers, computed once: a step then trains projections on rows of a table.

That is exact where pictures are not augmented and locked towers have no dropout, which they have not.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from callosum.models.dual import DualEncoder
from callosum.models.runtime.accelerate import accelerate
from callosum.models.runtime.bucket import bucketed
from callosum.models.runtime.precision import Precision
from callosum.models.runtime.probe import Probe, probe_here
from callosum.models.tokenizer import SubwordTokenizer
from callosum.train.augment_recipes import Augmentation, augment_pixels
from callosum.train.checkpointing import read_state, write_state
from callosum.train.feed import Batch, Feed
from callosum.train.mixture import Draw, Mixture
from callosum.train.pixel_cache import PixelCache
from callosum.train.precision import StepPrecision
from callosum.train.sentences import Rewording, SentenceConfig, Take
from callosum.train.step import normalised
from callosum.train.stock import Material

IMAGES_AT_ONCE, TEXTS_AT_ONCE = 16, 32


class FeatureFeed(Feed):
    """Batches whose pictures are rows of a table of features."""

    def __init__(
        self, material: Material, cache: PixelCache, *, features_NF: Float[Tensor, "N F"], sentences: SentenceConfig
    ) -> None:
        super().__init__(material, cache, sentences=sentences, augmentation=None, size_px=1)
        self.features_NF = features_NF

    def _pixels(self, draw: Draw) -> Tensor:
        return self.features_NF[torch.from_numpy(draw.image_rows_N)]


class FeatureLoader:
    """The batches of a mixture, one after the other, for ever; what a `Loader` is where pictures are read."""

    def __init__(self, feed: FeatureFeed, mixture: Mixture) -> None:
        self.feed, self.mixture = feed, mixture

    def __enter__(self) -> FeatureLoader:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def __iter__(self) -> Iterator[Batch]:
        while True:
            yield self.feed.batch(self.mixture.draw(), rank=self.mixture.rank)

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` continues from."""
        return self.mixture.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue."""
        self.mixture.load_state_dict(state)


class TextTable:
    """Features of texts by the text itself.

    Args:
        texts: Distinct texts, each that a batch may show, with its prefix.
        features_MF: Their features.
    """

    def __init__(self, texts: Sequence[str], features_MF: Float[Tensor, "M F"]) -> None:
        self._row = {text: n for n, text in enumerate(texts)}
        self.features_MF = features_MF

    def __call__(self, texts: Sequence[str]) -> Float[Tensor, "M F"]:
        """Rows of the table."""
        return self.features_MF[[self._row[text] for text in texts]]


def text_features(
    network: DualEncoder, tokenizer: SubwordTokenizer, texts: Sequence[str], *, precision: StepPrecision
) -> Float[Tensor, "M F"]:
    """Features of texts, as the locked text tower gives them."""
    tower = locked_copy(network.text, precision)
    ids = tokenizer.ids(texts)
    plan = bucketed(ids, batch_size=TEXTS_AT_ONCE, pad_length=tokenizer.pad_length)
    parts = []
    with torch.inference_mode():
        for batch in plan.batches:
            rows, mask = tokenizer.padded([ids[n] for n in batch])
            parts.append(tower(torch.from_numpy(rows), torch.from_numpy(mask)).float())
    return torch.cat(parts)[torch.from_numpy(plan.restore_N)].clone()


def image_features(
    network: DualEncoder,
    material: Material,
    cache: PixelCache,
    *,
    size_px: int,
    precision: StepPrecision,
) -> Float[Tensor, "N F"]:
    """Features of every picture, by its number, as the locked image tower sees it without augmentation."""
    tower = locked_copy(network.vision, precision)
    rows_N = cache.find(material.sources)
    parts = []
    with torch.inference_mode():
        for start in range(0, len(rows_N), IMAGES_AT_ONCE):
            pixels = torch.from_numpy(cache.gather(rows_N[start : start + IMAGES_AT_ONCE]))
            keys = torch.zeros(len(pixels), dtype=torch.int64).numpy().astype("uint64")
            x = augment_pixels(pixels, keys, augmentation=Augmentation(), size_px=size_px)
            parts.append(tower(normalised(network, x)).float())
    return torch.cat(parts).clone()


def locked_copy(tower: nn.Module, precision: StepPrecision, *, probe: Probe = probe_here) -> nn.Module:
    """A copy that is fast and can only be run forwards; see `models.runtime.accelerate`."""
    return accelerate(copy.deepcopy(tower).eval().float().cpu(), precision=Precision(precision), probe=probe)


def possible_texts(material: Material, sentences: SentenceConfig, *, prefix: str) -> list[str] | None:
    """Every text that a step may show; None where there is no end of them."""
    if sentences.take is Take.SOME or sentences.rewording is not Rewording.NONE:
        return None
    found = []
    for text in material.texts:
        found += [" ".join(text.sentences)] if sentences.take is Take.WHOLE else list(text.sentences)
    return list(dict.fromkeys(prefix + text for text in found))


def kept_features(path: Path, identity: str, compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Features from a file of this run, or computed and written there.

    Which kernels are fast is found out anew by every process: a run that is continued must not compute its features
    again, lest they differ in the last bits.
    """
    if path.is_file():
        found, metadata = read_state(path)
        if metadata.get("run") == identity:
            return found
    found = compute()
    write_state(path, found, {"run": identity})
    return found
