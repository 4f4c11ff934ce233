"""Searcher: a text, a picture or a record of the archive as the query.

Where the archive holds texts, a text query is compared with pictures and with texts, and the two rankings are fused;
otherwise the score is the cosine of query and picture. At a level above the picture, hits are groups (`grouped`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from callosum.archive.archive import Archive
from callosum.archive.levels import Level
from callosum.core.embedding import Embedding, SpaceId
from callosum.core.pooling import Pooling
from callosum.core.protocols import Encoder
from callosum.core.result import Hit
from callosum.search.fusion import reciprocal_rank_fusion
from callosum.search.grouped import GroupQuery, fused, group_hits, rank_groups

FUSION_DEPTH = 10
"""Each ranking is this many times as deep as the answer, so that a hit low in one can still rise in the other."""


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Which hits are wanted.

    Attributes:
        k: How many.
        where: SQL condition over columns and attributes of pictures.
        level: What a hit stands for.
        pool: What a group of pictures is ranked by.
    """

    k: int = 10
    where: str | None = None
    level: Level = Level.IMAGE
    pool: Pooling = Pooling.MAX

    def of(self, query: Embedding) -> GroupQuery:
        """The question to groups with this vector."""
        return GroupQuery(query=query, level=self.level, pool=self.pool, k=self.k, where=self.where)


class Searcher:
    """Answers questions from one archive with one encoder."""

    def __init__(self, archive: Archive, encoder: Encoder) -> None:
        """Bring the two together.

        Raises:
            SpaceMismatch: the archive's vectors are not of the encoder's space.
        """
        archive.require_space(encoder.space)
        self._archive = archive
        self._encoder = encoder

    def by_text(self, text: str, scope: Scope) -> list[Hit]:
        """What fits a sentence, best first."""
        query = self._encoder.encode_text([text])
        if not self._archive.has_texts:
            return nearest(self._archive, query, scope)
        depth = max(100, FUSION_DEPTH * scope.k)
        if scope.level is not Level.IMAGE:
            asked = scope.of(query)
            return group_hits(self._archive, asked, fused(self._archive, asked, depth=depth))
        rankings = (
            self._archive.search(query, k=depth, where=scope.where, by="image"),
            self._archive.search(query, k=depth, where=scope.where, by="text"),
        )
        return reciprocal_rank_fusion(rankings, k=scope.k)

    def by_image(self, image: Any, scope: Scope) -> list[Hit]:
        """What looks like a picture, best first."""
        return nearest(self._archive, self._encoder.encode_image([image]), scope)


def nearest(archive: Archive, query: Embedding, scope: Scope) -> list[Hit]:
    """The pictures or groups nearest to one vector, best first."""
    if scope.level is Level.IMAGE:
        return archive.search(query, k=scope.k, where=scope.where)
    asked = scope.of(query)
    return group_hits(archive, asked, rank_groups(archive, asked))


def more_like(archive: Archive, record_id: str, scope: Scope) -> list[Hit]:
    """What looks like a picture of the archive, which itself, or its group, is left out. No encoder is needed.

    Raises:
        NotFound: no image has this id.
    """
    row = archive.get(record_id)
    space: SpaceId | None = archive.space
    assert space is not None, "an archive with a record has a space"
    query = Embedding(matrix=np.asarray([row["vector"]], dtype=np.float32), space=space, ids=(record_id,))
    own = scope.level.group_of(row)
    hits = nearest(archive, query, replace(scope, k=scope.k + 1))
    others = [hit for hit in hits if (hit.group_id or hit.record_id) != own]
    return [replace(hit, rank=rank) for rank, hit in enumerate(others[: scope.k], start=1)]
