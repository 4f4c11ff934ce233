"""Reciprocal-rank fusion: two rankings whose scores cannot be compared become one.

Source: Cormack, Clarke, Büttcher, "Reciprocal rank fusion outperforms Condorcet and individual rank learning methods",
SIGIR 2009; k = 60 as there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from callosum.core.result import Hit

RRF_K = 60


def fuse(rankings: Sequence[Sequence[str]], *, k: int) -> list[tuple[str, float]]:
    """The `k` best names of several rankings; the score is the mean of 61 / (60 + rank), so that 1 is the most."""
    scores: dict[str, float] = {}
    for ranking in rankings:
        for rank, name in enumerate(ranking, start=1):
            scores[name] = scores.get(name, 0.0) + (RRF_K + 1) / (RRF_K + rank)
    order = sorted(scores, key=lambda name: (-scores[name], name))[:k]
    return [(name, round(scores[name] / len(rankings), 6)) for name in order]


def reciprocal_rank_fusion(rankings: Sequence[Sequence[Hit]], *, k: int) -> list[Hit]:
    """The `k` best hits of several rankings, with their fused scores."""
    hits = {hit.record_id: hit for ranking in reversed(rankings) for hit in reversed(ranking)}
    fused = fuse([[hit.record_id for hit in ranking] for ranking in rankings], k=k)
    return [replace(hits[name], rank=rank, score=score) for rank, (name, score) in enumerate(fused, start=1)]
