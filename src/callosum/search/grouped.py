"""Rankings of groups: files, series, studies or patients instead of single pictures.

`max` ranks a group by its best picture, `mean` by the stored direction of the mean of its pictures; both are exact.
`attention` pools each group's pictures anew, weighing them by their likeness to the query, and does so for candidates
only: the `candidates` best groups of `max` and as many of `mean`. A condition chooses pictures: a group is ranked if it
has one that meets it, by its best such picture (`max`), by all its pictures (`mean`), or by those that meet it
(`attention`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np

from callosum.archive.archive import Archive
from callosum.archive.levels import Level
from callosum.core.embedding import Embedding
from callosum.core.pooling import Pooling
from callosum.core.result import Hit
from callosum.search.fusion import fuse

if TYPE_CHECKING:
    import pyarrow as pa

Ranking = list[tuple[str, float]]
MIN_CANDIDATES = 100
CANDIDATES_PER_HIT = 10
_FIRST_PAGE = 1024
_GROWTH = 8


@dataclass(frozen=True, kw_only=True)
class GroupQuery:
    """A question to groups.

    Attributes:
        query: One vector.
        level: Which groups.
        pool: What a group is ranked by.
        k: How many groups.
        where: SQL condition over the columns of pictures.
    """

    query: Embedding
    level: Level
    pool: Pooling
    k: int
    where: str | None = None

    @property
    def candidates(self) -> int:
        """How many groups of each kind attention looks at."""
        return max(MIN_CANDIDATES, CANDIDATES_PER_HIT * self.k)


class _Nearest:
    """The rows nearest to a query, read in pages that grow, so that the first row of a group is its best."""

    def __init__(self, archive: Archive, asked: GroupQuery, *, by: Literal["image", "text"] = "image") -> None:
        self._read = partial(archive.rank, asked.query, level=asked.level, where=asked.where, by=by)
        self._size = max(_FIRST_PAGE, asked.k)
        self.rows = self._read(k=self._size)

    @property
    def least(self) -> float:
        """No row that was not read has a higher score."""
        return float(self.rows["score"][-1].as_py()) if len(self.rows) else -2.0

    def grow(self) -> bool:
        """Read more; False when there are no more."""
        if len(self.rows) < self._size:
            return False
        self._size *= _GROWTH
        self.rows = self._read(k=self._size)
        return True

    def groups(self, *, without: pa.Array | None = None) -> Ranking:
        """The groups read so far with the scores of their best rows, best first."""
        import pyarrow.compute as pc

        rows = self.rows if without is None else self.rows.filter(pc.invert(pc.is_in(self.rows["group_id"], without)))
        codes_N = rows["group_id"].combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
        firsts = rows.take(np.sort(np.unique(codes_N, return_index=True)[1]))
        return list(zip(firsts["group_id"].to_pylist(), firsts["score"].to_pylist(), strict=True))


def rank_groups(archive: Archive, asked: GroupQuery) -> Ranking:
    """The best groups by their pictures: ids and scores, best first."""
    if asked.pool is not Pooling.ATTENTION:
        rank = _by_best if asked.pool is Pooling.MAX else _by_mean
        return rank(archive, asked, _Nearest(archive, asked))
    wider = replace(asked, k=asked.candidates)
    nearest = _Nearest(archive, wider)
    candidates = dict(_by_best(archive, wider, nearest) + _by_mean(archive, wider, nearest))
    scores = archive.groups(asked.level).attended(asked.query.matrix[0], list(candidates), where=asked.where)
    return _best(list(scores.items()), asked.k)


def fused(archive: Archive, asked: GroupQuery, *, depth: int) -> Ranking:
    """The best groups by pictures and by texts: a group's texts, often all one report, rank it by the best."""
    deep = replace(asked, k=depth)
    by_text = _by_best(archive, deep, _Nearest(archive, deep, by="text"))
    rankings = (rank_groups(archive, deep), by_text)
    return fuse([[group_id for group_id, _ in ranking] for ranking in rankings], k=asked.k)


def group_hits(archive: Archive, asked: GroupQuery, ranking: Ranking) -> list[Hit]:
    """A hit for each group: its best picture, and how many pictures it has that meet the condition."""
    group_ids = [group_id for group_id, _ in ranking]
    best = archive.groups(asked.level).best(asked.query.matrix[0], group_ids, where=asked.where)
    hits = archive.hits([(best[group_id][0], score) for group_id, score in ranking])
    return [
        replace(hit, level=str(asked.level), group_id=group_id, num_images=best[group_id][1])
        for hit, group_id in zip(hits, group_ids, strict=True)
    ]


def _by_best(archive: Archive, asked: GroupQuery, nearest: _Nearest) -> Ranking:
    pooled, num_single = archive.groups(asked.level).pooled()
    num_wanted = min(asked.k, len(pooled) + num_single)
    while len(found := nearest.groups()) < num_wanted and nearest.grow():
        pass
    return found[: asked.k]


def _by_mean(archive: Archive, asked: GroupQuery, nearest: _Nearest) -> Ranking:
    """Pooled groups by their stored vectors; groups of one picture, which are not stored, among the pictures."""
    pooled, num_single = archive.groups(asked.level).pooled()
    several = _pooled(archive, asked)
    if num_single <= 0:
        return several
    floor = several[-1][1] if len(several) == asked.k else -2.0
    num_wanted = min(asked.k, num_single)
    while len(single := nearest.groups(without=pooled)) < num_wanted and nearest.least >= floor and nearest.grow():
        pass
    return _best(several + single, asked.k)


def _pooled(archive: Archive, asked: GroupQuery) -> Ranking:
    """The `k` best pooled groups that have a picture that meets the condition."""
    import pyarrow as pa
    import pyarrow.compute as pc

    groups = archive.groups(asked.level)
    admitted = groups.admitted(asked.where) if asked.where else None
    size = max(_FIRST_PAGE, asked.k)
    while True:
        found = groups.nearest(asked.query.matrix[0], k=size)
        kept = found
        if admitted is not None:
            group_ids = pa.array([group_id for group_id, _ in found], pa.string())
            kept = [found[n] for n in np.flatnonzero(pc.is_in(group_ids, admitted))]
        if len(kept) >= asked.k or len(found) < size:
            return kept[: asked.k]
        size *= _GROWTH


def _best(ranking: Ranking, k: int) -> Ranking:
    return sorted(ranking, key=lambda named: (-named[1], named[0]))[:k]
