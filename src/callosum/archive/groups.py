"""Groups: pooled vectors of files (slides, volumes), series, studies and patients.

The table `groups` is derived: it holds, for every group of two pictures or more, the direction of the mean of their
vectors, and can be made again from `images` at any time. A group of one picture is that picture and is not kept twice.
What was pooled is told by counting: vectors never change, so a group is up to date when as many pictures were pooled as
it has; the card says how many pictures there were when the table was last brought up to date.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from callosum.archive.levels import GROUPED, Level
from callosum.archive.store import Store
from callosum.archive.tables import explained, scan, sql_list, vector_array
from callosum.core.pooling import Pooling, pool_groups

if TYPE_CHECKING:
    import pyarrow as pa

MAX_ROWS = 65_536
"""Vectors read at once: 128 MB at 512 components; a larger group is read alone."""
_POOLED = "num_pooled"


def refresh_groups(store: Store) -> int:
    """Pool the groups whose pictures changed since they were last pooled; returns how many."""
    with store.changing():
        images = store.table("images")
        if images is None or num_unpooled(store) == 0:
            return 0
        num_changed = sum(_refresh_level(store, images, level) for level in GROUPED)
        store.flush()
        store.note(**{_POOLED: images.count_rows()})
    return num_changed


def num_unpooled(store: Store) -> int:
    """By how many pictures `images` differs from what was pooled."""
    images = store.table("images")
    return 0 if images is None else abs(images.count_rows() - store.card.get(_POOLED, 0))


class Groups:
    """The groups of one level, as they can be read."""

    def __init__(self, store: Store, level: Level) -> None:
        self._images = store.table("images")
        self._groups = store.table("groups")
        self._level = level

    def pooled(self) -> tuple[pa.Array, int]:
        """The ids of the groups that have a pooled vector, and how many pictures are in none of them."""
        import pyarrow as pa
        import pyarrow.compute as pc

        num_images = 0 if self._images is None else self._images.count_rows()
        if self._groups is None:
            return pa.array([], pa.string()), num_images
        rows = scan(self._groups, f"level = '{self._level}'", ["group_id", "num_images"])
        return rows["group_id"].combine_chunks(), num_images - (pc.sum(rows["num_images"]).as_py() or 0)

    def nearest(self, query_D: Float[np.ndarray, " D"], *, k: int) -> list[tuple[str, float]]:
        """Ids and cosines of the groups whose pooled vectors are nearest to a query, best first."""
        if self._groups is None:
            return []
        search = self._groups.search(query_D, vector_column_name="vector").distance_type("cosine")
        search = search.where(f"level = '{self._level}'", prefilter=True).select(["group_id", "_distance"]).limit(k)
        return [(row["group_id"], 1.0 - row["_distance"]) for row in search.to_arrow().to_pylist()]

    def admitted(self, where: str) -> pa.Array:
        """The ids of the groups that have a picture that meets a condition."""
        import pyarrow as pa

        if self._images is None:
            return pa.array([], pa.string())
        with explained(self._images, where):
            return scan(self._images, where, {"group_id": self._level.group_sql})["group_id"].unique()

    def count(self, group_ids: Sequence[str], *, where: str | None) -> dict[str, int]:
        """How many pictures that a condition admits each group has; a group without any is absent."""
        wanted = set(group_ids)
        if self._images is None or not wanted:
            return {}
        with explained(self._images, where):
            rows = scan(self._images, self._level.within(wanted, where=where), {"group_id": self._level.group_sql})
        return {group_id: number for group_id, number in _counts(rows, at_least=1).items() if group_id in wanted}

    def attended(
        self, query_D: Float[np.ndarray, " D"], group_ids: Sequence[str], *, where: str | None
    ) -> dict[str, float]:
        """Cosines of a query with the admitted vectors of groups, pooled by attention to that query."""
        scores: dict[str, float] = {}
        for some in _in_portions(self.count(group_ids, where=where)):
            members = _members(self._images, self._level, some, where=where)
            pooled_GD = pool_groups(members.vectors_ND, members.groups_N, by=Pooling.ATTENTION, query=query_D)
            scores |= dict(zip(members.group_ids, (pooled_GD @ query_D).tolist(), strict=True))
        return scores

    def best(
        self, query_D: Float[np.ndarray, " D"], group_ids: Sequence[str], *, where: str | None
    ) -> dict[str, tuple[str, int]]:
        """The record id of each group's admitted picture that is nearest to a query, and how many are admitted."""
        found: dict[str, tuple[str, int]] = {}
        for some in _in_portions(self.count(group_ids, where=where)):
            members = _members(self._images, self._level, some, where=where)
            order_N = np.lexsort((-(members.vectors_ND @ query_D), members.groups_N))
            firsts_G = order_N[np.unique(members.groups_N[order_N], return_index=True)[1]]
            records = members.record_ids.take(firsts_G).to_pylist()
            sizes = np.bincount(members.groups_N).tolist()
            found |= dict(zip(members.group_ids, zip(records, sizes, strict=True), strict=True))
        return found


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Members:
    """The pictures of some groups: record ids and vectors `[N, D]`, and the group of each, numbered from 0 `[N]`."""

    group_ids: list[str]
    record_ids: pa.Array
    vectors_ND: np.ndarray
    groups_N: np.ndarray


