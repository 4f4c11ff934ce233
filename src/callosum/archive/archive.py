"""Archive: a folder that holds images' vectors, thumbnails and attributes, and the space they live in.

The system of record is LanceDB: embedded, versioned, every commit atomic. The table `images` has one row per picture,
`reports` one per version of a report, `refused` one per file that was answered otherwise, and `groups` is derived from
`images`. `archive.json` names the format and the space. Search is an exact scan here, so that recall is one; faster
indexes are derived from these rows, never instead of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from callosum.archive import groups, identity, refusals, reports
from callosum.archive.card import CARD, make_card, read_card
from callosum.archive.entry import Added, Entry, Stored, entry_from_image
from callosum.archive.facets import Facet, facets
from callosum.archive.levels import Level
from callosum.archive.reports import ReportEntry
from callosum.archive.schema import attributes_from, fit_attributes, images_schema, images_table
from callosum.archive.store import Store
from callosum.archive.tables import HIDDEN, explained, scan, sql_list, text_array, text_rows, vector_array
from callosum.core.embedding import Embedding, SpaceId
from callosum.core.errors import InputError, NotFound, UsageError
from callosum.core.record import Image
from callosum.core.result import Hit, Problem

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["CARD", "MAX_FRAGMENTS", "Archive"]

MAX_FRAGMENTS = 256
"""Commits after which small files are merged: a scan over hundreds of fragments is several times slower."""


class Archive:
    """Images, their vectors and attributes, in one space. Use `Archive.create` or `Archive.open`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.path = store.path

    @classmethod
    def create(cls, path: str | Path, *, space: SpaceId | None = None) -> Archive:
        """Make an empty archive in a new or empty folder.

        Args:
            path: The folder.
            space: The space of its vectors; the space of the first embedding that is added when omitted.

        Raises:
            UsageError: the folder holds something already.
        """
        return cls(Store(Path(path), make_card(Path(path), space=space)))

    @classmethod
    def open(cls, path: str | Path) -> Archive:
        """Open an archive; one of the earlier format is brought to this one.

        Raises:
            NotFound: there is none.
            InputError: it is of a format that this version does not read.
        """
        return cls(Store(Path(path), read_card(Path(path))))

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the right to write; `add`, `attach` and `refuse` take it for themselves, a run takes it once.

        Raises:
            ArchiveBusy: another process has it.
        """
        with self._store.writing():
            yield

    @property
    def space(self) -> SpaceId | None:
        """The space of the vectors; None before the first one."""
        card = self._store.card
        return SpaceId.from_json(card["space"]) if "space" in card else None

    @property
    def key(self) -> bytes:
        """Secret of this archive's pseudonyms for patients and studies."""
        return bytes.fromhex(self._store.card["key"])

    def count(self, *, where: str | None = None) -> int:
        """Number of images, or of those that a filter admits."""
        if self._images is None:
            return 0
        with explained(self._images, where):
            return int(self._images.count_rows(where))

    def add(
        self,
        records: Sequence[Entry | Image],
        embedding: Embedding,
        *,
        texts: Embedding | None = None,
        sources: Sequence[str] = (),
    ) -> list[Added]:
        """Write images and their vectors; when it returns they are on the disk. An image that is there stays as it is.

        The pictures of one file are given in one call: a file with a row counts as indexed (`digests`).

        Args:
            records: Entries, or images as `callosum.read` returns them.
            embedding: One row per record.
            texts: Vectors of the records' texts: one row per record that has a text, in their order.
            sources: Where images come from, one each, as hits shall show it; not for entries, which know.

        Returns:
            What became of each record.

        Raises:
            SpaceMismatch: the vectors are not of this archive's space.
            ArchiveBusy: another process is writing.
        """
        names = list(sources) or [""] * len(records)
        entries = [
            record if isinstance(record, Entry) else entry_from_image(record, source=name).pseudonymous(self.key)
            for record, name in zip(records, names, strict=True)
        ]
        num_texts = sum(1 for entry in entries if entry.text)
        if len(entries) != len(embedding) or (texts is not None and len(texts) != num_texts):
            message = f"{len(entries)} records, {num_texts} with a text, need as many vectors of each kind."
            raise InputError(message)
        for vectors in (embedding, texts):
            if vectors is not None:
                self.require_space(vectors.space)
        with self._store.changing():
            return self._add(entries, embedding, texts)

    def _add(self, entries: Sequence[Entry], embedding: Embedding, texts: Embedding | None) -> list[Added]:
        images = self._adopted(embedding)
        stored = self.sort_out(entries)
        fresh = [n for n, answer in enumerate(stored) if answer is Stored.NEW]
        if not fresh:
            return [Added(stored=answer) for answer in stored]
        rows = text_rows(entries, texts)
        joined, of_reports = reports.with_reports(self._store, [entries[n] for n in fresh])
        text_vectors = [of_reports.get(place, rows[n]) for place, n in enumerate(fresh)]
        fitted, new = fit_attributes(joined, images.schema)
        if new:
            images.add_columns(new)
        table = images_table(
            fitted,
            images.schema,
            space=str(embedding.space),
            vectors=vector_array(embedding.matrix[fresh]),
            text_vectors=text_array(text_vectors, embedding.matrix.shape[1]),
        )
        images.add(table)
        self._store.flush()
        kept = dict(zip(fresh, fitted, strict=True))
        return [
            Added(stored=answer, is_fitted=n not in kept or len(kept[n].attributes) == len(entries[n].attributes))
            for n, answer in enumerate(stored)
        ]

    def sort_out(self, entries: Sequence[Entry], *, beside: identity.Known | None = None) -> list[Stored]:
        """What becomes of each entry: new, the same content as a row that is there, or what it contradicts.

        `beside` is what else is known, for a run that writes nothing; entries that are new join it.
        """
        return identity.sort_out(self._images, entries, beside=beside)

    def attach(self, entries: Sequence[ReportEntry], texts: Embedding | None) -> list[Stored]:
        """Keep reports, and give their texts to the pictures of their studies; see `archive.reports`.

        When it returns, reports and texts are on the disk. Pictures that come later take the text when they are added.

        Args:
            entries: Reports in the order received; the ids of both sides are of one form (`pseudonymous`).
            texts: Vectors of the searchable texts: one row per report that has one, in their order.

        Returns:
            What became of each report: NEW, SAME, or HIERARCHY_CONFLICT where it is of another patient than its study.

        Raises:
            SpaceMismatch: the vectors are not of this archive's space.
            ArchiveBusy: another process is writing.
        """
        num_texts = sum(1 for entry in entries if entry.searchable)
        if num_texts != (0 if texts is None else len(texts)):
            message = f"{num_texts} reports with a searchable text need as many vectors."
            raise InputError(message)
        if texts is not None:
            self.require_space(texts.space)
        with self._store.changing():
            if texts is not None:
                self._adopted(texts)
            return reports.attach(self._store, entries, texts)

    def sort_out_reports(self, entries: Sequence[ReportEntry], *, beside: reports.Known) -> list[Stored]:
        """What would become of each report (`attach`) beside what else is known, which the new ones join."""
        reports.take_related(self._store, entries, beside)
        return beside.sort_out(entries)

    def reports(self, **wanted: str) -> list[dict[str, Any]]:
        """All versions of the reports with this `report_id`, `study_id` or `accession_id`, in the order received."""
        return reports.find_reports(self._store, wanted)

    def refuse(self, problems: Sequence[Problem], *, attributes: Sequence[dict[str, Any]] = ()) -> None:
        """Remember files that were not indexed: digest, answer, code and sentence; never the path."""
        refusals.refuse(self._store, problems, attributes)

    def refusals(self) -> dict[str, Problem]:
        """What was not indexed, by digest of the file; sources are not kept."""
        return refusals.refusals(self._store)

    def unindexed(self, *, where: str | None = None) -> list[dict[str, Any]]:
        """Files that were refused and not indexed since, with what their headers told.

        Args:
            where: SQL condition over `answer`, `code` and the attributes of the headers.

        Raises:
            UsageError: the condition is not SQL over those columns.
        """
        return refusals.unindexed(self._store, where=where, indexed=self.digests().astype(str).tolist())

    def digests(self) -> np.ndarray:
        """The first 32 characters of the digest of every indexed file or report, sorted: `[N]` of type `S32`."""
        import pyarrow.compute as pc

        known = [np.empty(0, dtype="S32")]
        for table in (self._images, self._store.table("reports")):
            if table is not None:
                column = pc.unique(scan(table, None, ["source_digest"])["source_digest"])
                known.append(np.array(column.to_pylist(), dtype="S32"))
        return np.unique(np.concatenate(known))

    def facets(self, *, where: str | None = None) -> list[Facet]:
        """How many pictures that a condition admits have each modality, body part, split and finding.

        Raises:
            UsageError: the condition is not SQL over known columns.
        """
        return facets(self._store, where=where)

    def search(
        self,
        query: Embedding,
        *,
        k: int = 10,
        where: str | None = None,
        by: Literal["image", "text"] = "image",
    ) -> list[Hit]:
        """The `k` rows nearest to one query vector, best first.

        Args:
            query: One row.
            k: How many hits.
            where: SQL condition over columns and attributes, applied before the search.
            by: Compare with the vectors of the images or of their texts.

        Raises:
            SpaceMismatch: the query is of another space; both recipes are shown.
            UsageError: the condition is not SQL over known columns.
        """
        if self._images is None:
            self._check(query, k)
            return []
        columns = [name for name in self._images.schema.names if name not in HIDDEN]
        rows = self._nearest(query, [*columns, "_distance"], k=k, where=where, by=by).to_pylist()
        return [hit_from(row, rank=rank, score=1.0 - row["_distance"]) for rank, row in enumerate(rows, start=1)]

    def rank(
        self,
        query: Embedding,
        *,
        level: Level,
        k: int,
        where: str | None = None,
        by: Literal["image", "text"] = "image",
    ) -> pa.Table:
        """Columns `record_id`, `group_id` and `score` of the `k` nearest rows; raises as `search` does."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if self._images is None:
            self._check(query, k)
            return pa.table({name: pa.array([], pa.string()) for name in ("record_id", "group_id", "score")})
        columns = {"record_id": "record_id", "group_id": level.group_sql, "_distance": "_distance"}
        rows = self._nearest(query, columns, k=k, where=where, by=by)
        score = pc.subtract(1.0, rows["_distance"])
        return pa.table({"record_id": rows["record_id"], "group_id": rows["group_id"], "score": score})

    def groups(self, level: Level) -> groups.Groups:
        """The groups of a level and their pooled vectors."""
        return groups.Groups(self._store, level)

    def refresh_groups(self) -> int:
        """Pool the groups whose pictures changed, at the end of a run; returns how many.

        Raises:
            ArchiveBusy: another process is writing.
        """
        return groups.refresh_groups(self._store)

    @property
    def num_unpooled(self) -> int:
        """Pictures that came after the groups were last pooled."""
        return groups.num_unpooled(self._store)

    def hits(self, ranked: Sequence[tuple[str, float]]) -> list[Hit]:
        """The hits of records and their scores, best first."""
        if self._images is None or not ranked:
            return []
        columns = [name for name in self._images.schema.names if name not in HIDDEN]
        where = f"record_id IN {sql_list(record_id for record_id, _ in ranked)}"
        rows = {row["record_id"]: row for row in scan(self._images, where, columns).to_pylist()}
        return [hit_from(rows[record_id], rank=n, score=score) for n, (record_id, score) in enumerate(ranked, start=1)]

    def get(self, record_id: str) -> dict[str, Any]:
        """Everything that is kept of one image, its vectors and thumbnail included.

        Raises:
            NotFound: no image has this id.
        """
        if self._images is not None:
            rows = self._images.search().where(f"record_id IN {sql_list({record_id})}").limit(1).to_arrow().to_pylist()
            if rows:
                return {**rows[0], "attributes": attributes_from(rows[0])}
        message = "No image of this archive has that record id."
        raise NotFound(message, hint="Record ids are in the hits of: callosum search.")

    def require_space(self, space: SpaceId) -> None:
        """Refuse vectors of another space.

        Raises:
            SpaceMismatch: with both recipes.
        """
        if (own := self.space) is not None:
            own.require(space, here="The archive", there="the query or the encoder")

    @property
    def has_texts(self) -> bool:
        """True when some image has a text vector."""
        return self._images is not None and self._images.count_rows("text_vector IS NOT NULL") > 0

    def compact(self) -> None:
        """Merge the small files of many commits when there are more than `MAX_FRAGMENTS`."""
        with self._store.changing():
            self._store.compact(max_fragments=MAX_FRAGMENTS)

    @property
    def _images(self) -> Any | None:
        return self._store.table("images")

    def _adopted(self, vectors: Embedding) -> Any:
        """The table of images; the archive becomes one of the vectors' space and width, if it has none yet."""
        if self.space is None:
            self._store.note(space=vectors.space.to_json())
        return self._store.made("images", images_schema(vectors.matrix.shape[1]))

    def _check(self, query: Embedding, k: int) -> None:
        self.require_space(query.space)
        if len(query) != 1 or k < 1:
            message = f"A search takes one query vector and k of at least 1; found {len(query)} and {k}."
            raise UsageError(message)

    def _nearest(
        self, query: Embedding, columns: list[str] | dict[str, str], *, k: int, where: str | None, by: str
    ) -> pa.Table:
        """Columns of the rows nearest to a query, best first."""
        assert self._images is not None, "the table of images exists"
        self._check(query, k)
        column = "vector" if by == "image" else "text_vector"
        with explained(self._images, where):
            search = self._images.search(query.matrix[0], vector_column_name=column).distance_type("cosine")
            if where:
                search = search.where(where, prefilter=True)
            return search.select(columns).limit(k).to_arrow()


def hit_from(row: dict[str, Any], *, rank: int, score: float) -> Hit:
    """The hit of a row that was read."""
    return Hit(
        rank=rank,
        record_id=row["record_id"],
        score=round(score, 6),
        source=row["source"],
        part=row["part"] or "",
        modality=row["modality"],
        body_part=row["body_part"],
        text=row["text"],
        findings=tuple(row.get("findings") or ()),
        attributes=attributes_from(row),
    )
