"""Batches of a run, prepared a few steps ahead in a thread of their own, and continued where a run was interrupted."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import Any

import numpy as np

from callosum.core.digest import digest_json
from callosum.core.errors import InputError
from callosum.train.augment_recipes import Augmentation, Recipe, augmentation_of
from callosum.train.feed import Batch, Feed, Tokenizer, check_contrast
from callosum.train.mixture import Draw, Mixture, MixtureConfig
from callosum.train.pixel_cache import PixelCache
from callosum.train.sentences import SentenceConfig, Take
from callosum.train.stock import Material


class RecipeOn(StrEnum):
    """Where pictures are augmented."""

    LOADER = "loader"
    """In the loader's thread, on the processor."""
    LOOP = "loop"
    """By the loop with `augment_pixels`, on the device of the model."""


@dataclass(frozen=True, kw_only=True)
class LoaderConfig:
    """What a batch is made of.

    Attributes:
        mixture: How many pairs, pictures and texts, and the seed.
        sentences: What is shown of a text.
        recipe: The augmentation.
        mirror: Probability of a left-right flip; leave it at 0 for chest films.
        recipe_on: Where pictures are augmented.
        size_px: Side of the pictures.
        num_ahead: Batches that are prepared before they are asked for.
    """

    mixture: MixtureConfig
    sentences: SentenceConfig = field(default_factory=SentenceConfig)
    recipe: Recipe = Recipe.NONE
    mirror: float = 0.0
    recipe_on: RecipeOn = RecipeOn.LOADER
    size_px: int = 224
    num_ahead: int = 2

    @property
    def augmentation(self) -> Augmentation:
        """The limits of the recipe."""
        return augmentation_of(self.recipe, mirror=self.mirror)


class Loader:
    """An endless iterator of batches. Use as a context manager, or call `close`.

    Args:
        material: What is drawn from.
        cache: Has the squares of all its pictures.
        config: What a batch is made of.
        tokenizer: Texts to ids; None leaves that to the loop.
        rank: Number of this process; processes get different rows of the same draw.
        world_size: Number of processes.

    Raises:
        InputError: nothing can be learnt from the material; see `check_contrast`.
        UsageError: the settings do not fit the material.
    """

    def __init__(
        self,
        material: Material,
        cache: PixelCache,
        config: LoaderConfig,
        *,
        tokenizer: Tokenizer | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.config = config
        self._mixture = Mixture(material, config.mixture, rank=rank, world_size=world_size)
        check_contrast(material, has_pairs=config.mixture.num_pairs > 0)
        self._feed = Feed(
            material,
            cache,
            sentences=config.sentences,
            augmentation=config.augmentation if config.recipe_on is RecipeOn.LOADER else None,
            size_px=config.size_px,
            tokenizer=tokenizer,
        )
        self._choices = digest_json(
            [asdict(config.sentences), config.recipe, config.mirror, config.size_px, cache.config.recipe]
        )
        self._state = self._mixture.state_dict()
        self._queue: queue.Queue[tuple[Batch, dict[str, Any]] | BaseException] = queue.Queue(max(1, config.num_ahead))
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()
        found = self._queue.get()
        if isinstance(found, BaseException):
            self.close()
            raise found
        batch, self._state = found
        return batch

    def state_dict(self) -> dict[str, Any]:
        """What continues after the batch that was handed out last, as a JSON value; equal on all processes."""
        return {**self._state, "choices": self._choices}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue with the batch that would have come next.

        Raises:
            InputError: the state is of other material or other settings.
        """
        if state.get("choices") != self._choices:
            message = "The interrupted run showed other sentences, or pictures of another size or augmentation."
            raise InputError(message, hint="Give the settings it was started with, or start anew.")
        self.close()
        self._mixture.load_state_dict(state)
        self._state = self._mixture.state_dict()

    def close(self) -> None:
        """End the thread; the next batch starts it again where it was."""
        if self._thread is None:
            return
        self._stopping.set()
        while self._thread.is_alive():
            with contextlib.suppress(queue.Empty):
                self._queue.get(timeout=0.05)
        while not self._queue.empty():
            self._queue.get_nowait()
        self._thread = None
        self._stopping.clear()
        self._mixture.load_state_dict(self._state)

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                batch = self._feed.batch(self._mixture.draw(), rank=self._mixture.rank)
                self._put((batch, self._mixture.state_dict()))
        except BaseException as error:  # it is raised again where batches are asked for
            self._put(error)

    def _put(self, item: tuple[Batch, dict[str, Any]] | BaseException) -> None:
        while not self._stopping.is_set():
            with contextlib.suppress(queue.Full):
                self._queue.put(item, timeout=0.1)
                return


def iter_once(
    material: Material,
    cache: PixelCache,
    *,
    batch_size: int,
    size_px: int,
    tokenizer: Tokenizer | None = None,
    take: Take = Take.WHOLE,
) -> Iterator[Batch]:
    """Every pair once, then the pictures alone, then the texts alone, in order and not augmented.

    The last batch of each kind is shorter; a single pair, which has nothing to be told from, goes with the batch before
    it. A batch of pictures alone has no texts, and the other way round. With `take`, the sentence that is shown of a
    text is always the same one.
    """
    sentences = SentenceConfig(take=take, inherits_labels=True)
    augmentation = augmentation_of(Recipe.NONE)
    feed = Feed(material, cache, sentences=sentences, augmentation=augmentation, size_px=size_px, tokenizer=tokenizer)
    pairs = [pool.pair_rows for pool in material.pools]
    paired = np.concatenate(pairs) if pairs else np.zeros((0, 2), np.int64)
    images = np.setdiff1d(np.arange(len(material.pictures)), paired[:, 0])
    texts = np.setdiff1d(np.arange(len(material.texts)), paired[:, 1])
    none = images[:0]
    parts = [(paired[:, 0], paired[:, 1], True), (images, none, False), (none, texts, False)]
    step = 0
    for image_rows, text_rows, is_pair in parts:
        num_rows = max(len(image_rows), len(text_rows))
        cuts = [*range(0, num_rows, batch_size), num_rows]
        if is_pair and len(cuts) > 2 and cuts[-1] - cuts[-2] == 1:
            cuts.pop(-2)
        for start, end in pairwise(cuts):
            image_N, text_M = image_rows[start:end], text_rows[start:end]
            draw = Draw(
                step=step,
                image_rows_N=image_N,
                image_keys_N=image_N.astype(np.uint64),
                text_rows_M=text_M,
                text_keys_M=text_M.astype(np.uint64),
                num_pairs=len(image_N) if is_pair else 0,
            )
            yield feed.batch(draw)
            step += 1