def _counts(rows: pa.Table, *, at_least: int) -> dict[str, int]:
    import pyarrow as pa
    import pyarrow.compute as pc

    counts = rows["group_id"].value_counts()
    table = pa.table({"group_id": counts.field("values"), "num": counts.field("counts")})
    table = table.filter(pc.field("num") >= at_least)
    return dict(zip(table["group_id"].to_pylist(), table["num"].to_pylist(), strict=True))


def _refresh_level(store: Store, images: Any, level: Level) -> int:
    sizes = _counts(scan(images, None, {"group_id": level.group_sql}), at_least=2)
    dim = images.schema.field("vector").type.list_size
    groups = store.made("groups", groups_schema(dim)) if sizes else store.table("groups")
    if groups is None:
        return 0
    table = scan(groups, f"level = '{level}'", ["group_id", "num_images"])
    pooled = dict(zip(table["group_id"].to_pylist(), table["num_images"].to_pylist(), strict=True))
    changed = {group_id: number for group_id, number in sizes.items() if pooled.get(group_id) != number}
    for some in _in_portions(changed):
        members = _members(images, level, some, where=None)
        means_GD = pool_groups(members.vectors_ND, members.groups_N, by=Pooling.MEAN)
        rows = _groups_table(level, members.group_ids, np.bincount(members.groups_N), means_GD)
        merge = groups.merge_insert(["level", "group_id"])
        merge.when_matched_update_all().when_not_matched_insert_all().execute(rows)
    gone = sorted(pooled.keys() - sizes.keys())
    if gone:
        groups.delete(f"level = '{level}' AND group_id IN {sql_list(gone)}")
    return len(changed)


def groups_schema(dim: int) -> pa.Schema:
    """Columns of the derived table `groups`."""
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("level", pa.string()),
            pa.field("group_id", pa.string()),
            pa.field("num_images", pa.int64()),
            pa.field("vector", pa.list_(pa.float32(), dim)),
        ]
    )


def _groups_table(level: Level, ids: Sequence[str], sizes_G: np.ndarray, means_GD: np.ndarray) -> pa.Table:
    import pyarrow as pa

    columns = [pa.array([str(level)] * len(ids)), pa.array(ids), pa.array(sizes_G, pa.int64()), vector_array(means_GD)]
    return pa.table(columns, schema=groups_schema(means_GD.shape[1]))


def _in_portions(sizes: dict[str, int]) -> Iterator[list[str]]:
    """Group ids, so many at once that their pictures are at most `MAX_ROWS`."""
    some: list[str] = []
    num_rows = 0
    for group_id, size in sizes.items():
        if some and num_rows + size > MAX_ROWS:
            yield some
            some, num_rows = [], 0
        some.append(group_id)
        num_rows += size
    if some:
        yield some


def _members(images: Any, level: Level, group_ids: Sequence[str], *, where: str | None) -> _Members:
    columns = {"group_id": level.group_sql, "record_id": "record_id", "vector": "vector"}
    rows = scan(images, level.within(group_ids, where=where), columns)
    groups = rows["group_id"].combine_chunks().dictionary_encode()
    vectors = rows["vector"].combine_chunks()
    return _Members(
        group_ids=groups.dictionary.to_pylist(),
        record_ids=rows["record_id"].combine_chunks(),
        vectors_ND=vectors.flatten().to_numpy(zero_copy_only=False).reshape(len(rows), vectors.type.list_size),
        groups_N=groups.indices.to_numpy(),
    )
