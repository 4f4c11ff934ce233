"""The pictures and texts of a run: what they are, which belong together, and what is known of each.

Pictures and texts are separate, as MedCLIP decouples them (Wang et al. 2022, arXiv:2210.10163): both carry labels over
one list of concepts, and a pair is a picture and a text that know each other.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32, Int64

from callosum.core.digest import digest_json
from callosum.core.errors import InputError
from callosum.data.sources import Source
from callosum.train.labels import NORMAL, count, merge
from callosum.train.supply import Kind, Side

if TYPE_CHECKING:
    from callosum.train.pixel_cache import PixelCache


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Picture:
    """A picture: its id, the key of its patient, where it is, and its labels."""

    record_id: str
    patient: str
    source: Source = field(repr=False)
    labels_K: Float32[np.ndarray, " K"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Writing:
    """A text.

    Attributes:
        record_id: Its id.
        patient: Key of its patient.
        sentences: What may be shown, in order; at least one.
        labels_SK: Labels of each sentence, or one row for all of the text.
        is_by_sentence: Which of the two.
    """

    record_id: str
    patient: str
    sentences: tuple[str, ...] = field(repr=False)
    labels_SK: Float32[np.ndarray, "S K"]
    is_by_sentence: bool


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Pool:
    """What one supply gives: numbers of pictures, of texts, and of pairs of both."""

    kind: Kind
    weight: float
    image_rows: Int64[np.ndarray, " N"]
    text_rows: Int64[np.ndarray, " M"]
    pair_rows: Int64[np.ndarray, "P 2"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Material:
    """The pictures and texts of one side.

    Attributes:
        concepts: Names of the labels.
        side: Training or validation.
        pictures: Every picture.
        texts: Every text; equal texts of one patient in one supply are one.
        pools: What each supply gives.
        choices: How the supplies were read, each with the digest of its manifest.
        counts: What was read and what was left out, a supply each.
        num_unreadable: Pictures that were left out because they could not be read.
        unreadable: How many of them for which reason, by its code.
    """

    concepts: tuple[str, ...]
    side: Side
    pictures: tuple[Picture, ...]
    texts: tuple[Writing, ...]
    pools: tuple[Pool, ...]
    choices: Mapping[str, Any]
    counts: tuple[Mapping[str, Any], ...]
    num_unreadable: int = 0
    unreadable: Mapping[str, int] = field(default_factory=dict)

    @property
    def sources(self) -> tuple[Source, ...]:
        """Where the pictures are, for the pixel cache."""
        return tuple(picture.source for picture in self.pictures)

    @property
    def image_labels_NK(self) -> Float32[np.ndarray, "N K"]:
        """Labels of every picture."""
        return _stacked([picture.labels_K for picture in self.pictures], len(self.concepts))

    @property
    def text_labels_MK(self) -> Float32[np.ndarray, "M K"]:
        """Labels of every text as a whole."""
        normal = normal_index(self.concepts)
        return _stacked([merge(text.labels_SK, normal=normal) for text in self.texts], len(self.concepts))

    @property
    def digest(self) -> str:
        """SHA-256 over the choices and every row, with labels and sentences: equal for equal runs."""
        digest = hashlib.sha256(digest_json(self.choices).encode())
        for picture in self.pictures:
            digest.update(f"\0{picture.record_id}\0{picture.patient}\0".encode() + picture.labels_K.tobytes())
        for text in self.texts:
            words = "\0".join((text.record_id, text.patient, *text.sentences))
            digest.update(b"\1" + words.encode() + text.labels_SK.tobytes())
        for pool in self.pools:
            digest.update(b"".join(rows.tobytes() for rows in (pool.image_rows, pool.text_rows, pool.pair_rows)))
        return digest.hexdigest()

    @property
    def doubts(self) -> tuple[str, ...]:
        """What of this a run cannot learn from, in sentences."""
        found = list(self.left_out)
        for what, labels in (("picture", self.image_labels_NK), ("text", self.text_labels_MK)):
            if not len(labels):
                continue
            for k, concept in enumerate(self.concepts):
                said = labels[~np.isnan(labels[:, k]), k]
                if not (said == 1.0).any():
                    found.append(f"'{concept}' is positive in no {what}.")
                elif (labels[:, k] == 1.0).all():
                    found.append(f"'{concept}' is positive in every {what}.")
        return tuple(found)

    @property
    def left_out(self) -> tuple[str, ...]:
        """Which rows are not used though they might have been meant to be, in sentences."""
        found = []
        if num := sum(each.get("num_unknown_side", 0) for each in self.counts):
            found.append(f"{num} rows are not used: their column 'split' says neither train, val nor test.")
        if self.num_unreadable:
            codes = ", ".join(f"{times} {code}" for code, times in self.unreadable.items())
            reasons = f" ({codes})" if codes else ""
            found.append(f"{self.num_unreadable} pictures of {self.side} could not be read and are left out{reasons}.")
        return tuple(found)

    def summary(self) -> dict[str, Any]:
        """A JSON value for the Trace: digests, counts and doubts, without identifiers."""
        presences = {
            what: {concept: count(labels[:, k]) for k, concept in enumerate(self.concepts)}
            for what, labels in (("pictures", self.image_labels_NK), ("texts", self.text_labels_MK))
        }
        return {
            "digest": self.digest,
            "side": str(self.side),
            **self.choices,
            "num_pictures": len(self.pictures),
            "num_unreadable": self.num_unreadable,
            "unreadable": dict(self.unreadable),
            "num_texts": len(self.texts),
            "num_pairs": sum(len(pool.pair_rows) for pool in self.pools),
            "num_patients": len({p.patient for p in self.pictures} | {text.patient for text in self.texts}),
            "counts": list(self.counts),
            "presences": presences,
            "doubts": list(self.doubts),
        }

    def readable(self, cache: PixelCache) -> Material:
        """The material without the pictures that the cache does not have; their texts stay, but for pairs.

        Raises:
            InputError: no picture is left.
        """
        kept_N = cache.find(self.sources) >= 0
        codes = dict(Counter(problem.code for problem in cache.problems).most_common())
        if len(kept_N) and not kept_N.any():
            why = f" Most often: {next(iter(codes))}." if codes else ""
            message = f"None of the {len(kept_N)} pictures could be read.{why}"
            raise InputError(
                message, hint="Check that they lie where the manifest says; docs/reference names the codes."
            )
        if kept_N.all():
            return self
        pools = tuple(_kept(pool, kept_N) for pool in self.pools)
        pictures = tuple(picture for picture, is_kept in zip(self.pictures, kept_N, strict=True) if is_kept)
        num_unreadable = self.num_unreadable + int((~kept_N).sum())
        return replace(self, pictures=pictures, pools=pools, num_unreadable=num_unreadable, unreadable=codes)


def together(parts: Sequence[Material]) -> Material:
    """Several materials over one list of concepts as one."""
    whole, *others = parts
    for part in others:
        start = np.array([len(whole.pictures), len(whole.texts)])
        moved = [
            replace(
                pool,
                image_rows=pool.image_rows + start[0],
                text_rows=pool.text_rows + start[1],
                pair_rows=pool.pair_rows + start,
            )
            for pool in part.pools
        ]
        whole = replace(
            whole,
            pictures=(*whole.pictures, *part.pictures),
            texts=(*whole.texts, *part.texts),
            pools=(*whole.pools, *moved),
            choices={**whole.choices, "supplies": [*whole.choices["supplies"], *part.choices["supplies"]]},
            counts=(*whole.counts, *part.counts),
        )
    return whole


def normal_index(concepts: Sequence[str]) -> int | None:
    """The number of the concept that says that nothing was found."""
    return concepts.index(NORMAL) if NORMAL in concepts else None


def _stacked(rows: list[np.ndarray], num_concepts: int) -> np.ndarray:
    return np.stack(rows) if rows else np.zeros((0, num_concepts), np.float32)


def _kept(pool: Pool, kept_N: np.ndarray) -> Pool:
    """The pool without the pictures that are not kept, the others numbered anew."""
    number_N = np.cumsum(kept_N) - 1
    pairs = pool.pair_rows[kept_N[pool.pair_rows[:, 0]]]
    return replace(
        pool,
        image_rows=number_N[pool.image_rows[kept_N[pool.image_rows]]],
        pair_rows=np.stack([number_N[pairs[:, 0]], pairs[:, 1]], axis=1),
    )
