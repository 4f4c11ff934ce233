"""Which pictures and texts each step sees: a function of the seed and of how much was drawn before.

A batch has three kinds of slots: pairs, pictures alone and texts alone. Each kind is dealt over the supplies that can
fill it by their weights, exact in the long run; a supply goes through its rows in an order that changes every epoch,
and begins again when they are used up. All processes deal the same slots and take different ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt64

from callosum.core.digest import digest_json
from callosum.core.errors import InputError, UsageError
from callosum.train.chance import keys, permutation
from callosum.train.stock import Material, Pool

SLOTS = ("pairs", "images", "texts")


@dataclass(frozen=True, kw_only=True)
class MixtureConfig:
    """How many slots of each kind a batch has, on every process.

    Attributes:
        num_pairs: Pictures with a text of theirs. With none, the pictures and texts of pairs are dealt out separately,
            as MedCLIP does; with some, they are only drawn together.
        num_images: Pictures alone.
        num_texts: Texts alone.
        seed: Of every draw, sentence and augmentation.
    """

    num_pairs: int = 0
    num_images: int = 0
    num_texts: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.num_pairs, self.num_images, self.num_texts) < 0:
            message = "A batch has no fewer than 0 pairs, pictures and texts."
            raise UsageError(message)
        if not (self.num_pairs or (self.num_images and self.num_texts)):
            message = "A batch needs pairs, or pictures and texts: one kind alone has nothing to be compared with."
            raise UsageError(message, hint="Set num_pairs, or num_images and num_texts.")


@dataclass(frozen=True, kw_only=True, eq=False)
class Draw:
    """The slots of one step on one process; pairs come first, row by row.

    Attributes:
        step: Number of the step, from 0.
        image_rows_N: Numbers of pictures.
        image_keys_N: What augments each.
        text_rows_M: Numbers of texts.
        text_keys_M: What chooses sentences of each.
        num_pairs: How many belong together.
    """

    step: int
    image_rows_N: Int64[np.ndarray, " N"]
    image_keys_N: UInt64[np.ndarray, " N"]
    text_rows_M: Int64[np.ndarray, " M"]
    text_keys_M: UInt64[np.ndarray, " M"]
    num_pairs: int


class Mixture:
    """Draws steps. Its state is how many rows were drawn from each supply.

    Raises:
        UsageError: no supply can fill a kind of slot that the batch has.
    """

    def __init__(self, material: Material, config: MixtureConfig, *, rank: int = 0, world_size: int = 1) -> None:
        if not 0 <= rank < world_size:
            message = f"A rank is below the number of processes ({world_size}); found {rank}."
            raise UsageError(message)
        self.config = config
        self.rank = rank
        self.world_size = world_size
        self.step = 0
        wanted = (config.num_pairs, config.num_images, config.num_texts)
        total = [num * world_size for num in wanted]
        is_split = not config.num_pairs
        self._decks = [
            _Deck(
                [(n, _rows(pool, slot, is_split=is_split), pool.weight) for n, pool in enumerate(material.pools)], slot
            )
            for slot in SLOTS
        ]
        for deck, num, slot in zip(self._decks, total, SLOTS, strict=True):
            if num and not deck.rows:
                message = f"A batch is to have {slot}, and no supply with a weight above 0 has any."
                raise UsageError(message, hint="Disjoint patients leave no pairs." if slot == "pairs" else "")
        self._total = total
        self._identity = digest_json([material.digest, config.seed, total])

    def draw(self) -> Draw:
        """The slots of the next step."""
        dealt = [
            deck.deal(num, self.step, self.config.seed, rank=self.rank, world_size=self.world_size)
            for deck, num in zip(self._decks, self._total, strict=True)
        ]
        (pairs, pair_keys), (images, image_keys), (texts, text_keys) = dealt
        draw = Draw(
            step=self.step,
            image_rows_N=np.concatenate([pairs[:, 0], images[:, 0]]),
            image_keys_N=np.concatenate([pair_keys, image_keys]),
            text_rows_M=np.concatenate([pairs[:, 1], texts[:, 1]]),
            text_keys_M=keys(np.concatenate([pair_keys, text_keys]), 1),  # crops and sentences are independent
            num_pairs=len(pairs),
        )
        self.step += 1
        return draw

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` continues from, as a JSON value; equal on all processes."""
        drawn = {slot: list(deck.drawn) for slot, deck in zip(SLOTS, self._decks, strict=True)}
        return {"step": self.step, "drawn": drawn, "identity": self._identity}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue: the next step is the one that would have come next, on as many processes or on others.

        Raises:
            InputError: the state is of other material, another seed or another size of the batch over all processes.
        """
        if state.get("identity") != self._identity:
            message = "The interrupted run drew from other material, with another seed or another size of batch."
            raise InputError(message, hint="Give the manifests and settings it was started with, or start anew.")
        self.step = int(state["step"])
        for slot, deck in zip(SLOTS, self._decks, strict=True):
            deck.drawn = [int(num) for num in state["drawn"][slot]]

    @property
    def settings(self) -> dict[str, Any]:
        """The configuration and the number of processes, as a JSON value for the Trace."""
        return {**asdict(self.config), "world_size": self.world_size}


class _Deck:
    """The rows that fill one kind of slot, supply by supply."""

    def __init__(self, offered: list[tuple[int, np.ndarray, float]], slot: str) -> None:
        kept = [(number, rows, weight) for number, rows, weight in offered if len(rows) and weight > 0]
        self.numbers = [number for number, _, _ in kept]
        self.rows = [rows for _, rows, _ in kept]
        weights = np.array([weight for _, _, weight in kept])
        self.shares = weights / weights.sum() if kept else weights
        self.drawn = [0] * len(kept)
        self._slot = SLOTS.index(slot)
        self._order: Callable[[int, int, int], np.ndarray] = lru_cache(maxsize=4 * len(kept) or 1)(self._permuted)

    def deal(
        self, num: int, step: int, seed: int, *, rank: int, world_size: int
    ) -> tuple[Int64[np.ndarray, "n 2"], UInt64[np.ndarray, " n"]]:
        """Rows of this process and the key of each, of `num` that are dealt to all."""
        rows, codes = [np.zeros((0, 2), np.int64)], [np.zeros(0, np.uint64)]
        for at, quota in enumerate(self._quotas(num, step)):
            number = np.arange(self.drawn[at], self.drawn[at] + quota)
            self.drawn[at] += quota
            epochs, places = np.divmod(number, len(self.rows[at]))
            for epoch in np.unique(epochs).tolist():
                order = self._order(at, epoch, seed)
                rows.append(self.rows[at][order[places[epochs == epoch]]])
            codes.append(keys(seed, self._slot, self.numbers[at], number))
        mine = permutation(keys(seed, self._slot, step), num) if num else np.zeros(0, np.int64)
        mine = np.array_split(mine, world_size)[rank]
        return np.concatenate(rows)[mine], np.concatenate(codes)[mine]

    def _quotas(self, num: int, step: int) -> list[int]:
        """Slots of each supply, so that what it was dealt never differs by more than a slot or so from its share."""
        if not num:
            return []
        due = np.maximum(self.shares * (step + 1) * num - np.array(self.drawn), 0.0)
        quotas = np.floor(due).astype(int)
        for at in np.argsort(quotas - due, kind="stable")[: max(0, num - quotas.sum())]:
            quotas[at] += 1
        while quotas.sum() > num:  # one was dealt more than its share before, so the others have too much due
            quotas[int(np.argmax(quotas - due))] -= 1
        return [int(quota) for quota in quotas]

    def _permuted(self, at: int, epoch: int, seed: int) -> np.ndarray:
        return permutation(keys(seed, self._slot, self.numbers[at], epoch), len(self.rows[at]))


def _rows(pool: Pool, slot: str, *, is_split: bool) -> Int64[np.ndarray, "n 2"]:
    """What a pool has for a kind of slot: numbers of the picture and of the text, -1 for none."""
    if slot == "pairs":
        return pool.pair_rows
    if pool.kind == "pairs" and not is_split:
        return np.zeros((0, 2), np.int64)
    rows = pool.image_rows if slot == "images" else pool.text_rows
    column = 0 if slot == "images" else 1
    found = np.full((len(rows), 2), -1, np.int64)
    found[:, column] = rows
    return found
