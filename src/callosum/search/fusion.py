"""Reciprocal-rank fusion: two rankings whose scores cannot be compared become one.

Source: Cormack, Clarke, Büttcher, "Reciprocal rank fusion outperforms Condorcet and individual rank learning methods",
SIGIR 2009; k = 60 as there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from callosum.core.result import Hit

RRF_K = 60


def reciprocal_rank_fusion(rankings: Sequence[Sequence[Hit]], *, k: int) -> list[Hit]:
    """The `k` best hits of several rankings; the score is the mean of 1 / (60 + rank), scaled so that 1 is the most."""
    hits: dict[str, Hit] = {}
    scores: dict[str, float] = {}
    for ranking in rankings:
        for hit in ranking:
            hits.setdefault(hit.record_id, hit)
            scores[hit.record_id] = scores.get(hit.record_id, 0.0) + (RRF_K + 1) / (RRF_K + hit.rank)
    order = sorted(scores, key=lambda record_id: (-scores[record_id], record_id))[:k]
    return [
        replace(hits[record_id], rank=rank, score=round(scores[record_id] / len(rankings), 6))
        for rank, record_id in enumerate(order, start=1)
    ]
