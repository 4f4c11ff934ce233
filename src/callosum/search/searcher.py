"""Searcher: a text, a picture or a record of the archive as the query.

Where the archive holds report texts, a text query is compared with pictures and with texts, and the two rankings are
fused; otherwise the score is the cosine of query and picture.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from callosum.archive.archive import Archive
from callosum.core.embedding import Embedding, SpaceId
from callosum.core.protocols import Encoder
from callosum.core.result import Hit
from callosum.search.fusion import reciprocal_rank_fusion

FUSION_DEPTH = 10
"""Each ranking is this many times as deep as the answer, so that a hit low in one can still rise in the other."""


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

    def by_text(self, text: str, *, k: int = 10, where: str | None = None) -> list[Hit]:
        """Images that fit a sentence, best first."""
        query = self._encoder.encode_text([text])
        if not self._archive.has_texts:
            return self._archive.search(query, k=k, where=where)
        depth = max(100, FUSION_DEPTH * k)
        rankings = (
            self._archive.search(query, k=depth, where=where, by="image"),
            self._archive.search(query, k=depth, where=where, by="text"),
        )
        return reciprocal_rank_fusion(rankings, k=k)

    def by_image(self, image: Any, *, k: int = 10, where: str | None = None) -> list[Hit]:
        """Images that look like a picture, best first."""
        return self._archive.search(self._encoder.encode_image([image]), k=k, where=where)


def more_like(archive: Archive, record_id: str, *, k: int = 10, where: str | None = None) -> list[Hit]:
    """Images that look like one of the archive, which itself is left out. No encoder is needed.

    Raises:
        NotFound: no image has this id.
    """
    row = archive.get(record_id)
    space: SpaceId | None = archive.space
    assert space is not None, "an archive with a record has a space"
    query = Embedding(matrix=np.asarray([row["vector"]], dtype=np.float32), space=space, ids=(record_id,))
    hits = [hit for hit in archive.search(query, k=k + 1, where=where) if hit.record_id != record_id]
    return [replace(hit, rank=rank) for rank, hit in enumerate(hits[:k], start=1)]
