"""Rows that a run looks at but does not learn from: those of validation, and those of what it is to retain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from callosum.core.errors import InputError
from callosum.models.dual import DualEncoder
from callosum.objectives.views import Side, join_sides
from callosum.train.feed import Batch
from callosum.train.inputs import inputs_of, nearest_text_accuracy
from callosum.train.loader import iter_once
from callosum.train.pixel_cache import PixelCache
from callosum.train.step import Step
from callosum.train.stock import Material


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldOut:
    """Pairs, or pictures and texts, that are looked at every so often.

    Attributes:
        material: The rows.
        cache: Their pictures.
        num_rows: Rows in a batch.
        size_px: Side of a picture.
        prefix: Put before every text.
        has_loss: Whether the objective is computed; for what is to be retained it means nothing.
    """

    material: Material
    cache: PixelCache
    num_rows: int
    size_px: int
    prefix: str = ""
    has_loss: bool = True

    @property
    def has_pairs(self) -> bool:
        """Whether there are pairs, which have an accuracy."""
        return any(len(pool.pair_rows) for pool in self.material.pools)

    def figures(self, step: Step) -> dict[str, float]:
        """`loss`, each batch counted by its images, and `accuracy` of pairs over all rows.

        Pictures and texts that are no pairs are compared all with all.

        Raises:
            InputError: the rows are pictures alone, or texts alone.
        """
        seen = _Seen()
        with torch.no_grad():
            for batch in iter_once(self.material, self.cache, batch_size=self.num_rows, size_px=self.size_px):
                objective = step.objective if self.has_loss else None
                inputs = inputs_of(batch, objective, texts=step.tokenizer.ids, prefix=self.prefix)
                image = step.image_side(inputs) if len(batch.pixels) else None
                text = step.text_side(inputs) if batch.texts else None
                seen.add(batch, image, text)
                if self.has_loss and image is not None and text is not None:
                    seen.count(step.local_loss(image, text), len(image))
            if self.has_loss and seen.images and seen.texts:
                image, text = join_sides(seen.images), join_sides(seen.texts)
                seen.count(step.local_loss(image, text), len(image))
        if not seen.weight and not seen.keys_N:
            message = f"The {self.material.side} rows are pictures alone, or texts alone: there is nothing to compare."
            raise InputError(message, hint="Give pairs, or pictures and texts, of that side.")
        return seen.figures()


class _Seen:
    """What was computed of the rows so far."""

    def __init__(self) -> None:
        self.images: list[Side] = []
        self.texts: list[Side] = []
        self.pairs: list[tuple[Tensor, Tensor]] = []
        self.keys_N: list[str] = []
        self.total = 0.0
        self.weight = 0

    def add(self, batch: Batch, image: Side | None, text: Side | None) -> None:
        if image is not None and text is not None:
            self.pairs.append((image.embedding_ND, text.embedding_ND))
            self.keys_N += batch.text_keys
        elif image is not None:
            self.images.append(image)
        elif text is not None:
            self.texts.append(text)

    def count(self, terms: Mapping[str, Tensor], num_images: int) -> None:
        self.total += float(terms["loss"]) * num_images
        self.weight += num_images

    def figures(self) -> dict[str, float]:
        found = {"loss": self.total / self.weight} if self.weight else {}
        if self.pairs:
            image_ND, text_ND = (torch.cat(parts) for parts in zip(*self.pairs, strict=True))
            found["accuracy"] = nearest_text_accuracy(image_ND, text_ND, self.keys_N, self.keys_N)
        return found


def weights_of(network: DualEncoder) -> dict[str, Tensor]:
    """A copy of the weights."""
    return {name: value.detach().clone() for name, value in network.state_dict().items()}
